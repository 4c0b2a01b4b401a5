//! One way to talk netlink: messages gathered, sent in one go on a blocking socket, each one answered.

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkMessage, NetlinkSerializable,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rtnetlink::packet_route::RouteNetlinkMessage;
use std::io;

const NLMSG_ERROR: u16 = 2;
const HEADER: usize = 16;

/// The kernel refused a message of a transmission.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {source}")]
pub struct Refused {
    /// What the message asked for.
    pub what: String,
    /// The kernel's answer.
    pub source: io::Error,
}

/// Messages under way to the kernel.
#[derive(Debug, Default)]
pub(crate) struct Transmission {
    bytes: Vec<u8>,
    expected: Vec<String>,
}

impl Transmission {
    /// Appends a message; with a `what` it asks for an acknowledgement, and an error names it.
    pub(crate) fn push<T>(&mut self, message: impl Into<NetlinkMessage<T>>, flags: u16, what: Option<String>)
    where
        T: NetlinkSerializable,
    {
        let mut message = message.into();
        message.header.flags |= flags | NLM_F_REQUEST;
        if let Some(what) = what {
            self.expected.push(what);
            message.header.flags |= NLM_F_ACK;
            message.header.sequence_number = u32::try_from(self.expected.len()).unwrap_or(u32::MAX);
        }
        message.finalize();
        let at = self.bytes.len();
        self.bytes.resize(at + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut self.bytes[at..]);
    }

    /// Sends everything in the calling thread's namespace and waits for each answer; the first refusal is
    /// returned, with the kind of the kernel's error.
    pub(crate) fn send(self, protocol: isize) -> io::Result<()> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.send(&self.bytes, 0)?;
        let mut answered = 0;
        while answered < self.expected.len() {
            let (answer, _) = socket.recv_from_full()?;
            for (sequence, code) in acknowledgements(&answer) {
                if code != 0 {
                    return Err(self.refused(sequence, code));
                }
                answered += 1;
            }
        }
        Ok(())
    }

    fn refused(&self, sequence: u32, code: i32) -> io::Error {
        let number = (sequence as usize).checked_sub(1);
        let what = number.and_then(|number| self.expected.get(number)).cloned();
        let source = io::Error::from_raw_os_error(code.saturating_neg());
        let what = what.unwrap_or_else(|| "commit the transaction".to_owned());
        io::Error::new(source.kind(), Refused { what, source })
    }
}

/// Sequence number and error code (0, or a negated errno) of each acknowledgement in a datagram.
fn acknowledgements(mut datagram: &[u8]) -> Vec<(u32, i32)> {
    let word = |bytes: &[u8], at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
    let mut found = Vec::new();
    while let (Some(length), Some(kind), Some(sequence)) = (word(datagram, 0), datagram.get(4..6), word(datagram, 8)) {
        if kind == NLMSG_ERROR.to_ne_bytes()
            && let Some(code) = word(datagram, HEADER)
        {
            found.push((sequence, code.cast_signed()));
        }
        let length = (length as usize).max(HEADER).next_multiple_of(4);
        datagram = datagram.get(length..).unwrap_or_default();
    }
    found
}

/// rtnetlink requests of one namespace, done in order. The first that fails ends them; what was done before stays.
#[derive(Debug, Default)]
pub(crate) struct Requests(Transmission);

impl Requests {
    /// Makes something that must not exist yet.
    pub(crate) fn create(&mut self, what: impl Into<String>, message: RouteNetlinkMessage) {
        self.0.push(message, NLM_F_CREATE | NLM_F_EXCL, Some(what.into()));
    }

    /// Makes something, or replaces what is there.
    pub(crate) fn replace(&mut self, what: impl Into<String>, message: RouteNetlinkMessage) {
        self.0.push(message, NLM_F_CREATE | NLM_F_REPLACE, Some(what.into()));
    }

    /// Changes or removes what exists.
    pub(crate) fn change(&mut self, what: impl Into<String>, message: RouteNetlinkMessage) {
        self.0.push(message, 0, Some(what.into()));
    }

    /// Sends them in the calling thread's namespace.
    pub(crate) fn send(self) -> io::Result<()> {
        self.0.send(NETLINK_ROUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::acknowledgements;

    fn answer(sequence: u32, code: i32) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(36_u32.to_ne_bytes());
        bytes.extend(2_u16.to_ne_bytes());
        bytes.extend([0; 2]);
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(code.to_ne_bytes());
        bytes.resize(36, 0);
        bytes
    }

    #[test]
    fn every_answer_of_a_datagram_is_found() {
        let datagram = [answer(1, 0), answer(2, -17)].concat();
        assert_eq!(acknowledgements(&datagram), [(1, 0), (2, -17)]);
    }

    #[test]
    fn a_datagram_cut_anywhere_ends_the_list_and_nothing_else() {
        let datagram = [answer(1, 0), answer(2, -17)].concat();
        for length in 0..datagram.len() {
            assert!(acknowledgements(&datagram[..length]).len() <= 2);
        }
        assert!(acknowledgements(&[0; 64]).is_empty());
    }
}
