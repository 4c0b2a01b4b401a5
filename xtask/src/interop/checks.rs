//! What was checked of each peer, and the table of it.

use anyhow::Result;
use std::fmt::Write as _;

/// The checks of one peer, told as they are made.
#[derive(Default)]
pub(super) struct Checks {
    passed: usize,
    failed: Vec<String>,
}

impl Checks {
    /// Takes the outcome of a check in, and tells it.
    pub(super) fn check(&mut self, what: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                println!("  ok      {what}");
                self.passed += 1;
            }
            Err(error) => {
                println!("  FAILED  {what}: {error:#}");
                self.failed.push(format!("{what}: {error:#}"));
            }
        }
    }
}

/// What came of one peer.
pub(super) struct Outcome {
    name: &'static str,
    version: &'static str,
    /// How its programs came to be here; nothing when they are not.
    programs: Option<String>,
    checks: Checks,
}

impl Outcome {
    /// A peer that ran.
    pub(super) fn ran(name: &'static str, version: &'static str, programs: String, checks: Checks) -> Self {
        Self { name, version, programs: Some(programs), checks }
    }

    /// A peer whose programs are not here and were not to be built.
    pub(super) fn not_built(name: &'static str, version: &'static str) -> Self {
        Self { name, version, programs: None, checks: Checks::default() }
    }

    /// Whether nothing failed; a peer that ran made at least one check.
    pub(super) fn is_clean(&self) -> bool {
        self.checks.failed.is_empty() && (self.programs.is_none() || self.checks.passed > 0)
    }
}

/// The peers with their counts, what failed, and what there is not.
pub(super) fn table(outcomes: &[Outcome], not_available: &[(&str, &str)]) -> String {
    let mut text = format!("{:<14} {:<22} {:>6} {:>6}  PROGRAMS\n", "PEER", "VERSION", "PASSED", "FAILED");
    for Outcome { name, version, programs, checks } in outcomes {
        let Checks { passed, failed } = checks;
        let _ = match programs {
            Some(how) => writeln!(text, "{name:<14} {version:<22} {passed:>6} {:>6}  {how}", failed.len()),
            None => writeln!(
                text,
                "{name:<14} {version:<22} {:>6} {:>6}  not built here: cargo xtask interop {name}",
                "-", "-"
            ),
        };
    }
    let failed = outcomes.iter().flat_map(|outcome| outcome.checks.failed.iter().map(|failed| (outcome.name, failed)));
    for (name, failed) in failed {
        let _ = writeln!(text, "failed: {name}: {failed}");
    }
    for (what, why) in not_available {
        let _ = writeln!(text, "not available: {what}: {why}");
    }
    let ran = outcomes.iter().filter(|outcome| outcome.programs.is_some()).count();
    let passed: usize = outcomes.iter().map(|outcome| outcome.checks.passed).sum();
    let failed: usize = outcomes.iter().map(|outcome| outcome.checks.failed.len()).sum();
    let _ = writeln!(text, "{ran} of {} peers ran: {passed} checks passed, {failed} failed", outcomes.len());
    text
}

#[cfg(test)]
mod tests {
    use super::{Checks, Outcome, table};
    use anyhow::anyhow;

    #[test]
    fn the_table_counts_what_passed_and_names_what_failed_and_what_is_not_there() {
        let mut checks = Checks::default();
        checks.check("one", Ok(()));
        checks.check("two", Err(anyhow!("seen 2")));
        let outcomes = [Outcome::ran("a-peer", "v1", "cached".to_owned(), checks), Outcome::not_built("another", "v2")];
        let expected = "\
PEER           VERSION                PASSED FAILED  PROGRAMS
a-peer         v1                          1      1  cached
another        v2                          -      -  not built here: cargo xtask interop another
failed: a-peer: two: seen 2
not available: a third: for a reason
1 of 2 peers ran: 1 checks passed, 1 failed
";
        assert_eq!(table(&outcomes, &[("a third", "for a reason")]), expected);
        assert!(!outcomes[0].is_clean() && outcomes[1].is_clean());
        let nothing = Outcome::ran("a-peer", "v1", "cached".to_owned(), Checks::default());
        assert!(!nothing.is_clean(), "a peer that ran has checked something");
    }
}
