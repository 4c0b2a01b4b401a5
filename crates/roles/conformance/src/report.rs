//! What came of a suite.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What came of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuiteReport {
    /// The suite's name.
    pub suite: String,
    /// How many checks passed.
    pub passed: usize,
    /// The others.
    pub failed: Vec<Failure>,
    /// Cases whose answer differs for a reason that is written down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deviating: Vec<Deviation>,
}

/// A case whose answer differs, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deviation {
    /// The suite and the folder's name.
    pub case: String,
    /// The reason.
    pub why: String,
}

/// A check that did not pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The case, and what in it.
    pub case: String,
    /// What the suite wants.
    pub wanted: String,
    /// What came instead.
    pub got: String,
}

impl SuiteReport {
    /// A suite of which nothing has run.
    pub fn new(suite: impl Into<String>) -> Self {
        Self { suite: suite.into(), passed: 0, failed: Vec::new(), deviating: Vec::new() }
    }

    /// Counts a check.
    pub fn check(&mut self, case: impl fmt::Display, wanted: impl fmt::Display, got: impl fmt::Display) {
        let (wanted, got) = (wanted.to_string(), got.to_string());
        if wanted == got {
            self.passed += 1;
        } else {
            self.failed.push(Failure { case: case.to_string(), wanted, got });
        }
    }

    /// Takes the failures of cases that deviate for a written reason out of the failures. A reason for a case that does
    /// not fail is a failure itself.
    pub fn excuse(&mut self, reasons: Vec<Deviation>) {
        let of = |failure: &Failure, reason: &Deviation| failure.case.split(' ').next() == Some(&*reason.case);
        for reason in reasons {
            let before = self.failed.len();
            self.failed.retain(|failure| !of(failure, &reason));
            if self.failed.len() == before {
                self.broken(&reason.case, "it is said to deviate, and does not");
            } else {
                self.deviating.push(reason);
            }
        }
    }

    /// Counts a case that could not be run.
    pub fn broken(&mut self, case: impl fmt::Display, reason: impl fmt::Display) {
        self.failed.push(Failure {
            case: case.to_string(),
            wanted: "a case that runs".to_owned(),
            got: reason.to_string(),
        });
    }
}

impl fmt::Display for SuiteReport {
    /// Each failure in two lines, then `SUITE: N passed, N failed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Failure { case, wanted, got } in &self.failed {
            writeln!(f, "{case}\n  wanted {wanted}, got {got}")?;
        }
        for Deviation { case, why } in &self.deviating {
            writeln!(f, "{case} deviates: {why}")?;
        }
        write!(f, "{}: {} passed, {} failed", self.suite, self.passed, self.failed.len())
    }
}

#[cfg(test)]
mod tests {
    use super::SuiteReport;

    #[test]
    fn failures_come_first_and_the_count_last() {
        let mut report = SuiteReport::new("s");
        report.check("a", "allowed", "allowed");
        report.check("b", "denied", "allowed");
        report.broken("c", "no such file");
        let text =
            "b\n  wanted denied, got allowed\nc\n  wanted a case that runs, got no such file\ns: 1 passed, 2 failed";
        assert_eq!(report.to_string(), text);
    }
}
