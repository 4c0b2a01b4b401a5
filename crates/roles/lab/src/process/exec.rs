//! A command beside a pod's process, at the terminal of whoever asks: `lictor exec POD -- COMMAND`.

use super::capabilities;
use super::cgroup::cgroup2_mount;
use super::sandbox;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::Command;

/// The process that a command is put beside: what the lab tells its command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its number.
    pub pid: u32,
    /// Its pod's cgroup.
    pub cgroup: PathBuf,
    /// The environment that the command gets.
    pub environment: Vec<(String, String)>,
}

/// Why a command did not run.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// No command was given.
    #[error("expected a command")]
    Empty,
    /// The process has ended, or its number means another one by now.
    #[error("process {0} is no longer the pod's")]
    Gone(u32),
    /// The pod cannot be entered; this needs root.
    #[error("cannot enter the pod of process {pid}: {error}")]
    Enter {
        /// The process.
        pid: u32,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
    /// The command cannot be executed.
    #[error("cannot run `{command}` in the pod: {error}")]
    Run {
        /// The command.
        command: String,
        /// What the kernel said.
        #[source]
        error: io::Error,
    },
}

/// Runs a command in a pod, with the caller's standard streams and terminal, and returns its exit status:
/// 128 and the signal's number if one ended it.
///
/// It has the pod's cgroup (so its identity), network, files and processes, and no more capabilities than the pod's own.
/// To be called by a process that does nothing else: children of the calling thread end up in the pod from
/// then on. Needs root. Blocks until the command ends.
pub fn exec(target: &Target, command: &[String]) -> Result<i32, ExecError> {
    let (program, arguments) = command.split_first().ok_or(ExecError::Empty)?;
    let enter = |error: io::Error| ExecError::Enter { pid: target.pid, error };
    let process = pidfd(target.pid).map_err(|_| ExecError::Gone(target.pid))?;
    // The descriptor is held: if the number meant the pod's process at any time from now on, it does still.
    if !is_in(target).map_err(enter)? {
        return Err(ExecError::Gone(target.pid));
    }
    let mut cgroup = File::options().write(true).open(target.cgroup.join("cgroup.procs")).map_err(enter)?;
    let root = sandbox::root_of(process.as_fd()).map_err(enter)?;
    setns(&process, CloneFlags::CLONE_NEWPID).map_err(|errno| enter(errno.into()))?;

    let mut child = Command::new(program);
    child.args(arguments).env_clear().env("PATH", sandbox::DEFAULT_PATH);
    if let Some(terminal) = std::env::var_os("TERM") {
        child.env("TERM", terminal);
    }
    child.envs(target.environment.iter().map(|(name, value)| (name, value)));
    let join = move || {
        // The tree is out of sight in the pod's own mounts.
        cgroup.write_all(b"0")?;
        sandbox::join(process.as_fd(), &root)?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        capabilities::drop_all_but_a_pods()
    };
    // SAFETY: the closure makes system calls on what it owns: no allocation, no lock.
    #[allow(unsafe_code)]
    let mut child =
        unsafe { child.pre_exec(join) }.spawn().map_err(|error| ExecError::Run { command: program.clone(), error })?;
    // An interrupt at the terminal is the command's; whoever asked waits for what it does about it.
    ignore(Signal::SIGINT).map_err(enter)?;
    ignore(Signal::SIGQUIT).map_err(enter)?;
    let status = child.wait().map_err(|error| ExecError::Run { command: program.clone(), error })?;
    Ok(status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1))
}

/// Whether the target's process is in its cgroup, by `/proc/PID/cgroup` (cgroups(7)).
fn is_in(target: &Target) -> io::Result<bool> {
    let Ok(lines) = fs::read_to_string(format!("/proc/{}/cgroup", target.pid)) else { return Ok(false) };
    let tree = cgroup2_mount()?.unwrap_or_default();
    let Some(own) = lines.lines().find_map(|line| line.strip_prefix("0::/")) else { return Ok(false) };
    Ok(tree.join(own) == target.cgroup)
}

#[allow(unsafe_code)]
fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: numbers only; the call makes a new descriptor.
    let descriptor = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nothing else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

#[allow(unsafe_code)]
fn ignore(which: Signal) -> io::Result<()> {
    // SAFETY: ignoring a signal runs no code of ours.
    unsafe { signal(which, SigHandler::SigIgn) }?;
    Ok(())
}
