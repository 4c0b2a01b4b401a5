//! As whom a process runs.

use crate::process::{Process, ProcessError, read};
use std::io;

/// Its effective user and group, and its other groups, as numbers of our own user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) groups: Vec<u32>,
}

impl Credentials {
    /// Those of a process, now.
    pub(crate) fn of(process: &Process) -> Result<Self, ProcessError> {
        process.told(|folder| {
            let path = format!("{folder}/status");
            let text = read(&path)?;
            Self::from_status(&text)
                .ok_or_else(|| ProcessError::Read { path, error: io::ErrorKind::InvalidData.into() })
        })
    }

    /// Source: proc_pid_status(5): `Uid` and `Gid` have the real, effective, saved and file system number.
    pub(crate) fn from_status(text: &str) -> Option<Self> {
        let numbers = |key: &str| -> Option<Vec<u32>> {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            line.split_ascii_whitespace().map(|word| word.parse().ok()).collect()
        };
        let effective = |key: &str| numbers(key)?.get(1).copied();
        Some(Self { uid: effective("Uid")?, gid: effective("Gid")?, groups: numbers("Groups")? })
    }
}

#[cfg(test)]
mod tests {
    use super::Credentials;

    #[test]
    fn the_effective_numbers_count() {
        let text = "Name:\tUid: 9\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t10 11 \n";
        let expected = Credentials { uid: 2, gid: 6, groups: vec![10, 11] };
        assert_eq!(Credentials::from_status(text), Some(expected));
        let none = "Uid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t \n";
        assert_eq!(Credentials::from_status(none), Some(Credentials { uid: 0, gid: 0, groups: vec![] }));
    }

    #[test]
    fn a_status_without_one_of_them_says_nothing() {
        for text in [
            "",
            "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n",
            "Uid:\t1\nGid:\t5\t6\t7\t8\nGroups:\t\n",
            "Uid:\t1\tx\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\n",
            "Uid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t1 -1\n",
        ] {
            assert_eq!(Credentials::from_status(text), None, "{text:?}");
        }
    }
}
