//! The unified cgroup hierarchy as this process sees it.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A cgroup's path below the root of the hierarchy, as `/proc/<pid>/cgroup` shows it: `/lab/production.api-0`.
///
/// Two paths are equal if and only if they name the same place: no empty, `.` or `..` segments, no slash at the end.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupPath(String);

/// Why a text is no cgroup path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCgroupPath {
    /// It does not begin with a slash.
    #[error("expected a cgroup path that begins with `/`, saw {0:?}")]
    Relative(String),
    /// It has an empty, `.` or `..` segment. The kernel writes `..` for a place outside our own cgroup namespace.
    #[error("expected a cgroup path below our own root, saw {0:?}")]
    Outside(String),
}

/// A cgroup that exists: its path and its number, which no later cgroup of the same path shares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// Where it is.
    pub path: CgroupPath,
    /// The number that `bpf_get_current_cgroup_id` gives: the inode of its directory.
    pub id: u64,
}

/// The mount of the unified hierarchy.
#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
}

/// There is no unified hierarchy to look at.
#[derive(Debug, thiserror::Error)]
pub enum NoCgroup2 {
    /// The list of mounts is not readable.
    #[error("expected to read {path}: {error}")]
    Mounts {
        /// The list.
        path: &'static str,
        /// What went wrong.
        error: io::Error,
    },
    /// No mount of type `cgroup2`.
    #[error("expected a cgroup2 file system among the mounts of this process, saw none")]
    NotMounted,
}

const MOUNTS: &str = "/proc/self/mounts";

impl CgroupPath {
    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the root, to which every process belongs.
    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// The cgroups on the way to this one, shallowest first, this one last; without the root.
    pub fn lineage(&self) -> impl Iterator<Item = &str> {
        let ends = self.0.bytes().enumerate().skip(1).filter(|&(_, byte)| byte == b'/').map(|(at, _)| at);
        let whole = (!self.is_root()).then_some(self.0.len());
        ends.chain(whole).filter_map(|end| self.0.get(..end))
    }

    /// Whether it lies in `other`, and is not that one itself.
    pub fn is_below(&self, other: &Self) -> bool {
        match self.0.strip_prefix(other.0.trim_end_matches('/')) {
            Some(rest) => rest.len() > 1 && rest.starts_with('/'),
            None => false,
        }
    }

    /// The cgroup of the unified hierarchy in the text of `/proc/<pid>/cgroup`, if the process is in one.
    ///
    /// Source: cgroups(7): hierarchy 0 without controllers is the unified one; it is the only line on a pure
    /// version 2 system, and one among several when older hierarchies are mounted beside it.
    pub(crate) fn from_proc(text: &str) -> Option<Result<Self, InvalidCgroupPath>> {
        text.lines().find_map(|line| line.strip_prefix("0::")).map(str::parse)
    }
}

impl FromStr for CgroupPath {
    type Err = InvalidCgroupPath;

    fn from_str(text: &str) -> Result<Self, InvalidCgroupPath> {
        let Some(rest) = text.strip_prefix('/') else { return Err(InvalidCgroupPath::Relative(text.to_owned())) };
        if !rest.is_empty() && rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return Err(InvalidCgroupPath::Outside(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for CgroupPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Tree {
    /// Finds the hierarchy, wherever it is mounted: at `/sys/fs/cgroup`, or beside older ones at `…/unified`.
    ///
    /// # Errors
    /// None is mounted, or the mounts are not readable.
    pub fn find() -> Result<Self, NoCgroup2> {
        let mounts = fs::read_to_string(MOUNTS).map_err(|error| NoCgroup2::Mounts { path: MOUNTS, error })?;
        mount_of_cgroup2(&mounts).map(|root| Self { root }).ok_or(NoCgroup2::NotMounted)
    }

    /// The directory where it is mounted.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a cgroup.
    pub fn directory(&self, path: &CgroupPath) -> PathBuf {
        self.root.join(path.as_str().trim_start_matches('/'))
    }

    /// The path of the cgroup that has this directory; nothing for a directory elsewhere.
    pub fn path(&self, directory: &Path) -> Option<CgroupPath> {
        format!("/{}", directory.strip_prefix(&self.root).ok()?.to_str()?).parse().ok()
    }

    /// A cgroup that exists now.
    ///
    /// # Errors
    /// There is no such directory.
    pub fn cgroup(&self, path: CgroupPath) -> io::Result<Cgroup> {
        let id = fs::metadata(self.directory(&path))?.ino();
        Ok(Cgroup { path, id })
    }
}

/// The first mount point of type `cgroup2` in a list in the form of fstab(5).
fn mount_of_cgroup2(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| unescape(point))
    })
}

/// The kernel writes space, tab, newline and backslash in a mount point as three octal digits.
fn unescape(point: &str) -> PathBuf {
    let mut text = point.to_owned();
    for (escaped, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        text = text.replace(escaped, plain);
    }
    PathBuf::from(text)
}

#[cfg(test)]
mod tests {
    use super::{CgroupPath, InvalidCgroupPath, mount_of_cgroup2};
    use std::path::Path;

    #[test]
    fn the_unified_line_is_found_among_others() {
        let read = |text| CgroupPath::from_proc(text).map(|path| path.map(|path| path.as_str().to_owned()));
        assert_eq!(read("0::/lab/a\n"), Some(Ok("/lab/a".to_owned())));
        assert_eq!(read("9:name=systemd:/x\n4:memory:/y\n0::/\n"), Some(Ok("/".to_owned())));
        assert_eq!(read("4:memory:/0::/y\n"), None);
        assert_eq!(read(""), None);
        assert_eq!(read("0::/../b\n"), Some(Err(InvalidCgroupPath::Outside("/../b".to_owned()))));
        assert_eq!(read("0::b\n"), Some(Err(InvalidCgroupPath::Relative("b".to_owned()))));
        assert_eq!(read("0::/a:b/0::c\n"), Some(Ok("/a:b/0::c".to_owned())));
    }

    #[test]
    fn a_path_has_one_form_and_a_lineage_from_the_top() {
        let lineage = |text: &str| {
            let path: CgroupPath = text.parse().expect("a path");
            path.lineage().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(lineage("/a/bc/d"), ["/a", "/a/bc", "/a/bc/d"]);
        assert_eq!(lineage("/a"), ["/a"]);
        assert!(lineage("/").is_empty());
        for text in ["", "a", "/a/", "//a", "/a//b", "/a/../b", "/./a", "/.."] {
            assert!(text.parse::<CgroupPath>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_path_is_below_those_of_its_lineage_and_the_root() {
        let path = |text: &str| text.parse::<CgroupPath>().expect("a path");
        for (below, above) in [("/a", "/"), ("/a/b", "/a"), ("/a/b/c", "/a")] {
            assert!(path(below).is_below(&path(above)), "{below} {above}");
            assert!(!path(above).is_below(&path(below)), "{above} {below}");
        }
        for (one, other) in [("/", "/"), ("/a", "/a"), ("/ab", "/a"), ("/b/a", "/a")] {
            assert!(!path(one).is_below(&path(other)), "{one} {other}");
        }
    }

    #[test]
    fn the_hierarchy_is_found_by_its_type() {
        let hybrid = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_of_cgroup2(hybrid).as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        let odd = "none /my\\040groups\\134040 cgroup2 rw 0 0\n";
        assert_eq!(mount_of_cgroup2(odd).as_deref(), Some(Path::new("/my groups\\040")));
        assert_eq!(mount_of_cgroup2("cgroup2 /x cgroup rw 0 0\n"), None);
    }
}
