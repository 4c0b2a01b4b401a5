//! What the tests of this crate share: a network namespace to be alone in.

use nix::sched::{CloneFlags, unshare};
use std::thread;

/// Runs a test in a network namespace of its own, with the loopback up. Needs root.
pub(crate) fn in_new_netns(test: impl FnOnce() + Send + 'static) {
    let ran = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: this test needs root");
        loopback_up();
        test();
    });
    if let Err(panic) = ran.join() {
        std::panic::resume_unwind(panic);
    }
}

#[allow(unsafe_code)]
fn loopback_up() {
    use std::os::fd::AsRawFd as _;
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
    // SAFETY: all-zero bytes are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the descriptor is open and the pointer is to a whole `ifreq` that outlives the call.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) };
    assert_eq!(outcome, 0, "the loopback comes up: {}", std::io::Error::last_os_error());
}

/// The snapshot of manifests, on one node. They have to be without error.
pub(crate) fn snapshot(manifests: &str) -> lictor_cluster::Snapshot {
    use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
    let reading = lictor_manifest::read("test.yaml", manifests);
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    let node = Node {
        name: "node".into(),
        labels: lictor_model::Labels::default(),
        addresses: vec!["192.168.0.1".parse().expect("an address")],
    };
    let settings = Settings::new(vec![node]);
    Snapshot::build(&reading.objects, &settings, &mut AddressPool::default(), lictor_model::Revision(1)).0
}
