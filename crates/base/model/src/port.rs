//! Transport protocols and port ranges.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A protocol above IP, by its IANA number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 132.
    Sctp,
    /// Any other; it has no ports.
    Other(u8),
}

impl Protocol {
    /// The protocols that have ports, in the order in which policies name them.
    pub const WITH_PORTS: [Self; 3] = [Self::Tcp, Self::Udp, Self::Sctp];

    /// The IANA number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
            Self::Other(number) => number,
        }
    }

    /// The protocol with an IANA number.
    pub const fn from_number(number: u8) -> Self {
        match number {
            6 => Self::Tcp,
            17 => Self::Udp,
            132 => Self::Sctp,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp => f.write_str("TCP"),
            Self::Udp => f.write_str("UDP"),
            Self::Sctp => f.write_str("SCTP"),
            Self::Other(1) => f.write_str("ICMP"),
            Self::Other(58) => f.write_str("ICMPv6"),
            Self::Other(number) => write!(f, "IP-{number}"),
        }
    }
}

impl FromStr for Protocol {
    type Err = InvalidPort;

    /// Reads the names that Kubernetes policies use.
    fn from_str(text: &str) -> Result<Self, InvalidPort> {
        match text {
            "TCP" => Ok(Self::Tcp),
            "UDP" => Ok(Self::Udp),
            "SCTP" => Ok(Self::Sctp),
            _ => Err(InvalidPort(text.to_owned())),
        }
    }
}

impl Serialize for Protocol {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "ICMP" => Ok(Self::Other(1)),
            "ICMPv6" => Ok(Self::Other(58)),
            other => match other.strip_prefix("IP-").and_then(|number| number.parse().ok()) {
                Some(number) => Ok(Self::from_number(number)),
                None => other.parse().map_err(serde::de::Error::custom),
            },
        }
    }
}

/// A protocol name or port range that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected TCP, UDP or SCTP, or a port range within 0 to 65535, found `{0}`")]
pub struct InvalidPort(String);

/// An inclusive, non-empty range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Every port.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// The range from `first` to `last`, both included.
    pub fn new(first: u16, last: u16) -> Result<Self, InvalidPort> {
        if first <= last { Ok(Self { first, last }) } else { Err(InvalidPort(format!("{first}-{last}"))) }
    }

    /// One port.
    pub const fn single(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether a port is within the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use super::{PortRange, Protocol};

    #[test]
    fn a_range_is_never_empty() {
        assert!(PortRange::new(81, 80).is_err());
        let range = PortRange::new(80, 82).expect("a range");
        assert!(range.contains(80) && range.contains(82) && !range.contains(83));
    }

    #[test]
    fn sctp_is_never_taken_for_tcp() {
        assert_eq!("SCTP".parse(), Ok(Protocol::Sctp));
        assert_eq!(Protocol::from_number(Protocol::Sctp.number()), Protocol::Sctp);
        assert!("tcp".parse::<Protocol>().is_err());
    }
}
