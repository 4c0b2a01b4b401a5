//! What a pod's process may not do, root or not.
//!
//! A lab's pods share the machine's user namespace, so what the kernel grants to root has to be taken
//! away: the rest is what container runtimes leave (containerd's default set), without `MKNOD`.

use nix::errno::Errno;
use std::io;

// linux/capability.h
const KEPT: [u8; 13] = [
    0,  // CHOWN
    1,  // DAC_OVERRIDE
    3,  // FOWNER
    4,  // FSETID
    5,  // KILL
    6,  // SETGID
    7,  // SETUID
    8,  // SETPCAP
    10, // NET_BIND_SERVICE
    13, // NET_RAW
    18, // SYS_CHROOT
    29, // AUDIT_WRITE
    31, // SETFCAP
];
const VERSION_3: u32 = 0x2008_0522;
const WORDS: usize = 2;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Takes from the calling thread, for good, every capability that a pod does not have.
///
/// `SYS_ADMIN`, `NET_ADMIN`, `BPF`, `SYS_PTRACE` and the like go from the bounding set too, so that no
/// program that it executes gets them back.
#[allow(unsafe_code)]
pub(super) fn drop_all_but_a_pods() -> io::Result<()> {
    for capability in 0..64_u8 {
        if KEPT.contains(&capability) {
            continue;
        }
        // SAFETY: this prctl takes numbers only and changes nothing but the caller's bounding set.
        match Errno::result(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }) {
            Ok(_) => {}
            // Past the last capability of this kernel.
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno.into()),
        }
    }
    // SAFETY: numbers only; it empties the caller's ambient set.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) })?;
    let mut sets = [Set::default(); WORDS];
    for capability in KEPT {
        if let Some(set) = sets.get_mut(usize::from(capability / 32)) {
            let bit = 1 << (capability % 32);
            set.effective |= bit;
            set.permitted |= bit;
        }
    }
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: version 3 reads one header and two sets, which are laid out as linux/capability.h has them and outlive the call.
    Errno::result(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })?;
    Ok(())
}

/// The bits that `CapEff` and `CapBnd` of `/proc/PID/status` show for a pod's process, on a kernel that knows them all.
pub fn pod_capabilities() -> u64 {
    KEPT.iter().fold(0, |all, capability| all | 1 << capability)
}
