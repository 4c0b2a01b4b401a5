//! nftables over netlink, without the `nft` program or a C library.
//!
//! One [`Batch`] is one kernel transaction: all of it applies or none. Rules are built from a closed set of
//! [`Match`]es and one [`Action`]; what they compile to is what `nft` itself sends for the line that each
//! item's documentation quotes.

use crate::netlink::Transmission;
use netlink_packet_core::DefaultNla;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, Immediate,
    InetHookNumber, ListAttribute, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register, RuleAttribute,
    RuleMessage, TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterProtoFamily};
use netlink_sys::protocols::NETLINK_NETFILTER;
use std::io;
use std::net::IpAddr;

// include/uapi/linux/netfilter/nf_tables.h
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_PAYLOAD_NETWORK_HEADER: u32 = 1;
const NFT_PAYLOAD_TRANSPORT_HEADER: u32 = 2;
const NFT_REG_1: u32 = 1;
const NFTA_CT_DREG: u16 = 1;
const NFTA_CT_KEY: u16 = 2;
const NFTA_CT_SREG: u16 = 4;
const NFT_CT_MARK: u32 = 3;
const NFTA_REDIR_REG_PROTO_MIN: u16 = 1;
const NFTA_REDIR_FLAGS: u16 = 3;
const NF_NAT_RANGE_PROTO_SPECIFIED: u32 = 2;
// include/uapi/linux/netfilter.h
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;

/// A base chain: `type <kind> hook <hook> priority <priority>`, policy accept.
#[derive(Debug, Clone, Copy)]
pub struct Chain {
    /// Its name in the table.
    pub name: &'static str,
    /// What it may do.
    pub kind: ChainKind,
    /// Where packets meet it.
    pub hook: ChainHook,
    /// Its place among the chains of the hook; conntrack is at -200, `mangle` at -150, `dstnat` at -100.
    pub priority: i32,
}

/// What a chain may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainKind {
    /// Pass or drop, and set marks.
    Filter,
    /// Translate the first packet of a connection.
    Nat,
    /// Set marks that the packet is then routed by again.
    Route,
}

/// Where packets meet a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainHook {
    /// Whatever arrives, before it is routed.
    Prerouting,
    /// Whatever is sent from here.
    Output,
    /// Whatever arrives for here.
    Input,
}

/// What a rule asks of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Match {
    /// `iif <index>`.
    From(u32),
    /// `oif <index>`.
    To(u32),
    /// `meta mark <mark>`.
    Mark(u32),
    /// `ct mark <mark>`.
    ConnectionMark(u32),
    /// `ip saddr <address>` or `ip6 saddr <address>`.
    Source(IpAddr),
    /// `meta l4proto tcp`.
    Tcp,
    /// `tcp dport <port>`; implies nothing about the protocol, so [`Match::Tcp`] goes before it.
    Port(u16),
}

/// What a rule then does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `accept`.
    Accept,
    /// `drop`.
    Drop,
    /// `redirect to :<port>`.
    Redirect(u16),
    /// `ct mark set <mark>`.
    SetConnectionMark(u32),
    /// `meta mark set <mark>`.
    SetMark(u32),
}

/// A transaction under construction, for one table of the `inet` family.
#[derive(Debug)]
pub struct Batch {
    table: &'static str,
    messages: Vec<(String, NfTablesMessage, u16)>,
}

impl Batch {
    /// Starts a transaction that makes the table anew: whatever was in it goes in the same instant.
    pub fn replace(table: &'static str) -> Self {
        // Created first so that deleting cannot fail, as `nft` documents for scripts.
        Self::empty(table).new_table().delete_table().new_table()
    }

    /// Starts a transaction that removes the table, if it is there.
    pub fn remove(table: &'static str) -> Self {
        Self::empty(table).new_table().delete_table()
    }

    fn empty(table: &'static str) -> Self {
        Self { table, messages: Vec::new() }
    }

    fn new_table(mut self) -> Self {
        let attributes = vec![TableAttribute::Name(self.table.to_owned())];
        let message = NfTablesMessage::NewTable(TableMessage { attributes });
        self.messages.push((format!("make table {}", self.table), message, NLM_F_CREATE));
        self
    }

    fn delete_table(mut self) -> Self {
        let attributes = vec![TableAttribute::Name(self.table.to_owned())];
        let message = NfTablesMessage::DeleteTable(TableMessage { attributes });
        self.messages.push((format!("remove table {}", self.table), message, 0));
        self
    }

    /// Adds a base chain.
    pub fn chain(mut self, chain: Chain) -> Self {
        let hook = match chain.hook {
            ChainHook::Prerouting => InetHookNumber::PreRouting,
            ChainHook::Output => InetHookNumber::LocalOut,
            ChainHook::Input => InetHookNumber::LocalIn,
        };
        let kind = match chain.kind {
            ChainKind::Filter => "filter",
            ChainKind::Nat => "nat",
            ChainKind::Route => "route",
        };
        let attributes = vec![
            ChainAttribute::Table(self.table.to_owned()),
            ChainAttribute::Name(chain.name.to_owned()),
            ChainAttribute::Hook(vec![Hook::Number(hook.into()), Hook::Priority(chain.priority.cast_unsigned())]),
            ChainAttribute::Policy(NF_ACCEPT),
            ChainAttribute::Type(kind.to_owned()),
        ];
        let message = NfTablesMessage::NewChain(ChainMessage { attributes });
        self.messages.push((format!("make chain {}", chain.name), message, NLM_F_CREATE));
        self
    }

    /// Appends a rule to a chain of this table.
    pub fn rule(mut self, chain: &str, matches: &[Match], action: Action) -> Self {
        let mut expressions: Vec<ListAttribute<ExpressionAttribute>> = Vec::new();
        for condition in matches {
            expressions.extend(condition.expressions().into_iter().map(Into::into));
        }
        expressions.extend(action.expressions().into_iter().map(Into::into));
        let attributes = vec![
            RuleAttribute::Table(self.table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(expressions),
        ];
        let message = NfTablesMessage::NewRule(RuleMessage { attributes });
        let what = format!("add a rule to chain {chain}: {matches:?} {action:?}");
        self.messages.push((what, message, NLM_F_CREATE | NLM_F_APPEND));
        self
    }

    /// Sends the transaction in the calling thread's namespace and waits for the kernel's answer to each part.
    pub fn commit(self) -> io::Result<()> {
        let control = |message| {
            NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, NFNL_SUBSYS_NFTABLES), message)
        };
        let mut transmission = Transmission::default();
        transmission.push(control(ControlMessage::BatchBegin), 0, None);
        for (what, message, flags) in self.messages {
            let header = NetfilterHeader::new(NetfilterProtoFamily::Inet, 0, 0);
            transmission.push(NetfilterMessage::new(header, message), flags, Some(what));
        }
        transmission.push(control(ControlMessage::BatchEnd), 0, None);
        transmission.send(NETLINK_NETFILTER)
    }
}

impl Match {
    fn expressions(self) -> Vec<Expressions> {
        match self {
            Self::From(index) => vec![meta(MetaKey::Iif), equal(&index.to_ne_bytes())],
            Self::To(index) => vec![meta(MetaKey::Oif), equal(&index.to_ne_bytes())],
            Self::Mark(mark) => vec![meta(MetaKey::Mark), equal(&mark.to_ne_bytes())],
            Self::ConnectionMark(mark) => vec![connection_mark(NFTA_CT_DREG), equal(&mark.to_ne_bytes())],
            Self::Source(IpAddr::V4(address)) => vec![
                meta(MetaKey::Nfproto),
                equal(&[NFPROTO_IPV4]),
                payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                equal(&address.octets()),
            ],
            Self::Source(IpAddr::V6(address)) => vec![
                meta(MetaKey::Nfproto),
                equal(&[NFPROTO_IPV6]),
                payload(NFT_PAYLOAD_NETWORK_HEADER, 8, 16),
                equal(&address.octets()),
            ],
            Self::Tcp => vec![meta(MetaKey::L4Proto), equal(&[6])],
            Self::Port(port) => vec![payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2), equal(&port.to_be_bytes())],
        }
    }
}

impl Action {
    fn expressions(self) -> Vec<Expressions> {
        match self {
            Self::Accept => vec![verdict(NF_ACCEPT)],
            Self::Drop => vec![verdict(NF_DROP)],
            Self::Redirect(port) => vec![load(&port.to_be_bytes()), redirect()],
            Self::SetConnectionMark(mark) => vec![load(&mark.to_ne_bytes()), connection_mark(NFTA_CT_SREG)],
            Self::SetMark(mark) => vec![
                load(&mark.to_ne_bytes()),
                Expressions::Meta(vec![Meta::Key(MetaKey::Mark), Meta::SourceRegister(Register::Reg1)]),
            ],
        }
    }
}

fn meta(key: MetaKey) -> Expressions {
    Expressions::Meta(vec![Meta::Key(key), Meta::DestinationRegister(Register::Reg1)])
}

fn payload(base: u32, offset: u32, length: u32) -> Expressions {
    Expressions::Payload(vec![
        Payload::DestinationRegister(Register::Reg1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
}

fn equal(value: &[u8]) -> Expressions {
    Expressions::Cmp(vec![
        Cmp::SourceRegister(Register::Reg1),
        Cmp::Op(Operator::Equal),
        Cmp::Data(DataAttribute::Value(value.to_vec())),
    ])
}

fn load(value: &[u8]) -> Expressions {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Reg1),
        Immediate::Data(DataAttribute::Value(value.to_vec())),
    ])
}

fn verdict(code: u32) -> Expressions {
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(vec![VerdictAttribute::Code(Verdict::Other(code))])),
    ])
}

/// Reads or writes the connection's mark from or to register 1.
fn connection_mark(register_attribute: u16) -> Expressions {
    Expressions::Other {
        expression_type: "ct".to_owned(),
        attributes: vec![word(NFTA_CT_KEY, NFT_CT_MARK), word(register_attribute, NFT_REG_1)],
    }
}

/// Redirects to the port in register 1.
fn redirect() -> Expressions {
    Expressions::Other {
        expression_type: "redir".to_owned(),
        attributes: vec![
            word(NFTA_REDIR_REG_PROTO_MIN, NFT_REG_1),
            word(NFTA_REDIR_FLAGS, NF_NAT_RANGE_PROTO_SPECIFIED),
        ],
    }
}

fn word(kind: u16, value: u32) -> DefaultNla {
    DefaultNla::new(kind, value.to_be_bytes().to_vec())
}
