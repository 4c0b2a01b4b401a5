//! An ICMP question, and whether its answer comes.

use super::client::{Attempt, Outcome};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind, Read};
use std::time::{Duration, Instant};

/// Echo request and reply: of ICMP (RFC 792, "Echo or Echo Reply Message") and of ICMPv6 (RFC 4443, section 4).
const ECHO_V4: (u8, u8) = (8, 0);
const ECHO_V6: (u8, u8) = (128, 129);
/// Type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Asks for an echo, which the other end's kernel gives; the port of an attempt is the message's type.
///
/// Errors: another type is asked for, which nobody answers; no raw socket can be had.
pub(super) fn ping(attempt: &Attempt) -> io::Result<Outcome> {
    let ipv4 = attempt.address.is_ipv4();
    let ((question, answer), domain, protocol) =
        if ipv4 { (ECHO_V4, Domain::IPV4, Protocol::ICMPV4) } else { (ECHO_V6, Domain::IPV6, Protocol::ICMPV6) };
    if attempt.address.port() != u16::from(question) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "expected the type of an echo request"));
    }
    let mut socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let mut address = attempt.address;
    address.set_port(0);
    socket.connect(&SockAddr::from(address))?;
    let identifier = std::process::id().to_be_bytes();
    let own = [identifier[2], identifier[3], attempt.id.to_be_bytes()[2], attempt.id.to_be_bytes()[3]];
    let mut message = [question, 0, 0, 0, own[0], own[1], own[2], own[3]];
    if ipv4 {
        // Of ICMPv6, which counts the addresses in, the kernel makes it.
        [message[2], message[3]] = checksum(&message).to_be_bytes();
    }
    socket.send(&message)?;
    let until = Instant::now() + Duration::from_millis(attempt.patience_ms);
    let mut packet = [0; 1500];
    loop {
        let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
            return Ok(Outcome::Dropped);
        };
        socket.set_read_timeout(Some(left))?;
        let length = match socket.read(&mut packet) {
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(error) => return Err(error),
        };
        // A raw IPv4 socket gives the IP header as well.
        let before = if ipv4 { usize::from(packet[0] & 0x0f) * 4 } else { 0 };
        let received = packet.get(before..length).and_then(|received| received.get(..HEADER));
        if received.is_some_and(|received| received[0] == answer && received[4..] == own) {
            return Ok(Outcome::Reached);
        }
    }
}

/// RFC 1071.
fn checksum(message: &[u8; HEADER]) -> u16 {
    let words = message.chunks_exact(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1]));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{HEADER, checksum};

    #[test]
    fn a_message_with_its_checksum_sums_up_to_nothing() {
        let mut message: [u8; HEADER] = [8, 0, 0, 0, 0xab, 0xcd, 0xff, 0x01];
        [message[2], message[3]] = checksum(&message).to_be_bytes();
        assert_eq!(checksum(&message), 0);
    }
}
