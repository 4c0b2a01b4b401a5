//! DNS messages: queries in, answers out (RFC 1035 section 4, RFC 6891).

use super::name::{DnsName, Malformed};
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const HEADER: usize = 12;
/// The length of a UDP answer to a client that does not say more (RFC 1035 section 4.2.1).
const PLAIN_UDP: usize = 512;
/// The longest UDP answer, which passes every usual path in one piece (dnsflagday.net/2020).
pub(super) const LONGEST_UDP: usize = 1232;
/// The longest answer over TCP.
pub(super) const LONGEST: usize = u16::MAX as usize;

/// Types of records and questions, by their IANA numbers.
pub(super) mod kind {
    pub(in crate::dns) const A: u16 = 1;
    pub(in crate::dns) const NS: u16 = 2;
    pub(in crate::dns) const CNAME: u16 = 5;
    pub(in crate::dns) const SOA: u16 = 6;
    pub(in crate::dns) const PTR: u16 = 12;
    pub(in crate::dns) const TXT: u16 = 16;
    pub(in crate::dns) const AAAA: u16 = 28;
    pub(in crate::dns) const SRV: u16 = 33;
    pub(in crate::dns) const OPT: u16 = 41;
    pub(in crate::dns) const IXFR: u16 = 251;
    pub(in crate::dns) const AXFR: u16 = 252;
    pub(in crate::dns) const ANY: u16 = 255;
}

/// The Internet's class.
pub(super) const IN: u16 = 1;

// The second word of the header.
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
pub(super) const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;

/// A pointer in place of a name, and where it can point to.
const POINTER: u16 = 0xc000;
const POINTER_REACH: u16 = 0x4000;

/// How a query went: the response codes that are given here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
    /// In 12 bits, of which the OPT record has the upper eight.
    BadVersion = 16,
}

/// A resource record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub name: DnsName,
    /// For how many seconds it may be kept.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// What a resource record says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is its type of record; the fields are named as in RFC 1035 and RFC 2782.
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Ns(DnsName),
    Cname(DnsName),
    Ptr(DnsName),
    /// One string of at most 255 bytes; of a longer one the rest is left out.
    Txt(String),
    Srv {
        priority: u16,
        weight: u16,
        port: u16,
        target: DnsName,
    },
    Soa {
        server: DnsName,
        mailbox: DnsName,
        serial: u32,
        /// Refresh, retry, expire and minimum, in seconds.
        times: [u32; 4],
    },
}

/// A query with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) id: u16,
    pub(super) recursion_desired: bool,
    pub(super) name: DnsName,
    pub(super) kind: u16,
    pub(super) class: u16,
    /// The question's bytes, which the answer repeats with the client's own case.
    question: Vec<u8>,
    /// The payload that the client takes over UDP, if it speaks EDNS.
    edns: Option<u16>,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) code: Code,
    /// Whether it is this server's own.
    pub(super) authoritative: bool,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
    pub(super) additional: Vec<Record>,
}

/// Why a message is not a query that can be answered; with the answer to send, if any.
pub(super) type Unanswerable = Option<Vec<u8>>;

impl Data {
    /// The type's number.
    pub(super) fn kind(&self) -> u16 {
        match self {
            Self::A(_) => kind::A,
            Self::Aaaa(_) => kind::AAAA,
            Self::Ns(_) => kind::NS,
            Self::Cname(_) => kind::CNAME,
            Self::Ptr(_) => kind::PTR,
            Self::Txt(_) => kind::TXT,
            Self::Srv { .. } => kind::SRV,
            Self::Soa { .. } => kind::SOA,
        }
    }
}

impl Answer {
    /// An answer without records.
    pub(super) fn bare(code: Code) -> Self {
        Self { code, authoritative: false, answers: Vec::new(), authority: Vec::new(), additional: Vec::new() }
    }
}

impl Query {
    /// Reads a query. A response or a fragment of a header is not answered, so that two servers cannot keep each other busy.
    pub(super) fn read(message: &[u8]) -> Result<Self, Unanswerable> {
        let word = |at: usize| word(message, at).map_err(|Malformed| None);
        let (id, flags) = (word(0)?, word(2)?);
        let counts = [word(4)?, word(6)?, word(8)?, word(10)?];
        if flags & RESPONSE != 0 {
            return Err(None);
        }
        let refuse = |code| Some(refusal(id, flags, code));
        if flags & OPCODE != 0 {
            return Err(refuse(Code::NotImplemented));
        }
        let mut query = Self::body(message, id, flags, counts).map_err(|Malformed| refuse(Code::FormatError))?;
        match query.edns {
            Some((_, version)) if version != 0 => {
                query.read.edns = Some(0);
                Err(Some(query.read.answer(&Answer::bare(Code::BadVersion), LONGEST_UDP, false)))
            }
            _ => Ok(query.read),
        }
    }

    fn body(message: &[u8], id: u16, flags: u16, counts: [u16; 4]) -> Result<WithVersion, Malformed> {
        let [1, answers, authority, additional] = counts else { return Err(Malformed) };
        let (name, next) = DnsName::read(message, HEADER)?;
        let (kind, class) = (word(message, next)?, word(message, next + 2)?);
        let mut at = next + 4;
        let question = message.get(HEADER..at).ok_or(Malformed)?.to_vec();
        let mut edns = None;
        for number in 0..u32::from(answers) + u32::from(authority) + u32::from(additional) {
            let (owner, fixed) = DnsName::read(message, at)?;
            let is_additional = number >= u32::from(answers) + u32::from(authority);
            if word(message, fixed)? == kind::OPT {
                // RFC 6891 section 6.1.1: one, at the root, in the additional section.
                if edns.is_some() || !is_additional || owner.wire() != [0] {
                    return Err(Malformed);
                }
                let version = *message.get(fixed + 5).ok_or(Malformed)?;
                edns = Some((word(message, fixed + 2)?, version));
            }
            at = fixed + 10 + usize::from(word(message, fixed + 8)?);
            if at > message.len() {
                return Err(Malformed);
            }
        }
        let recursion_desired = flags & RECURSION_DESIRED != 0;
        let size = edns.map(|(size, _)| size);
        Ok(WithVersion { read: Self { id, recursion_desired, name, kind, class, question, edns: size }, edns })
    }

    /// The longest answer that the client takes over UDP.
    pub(super) fn udp_limit(&self) -> usize {
        self.edns.map_or(PLAIN_UDP, |size| usize::from(size).clamp(PLAIN_UDP, LONGEST_UDP))
    }

    /// The answer as a message of at most `limit` bytes; what does not fit is left out, and that is said
    /// unless it is additional (RFC 2181 section 9).
    pub(super) fn answer(&self, answer: &Answer, limit: usize, recursion_available: bool) -> Vec<u8> {
        let mut flags = RESPONSE | (answer.code as u16 & 0xf);
        for (set, flag) in [
            (answer.authoritative, AUTHORITATIVE),
            (self.recursion_desired, RECURSION_DESIRED),
            (recursion_available, RECURSION_AVAILABLE),
        ] {
            flags |= if set { flag } else { 0 };
        }
        let mut writer = Writer { message: vec![0; HEADER], names: HashMap::new() };
        for suffix in self.name.suffixes() {
            writer.note(suffix, HEADER + self.name.wire().len() - suffix.len());
        }
        writer.message.extend_from_slice(&self.question);
        let opt = self.edns.map(|_| {
            let upper = (answer.code as u16 >> 4) as u8;
            let [high, low] = (LONGEST_UDP as u16).to_be_bytes();
            [0, 0, kind::OPT as u8, high, low, upper, 0, 0, 0, 0, 0]
        });
        let limit = limit - opt.map_or(0, |opt| opt.len());
        let mut counts = [0_u16; 3];
        let sections = [(&answer.answers, true), (&answer.authority, true), (&answer.additional, false)];
        'full: for (count, (records, required)) in counts.iter_mut().zip(sections) {
            for record in records {
                let before = writer.message.len();
                writer.record(record);
                if writer.message.len() > limit {
                    writer.message.truncate(before);
                    flags |= if required { TRUNCATED } else { 0 };
                    break 'full;
                }
                *count += 1;
            }
        }
        if let Some(opt) = opt {
            writer.message.extend_from_slice(&opt);
            counts[2] += 1;
        }
        let [answers, authority, additional] = counts;
        let header = [self.id, flags, 1, answers, authority, additional];
        for (to, word) in writer.message.chunks_exact_mut(2).zip(header) {
            to.copy_from_slice(&word.to_be_bytes());
        }
        writer.message
    }
}

/// A query before its EDNS version has been looked at.
struct WithVersion {
    read: Query,
    edns: Option<(u16, u8)>,
}

/// An answer that repeats nothing but the number.
fn refusal(id: u16, flags: u16, code: Code) -> Vec<u8> {
    let flags = RESPONSE | flags & (OPCODE | RECURSION_DESIRED) | code as u16;
    [id, flags, 0, 0, 0, 0].into_iter().flat_map(u16::to_be_bytes).collect()
}

pub(super) fn word(message: &[u8], at: usize) -> Result<u16, Malformed> {
    let bytes = message.get(at..at.checked_add(2).ok_or(Malformed)?).ok_or(Malformed)?;
    bytes.try_into().map(u16::from_be_bytes).map_err(|_| Malformed)
}

struct Writer {
    message: Vec<u8>,
    /// Where each name that was written stands, to be pointed to.
    names: HashMap<Vec<u8>, u16>,
}

impl Writer {
    fn record(&mut self, record: &Record) {
        self.name(&record.name);
        self.words(&[record.data.kind(), IN]);
        self.message.extend(record.ttl.to_be_bytes());
        let length_at = self.message.len();
        self.words(&[0]);
        match &record.data {
            Data::A(address) => self.message.extend(address.octets()),
            Data::Aaaa(address) => self.message.extend(address.octets()),
            Data::Ns(name) | Data::Cname(name) | Data::Ptr(name) => self.name(name),
            Data::Txt(text) => {
                let text = text.as_bytes().get(..usize::from(u8::MAX)).unwrap_or(text.as_bytes());
                self.message.push(text.len() as u8);
                self.message.extend_from_slice(text);
            }
            Data::Srv { priority, weight, port, target } => {
                self.words(&[*priority, *weight, *port]);
                // Not to be compressed (RFC 2782).
                self.message.extend_from_slice(target.wire());
            }
            Data::Soa { server, mailbox, serial, times } => {
                self.name(server);
                self.name(mailbox);
                self.message.extend(serial.to_be_bytes());
                self.message.extend(times.iter().flat_map(|time| time.to_be_bytes()));
            }
        }
        let length = u16::try_from(self.message.len() - length_at - 2).unwrap_or_default();
        if let Some(to) = self.message.get_mut(length_at..length_at + 2) {
            to.copy_from_slice(&length.to_be_bytes());
        }
    }

    fn words(&mut self, words: &[u16]) {
        self.message.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }

    /// Writes a name, as far as it has not been written before.
    fn name(&mut self, name: &DnsName) {
        for suffix in name.suffixes() {
            if let Some(at) = self.names.get(suffix) {
                self.message.extend((POINTER | at).to_be_bytes());
                return;
            }
            self.note(suffix, self.message.len());
            let label = 1 + suffix.first().map_or(0, |length| usize::from(*length));
            self.message.extend_from_slice(suffix.get(..label).unwrap_or_default());
        }
        self.message.push(0);
    }

    /// Notes where a name stands, unless that is further on than a pointer reaches.
    fn note(&mut self, name: &[u8], at: usize) {
        if let Some(at) = u16::try_from(at).ok().filter(|at| *at < POINTER_REACH) {
            self.names.insert(name.to_vec(), at);
        }
    }
}
