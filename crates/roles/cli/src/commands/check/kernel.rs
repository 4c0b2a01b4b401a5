//! What the kernel must have.

use lictor_report::{CheckRow, CheckState};
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use std::os::fd::AsRawFd;

/// tcx came with Linux 6.6; SO_PEERPIDFD with 6.5.
const OLDEST: (u32, u32) = (6, 6);

/// Whether the kernel has tcx and pidfds of peers.
pub(super) fn version(release: &str) -> CheckRow {
    let sentence = format!("Linux is {}.{} or later", OLDEST.0, OLDEST.1);
    let mut parts = release.trim().split(['.', '-']);
    let mut number = || parts.next()?.parse::<u32>().ok();
    let row = match (number(), number()) {
        (Some(major), Some(minor)) if (major, minor) >= OLDEST => CheckRow::passed(sentence),
        (Some(_), Some(_)) => CheckRow::failed(
            CheckState::Failed,
            sentence,
            "policies are enforced by tcx programs, which came with 6.6; boot a newer kernel",
        ),
        _ => CheckRow::failed(CheckState::Unknown, sentence, "the version could not be read"),
    };
    row.seeing(release.trim())
}

/// Whether the kernel describes its types.
pub(super) fn types(there: bool) -> CheckRow {
    let sentence = "the kernel describes its types (BTF)";
    match there {
        true => CheckRow::passed(sentence),
        false => CheckRow::failed(
            CheckState::Failed,
            sentence,
            "/sys/kernel/btf/vmlinux is missing; boot a kernel that is built with CONFIG_DEBUG_INFO_BTF",
        ),
    }
}

/// Whether the second version of cgroups is mounted; where does not matter.
pub(super) fn cgroup2(mounts: &str) -> CheckRow {
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let place = fields.find_map(|fields| match fields.as_slice() {
        [_, place, "cgroup2", ..] => Some((*place).to_owned()),
        _ => None,
    });
    let sentence = "cgroup v2 is mounted";
    match place {
        Some(place) => CheckRow::passed(sentence).seeing(place),
        None => CheckRow::failed(
            CheckState::Failed,
            sentence,
            "mkdir -p /sys/fs/cgroup/unified && mount -t cgroup2 none /sys/fs/cgroup/unified",
        ),
    }
}

/// Whether nf_tables answers.
pub(super) fn nf_tables(answer: Result<(), Errno>) -> CheckRow {
    let sentence = "nf_tables answers";
    match answer {
        Ok(()) => CheckRow::passed(sentence),
        Err(Errno::EPERM | Errno::EACCES) => {
            CheckRow::failed(CheckState::Unknown, sentence, "only root can ask; check again with sudo")
        }
        Err(errno) => CheckRow::failed(
            CheckState::Failed,
            sentence,
            "pods' connections are redirected by nf_tables: modprobe nf_tables, or boot a kernel that has it",
        )
        .seeing(errno.desc()),
    }
}

/// Asks nf_tables for its generation, which also makes the kernel load it.
///
/// Source: Linux, `include/uapi/linux/netfilter/nf_tables.h` (NFT_MSG_GETGEN) and `netfilter/nfnetlink.h`.
pub(super) fn ask_nf_tables() -> Result<(), Errno> {
    const SUBSYSTEM: u16 = 10 << 8;
    const NEWGEN: u16 = SUBSYSTEM | 15;
    const GETGEN: u16 = SUBSYSTEM | 16;
    const REQUEST: u16 = 1;
    const ERROR: u16 = 2;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkNetFilter)?;
    // nlmsghdr {length, type, flags, sequence, port}, nfgenmsg {family, version, resource}.
    let mut message = Vec::with_capacity(20);
    message.extend(20u32.to_ne_bytes());
    message.extend(GETGEN.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    message.extend([0; 12]);
    send(socket.as_raw_fd(), &message, MsgFlags::empty())?;
    let mut answer = [0; 512];
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let answer = answer.get(..length).unwrap_or_default();
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok()).map(u16::from_ne_bytes);
    let error = answer.get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match (kind, error) {
        (Some(NEWGEN), _) => Ok(()),
        (Some(ERROR), Some(number)) => Err(Errno::from_raw(-number)),
        _ => Err(Errno::EPROTO),
    }
}

#[cfg(test)]
mod tests {
    use super::{Errno, cgroup2, nf_tables, types, version};
    use lictor_report::CheckState::{Failed, Passed, Unknown};

    #[test]
    fn versions() {
        for (release, state) in [
            ("6.6.0", Passed),
            ("6.18.44-fc-v669\n", Passed),
            ("7.0-rc1", Passed),
            ("6.5.13-debian", Failed),
            ("5.15.0", Failed),
            ("", Unknown),
            ("linux", Unknown),
        ] {
            assert_eq!(version(release).state, state, "{release}");
        }
    }

    #[test]
    fn the_second_cgroup_version_is_found_wherever_it_is_mounted() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup2(hybrid).seen.as_deref(), Some("/sys/fs/cgroup/unified"));
        assert_eq!(cgroup2("cgroup2 /x cgroup rw 0 0\n").state, Failed);
        assert_eq!(types(false).state, Failed);
    }

    #[test]
    fn without_root_nothing_is_claimed_about_nf_tables() {
        assert_eq!(nf_tables(Ok(())).state, Passed);
        assert_eq!(nf_tables(Err(Errno::EPERM)).state, Unknown);
        assert_eq!(nf_tables(Err(Errno::EPROTONOSUPPORT)).state, Failed);
    }
}
