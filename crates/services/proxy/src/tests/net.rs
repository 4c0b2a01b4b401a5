//! Anonymous network namespaces with a loopback device, for tests. They need root.

#![allow(unsafe_code)] // Bringing a device up is an ioctl.

use crate::netns::Namespace;
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::os::fd::AsRawFd;

/// A namespace of its own, whose whole 127.0.0.0/8 is reachable within it.
pub(crate) fn namespace() -> Namespace {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace: run this test as root");
        bring_up_loopback();
        File::open("/proc/thread-self/ns/net").expect("the namespace of this thread")
    });
    Namespace::new(thread.join().expect("a namespace").into())
}

fn bring_up_loopback() {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: an all-zero `ifreq` is a valid value of that plain C struct.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the descriptor is open; SIOCSIFFLAGS reads an `ifreq`, which `request` is and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
