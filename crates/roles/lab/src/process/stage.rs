//! The mount tree that all pods start from, prepared once in the zygote.

use super::zygote::Stage;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chdir, chroot};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// The files of `/etc` that each pod has its own of.
pub(super) const OWN_FILES: [&str; 3] = ["resolv.conf", "hosts", "hostname"];

/// The machine's own `/etc`, within the hidden folder, for an `/etc` that had to be rebuilt.
const MACHINES_ETC: &str = ".etc";
/// The folder of the pods' files, within the hidden folder.
const MACHINES_PODS: &str = ".pods";

impl Stage {
    /// Gives the calling process a mount namespace of its own that is set like this stage, and returns where
    /// the folder of the pods' files is in it, for each pod to unmount.
    pub(super) fn set(&self) -> io::Result<PathBuf> {
        own_mounts()?;
        let machines_pods = path_only(&self.pods)?;
        let socket =
            self.workload_socket.as_deref().map(|path| path_only(path).map(|file| (path, file))).transpose()?;
        let etc = Path::new("/etc");
        let machines_etc = path_only(etc)?;
        cover(&self.hidden)?;
        let pods = self.hidden.join(MACHINES_PODS);
        fs::create_dir(&pods).map_err(|error| at(&pods, error))?;
        bind(&of(&machines_pods), &pods)?;
        if let Some((path, file)) = socket {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(|error| at(parent, error))?;
            }
            File::create(path).map_err(|error| at(path, error))?;
            bind(&of(&file), path)?;
        }
        // A file that is not there cannot be mounted over, nor a link that leads nowhere.
        if OWN_FILES.iter().any(|file| !etc.join(file).is_file()) {
            let kept = self.hidden.join(MACHINES_ETC);
            fs::create_dir(&kept).map_err(|error| at(&kept, error))?;
            bind(&of(&machines_etc), &kept)?;
            rebuild_etc(etc, &kept)?;
        }
        read_only(&self.hidden)?;
        Ok(pods)
    }
}

/// An `/etc` in memory: links to what the machine's has, and empty files for the pods' own.
fn rebuild_etc(etc: &Path, kept: &Path) -> io::Result<()> {
    cover(etc)?;
    for entry in fs::read_dir(kept).map_err(|error| at(kept, error))? {
        let name = entry?.file_name();
        if !OWN_FILES.map(OsStr::new).contains(&&*name) {
            symlink(kept.join(&name), etc.join(&name)).map_err(|error| at(&etc.join(&name), error))?;
        }
    }
    for file in OWN_FILES {
        File::create(etc.join(file)).map_err(|error| at(&etc.join(file), error))?;
    }
    Ok(())
}

/// Mounts an empty file system in memory over a folder.
fn cover(folder: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), folder, Some("tmpfs"), flags, Some("mode=755,size=4m"))
        .map_err(|errno| at(folder, errno.into()))
}

pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(|errno| at(target, errno.into()))
}

pub(super) fn read_only(target: &Path) -> io::Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>).map_err(|errno| at(target, errno.into()))
}

/// An open file as a path.
fn of(file: &impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd()).into()
}

fn path_only(path: &Path) -> io::Result<OwnedFd> {
    open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| at(path, errno.into()))
}

/// Gives the calling process a mount namespace of its own, in which nothing that is mounted shows outside: in a chroot
/// as well. Needs root, and a process of one thread.
pub fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    make_private()
}

/// Cuts the mount namespace off from the one that it was copied from.
fn make_private() -> io::Result<()> {
    let all = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    match mount(None::<&str>, "/", None::<&str>, all, None::<&str>) {
        // The root of a chroot is no mount point.
        Err(Errno::EINVAL) => {
            leave_shared_root().and_then(|()| Ok(mount(None::<&str>, "/", None::<&str>, all, None::<&str>)?))
        }
        other => Ok(other?),
    }
}

/// Moves the process to a copy of its chroot that is a mount of its own.
///
/// The mount that a chroot's root lies in cannot be named from within, so it stays shared with the rest of
/// the machine. `/proc` can be named: with that made private there is a place to put the copy at unseen.
#[allow(unsafe_code)]
fn leave_shared_root() -> io::Result<()> {
    const PROC: &str = "/proc";
    let place = Path::new("/proc/root");
    let explained = |errno: Errno| at(Path::new("/proc in a chroot"), errno.into());
    mount(None::<&str>, PROC, None::<&str>, MsFlags::MS_PRIVATE, None::<&str>).map_err(explained)?;
    let flags = libc::OPEN_TREE_CLONE | libc::AT_RECURSIVE.cast_unsigned() | libc::OPEN_TREE_CLOEXEC;
    // SAFETY: the path is a C string; the call makes a new descriptor and changes nothing.
    let tree = Errno::result(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, c"/".as_ptr(), flags) })?;
    let tree = i32::try_from(tree).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made this descriptor, and nothing else knows of it.
    let tree = unsafe { OwnedFd::from_raw_fd(tree) };
    cover(Path::new(PROC))?;
    fs::create_dir(place)?;
    // SAFETY: the descriptor is open and both paths are C strings.
    Errno::result(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            c"/proc/root".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })?;
    chroot(place)?;
    chdir("/")?;
    Ok(())
}

pub(super) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
