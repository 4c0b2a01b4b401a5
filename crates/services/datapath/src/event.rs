//! What the kernel tells: connections judged, connections closed.

use crate::wire::{self, Address};
use lictor_model::{Mode, Protocol, Verdict};
use lictor_network::RuleId;
use std::net::SocketAddr;
use std::time::Duration;

/// A connection as the kernel tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, since the machine was started (`CLOCK_MONOTONIC`).
    pub at: Duration,
    /// The connection's number; 0 for one that was refused before it was any. Both ends' events carry the same.
    pub flow: u64,
    /// The revision of the program in force.
    pub revision: u64,
    /// The protocol.
    pub protocol: Protocol,
    /// Who opened it; port 0 where the protocol has none.
    pub source: SocketAddr,
    /// Whom it is for; port 0 where the protocol has none.
    pub destination: SocketAddr,
    /// Whether the proxy captures the source's traffic.
    pub source_enrolled: bool,
    /// Whether the proxy captures the destination's traffic.
    pub destination_enrolled: bool,
    /// What happened.
    pub what: What,
}

/// What happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Its first packet was judged: at the source's link, at the destination's, or at both.
    Judged {
        /// What was said where it left the source.
        egress: Option<Judged>,
        /// What was said where it entered the destination.
        ingress: Option<Judged>,
    },
    /// It is over.
    Closed {
        /// Payload bytes from source to destination, repetitions included.
        sent: u64,
        /// Payload bytes from destination to source, repetitions included.
        received: u64,
        /// What ended it, if the policies did.
        ended: Option<Ended>,
    },
}

/// What one layer said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    /// The verdict, whatever the mode.
    pub verdict: Verdict,
    /// How far the layer goes.
    pub mode: Mode,
    /// Why.
    pub reason: Reason,
}

/// What ended a connection: the layer that no longer allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The source's.
    Egress(Judged),
    /// The destination's.
    Ingress(Judged),
}

/// Why the kernel came to a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A rule of the program in force.
    Rule(RuleId),
    /// Policies isolate the endpoint and no rule allows this.
    Isolated,
    /// No policy isolates the endpoint.
    NoPolicy,
    /// A pod with itself.
    OwnPod,
    /// A pod with its node.
    OwnNode,
    /// A tunnel between enrolled pods: the proxies judge what is in it.
    Tunnel,
    /// A connection between enrolled pods outside the tunnel.
    Plaintext,
    /// A rule allows some uses of it, and no proxy sees how it is used.
    Unseen(RuleId),
    /// The source address is not the pod's.
    Spoofed,
    /// There was no room to track it.
    Full,
    /// The program in force does not know the endpoint.
    Unknown,
}

/// Bytes that are no event of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Too few or too many.
    #[error("expected an event of {LENGTH} bytes, found {0}")]
    Length(usize),
    /// An unknown kind.
    #[error("expected an event of kind 1 or 2, found {0}")]
    Kind(u8),
    /// An unknown reason.
    #[error("expected a reason that a verdict has, found {0}")]
    Reason(u8),
}

/// The length of an event in bytes: `struct event` of `bpf/lictor.h`.
pub const LENGTH: usize = 96;

const JUDGED: u8 = 1;
const CLOSED: u8 = 2;
const SOURCE_ENROLLED: u8 = 1;
const DESTINATION_ENROLLED: u8 = 2;
const ENDED: u8 = 4;

impl Event {
    /// Reads `struct event` of `bpf/lictor.h`, in the machine's byte order.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut fields = Fields::new(bytes)?;
        let [at, flow, revision, sent, received] = [(); 5].map(|()| fields.u64());
        let [source, destination] = [(); 2].map(|()| Address(fields.take()));
        let [source_port, destination_port] = [(); 2].map(|()| u16::from_ne_bytes(fields.take()));
        let [kind, protocol, flags, _] = fields.take();
        let egress = fields.judged()?;
        let ingress = fields.judged()?;
        let what = match kind {
            JUDGED => What::Judged { egress, ingress },
            CLOSED => {
                let ended = egress.map(Ended::Egress).or(ingress.map(Ended::Ingress)).filter(|_| flags & ENDED != 0);
                What::Closed { sent, received, ended }
            }
            other => return Err(Malformed::Kind(other)),
        };
        let protocol = Protocol::from_number(protocol);
        // An ICMP echo is told apart by its identifier, which stands where ports would.
        let port = |port| if matches!(protocol, Protocol::Other(_)) { 0 } else { port };
        Ok(Self {
            at: Duration::from_nanos(at),
            flow,
            revision,
            protocol,
            source: SocketAddr::new(source.into(), port(source_port)),
            destination: SocketAddr::new(destination.into(), port(destination_port)),
            source_enrolled: flags & SOURCE_ENROLLED != 0,
            destination_enrolled: flags & DESTINATION_ENROLLED != 0,
            what,
        })
    }

    /// The layers that judged it, in the order in which it met them.
    pub fn layers(&self) -> impl Iterator<Item = Judged> {
        let (egress, ingress) = match self.what {
            What::Judged { egress, ingress } => (egress, ingress),
            What::Closed { ended: Some(Ended::Egress(judged)), .. } => (Some(judged), None),
            What::Closed { ended: Some(Ended::Ingress(judged)), .. } => (None, Some(judged)),
            What::Closed { ended: None, .. } => (None, None),
        };
        egress.into_iter().chain(ingress)
    }

    /// Whether its packets were dropped.
    pub fn is_refused(&self) -> bool {
        self.layers().any(|judged| !judged.verdict.under(judged.mode).is_allow())
    }
}

impl Reason {
    pub(crate) fn from_wire(reason: u8, rule: u32) -> Result<Self, Malformed> {
        Ok(match reason {
            1 => Self::Rule(RuleId(rule)),
            2 => Self::Isolated,
            3 => Self::NoPolicy,
            4 => Self::OwnPod,
            5 => Self::OwnNode,
            6 => Self::Tunnel,
            7 => Self::Plaintext,
            8 => Self::Spoofed,
            11 => Self::Full,
            12 => Self::Unknown,
            15 => Self::Unseen(RuleId(rule)),
            other => return Err(Malformed::Reason(other)),
        })
    }
}

/// The bytes of an event, taken from the front. There are always [`LENGTH`] of them, so `take` has enough.
struct Fields<'a>(&'a [u8; LENGTH], usize);

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        bytes.try_into().map(|bytes| Self(bytes, 0)).map_err(|_| Malformed::Length(bytes.len()))
    }

    /// The next bytes; zeros past the end.
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let taken = self.0.get(self.1..).and_then(<[u8]>::first_chunk).copied();
        self.1 += N;
        taken.unwrap_or([0; N])
    }

    fn u64(&mut self) -> u64 {
        u64::from_ne_bytes(self.take())
    }

    fn judged(&mut self) -> Result<Option<Judged>, Malformed> {
        let rule = u32::from_ne_bytes(self.take());
        let [reason, allow, mode, _] = self.take();
        if reason == 0 {
            return Ok(None);
        }
        let reason = Reason::from_wire(reason, rule)?;
        Ok(Some(Judged { verdict: wire::verdict(allow), mode: wire::mode(mode), reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::{Event, LENGTH, Malformed, Reason, What};
    use lictor_model::{Mode, Protocol, Verdict};
    use lictor_network::RuleId;

    fn event() -> Vec<u8> {
        let mut bytes = Vec::new();
        for field in [5_u64, 9, 3, 100, 200] {
            bytes.extend(field.to_ne_bytes());
        }
        for last in [1, 2] {
            bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, last]);
        }
        bytes.extend(40000_u16.to_ne_bytes());
        bytes.extend(80_u16.to_ne_bytes());
        bytes.extend([1, 6, 2, 0]);
        bytes.extend([0, 0, 0, 0, 3, 1, 0, 0]);
        bytes.extend([7, 0, 0, 0, 1, 0, 1, 0]);
        bytes
    }

    #[test]
    fn an_event_is_read() {
        let read = Event::decode(&event()).expect("an event");
        assert_eq!((read.flow, read.revision, read.protocol), (9, 3, Protocol::Tcp));
        assert_eq!(
            (read.source.to_string(), read.destination.to_string()),
            ("10.0.0.1:40000".into(), "10.0.0.2:80".into())
        );
        assert_eq!((read.source_enrolled, read.destination_enrolled), (false, true));
        let What::Judged { egress: Some(egress), ingress: Some(ingress) } = read.what else { panic!("{read:?}") };
        assert_eq!((egress.reason, egress.verdict), (Reason::NoPolicy, Verdict::Allow));
        assert_eq!(
            (ingress.reason, ingress.verdict, ingress.mode),
            (Reason::Rule(RuleId(7)), Verdict::Deny, Mode::Audit)
        );
        assert!(!read.is_refused());
    }

    #[test]
    fn what_is_no_event_is_refused() {
        let bytes = event();
        for length in (0..LENGTH).chain([LENGTH + 1]) {
            let mut cut = bytes.clone();
            cut.resize(length, 0);
            assert_eq!(Event::decode(&cut), Err(Malformed::Length(length)));
        }
        let changed = |at: usize, to: u8| {
            let mut bytes = bytes.clone();
            bytes[at] = to;
            Event::decode(&bytes)
        };
        assert_eq!(changed(76, 9), Err(Malformed::Kind(9)));
        assert_eq!(changed(84, 13), Err(Malformed::Reason(13)));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            if let Ok(event) = Event::decode(&bytes) {
                proptest::prop_assert_eq!(bytes.len(), LENGTH);
                proptest::prop_assert!(event.layers().count() <= 2);
            }
        }

        #[test]
        fn an_event_that_is_read_says_no_more_than_its_bytes(bytes in proptest::array::uniform32(0_u8..14)) {
            let whole = [bytes, bytes, bytes].concat();
            let read = Event::decode(&whole);
            proptest::prop_assert_eq!(read.clone(), Event::decode(&whole));
            if let Ok(event) = read {
                proptest::prop_assert_eq!(event.flow, u64::from_ne_bytes(*whole[8..].first_chunk().expect("eight bytes")));
            }
        }
    }
}
