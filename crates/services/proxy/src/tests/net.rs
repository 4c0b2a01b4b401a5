//! Anonymous network namespaces with a loopback device, for tests. They need root.

#![allow(unsafe_code)] // Bringing a device up is an ioctl.

use crate::netns::Namespace;
use nix::sched::{CloneFlags, unshare};
use std::fs::File;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

/// The loopback device's index in every namespace.
const LOOPBACK: libc::c_int = 1;

/// A namespace of its own, in which the whole of 127.0.0.0/8 and fd01::11 to fd01::13 are reachable.
pub(crate) fn namespace() -> Namespace {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a new network namespace: run this test as root");
        bring_up_loopback();
        for host in 0x11..=0x13 {
            add_to_loopback(Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, host));
        }
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

fn add_to_loopback(address: Ipv6Addr) {
    let socket = std::net::UdpSocket::bind("[::]:0").expect("a socket");
    let ifr6_addr = libc::in6_addr { s6_addr: address.octets() };
    let mut request = libc::in6_ifreq { ifr6_addr, ifr6_prefixlen: 128, ifr6_ifindex: LOOPBACK };
    // SAFETY: the descriptor is open and IPv6; SIOCSIFADDR there reads an `in6_ifreq`, which outlives the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFADDR, &raw mut request) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
