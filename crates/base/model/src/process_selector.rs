//! What a process may have to be, as registration says it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A selector of type `unix`: a fact about a process, as SPIRE spells it.
///
/// Source: SPIRE, `doc/plugin_agent_workloadattestor_unix.md`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProcessSelector {
    /// `unix:uid:1000`: its effective user.
    Uid(u32),
    /// `unix:user:nginx`: that user's name on the node.
    User(Arc<str>),
    /// `unix:gid:1000`: its effective group.
    Gid(u32),
    /// `unix:group:www-data`: that group's name on the node.
    Group(Arc<str>),
    /// `unix:supplementary_gid:2000`: one of its other groups.
    SupplementaryGid(u32),
    /// `unix:supplementary_group:www-data`: the name of one of them on the node.
    SupplementaryGroup(Arc<str>),
    /// `unix:path:/usr/bin/nginx`: where its program is, as the kernel names it.
    Path(Arc<str>),
    /// `unix:sha256:…`: the digest of its program, 64 digits in lower case.
    Sha256([u8; 32]),
}

/// A text that no process could ever be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected unix: and uid, gid or supplementary_gid with a number, user, group or supplementary_group with a name, path with a path, or sha256 with 64 hexadecimal digits in lower case"
)]
pub struct InvalidProcessSelector;

impl FromStr for ProcessSelector {
    type Err = InvalidProcessSelector;

    fn from_str(text: &str) -> Result<Self, InvalidProcessSelector> {
        let (kind, value) =
            text.strip_prefix("unix:").and_then(|rest| rest.split_once(':')).ok_or(InvalidProcessSelector)?;
        let name = || (!value.is_empty()).then(|| Arc::from(value));
        let selector = match kind {
            "uid" => number(value).map(Self::Uid),
            "user" => name().map(Self::User),
            "gid" => number(value).map(Self::Gid),
            "group" => name().map(Self::Group),
            "supplementary_gid" => number(value).map(Self::SupplementaryGid),
            "supplementary_group" => name().map(Self::SupplementaryGroup),
            "path" => name().map(Self::Path),
            "sha256" => digest(value).map(Self::Sha256),
            _ => None,
        };
        selector.ok_or(InvalidProcessSelector)
    }
}

/// A number as the kernel writes it; SPIRE compares texts, so that `007` would never be anybody's.
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number: &u32| number.to_string() == text)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: Vec<u8> = text.as_bytes().iter().map(digit).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

impl fmt::Display for ProcessSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "unix:uid:{uid}"),
            Self::User(name) => write!(f, "unix:user:{name}"),
            Self::Gid(gid) => write!(f, "unix:gid:{gid}"),
            Self::Group(name) => write!(f, "unix:group:{name}"),
            Self::SupplementaryGid(gid) => write!(f, "unix:supplementary_gid:{gid}"),
            Self::SupplementaryGroup(name) => write!(f, "unix:supplementary_group:{name}"),
            Self::Path(path) => write!(f, "unix:path:{path}"),
            Self::Sha256(digest) => {
                f.write_str("unix:sha256:")?;
                digest.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ProcessSelector;
    use proptest::prelude::*;

    #[test]
    fn what_is_read_is_written_again() {
        let digest = "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7";
        let hash = format!("unix:sha256:{digest}");
        for text in [
            "unix:uid:1000",
            "unix:uid:0",
            "unix:user:nginx",
            "unix:gid:4294967295",
            "unix:group:www-data",
            "unix:supplementary_gid:2000",
            "unix:supplementary_group:www-data",
            "unix:path:/usr/bin/nginx",
            "unix:path:/a:b (deleted)",
            &hash,
        ] {
            assert_eq!(text.parse::<ProcessSelector>().map(|read| read.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_no_process_could_be_is_no_selector() {
        let (short, upper, long) = (format!("unix:sha256:{}", "a".repeat(63)), "A".repeat(64), "a".repeat(66));
        let (upper, long) = (format!("unix:sha256:{upper}"), format!("unix:sha256:{long}"));
        for text in [
            "",
            "unix",
            "unix:",
            "unix:uid",
            "unix:uid:",
            "unix:uid:x",
            "unix:uid:007",
            "unix:uid:+1",
            "unix:uid:-1",
            "unix:gid:4294967296",
            "unix:user:",
            "unix:path:",
            "unix:pid:1",
            "k8s:ns:shop",
            "uid:1",
            "UNIX:uid:1",
            &short,
            &upper,
            &long,
        ] {
            assert!(text.parse::<ProcessSelector>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_fails_otherwise_and_keeps_the_text(text in "(unix:)?(uid|gid|user|path|sha256|supplementary_gid|\\PC{0,3}):?\\PC{0,70}") {
            if let Ok(read) = text.parse::<ProcessSelector>() {
                prop_assert_eq!(read.to_string(), text);
            }
        }
    }
}
