//! A DNS client of few words: questions as bytes, answers as text.

use crate::dns::DnsName;
use crate::dns::message::{HEADER, kind, word};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

pub(super) fn question(id: u16, name: &str, kind: u16, options: &[u8]) -> Vec<u8> {
    let additional = u16::from(!options.is_empty());
    let header = [id, 0x0100, 1, 0, 0, additional];
    let name = DnsName::parse(name).expect("a name");
    let end = [kind, 1].into_iter().flat_map(u16::to_be_bytes);
    header
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .chain(name.wire().iter().copied())
        .chain(end)
        .chain(options.iter().copied())
        .collect()
}

/// EDNS version 0 with this payload.
pub(super) fn edns(size: u16) -> Vec<u8> {
    [&[0, 0, 41], &size.to_be_bytes()[..], &[0; 6]].concat()
}

/// A message as text: its code and flags, then its records, sections apart by `|`.
pub(super) fn shown(message: &[u8]) -> String {
    let flags = word(message, 2).expect("flags");
    let mut text = match flags & 0xf {
        0 => "ok".to_owned(),
        1 => "format error".to_owned(),
        2 => "failure".to_owned(),
        3 => "no such name".to_owned(),
        4 => "not implemented".to_owned(),
        5 => "refused".to_owned(),
        other => format!("code {other}"),
    };
    for (bit, word) in [(0x0400, " authoritative"), (0x0200, " truncated")] {
        text.push_str(if flags & bit != 0 { word } else { "" });
    }
    let mut at = HEADER;
    if word(message, 4) == Ok(1) {
        at = DnsName::read(message, at).expect("a name").1 + 4;
    }
    for section in [6, 8, 10] {
        let mut records = Vec::new();
        for _ in 0..word(message, section).expect("a count") {
            let (name, fixed) = DnsName::read(message, at).expect("a name");
            let (start, length) = (fixed + 10, usize::from(word(message, fixed + 8).expect("a length")));
            at = start + length;
            let bytes = &message[start..at];
            let name_at = |at| DnsName::read(message, at).expect("a name").0;
            let number = |at| word(message, at).expect("a number");
            let data = match number(fixed) {
                kind::A => Ipv4Addr::from(<[u8; 4]>::try_from(bytes).expect("four bytes")).to_string(),
                kind::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("16 bytes")).to_string(),
                kind::NS | kind::CNAME | kind::PTR => name_at(start).to_string(),
                kind::SRV => {
                    format!("{} {} {} {}", number(start), number(start + 2), number(start + 4), name_at(start + 6))
                }
                kind::TXT => String::from_utf8_lossy(&bytes[1..]).into_owned(),
                kind::SOA => "SOA".to_owned(),
                kind::OPT => format!("OPT {} {}", number(fixed + 2), bytes.len()),
                other => panic!("a record of type {other}"),
            };
            records.push(if name.to_string() == "." { data } else { format!("{name} {data}") });
        }
        records.sort();
        text.push('|');
        text.push_str(&records.join(", "));
    }
    assert_eq!(at, message.len(), "nothing follows");
    text.trim_end_matches('|').to_owned()
}

pub(super) fn udp(message: &[u8], server: &str) -> Vec<u8> {
    let server: SocketAddr = server.parse().expect("an address");
    let socket = UdpSocket::bind((server.ip(), 0)).expect("a socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    socket.send_to(message, server).expect("sent");
    let mut answer = vec![0; 70_000];
    let length = socket.recv(&mut answer).expect("an answer");
    answer.truncate(length);
    answer
}

pub(super) fn tcp(stream: &mut TcpStream, message: &[u8]) -> Vec<u8> {
    stream.write_all(&[&(message.len() as u16).to_be_bytes(), message].concat()).expect("written");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).expect("an answer");
    answer
}
