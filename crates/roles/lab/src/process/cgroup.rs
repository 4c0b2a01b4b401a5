//! The lab's cgroups: one at the root for the lab, one below it for each pod.
//!
//! A pod's cgroup is what proves its identity and what the kernel programs know it by, so a process is in
//! it from its first instruction, and all of a pod's processes end by one write to it
//! (Documentation/admin-guide/cgroup-v2.rst, `cgroup.kill`).

use lictor_model::Name;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Where the tree is mounted on a machine that has it nowhere.
const OWN_MOUNT: &str = "/run/lictor/.cgroup2";
/// How long killed processes may take to leave.
const EMPTYING: Duration = Duration::from_secs(10);
const EMPTYING_STEP: Duration = Duration::from_millis(2);

/// The cgroups of one lab.
#[derive(Debug)]
pub struct Cgroups {
    root: PathBuf,
}

/// The cgroup of one pod; it stays until [`Cgroup::remove`].
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
    directory: OwnedFd,
    id: u64,
}

/// Where cgroup v2 is mounted, by `/proc/self/mounts`: nothing where it is not.
pub fn cgroup2_mount() -> io::Result<Option<PathBuf>> {
    Ok(first_cgroup2(&fs::read_to_string("/proc/self/mounts")?))
}

/// The mount point of the first `cgroup2` line of a mount table; `\040` and the like are blanks (fstab(5)).
fn first_cgroup2(mounts: &str) -> Option<PathBuf> {
    let mut points = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let point = fields.nth(1)?;
        (fields.next()? == "cgroup2").then_some(point)
    });
    let point = points.next()?;
    Some(PathBuf::from(
        point.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\"),
    ))
}

impl Cgroups {
    /// The cgroups of the lab with this name, made if there are none.
    ///
    /// Mounts cgroup v2 below `/run/lictor` on a machine that has it nowhere. Errors: not root, or a kernel without it.
    pub fn open(lab: &str) -> io::Result<Self> {
        let mount_point = match cgroup2_mount()? {
            Some(found) => found,
            None => {
                fs::create_dir_all(OWN_MOUNT)?;
                mount(Some("cgroup2"), OWN_MOUNT, Some("cgroup2"), MsFlags::empty(), None::<&str>)?;
                PathBuf::from(OWN_MOUNT)
            }
        };
        let root = mount_point.join(root_name(lab));
        match fs::create_dir(&root) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at(&root, error)),
            _ => Ok(Self { root }),
        }
    }

    /// The lab's root cgroup.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The path of a pod's cgroup, whether it exists or not: `<namespace>.<name>`, as neither holds a `/`.
    pub fn path(&self, pod: &Name) -> PathBuf {
        self.root.join(format!("{}.{}", pod.namespace, pod.name))
    }

    /// The cgroup of a pod, made if there is none.
    pub fn pod(&self, pod: &Name) -> io::Result<Cgroup> {
        Cgroup::make(self.path(pod))
    }

    /// Ends every process of the lab and removes its cgroups; blocks until they are gone.
    pub fn remove(self) -> io::Result<()> {
        remove_tree(&self.root)
    }
}

impl Cgroup {
    fn make(path: PathBuf) -> io::Result<Self> {
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(&path, error)),
            _ => {}
        }
        let directory = OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC).open(&path);
        let directory = directory.map_err(|error| at(&path, error))?;
        let id = directory.metadata()?.ino();
        Ok(Self { path, directory: directory.into(), id })
    }

    /// The cgroup of one of the pod's containers, made if there is none: its name has no dot, so that it is no file's.
    pub fn container(&self, name: &str) -> io::Result<Self> {
        Self::make(self.path.join(name))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel's number for it, which `bpf_get_current_cgroup_id` returns too: its inode's.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The processes in it, those of a nested cgroup not among them.
    pub fn processes(&self) -> io::Result<Vec<u32>> {
        let list = fs::read_to_string(self.path.join("cgroup.procs"))?;
        Ok(list.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Kills every process in it; they may take a moment to be gone.
    pub fn kill(&self) -> io::Result<()> {
        write(&self.path.join("cgroup.kill"), "1")
    }

    /// Ends every process in it and removes it; blocks until it is gone.
    pub fn remove(self) -> io::Result<()> {
        remove_tree(&self.path)
    }
}

impl AsFd for Cgroup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// Removes what a lab of this name left in the cgroup tree. Nothing left is no error.
pub(super) fn remove_left(lab: &str) -> io::Result<()> {
    match cgroup2_mount()? {
        Some(mount_point) => remove_tree(&mount_point.join(root_name(lab))),
        None => Ok(()),
    }
}

/// Takes away the mount that [`Cgroups::open`] made, if it did and nobody else uses it.
pub(super) fn unmount_own() {
    if umount2(OWN_MOUNT, MntFlags::empty()).is_ok() {
        // Labs that live keep the folder above it.
        let _ = fs::remove_dir(OWN_MOUNT).and_then(|()| fs::remove_dir(super::STATE));
    }
}

fn root_name(lab: &str) -> String {
    format!("lictor-{lab}")
}

fn remove_tree(path: &Path) -> io::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    write(&path.join("cgroup.kill"), "1")?;
    let deadline = Instant::now() + EMPTYING;
    loop {
        match remove_directories(path) {
            // EBUSY: a killed process is still on its way out.
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                sleep(EMPTYING_STEP);
            }
            other => return other.map_err(|error| at(path, error)),
        }
    }
}

/// Removes a cgroup and those below it, deepest first; its files go with it.
fn remove_directories(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_directories(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path).map_err(|error| at(path, error))?;
    file.write_all(text.as_bytes()).map_err(|error| at(path, error))
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::first_cgroup2;
    use std::path::Path;

    #[test]
    fn the_tree_is_found_wherever_it_is_mounted() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\ncgroup2 /second cgroup2 rw 0 0\n";
        assert_eq!(first_cgroup2(hybrid).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(first_cgroup2("none /a\\040b cgroup2 rw 0 0\n").as_deref(), Some(Path::new("/a b")));
        assert_eq!(first_cgroup2("cgroup2 /not tmpfs rw 0 0\nshort\n"), None);
    }
}
