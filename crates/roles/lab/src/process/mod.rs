//! The processes of pods: where they run, how they start, and that nothing of them is left.
//!
//! **Purpose.** [`StateDir`] is the lab's folder and its lock; [`Cgroups`] its part of the cgroup tree;
//! [`Zygote`] starts processes in both; [`supervise`] keeps one running; [`exec()`] puts a command beside one;
//! [`cleanup`] takes away what a lab that was killed could not.
//!
//! **Invariants.**
//! - A process is in its pod's cgroup before it does anything: nothing in a pod is ever without identity.
//! - A pod's process sees its own processes, network interfaces, host name and `/etc/resolv.conf`, and
//!   neither the cgroup tree nor the lab's state, but for the workload socket.
//! - It cannot load BPF, trace a process, mount, or change its network: [`pod_capabilities`] is all it has.
//! - When the lab ends, by whatever signal, every process of its pods ends.
//!
//! **Not here.** Network namespaces are made elsewhere; an open descriptor of one is all that is needed. This
//! is no sandbox against a hostile program: pods share the machine's file system and its root user.

mod capabilities;
mod cgroup;
mod exec;
mod expand;
mod sandbox;
mod stage;
mod state;
mod supervise;
mod zygote;

pub use capabilities::pod_capabilities;
pub use cgroup::{Cgroup, Cgroups, cgroup2_mount};
pub use exec::{ExecError, Target, exec};
pub use expand::command;
pub use stage::own_mounts;
pub use state::{ClaimError, PodFiles, STATE, StateDir, cleanup};
pub use supervise::{Backoff, Control, Phase, Place, Restart, Supervised, supervise};
pub use zygote::{Exit, Launch, LaunchError, Running, Stage, Work, Zygote, run};
