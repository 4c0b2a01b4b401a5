//! The lab: the pods of some manifests, run on this machine.

pub mod dns;
pub mod process;
pub mod readiness;
pub mod standin;
#[cfg(test)]
mod testing;
