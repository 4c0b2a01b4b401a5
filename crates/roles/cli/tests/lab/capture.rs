//! What passes a lab's node, to the byte.

use crate::lab::Lab;
use lictor_datapath::netns::Netns;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, setsockopt, socket, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A packet socket (packet(7)) on every link of a node: the bridge, the nodes' ends of the pods' links, loopback.
pub(crate) struct Capture {
    over: Arc<AtomicBool>,
    reader: JoinHandle<Frames>,
}

/// The frames of a capture.
pub(crate) struct Frames(Vec<Vec<u8>>);

impl Capture {
    pub(crate) fn on_the_node_of(lab: &Lab) -> Self {
        let socket = node_of(lab).run(|| {
            let every = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
            setsockopt(&every, sockopt::RcvBuf, &(8 << 20))?;
            setsockopt(&every, sockopt::ReceiveTimeout, &TimeVal::milliseconds(10))?;
            Ok(every)
        });
        let (socket, over) = (socket.unwrap(), Arc::new(AtomicBool::new(false)));
        let reader = std::thread::spawn({
            let over = Arc::clone(&over);
            move || Frames(frames(&socket, &over))
        });
        Self { over, reader }
    }

    /// What has passed since the beginning.
    pub(crate) fn end(self) -> Frames {
        self.over.store(true, Ordering::Release);
        self.reader.join().unwrap()
    }
}

impl Frames {
    pub(crate) fn bytes(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// How many frames hold these bytes.
    pub(crate) fn count(&self, bytes: &[u8]) -> usize {
        self.0.iter().filter(|frame| frame.windows(bytes.len()).any(|window| window == bytes)).count()
    }
}

/// Everything that the socket has, until it is over and nothing is left in it.
fn frames(socket: &OwnedFd, over: &AtomicBool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut frame = vec![0; 1 << 17];
    loop {
        let last = over.load(Ordering::Acquire);
        match recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => frames.push(frame[..length].to_vec()),
            Err(Errno::EAGAIN) if last => return frames,
            Err(Errno::EAGAIN) => {}
            Err(errno) => panic!("the capture broke: {errno}"),
        }
    }
}

/// The namespace that plays the node. It has no name: only the lab's own process holds it, and in it is the bridge.
pub(crate) fn node_of(lab: &Lab) -> Netns {
    let descriptors = format!("/proc/{}/fd", lab.status()["pid"]);
    let mut namespaces = fs::read_dir(descriptors).unwrap().filter_map(|entry| {
        let path = entry.unwrap().path();
        fs::read_link(&path).ok()?.to_str()?.starts_with("net:[").then(|| Netns::open(&path).unwrap())
    });
    let has_the_bridge = |namespace: &Netns| {
        namespace.run(|| fs::read_to_string("/proc/thread-self/net/dev")).unwrap().contains("lictor0:")
    };
    namespaces.find(has_the_bridge).expect("the lab has a bridge")
}
