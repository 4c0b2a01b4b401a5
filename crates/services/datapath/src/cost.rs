//! What the programs cost.

use crate::datapath::{Datapath, PROGRAMS};
use crate::error::Error;
use aya::sys::{Stats, enable_stats};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What one program has cost so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Its name in the object.
    pub program: &'static str,
    /// Instructions that the verifier went through when it was loaded, where the kernel tells.
    pub verified: u32,
    /// How often it ran while the kernel was counting.
    pub runs: u64,
    /// How long it ran in all.
    pub time: Duration,
}

impl Datapath {
    /// Has the kernel count the runs of every eBPF program until the descriptor is closed. This costs each run
    /// some 20 ns itself.
    pub fn count_runs() -> Result<OwnedFd, Error> {
        enable_stats(Stats::RunTime).map_err(|error| Error::io("cannot have runs counted")(error.io_error))
    }

    /// What each loaded program has cost so far.
    pub fn costs(&self) -> Result<Vec<Cost>, Error> {
        let cost = |program: &'static str| {
            let loaded = self.object.program(program).ok_or(Error::Missing(program))?;
            if loaded.fd().is_err() {
                return Ok(None);
            }
            let info = loaded.info().map_err(Error::program(program))?;
            let verified = info.verified_instruction_count().unwrap_or_default();
            Ok(Some(Cost { program, verified, runs: info.run_count(), time: info.run_time() }))
        };
        PROGRAMS.iter().filter_map(|program| cost(program).transpose()).collect()
    }
}

impl Cost {
    /// Time of one run.
    pub fn each(&self) -> Duration {
        let runs = u32::try_from(self.runs).unwrap_or(u32::MAX).max(1);
        self.time / runs
    }
}
