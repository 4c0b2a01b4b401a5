//! Address blocks.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// An address block, without host bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr(IpNet);

/// A text that is no address block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected an address block such as 10.0.0.0/8 or 2001:db8::/32, found `{0}`")]
pub struct InvalidCidr(String);

impl Cidr {
    /// Every IPv4 address.
    pub const ALL_IPV4: Self = Self(IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)));
    /// Every IPv6 address.
    pub const ALL_IPV6: Self = Self(IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)));

    /// The block of one address.
    pub fn host(address: IpAddr) -> Self {
        Self(IpNet::from(canonical(address)))
    }

    /// The block with this many leading bits of an address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, InvalidCidr> {
        let net = IpNet::new(address, prefix).map_err(|_| InvalidCidr(format!("{address}/{prefix}")))?;
        Ok(Self(net.trunc()))
    }

    /// Whether an address lies in the block; an IPv4-mapped IPv6 address counts as the IPv4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&canonical(address))
    }

    /// Whether another block lies wholly in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.contains(&other.0)
    }

    /// The lowest address.
    pub fn network(&self) -> IpAddr {
        self.0.network()
    }

    /// The highest address.
    pub fn last(&self) -> IpAddr {
        self.0.broadcast()
    }

    /// The number of leading bits that are fixed.
    pub fn prefix(&self) -> u8 {
        self.0.prefix_len()
    }
}

/// An IPv4-mapped IPv6 address as IPv4, anything else unchanged.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl FromStr for Cidr {
    type Err = InvalidCidr;

    /// Reads `address/prefix`; host bits are cleared, as Kubernetes does when it matches.
    fn from_str(text: &str) -> Result<Self, InvalidCidr> {
        text.parse::<IpNet>().map(|net| Self(net.trunc())).map_err(|_| InvalidCidr(text.to_owned()))
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Cidr {
    type Error = InvalidCidr;

    fn try_from(text: String) -> Result<Self, InvalidCidr> {
        text.parse()
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> Self {
        cidr.to_string()
    }
}

/// A block with holes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct IpBlock {
    /// The block.
    pub cidr: Cidr,
    /// Blocks within it that do not belong.
    pub except: Vec<Cidr>,
}

impl IpBlock {
    /// Whether an address lies in the block and in none of its holes.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.cidr.contains(address) && !self.except.iter().any(|hole| hole.contains(address))
    }
}

impl fmt::Display for IpBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.cidr.fmt(f)?;
        for (at, hole) in self.except.iter().enumerate() {
            let word = if at == 0 { " except " } else { ", " };
            write!(f, "{word}{hole}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cidr, IpBlock};

    #[test]
    fn a_block_has_no_host_bits_and_knows_its_holes() {
        let cidr: Cidr = "10.1.2.3/8".parse().expect("a block");
        assert_eq!(cidr.to_string(), "10.0.0.0/8");
        let block = IpBlock { cidr, except: vec!["10.9.0.0/16".parse().expect("a block")] };
        let has = |text: &str| block.contains(text.parse().expect("an address"));
        assert!(has("10.1.1.1") && has("::ffff:10.1.1.1") && !has("10.9.0.1") && !has("11.0.0.1") && !has("::1"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.0.0.0", "10.0.0.0/33", "x/8", ""] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
