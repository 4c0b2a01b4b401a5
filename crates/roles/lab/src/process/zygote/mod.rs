//! One process that forks all others.
//!
//! A process that is executed anew pays for the relocation of the whole binary: about a megabyte that is
//! its own, before it has done anything. The zygote has paid that once; its children share it. It has one
//! thread, so that a child may run any code after the fork, and it outlives every thread of the lab, so that
//! the death signal of its children (prctl(2), `PR_SET_PDEATHSIG`: of the parent's *thread*) means the lab's end.
//!
//! Lab and zygote speak over a socket pair: a packet is one message in JSON with its descriptors. When the
//! lab ends, however it ends, the zygote reads the end of the socket and ends too, and with it every pod.

mod client;
mod fork;
mod protocol;
mod server;

pub use client::{Exit, LaunchError, Running, Zygote};
pub use protocol::{Launch, Stage, Work};
pub use server::run;
