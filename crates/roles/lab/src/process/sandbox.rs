//! From a forked process to a pod's process: what it does to itself before its work begins.
//!
//! All of this runs in a child of the single-threaded zygote, where ordinary code is safe after a fork.

use super::capabilities;
use super::stage::{OWN_FILES, at, bind, read_only};
use super::zygote::Launch;
use crate::standin::{self, StandIn};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot, dup2_stderr, dup2_stdin, dup2_stdout, execve, fchdir, sethostname, setsid};
use std::convert::Infallible;
use std::ffi::{CString, NulError};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Where programs are looked for when the environment does not say: what container runtimes set.
pub(super) const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes the calling process the first one of a pod.
///
/// It has to be in new mount, PID and UTS namespaces already, copied from the zygote's; `pods` is where the
/// folder of the pods' files is mounted in those.
pub(super) fn enter(launch: &Launch, pods: &Path, network: BorrowedFd<'_>) -> io::Result<()> {
    setns(network, CloneFlags::CLONE_NEWNET)?;
    if launch.pod.is_empty() || launch.pod.contains('/') || launch.pod.starts_with('.') {
        let what = format!("expected the name of a pod's folder, found `{}`", launch.pod);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let own = pods.join(&launch.pod);
    for file in OWN_FILES {
        let target = Path::new("/etc").join(file);
        bind(&own.join(file), &target)?;
        read_only(&target)?;
    }
    umount2(pods, MntFlags::MNT_DETACH).map_err(|errno| at(pods, errno.into()))?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mounted("proc", "/proc", flags)?;
    // The machine's shows its own interfaces, and its cgroups, which are identities.
    if Path::new("/sys").is_dir() {
        mounted("sysfs", "/sys", flags | MsFlags::MS_RDONLY)?;
    }
    sethostname(&launch.hostname)?;
    Ok(chdir("/")?)
}

/// Makes the calling process one more of a running container, of which it has the PID namespace already.
pub(super) fn enter_beside(process: BorrowedFd<'_>) -> io::Result<()> {
    join(process, &root_of(process)?)
}

/// Enters a process' namespaces, and the root folder that was its own when it was looked up. Allocates nothing.
///
/// Entering a mount namespace leads to its topmost root, which is not the process' where the lab is in a chroot. It fails
/// when the process is gone, so the root was not that of another process with its number.
pub(super) fn join(process: BorrowedFd<'_>, root: &OwnedFd) -> io::Result<()> {
    setns(process, CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWNS)?;
    fchdir(root)?;
    chroot(".")?;
    Ok(chdir("/")?)
}

/// The root folder of a process that a pidfd stands for (proc_pid_fdinfo(5), proc_pid_root(5)).
pub(super) fn root_of(process: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fdinfo/{}", process.as_raw_fd());
    let known = fs::read_to_string(&path).map_err(|error| at(Path::new(&path), error))?;
    let number = known.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse::<u32>().ok());
    let number = number.ok_or_else(|| io::Error::other(format!("{path} does not tell of a process")))?;
    let root = PathBuf::from(format!("/proc/{number}/root"));
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(&root, flags, Mode::empty()).map_err(|errno| at(&root, errno.into()))
}

/// Takes what a pod's process must not have: the zygote's signals, terminal, descriptors and capabilities.
///
/// Of the open descriptors only `output`, as standard output and error, is left to the work; the others
/// are closed when it executes a program.
pub(super) fn settle(output: BorrowedFd<'_>) -> io::Result<()> {
    SigSet::all().thread_unblock()?;
    // SAFETY: the default action runs no code of ours.
    #[allow(unsafe_code)]
    unsafe {
        signal(Signal::SIGPIPE, SigHandler::SigDfl)?;
    }
    setsid()?;
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    dup2_stdin(File::open("/dev/null")?)?;
    dup2_stdout(output)?;
    dup2_stderr(output)?;
    close_on_exec_from(3)?;
    capabilities::drop_all_but_a_pods()
}

/// Runs the stand-in; does not return unless it fails. `tell` is the one descriptor that stays open beside
/// the standard ones, until the stand-in listens.
pub(super) fn stand_in(stand_in: &StandIn, tell: &mut Option<File>) -> io::Result<Infallible> {
    if let Some(keep) = tell.as_ref().map(|tell| tell.as_raw_fd().cast_unsigned()) {
        close(3, keep.saturating_sub(1))?;
        close(keep + 1, u32::MAX)?;
    }
    prctl::set_name(c"stand-in")?;
    standin::run(stand_in, |bound| {
        for (port, error) in &bound.unserved {
            eprintln!("{}/{} is not served: {error}", port.port, port.protocol);
        }
        *tell = None;
    })?;
    Err(io::Error::other("the stand-in ended"))
}

/// Becomes a program; does not return unless it fails.
pub(super) fn execute(arguments: &[String], environment: &[(String, String)]) -> io::Result<Infallible> {
    let program =
        arguments.first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no command is given"))?;
    let path = environment.iter().rev().find(|(name, _)| name == "PATH").map_or(DEFAULT_PATH, |(_, path)| path);
    let found = find(program, path).ok_or_else(|| {
        let what = format!("`{program}` is not a program on this machine, looked for in {path}");
        io::Error::new(io::ErrorKind::NotFound, what)
    })?;
    let arguments = c_strings(arguments.iter().cloned())?;
    let mut variables: Vec<_> = environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if !environment.iter().any(|(name, _)| name == "PATH") {
        variables.push(format!("PATH={DEFAULT_PATH}"));
    }
    let variables = c_strings(variables)?;
    let file = CString::new(found.as_os_str().as_encoded_bytes())?;
    execve(&file, &arguments, &variables).map_err(|errno| at(&found, errno.into()))
}

/// The file that a program's name stands for: itself if it has a `/`, else the first executable one on the path.
fn find(program: &str, path: &str) -> Option<PathBuf> {
    let executable = |file: &Path| {
        let mode = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|found| found.permissions());
        mode.as_ref().is_some_and(|mode| Permissions::mode(mode) & 0o111 != 0)
    };
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|file| executable(file));
    }
    path.split(':').map(|folder| Path::new(folder).join(program)).find(|file| executable(file))
}

fn c_strings(texts: impl IntoIterator<Item = String>) -> Result<Vec<CString>, NulError> {
    texts.into_iter().map(CString::new).collect()
}

fn mounted(kind: &str, target: &str, flags: MsFlags) -> io::Result<()> {
    mount(Some(kind), target, Some(kind), flags, None::<&str>).map_err(|errno| at(Path::new(target), errno.into()))
}

fn close(first: u32, last: u32) -> io::Result<()> {
    if first <= last { close_range(first, last, 0) } else { Ok(()) }
}

fn close_on_exec_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

#[allow(unsafe_code)]
fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: numbers only. A forked child closes descriptors that only its parent still uses; what it owns of
    // them it never touches again, because it ends by `_exit` or by executing a program.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_program_is_found_on_the_path_or_where_it_says() {
        assert_eq!(find("sh", "/nowhere:/bin").as_deref(), Some("/bin/sh".as_ref()));
        assert_eq!(find("/bin/sh", "").as_deref(), Some("/bin/sh".as_ref()));
        assert_eq!(find("no-such-program", "/bin:/usr/bin"), None);
        assert_eq!(find("/etc/passwd", ""), None, "not executable");
        assert_eq!(find("/bin", ""), None, "a folder");
    }
}
