//! The folder in which a lab keeps what others need to find, and the lock that says that it lives.

use super::cgroup;
use super::stage::at;
use lictor_model::Name;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fmt::Write as _;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Where labs keep their state.
pub const STATE: &str = "/run/lictor";

/// The state folder of a lab that lives in this process; gone with [`StateDir::remove`].
#[derive(Debug)]
pub struct StateDir {
    base: PathBuf,
    lab: String,
    path: PathBuf,
    /// Held until the process ends, even by `kill -9`.
    lock: Flock<File>,
}

/// Why the state folder of a lab cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// The name does not make a folder name.
    #[error("expected a lab name of at most 40 lower-case letters, digits and `-`, found `{0}`")]
    Name(String),
    /// A lab of this name lives.
    #[error("the lab `{lab}` is running already, as process {process}")]
    Running {
        /// Its name.
        lab: String,
        /// Its process, as its lock file has it.
        process: String,
    },
    /// The file system or the cgroup tree refused.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The files that a pod has in place of the machine's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFiles {
    /// The text of `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// The text of `/etc/hosts`.
    pub hosts: String,
    /// The host name.
    pub hostname: String,
}

impl PodFiles {
    /// The files of a pod with this host name and these addresses; `domain` is what follows the host name
    /// in its full name, for a pod that has one (`hostname` and `subdomain` in its spec).
    pub fn new(resolv_conf: String, hostname: &str, domain: Option<&str>, addresses: &[IpAddr]) -> Self {
        let mut hosts = String::from("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
        for address in addresses {
            // Writing to a string cannot fail.
            let _ = match domain {
                Some(domain) => writeln!(hosts, "{address}\t{hostname}.{domain}\t{hostname}"),
                None => writeln!(hosts, "{address}\t{hostname}"),
            };
        }
        Self { resolv_conf, hosts, hostname: hostname.to_owned() }
    }
}

impl StateDir {
    /// Claims the folder of a lab below `base` ([`STATE`]), after taking away what an earlier one left.
    pub fn claim(base: &Path, lab: &str) -> Result<Self, ClaimError> {
        let valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if lab.is_empty() || lab.len() > 40 || !lab.bytes().all(valid) {
            return Err(ClaimError::Name(lab.to_owned()));
        }
        DirBuilder::new().recursive(true).mode(0o755).create(base).map_err(|error| at(base, error))?;
        let lock = lock(base, lab)?;
        remove_left(base, lab)?;
        let path = base.join(lab);
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| at(&path, error))?;
        let state = Self { base: base.to_owned(), lab: lab.to_owned(), path, lock };
        DirBuilder::new().mode(0o700).create(state.pods()).map_err(|error| at(&state.pods(), error))?;
        Ok(state)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The control API's socket.
    pub fn api_socket(&self) -> PathBuf {
        self.path.join("api.sock")
    }

    /// The Workload API's socket: the only thing in the folder that pods see.
    pub fn workload_socket(&self) -> PathBuf {
        self.path.join("workload.sock")
    }

    /// The decision records, as JSON lines.
    pub fn decisions(&self) -> PathBuf {
        self.path.join("decisions.jsonl")
    }

    /// What brokers were answered, as JSON lines.
    pub fn broker_answers(&self) -> PathBuf {
        self.path.join("brokers.jsonl")
    }

    /// The folder of the pods' folders.
    pub fn pods(&self) -> PathBuf {
        self.path.join("pods")
    }

    /// The name of a pod's folder.
    pub fn pod_folder(pod: &Name) -> String {
        format!("{}.{}", pod.namespace, pod.name)
    }

    /// The log of a pod's container: its standard output and error.
    pub fn log(&self, pod: &Name, container: &str) -> PathBuf {
        self.pods().join(Self::pod_folder(pod)).join(format!("{container}.log"))
    }

    /// Writes a pod's files; a running pod sees the change.
    pub fn write_pod(&self, pod: &Name, files: &PodFiles) -> io::Result<()> {
        let folder = self.pods().join(Self::pod_folder(pod));
        DirBuilder::new().recursive(true).mode(0o755).create(&folder).map_err(|error| at(&folder, error))?;
        let hostname = format!("{}\n", files.hostname);
        for (name, text) in [("resolv.conf", &files.resolv_conf), ("hosts", &files.hosts), ("hostname", &hostname)] {
            // In place, not by renaming: the pod has the file itself mounted.
            let path = folder.join(name);
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&path)?;
            file.write_all(text.as_bytes()).map_err(|error| at(&path, error))?;
        }
        Ok(())
    }

    /// Removes a pod's files, its logs with them.
    pub fn remove_pod(&self, pod: &Name) -> io::Result<()> {
        missing_is_fine(fs::remove_dir_all(self.pods().join(Self::pod_folder(pod))))
    }

    /// Removes what is in the folder, the folder, and the cgroups of the lab with every process in them. The lock is
    /// held on, until the process ends.
    pub fn sweep(&self) -> io::Result<()> {
        remove_left(&self.base, &self.lab)?;
        missing_is_fine(fs::remove_file(lock_path(&self.base, &self.lab)))
    }

    /// Removes the folder, and the cgroups of the lab with every process in them.
    pub fn remove(self) -> io::Result<()> {
        remove_left(&self.base, &self.lab)?;
        missing_is_fine(fs::remove_file(lock_path(&self.base, &self.lab)))?;
        drop(self.lock);
        // The last one takes away the folder of the folders.
        cgroup::unmount_own();
        let _ = fs::remove_dir(&self.base);
        Ok(())
    }
}

/// Takes away what a lab left that did not end by itself: processes, cgroups, sockets, files. Nothing left
/// is no error; a lab that lives is one.
pub fn cleanup(base: &Path, lab: &str) -> Result<(), ClaimError> {
    Ok(StateDir::claim(base, lab)?.remove()?)
}

fn remove_left(base: &Path, lab: &str) -> io::Result<()> {
    cgroup::remove_left(lab)?;
    missing_is_fine(fs::remove_dir_all(base.join(lab)))
}

fn lock_path(base: &Path, lab: &str) -> PathBuf {
    base.join(format!("{lab}.lock"))
}

fn lock(base: &Path, lab: &str) -> Result<Flock<File>, ClaimError> {
    let path = lock_path(base, lab);
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| at(&path, error))?;
    let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((mut file, Errno::EAGAIN)) => {
            let mut process = String::new();
            file.read_to_string(&mut process)?;
            return Err(ClaimError::Running { lab: lab.to_owned(), process: process.trim().to_owned() });
        }
        Err((_, errno)) => return Err(at(&path, errno.into()).into()),
    };
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())?;
    Ok(lock)
}

fn missing_is_fine(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{ClaimError, PodFiles, StateDir, cleanup};
    use lictor_model::Name;
    use std::fs;

    #[test]
    fn a_lab_is_claimed_once_and_leaves_nothing() {
        let base = tempfile::tempdir().expect("a folder");
        let base = base.path().join("labs");
        let state = StateDir::claim(&base, "state-test").expect("free");
        let taken = StateDir::claim(&base, "state-test").expect_err("taken");
        let message = format!("the lab `state-test` is running already, as process {}", std::process::id());
        assert_eq!(taken.to_string(), message);
        assert!(matches!(cleanup(&base, "state-test"), Err(ClaimError::Running { .. })), "a living lab is left alone");
        state.remove().expect("removed");
        assert!(!base.exists());
    }

    #[test]
    fn what_a_killed_lab_left_is_taken_away() {
        let base = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(base.path().join("left-test/pods/a.b")).expect("a folder");
        fs::write(base.path().join("left-test/api.sock"), "").expect("a file");
        fs::write(base.path().join("left-test.lock"), "1\n").expect("a file");
        for _ in 0..2 {
            cleanup(base.path(), "left-test").expect("cleaned, however often");
            assert!(!base.path().join("left-test").exists() && !base.path().join("left-test.lock").exists());
        }
    }

    #[test]
    fn a_name_that_is_no_folder_is_refused() {
        let base = tempfile::tempdir().expect("a folder");
        for name in ["", "..", "a/b", "A", &"a".repeat(41)] {
            assert!(matches!(StateDir::claim(base.path(), name), Err(ClaimError::Name(_))), "{name}");
        }
    }

    #[test]
    fn a_pod_has_its_own_files() {
        let base = tempfile::tempdir().expect("a folder");
        let state = StateDir::claim(base.path(), "files-test").expect("free");
        let addresses = ["10.244.0.5".parse().expect("an address"), "fd00::5".parse().expect("an address")];
        let domain = Some("db.shop.svc.cluster.local");
        let files = PodFiles::new("nameserver 10.96.0.10\n".to_owned(), "db-0", domain, &addresses);
        let pod = Name::new("shop", "db-0");
        state.write_pod(&pod, &files).expect("written");
        let read = |name: &str| fs::read_to_string(state.pods().join("shop.db-0").join(name)).expect("a file");
        assert_eq!(read("hostname"), "db-0\n");
        assert_eq!(read("resolv.conf"), "nameserver 10.96.0.10\n");
        assert!(read("hosts").ends_with(
            "\n10.244.0.5\tdb-0.db.shop.svc.cluster.local\tdb-0\nfd00::5\tdb-0.db.shop.svc.cluster.local\tdb-0\n"
        ));
        state.remove_pod(&pod).expect("removed");
        state.remove_pod(&pod).expect("removed already");
        state.remove().expect("removed");
    }
}
