//! Cgroups of a test's own, below one that is removed with everything in it.

use lictor_identity::{Cgroup, Tree};
use std::fs;
use std::process::Child;
use std::time::{Duration, Instant};

/// Killed processes leave their cgroups a moment later; what is still there after this is told.
const PATIENCE: Duration = Duration::from_secs(20);

/// The cgroup of a test.
pub(crate) struct Cgroups {
    tree: Tree,
    base: String,
}

impl Cgroups {
    /// Makes it; its name has the number of this process.
    pub(crate) fn new(what: &str, name: &str) -> Self {
        let tree = Tree::find().expect("a cgroup2 hierarchy");
        let base = format!("/lictor-{what}-{}-{name}", std::process::id());
        if let Err(error) = fs::create_dir(tree.directory(&base.parse().unwrap())) {
            panic!("these tests make cgroups below {}, for which they must be root: {error}", tree.root().display());
        }
        Self { tree, base }
    }

    /// The path of one below it.
    pub(crate) fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.base)
    }

    /// One below it, which is made if it is not there.
    pub(crate) fn make(&self, below: &str) -> Cgroup {
        let path = self.path(below).parse().unwrap();
        fs::create_dir_all(self.tree.directory(&path)).unwrap();
        self.tree.cgroup(path).unwrap()
    }

    /// Another one in the place of this one.
    pub(crate) fn recreate(&self, cgroup: &Cgroup) -> Cgroup {
        let directory = self.tree.directory(&cgroup.path);
        fs::remove_dir(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        self.tree.cgroup(cgroup.path.clone()).unwrap()
    }
}

/// Moves a process to a cgroup.
pub(crate) fn enter(process: &Child, place: &Cgroup) {
    let tree = Tree::find().expect("a cgroup2 hierarchy");
    fs::write(tree.directory(&place.path).join("cgroup.procs"), process.id().to_string()).unwrap();
}

impl Drop for Cgroups {
    /// Ends every process and removes the cgroups, the deepest first.
    fn drop(&mut self) {
        let base = self.tree.directory(&self.base.parse().unwrap());
        if let Err(error) = fs::write(base.join("cgroup.kill"), "1") {
            eprintln!("the processes below {} may be left over: {error}", base.display());
        }
        let deadline = Instant::now() + PATIENCE;
        let mut folders = vec![base];
        let mut at = 0;
        while let Some(folder) = folders.get(at).cloned() {
            let below = fs::read_dir(folder).into_iter().flatten().flatten();
            folders.extend(below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
            at += 1;
        }
        for folder in folders.into_iter().rev() {
            // A killed process leaves its cgroup a moment later.
            while let Err(error) = fs::remove_dir(&folder) {
                if Instant::now() > deadline {
                    eprintln!("{} is left over: {error}", folder.display());
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
