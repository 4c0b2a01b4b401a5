//! The structures of `bpf/lictor.h`, byte for byte.
//!
//! aya refuses a map whose key or value is of another size than the type it is opened with, so a structure
//! that is changed on one side only is found when the programs are loaded.

use lictor_model::{Mode, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address in network order; IPv4 is IPv4-mapped IPv6.
#[repr(transparent)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub(crate) struct Address(pub(crate) [u8; 16]);

/// No endpoint at a link of this node.
pub(crate) const NONE: u32 = u32::MAX;
/// Addresses that an endpoint can have.
pub(crate) const ENDPOINT_ADDRESSES: usize = 4;
pub(crate) const ENDPOINT_ACTIVE: u32 = 1;
pub(crate) const ENDPOINT_ENROLLED: u32 = 2;
pub(crate) const PEER_ENROLLED: u8 = 1;
pub(crate) const PEER_RESOLVER: u8 = 2;
pub(crate) const ALLOW_ALL: u32 = 1;
pub(crate) const ALLOW_BY_PROXY: u32 = 2;
pub(crate) const ALLOW_BY_RESOLVER: u32 = 4;
pub(crate) const ANY_PORT: u32 = u32::MAX;

pub(crate) const FLOW_ASSURED: u32 = 2;
pub(crate) const FLOW_CLOSED: u32 = 16;
pub(crate) const FLOW_ENDED: u32 = 32;
pub(crate) const FLOW_QUIET: u32 = 64;

pub(crate) const EGRESS: u8 = 1;

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Endpoint {
    pub(crate) addresses: [Address; ENDPOINT_ADDRESSES],
    pub(crate) count: u32,
    pub(crate) flags: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) class: [u32; 2],
    pub(crate) endpoint: u32,
    pub(crate) index: u8,
    pub(crate) flags: u8,
    pub(crate) pad: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Classes {
    pub(crate) class: [u32; 2],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct NodeKey {
    pub(crate) endpoint: u32,
    pub(crate) address: Address,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) first: u32,
    pub(crate) count: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RuleKey {
    pub(crate) set: u32,
    pub(crate) class: u32,
    pub(crate) port: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) id: u32,
    pub(crate) allow: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowKey {
    pub(crate) peer: Address,
    pub(crate) endpoint: u32,
    pub(crate) peer_port: u16,
    pub(crate) own_port: u16,
    pub(crate) protocol: u8,
    pub(crate) index: u8,
    pub(crate) kind: u16,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Judgement {
    pub(crate) rule: u32,
    pub(crate) reason: u8,
    pub(crate) allow: u8,
    pub(crate) mode: u8,
    pub(crate) pad: u8,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) id: u64,
    pub(crate) opened: u64,
    pub(crate) seen: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) judgement: Judgement,
    pub(crate) generation: u32,
    pub(crate) state: u32,
    pub(crate) direction: u8,
    pub(crate) pad: [u8; 7],
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ServiceKey {
    pub(crate) address: Address,
    pub(crate) port: u16,
    pub(crate) protocol: u8,
    pub(crate) pad: u8,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Backend {
    pub(crate) address: Address,
    pub(crate) port: u16,
    pub(crate) pad: u16,
}

macro_rules! plain {
    ($($type:ty),+) => {$(
        // SAFETY: `repr(C)` or `repr(transparent)` over integers and arrays of them, laid out without implicit
        // padding (the `pad` fields stand where it would be): every bit pattern is a value, every byte is set.
        #[allow(unsafe_code)]
        unsafe impl aya::Pod for $type {}
    )+};
}
plain!(Address, Endpoint, Peer, Classes, NodeKey, Span, RuleKey, Rule, FlowKey, Flow, ServiceKey, Backend);

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        Self(match address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        })
    }
}

impl From<Address> for IpAddr {
    fn from(address: Address) -> Self {
        Self::V6(Ipv6Addr::from(address.0)).to_canonical()
    }
}

impl Address {
    /// The address, if it is IPv4.
    pub(crate) fn ipv4(self) -> Option<Ipv4Addr> {
        Ipv6Addr::from(self.0).to_ipv4_mapped()
    }
}

/// One direction of an endpoint, as the kernel reads it in one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gate {
    /// 0: not isolated.
    pub(crate) set: u32,
    pub(crate) generation: u32,
    pub(crate) column: usize,
    pub(crate) mode: Mode,
}

/// Generations are counted in this many bits.
pub(crate) const GENERATION_MASK: u32 = 0x1fff_ffff;

impl Gate {
    pub(crate) fn word(self) -> u64 {
        u64::from(self.set)
            | u64::from(self.generation & GENERATION_MASK) << 32
            | u64::from(self.column == 1) << 61
            | u64::from(mode_number(self.mode)) << 62
    }

    pub(crate) fn from_word(word: u64) -> Self {
        Self {
            set: (word & u64::from(u32::MAX)) as u32,
            generation: (word >> 32) as u32 & GENERATION_MASK,
            column: usize::from(word >> 61 & 1 == 1),
            mode: mode((word >> 62) as u8),
        }
    }
}

fn mode_number(mode: Mode) -> u8 {
    match mode {
        Mode::Enforce => 0,
        Mode::Audit => 1,
        Mode::Observe => 2,
    }
}

/// What is no known mode enforces.
pub(crate) fn mode(number: u8) -> Mode {
    match number {
        1 => Mode::Audit,
        2 => Mode::Observe,
        _ => Mode::Enforce,
    }
}

pub(crate) fn verdict(allow: u8) -> Verdict {
    if allow == 1 { Verdict::Allow } else { Verdict::Deny }
}

#[cfg(test)]
mod tests {
    use super::{Address, Endpoint, Flow, FlowKey, Gate, NodeKey, Peer};
    use lictor_model::Mode;
    use std::net::IpAddr;

    #[test]
    fn a_gate_survives_its_word() {
        for mode in [Mode::Enforce, Mode::Audit, Mode::Observe] {
            for (set, generation, column) in [(0, 0, 0), (7, 3, 1), (u32::MAX, super::GENERATION_MASK, 0)] {
                let gate = Gate { set, generation, column, mode };
                assert_eq!(Gate::from_word(gate.word()), gate);
            }
        }
    }

    #[test]
    fn addresses_of_both_families_have_one_form() {
        for text in ["10.0.0.1", "fd00::1", "0.0.0.0", "::"] {
            let address: IpAddr = text.parse().expect(text);
            assert_eq!(IpAddr::from(Address::from(address)), address);
        }
        let mapped: IpAddr = "::ffff:10.0.0.1".parse().expect("an address");
        assert_eq!(Address::from(mapped), Address::from(mapped.to_canonical()));
    }

    #[test]
    fn sizes_are_those_of_the_header() {
        assert_eq!(size_of::<Endpoint>(), 72);
        assert_eq!(size_of::<Peer>(), 16);
        assert_eq!(size_of::<NodeKey>(), 20);
        assert_eq!(size_of::<FlowKey>(), 28);
        assert_eq!(size_of::<Flow>(), 64);
    }
}
