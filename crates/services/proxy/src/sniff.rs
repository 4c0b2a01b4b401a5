//! Which protocol a connection's first bytes begin.

/// What the bytes seen so far say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sniffed {
    /// HTTP/1.0 or HTTP/1.1: a request line has begun.
    Http1,
    /// HTTP/2 with prior knowledge: the whole connection preface.
    Http2,
    /// A TLS handshake record.
    Tls,
    /// Something else.
    Other,
    /// They fit more than one of these so far.
    Undecided,
}

/// The HTTP/2 connection preface (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// No longer than this is waited for the end of a method.
const MAX_METHOD: usize = 32;

/// The most bytes that [`sniff`] needs to decide.
pub const ENOUGH: usize = if PREFACE.len() > MAX_METHOD + 2 { PREFACE.len() } else { MAX_METHOD + 2 };

/// What the first bytes of a connection begin.
///
/// HTTP/1 is any token of at most 32 upper-case letters or dashes (every registered method is one), a space, and
/// the first byte of a target that may stand there: `/`, `*`, a letter, a digit or `[`. It is read widely on purpose: a
/// connection that is taken for HTTP and is none is refused with 400, one that is HTTP and not seen as
/// such is judged by rules that no HTTP field can satisfy.
pub fn sniff(bytes: &[u8]) -> Sniffed {
    let preface = bytes.len().min(PREFACE.len());
    if bytes.get(..preface) == PREFACE.get(..preface) {
        return if preface == PREFACE.len() { Sniffed::Http2 } else { Sniffed::Undecided };
    }
    match bytes {
        [0x16] | [0x16, 0x03] => return Sniffed::Undecided,
        [0x16, 0x03, ..] => return Sniffed::Tls,
        _ => {}
    }
    let method = bytes.iter().take(MAX_METHOD + 1).take_while(|b| b.is_ascii_uppercase() || **b == b'-').count();
    if method > MAX_METHOD {
        return Sniffed::Other;
    }
    match (method, bytes.get(method), bytes.get(method + 1)) {
        (_, None, _) => Sniffed::Undecided,
        (1.., Some(b' '), None) => Sniffed::Undecided,
        (1.., Some(b' '), Some(b'/' | b'*' | b'[')) => Sniffed::Http1,
        (1.., Some(b' '), Some(target)) if target.is_ascii_alphanumeric() => Sniffed::Http1,
        _ => Sniffed::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::{ENOUGH, PREFACE, Sniffed, sniff};
    use proptest::prelude::*;

    #[test]
    fn the_common_protocols_are_told_apart() {
        for (bytes, sniffed) in [
            (&b"GET / HTTP/1.1\r\n"[..], Sniffed::Http1),
            (b"OPTIONS * HTTP/1.1", Sniffed::Http1),
            (b"M-SEARCH * HTTP/1.1", Sniffed::Http1),
            (b"CONNECT db:5432 HTTP/1.1", Sniffed::Http1),
            (b"GET http://a/ HTTP/1.1", Sniffed::Http1),
            (b"GET", Sniffed::Undecided),
            (b"GET ", Sniffed::Undecided),
            (b"", Sniffed::Undecided),
            (b"PRI * HTTP/2.0\r\n", Sniffed::Undecided),
            (PREFACE, Sniffed::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Sniffed::Http1),
            (b"\x16\x03\x01\x02\x00", Sniffed::Tls),
            (b"\x16", Sniffed::Undecided),
            (b"\x16\x04\x01", Sniffed::Other),
            (b"SSH-2.0-x\r\n", Sniffed::Other),
            (b"\0\0\0\x08\x04\xd2\x16\x2f", Sniffed::Other),
            (b"*1\r\n$4\r\nPING\r\n", Sniffed::Other),
            (b"PING\r\n", Sniffed::Other),
            (b" / HTTP/1.1", Sniffed::Other),
            (b"get / HTTP/1.1", Sniffed::Other),
        ] {
            assert_eq!(sniff(bytes), sniffed, "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn enough_bytes_decide_and_more_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let verdict = sniff(&bytes);
            if bytes.len() >= ENOUGH {
                prop_assert_ne!(verdict, Sniffed::Undecided);
                prop_assert_eq!(verdict, sniff(&bytes[..ENOUGH]));
            }
        }

        #[test]
        fn a_decision_stands_when_more_comes(head in "[A-Z-]{0,34} ?[/*a-z]{0,2}", tail in prop::collection::vec(any::<u8>(), 0..40)) {
            let first = sniff(head.as_bytes());
            let all: Vec<u8> = head.bytes().chain(tail).collect();
            prop_assert!(first == Sniffed::Undecided || first == sniff(&all));
        }
    }
}
