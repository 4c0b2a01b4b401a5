//! Domain names, on the wire and as text.

use std::fmt;

/// RFC 1035 section 2.3.4.
const LONGEST_NAME: usize = 255;
const LONGEST_LABEL: usize = 63;
/// The two bits that make a length a pointer (RFC 1035 section 4.1.4).
const POINTER: u8 = 0xc0;

/// A domain name in lower case, as comparisons take no heed of case (RFC 4343).
///
/// Held as on the wire, uncompressed: labels with their lengths, and the root's zero.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Box<[u8]>);

/// A text that is no domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a domain name with labels of 1 to 63 bytes and at most 255 in all, found `{0}`")]
pub struct InvalidName(String);

/// Bytes that are not the name that they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

impl DnsName {
    /// The name of a text, with or without the final dot.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let labels = text.strip_suffix('.').unwrap_or(text).split('.');
        Self::of(labels).ok_or_else(|| InvalidName(text.to_owned()))
    }

    fn of<'a>(labels: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut wire = Vec::new();
        for label in labels {
            let length =
                u8::try_from(label.len()).ok().filter(|length| (1..=LONGEST_LABEL).contains(&usize::from(*length)))?;
            wire.push(length);
            wire.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        wire.push(0);
        (wire.len() <= LONGEST_NAME).then(|| Self(wire.into()))
    }

    /// The name of labels below this one, if it is not too long.
    pub(super) fn below(&self, labels: &[&str]) -> Option<Self> {
        let Self(first) = Self::of(labels.iter().copied())?;
        let mut wire = first.into_vec();
        wire.pop();
        wire.extend_from_slice(&self.0);
        (wire.len() <= LONGEST_NAME).then(|| Self(wire.into()))
    }

    /// Reads the name that begins at `at` in a message; and where what follows it begins.
    ///
    /// A pointer has to point to before the labels that it ends, so that each is followed once.
    pub(super) fn read(message: &[u8], at: usize) -> Result<(Self, usize), Malformed> {
        let mut wire = Vec::new();
        let (mut position, mut limit, mut end) = (at, at, None);
        loop {
            let length = *message.get(position).ok_or(Malformed)?;
            match length & POINTER {
                0 => {
                    let label = message.get(position + 1..=position + usize::from(length)).ok_or(Malformed)?;
                    wire.push(length);
                    wire.extend(label.iter().map(u8::to_ascii_lowercase));
                    position += 1 + usize::from(length);
                    if wire.len() > LONGEST_NAME {
                        return Err(Malformed);
                    }
                    if length == 0 {
                        return Ok((Self(wire.into()), end.unwrap_or(position)));
                    }
                }
                POINTER => {
                    let low = *message.get(position + 1).ok_or(Malformed)?;
                    let target = usize::from(u16::from_be_bytes([length & !POINTER, low]));
                    if target >= limit {
                        return Err(Malformed);
                    }
                    end = end.or(Some(position + 2));
                    (position, limit) = (target, target);
                }
                // Reserved (RFC 1035) or never used (RFC 6891 section 5).
                _ => return Err(Malformed),
            }
        }
    }

    /// As on the wire, uncompressed.
    pub(super) fn wire(&self) -> &[u8] {
        &self.0
    }

    /// This name, the one that it is directly below, and so on, without the root: each as on the wire.
    pub(super) fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::successors(Some(&*self.0), |suffix| {
            let (length, rest) = suffix.split_first()?;
            rest.get(usize::from(*length)..)
        })
        .take_while(|suffix| suffix.len() > 1)
    }

    /// The name directly above it; nothing above the root.
    pub(super) fn parent(&self) -> Option<Self> {
        let above = self.suffixes().nth(1).unwrap_or(&[0]);
        (self.0.len() > 1).then(|| Self(above.into()))
    }

    /// Whether it is `zone` or below it.
    pub(super) fn is_within(&self, zone: &Self) -> bool {
        self.suffixes().any(|suffix| suffix == zone.wire())
    }
}

impl fmt::Display for DnsName {
    /// With the final dot; bytes that are not printable as `\ddd` (RFC 1035 section 5.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for suffix in self.suffixes() {
            let Some((length, rest)) = suffix.split_first() else { continue };
            for byte in rest.iter().take(usize::from(*length)) {
                match byte {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                    b'!'..=b'~' => write!(f, "{}", char::from(*byte))?,
                    other => write!(f, "\\{other:03}")?,
                }
            }
            f.write_str(".")?;
        }
        if self.0.len() == 1 { f.write_str(".") } else { Ok(()) }
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::{DnsName, Malformed};

    #[test]
    fn a_name_reads_as_it_prints_without_case() {
        let name = DnsName::parse("Web.Shop.svc.cluster.local").expect("a name");
        assert_eq!(name.to_string(), "web.shop.svc.cluster.local.");
        assert_eq!(DnsName::parse("web.shop.SVC.cluster.local.").as_ref(), Ok(&name));
        assert!(name.is_within(&DnsName::parse("cluster.local").expect("a name")));
        assert!(!name.is_within(&DnsName::parse("uster.local").expect("a name")));
        let parents: Vec<_> =
            std::iter::successors(name.parent(), DnsName::parent).map(|name| name.to_string()).collect();
        assert_eq!(parents, ["shop.svc.cluster.local.", "svc.cluster.local.", "cluster.local.", "local.", "."]);
        for text in ["", ".", "a..b", &"a".repeat(64), &"abc.".repeat(64)] {
            assert!(DnsName::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn pointers_lead_back_and_never_round() {
        // At 0 `b.`, at 3 `a` and a pointer to 0, at 7 a pointer to 3.
        let message = b"\x01b\0\x01a\xc0\0\xc0\x03";
        let (name, next) = DnsName::read(message, 7).expect("a name");
        assert_eq!((name.to_string().as_str(), next), ("a.b.", 9));
        assert_eq!(DnsName::read(message, 3).map(|(_, next)| next), Ok(7));
        for (bytes, at) in [
            (&b"\xc0\0"[..], 0),
            (b"\x01a\xc0\0", 0),
            (b"\xc0\x02\xc0\0", 0),
            (b"\x01a\xc0\x02", 0),
            (b"\x05a", 0),
            (b"\x01a", 0),
            (b"\x80\0", 0),
            (b"\xc0", 0),
            (b"", 0),
            (b"\0", 9),
        ] {
            assert_eq!(DnsName::read(bytes, at).err(), Some(Malformed), "{bytes:?}");
        }
        let long = [&b"\x3f"[..], &[b'a'; 63]].concat().repeat(4);
        assert!(DnsName::read(&[&long, &b"\0"[..]].concat(), 0).is_err(), "257 bytes");
    }
}
