//! Who is told how a lab comes up and changes.

use super::detach::READY;
use anyhow::{Context, Result};
use lictor_cluster::{BUILT_IN_ANNOTATION, Pod};
use lictor_lab::{Audience, Lab};
use std::fs::File;
use std::io::{self, Write};
use std::time::Instant;

/// A person at a terminal, or whoever waits for a detached lab and later reads its log.
pub(super) struct Told {
    lab: String,
    began: Instant,
    detached: bool,
}

impl Told {
    /// The terminal that the lab runs at.
    pub(super) fn here(lab: &str) -> Self {
        Self { lab: lab.to_owned(), began: Instant::now(), detached: false }
    }

    /// Whoever waits at the other end of the standard output; this process leaves the terminal's session.
    pub(super) fn detached(lab: &str) -> Result<Self> {
        nix::unistd::setsid().context("cannot leave the terminal")?;
        Ok(Self { lab: lab.to_owned(), began: Instant::now(), detached: true })
    }
}

impl Audience for Told {
    fn tell(&self, text: &str) {
        let text = text.trim_end();
        if !text.is_empty() {
            // Whoever listened may be gone; the lab goes on.
            let _ = writeln!(io::stderr().lock(), "{text}");
        }
    }

    fn ready(&self, lab: &Lab) {
        let own = |pod: &Pod| pod.annotations.get(BUILT_IN_ANNOTATION).is_none_or(|value| value != "true");
        let pods = lab.snapshot().pods.values().filter(|pod| own(pod)).count();
        let name = &self.lab;
        let up = format!("{pods} pods are up in {:.1} s", self.began.elapsed().as_secs_f64());
        let option = if name == "lab" { String::new() } else { format!(" --lab {name}") };
        if !self.detached {
            let _ = writeln!(io::stderr().lock(), "{up}; `lictor status{option}` shows them, an interrupt ends them");
            return;
        }
        let _ = writeln!(
            io::stdout().lock(),
            "{READY}{up}; `lictor status{option}` shows them, `lictor down{option}` ends them"
        );
        if let Err(error) = go_on_in_log(name) {
            self.tell(&format!("the lab's log cannot be written: {error:#}"));
        }
    }
}

/// Standard output and error go to the lab's log from now on.
fn go_on_in_log(lab: &str) -> Result<()> {
    let log = File::options().create(true).append(true).open(format!("/run/lictor/{lab}/log"))?;
    nix::unistd::dup2_stdout(&log)?;
    nix::unistd::dup2_stderr(&log)?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(())
}
