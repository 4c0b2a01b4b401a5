//! What the lab and its zygote say to each other: one JSON message and its descriptors in each packet.

use crate::standin::StandIn;
use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::PathBuf;

/// The longest message, in bytes: below the kernel's default limit of a packet (`net.core.wmem_default`, 212,992).
pub(crate) const LONGEST: usize = 128 * 1024;
const MOST_DESCRIPTORS: usize = 4;

/// What every process of the lab sees in place of the machine's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// A folder that is hidden from the pods: where labs keep their state.
    pub hidden: PathBuf,
    /// The one socket below it that they do see, at its own path.
    pub workload_socket: Option<PathBuf>,
    /// The folder with one folder for each pod, named `<namespace>.<name>`, that holds its `resolv.conf`,
    /// `hosts` and `hostname`; may lie below the hidden one.
    pub pods: PathBuf,
}

/// A process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// The pod's folder in [`Stage::pods`].
    pub pod: String,
    /// Its host name, at most 64 bytes.
    pub hostname: String,
    /// What runs.
    pub work: Work,
}

/// What runs in a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// The stand-in server.
    StandIn(StandIn),
    /// A program with its arguments and its whole environment; `PATH` in that is where it is looked for.
    Command {
        /// The program, then its arguments; not empty.
        arguments: Vec<String>,
        /// Names and values.
        environment: Vec<(String, String)>,
    },
}

/// From the lab.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    /// The first message: prepare what the pods see. No descriptors.
    Stage(Stage),
    /// Start a process in a new pod sandbox. Descriptors: network namespace, cgroup, log.
    Launch { id: u64, launch: Launch },
    /// Start a process beside a running one. Descriptors: that one's pidfd, cgroup, output.
    Beside { id: u64, work: Work },
}

/// From the zygote.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Reply {
    /// The stage is set.
    Staged,
    /// It could not be, and the zygote ends.
    NotStaged { problem: String },
    /// A process runs: a stand-in listens, a command is executed. Descriptor: its pidfd.
    Launched { id: u64, pid: u32 },
    /// It could not be started.
    Failed { id: u64, problem: String },
    /// A process ended; the status as wait(2) has it.
    Exited { pid: u32, status: i32 },
}

/// Sends one message.
pub(super) fn send(socket: impl AsFd, message: &impl Serialize, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let text = serde_json::to_vec(message)?;
    if text.len() > LONGEST {
        let what = format!("expected a message of at most {LONGEST} bytes, found {}", text.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    let raw: Vec<_> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let control = [ControlMessage::ScmRights(&raw)];
    let control = if raw.is_empty() { &[][..] } else { &control };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &[IoSlice::new(&text)], control, flags, None)?;
    Ok(())
}

/// Receives one message and its descriptors; nothing at the end.
///
/// `buffer` is [`LONGEST`] bytes that the caller keeps between messages.
#[allow(unsafe_code)]
pub(super) fn receive<T: DeserializeOwned>(
    socket: impl AsFd,
    buffer: &mut [u8],
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut control = cmsg_space!([std::os::fd::RawFd; MOST_DESCRIPTORS]);
    let mut slices = [IoSliceMut::new(buffer)];
    let received = loop {
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        match recvmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &mut slices, Some(&mut control), flags) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    let mut descriptors = Vec::new();
    for message in received.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = message {
            // SAFETY: the kernel has just made these descriptors for this process, and nothing else knows of them.
            descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    let (length, flags) = (received.bytes, received.flags);
    if length == 0 {
        return Ok(None);
    }
    if flags.intersects(MsgFlags::MSG_TRUNC | MsgFlags::MSG_CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message was longer than agreed"));
    }
    let text = buffer.get(..length).unwrap_or_default();
    Ok(Some((serde_json::from_slice(text)?, descriptors)))
}
