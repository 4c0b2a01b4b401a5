//! Ports, and what may be said on them.

use super::super::syntax::is_port_name;
use super::peers::name_or_pattern;
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{CiliumPorts, FullMatch, HttpRule, PortMatch, PortTerm, Said};
use lictor_model::{Direction, DomainPattern, PortRange, Protocol};
use std::sync::Arc;

/// At most so many ports of an item.
const MOST: usize = 40;

const ICMP: Protocol = Protocol::from_number(1);
const ICMPV6: Protocol = Protocol::from_number(58);

/// What becomes of a rule that asks for something that lictor does not do.
pub(super) fn consequence(denies: bool) -> &'static str {
    if denies {
        "lictor does not do this; the rule denies without it"
    } else {
        "lictor does not do this, so the rule allows nothing"
    }
}

/// An item of `toPorts`; a part that is not supported by its name.
pub(super) fn to_ports(
    record: &mut Record<'_>,
    direction: Direction,
    denies: bool,
) -> Option<Result<CiliumPorts, Arc<str>>> {
    let fields = record.items("ports");
    if fields.is_empty() {
        record.field.report(Code::MissingField, "expected at least one item in `ports`, found none");
    }
    if fields.len() > MOST {
        record.field.report(Code::InvalidPort, format!("expected at most {MOST} ports, found {}", fields.len()));
    }
    let ports: Vec<PortTerm> = fields.iter().flat_map(|field| field.attempt(port)).flatten().collect();
    if denies {
        return Some(Ok(CiliumPorts { ports, said: None }));
    }
    let mut unsupported = None;
    for key in ["terminatingTLS", "originatingTLS", "listener"] {
        if let Some(field) = record.get(key) {
            unsupported = Some(not_done(&field, key));
        }
    }
    let names: Vec<Field<'_>> = record.items("serverNames");
    let names: Vec<DomainPattern> = names.iter().filter_map(server_name).collect();
    let said = match record.get("rules") {
        None => None,
        Some(field) => match field.attempt(|record| rules(record, direction)) {
            Some(Ok(said)) => said,
            Some(Err(what)) => {
                unsupported = Some(what);
                None
            }
            None => return None,
        },
    };
    if said.is_some() && !names.is_empty() {
        record.field.report(Code::InvalidValue, "expected either `serverNames` or `rules`, found both");
    }
    let alone = match &said {
        Some(Said::Http(_)) => Some("`http`"),
        _ if !names.is_empty() => Some("`serverNames`"),
        _ => None,
    };
    if let Some(what) = alone.filter(|_| ports.iter().any(|term| term.protocol != Protocol::Tcp)) {
        record.field.report_with(
            Code::InvalidProtocol,
            format!("expected {what} on TCP only"),
            "write `protocol: TCP` at each port",
        );
    }
    if let Some(what) = unsupported {
        return Some(Err(what));
    }
    let said = said.or((!names.is_empty()).then_some(Said::ServerNames(names)));
    Some(Ok(CiliumPorts { ports, said: said.map(Arc::new) }))
}

fn not_done(field: &Field<'_>, key: &str) -> Arc<str> {
    field.context.report(
        Code::CiliumUnsupported,
        field.spot,
        format!("`{}`: {}", field.path, consequence(false)),
        None,
    );
    Arc::from(key)
}

/// The terms of one port: one for each protocol that it means.
fn port(record: &mut Record<'_>) -> Option<Vec<PortTerm>> {
    let protocols = match record.get("protocol") {
        None => Protocol::WITH_PORTS.to_vec(),
        Some(field) => {
            let text = field.text()?.to_ascii_uppercase();
            match text.as_str() {
                "" | "ANY" => Protocol::WITH_PORTS.to_vec(),
                "ICMP" => vec![ICMP],
                "ICMPV6" | "ICMP6" => vec![ICMPV6],
                "VRRP" => vec![Protocol::from_number(112)],
                "IGMP" => vec![Protocol::from_number(2)],
                other => match other.parse() {
                    Ok(protocol) => vec![protocol],
                    Err(_) => {
                        field.wrong(Code::InvalidProtocol, "TCP, UDP, SCTP, ICMP, ICMPv6 or ANY");
                        return None;
                    }
                },
            }
        }
    };
    let field = record.need("port")?;
    let last = record.get("endPort");
    let text = field.text()?;
    let lower = text.to_ascii_lowercase();
    if is_port_name(&lower) {
        if let Some(last) = last {
            last.report(Code::InvalidPort, "expected no `endPort` beside a port's name");
        }
        let named = |protocol| PortTerm { protocol, port: PortMatch::Named(Arc::from(&*lower)) };
        return Some(protocols.into_iter().map(named).collect());
    }
    let Some(first) = number(text) else {
        field.wrong(Code::InvalidPort, "a port from 0 to 65535 in quotes, or a port name");
        return None;
    };
    let end = match last.as_ref() {
        None => None,
        Some(last) => Some((last, last.integer(Code::InvalidPort, 0..=u16::MAX)?)),
    };
    let matched = match end.filter(|(_, end)| *end != 0) {
        // Port 0 is every port.
        None if first == 0 => PortMatch::Any,
        None => PortMatch::Range(PortRange::single(first)),
        Some((last, end)) => match PortRange::new(first, end) {
            Ok(range) => PortMatch::Range(range),
            Err(_) => {
                let message = format!("expected a number that is not below `port` {first}, found {end}");
                last.report(Code::InvalidPort, message);
                return None;
            }
        },
    };
    Some(protocols.into_iter().map(|protocol| PortTerm { protocol, port: matched.clone() }).collect())
}

/// A number as Go's `ParseUint` reads it with base 0.
fn number(text: &str) -> Option<u16> {
    let radix = |digits: &str, radix| u16::from_str_radix(digits, radix).ok();
    match text.get(..2) {
        Some("0x" | "0X") => radix(text.get(2..)?, 16),
        Some("0b" | "0B") => radix(text.get(2..)?, 2),
        Some("0o" | "0O") => radix(text.get(2..)?, 8),
        _ if text.len() > 1 && text.starts_with('0') => radix(text, 8),
        _ if text.starts_with('+') => None,
        _ => radix(text, 10),
    }
}

/// An item of `icmps`: types stand where ports do.
pub(super) fn icmp(record: &mut Record<'_>) -> Option<CiliumPorts> {
    let fields = record.items("fields");
    if fields.len() > MOST {
        record.field.report(Code::InvalidPort, format!("expected at most {MOST} types, found {}", fields.len()));
    }
    let ports = fields.iter().filter_map(|field| field.attempt(icmp_type)).collect();
    Some(CiliumPorts { ports, said: None })
}

fn icmp_type(record: &mut Record<'_>) -> Option<PortTerm> {
    let words = [("IPv4", ICMP), ("IPv6", ICMPV6)];
    let protocol = match record.get("family") {
        None => ICMP,
        Some(field) => field.word(Code::InvalidValue, &words)?,
    };
    let field = record.need("type")?;
    let names = if protocol == ICMP { TYPES } else { TYPES_V6 };
    let number = match field.node.as_str() {
        Some(text) => match number(text).filter(|number| *number < 256) {
            Some(number) => number,
            None => field.word(Code::InvalidValue, names)?,
        },
        None => field.integer(Code::InvalidValue, 0..=255_u16)?,
    };
    Some(PortTerm { protocol, port: PortMatch::Range(PortRange::single(number)) })
}

/// The names that Cilium has for the types of ICMP.
const TYPES: &[(&str, u16)] = &[
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEcho Request", 42),
    ("ExtendedEchoRequest", 42),
    ("ExtendedEcho Reply", 43),
    ("ExtendedEchoReply", 43),
];

/// And of ICMPv6.
const TYPES_V6: &[(&str, u16)] = &[
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
    ("HomeAgentAddressDiscoveryReply", 145),
    ("MobilePrefixSolicitation", 146),
    ("MobilePrefixAdvertisement", 147),
    ("DuplicateAddressRequestCodeSuffix", 157),
    ("DuplicateAddressConfirmationCodeSuffix", 158),
    ("ExtendedEchoRequest", 160),
    ("ExtendedEchoReply", 161),
];

/// `rules`: exactly one protocol, or none.
fn rules(record: &mut Record<'_>, direction: Direction) -> Option<Result<Option<Said>, Arc<str>>> {
    let (http, dns) = (record.get("http"), record.get("dns"));
    record.accept(&["l7"]);
    let others = ["kafka", "l7proto"].map(|key| record.get(key).map(|field| (key, field)));
    let found = usize::from(http.is_some()) + usize::from(dns.is_some()) + others.iter().flatten().count();
    if found > 1 {
        record.field.report(Code::InvalidValue, "expected rules of one protocol, found several");
        return None;
    }
    if let Some((key, field)) = others.iter().flatten().next() {
        return Some(Err(not_done(field, key)));
    }
    if let Some(field) = http {
        let mut all = Vec::new();
        for item in field.items() {
            match item.attempt(http_rule)? {
                Ok(rule) => all.push(rule),
                Err(what) => return Some(Err(what)),
            }
        }
        // Without an item nothing is said about requests.
        return Some(Ok((!all.is_empty()).then_some(Said::Http(all))));
    }
    let Some(field) = dns else { return Some(Ok(None)) };
    if direction == Direction::Ingress {
        field.report(Code::InvalidValue, "expected `dns` in an egress rule only");
        return None;
    }
    let names: Option<Vec<_>> = field.items().iter().map(|item| item.attempt(name_or_pattern)).collect();
    Some(Ok(names.filter(|names| !names.is_empty()).map(Said::Dns)))
}

fn http_rule(record: &mut Record<'_>) -> Option<Result<HttpRule, Arc<str>>> {
    let mut expression = |key| match record.get(key) {
        None => Some(None),
        Some(field) => match field.text()? {
            "" => Some(None),
            text => match FullMatch::new(text) {
                Ok(expression) => Some(Some(expression)),
                Err(reason) => {
                    field.wrong(Code::InvalidValue, &format!("a regular expression ({reason})"));
                    None
                }
            },
        },
    };
    let (method, path, host) = (expression("method")?, expression("path")?, expression("host")?);
    let mut headers: Vec<HeaderValue> = record.texts("headers").iter().map(|text| header(text)).collect();
    for field in record.items("headerMatches") {
        match field.attempt(header_match)? {
            Ok(Some(header)) => headers.push(header),
            Ok(None) => {}
            Err(what) => return Some(Err(what)),
        }
    }
    Some(Ok(HttpRule { method, path, host, headers }))
}

/// The name of a header, and its value if that counts.
type HeaderValue = (Arc<str>, Option<Arc<str>>);

/// `Name: value` or `Name`.
fn header(text: &str) -> HeaderValue {
    let (name, value) = match text.split_once(' ') {
        Some((name, value)) => (name.trim_end_matches(':'), Some(Arc::from(value))),
        None => (text, None),
    };
    (Arc::from(name.to_ascii_lowercase()), value)
}

/// A header that must be there; nothing for one whose mismatch is only to be logged.
fn header_match(record: &mut Record<'_>) -> Option<Result<Option<HeaderValue>, Arc<str>>> {
    let name = record.need("name")?.text()?.to_ascii_lowercase();
    let value = record.text("value").filter(|value| !value.is_empty()).map(Arc::from);
    if let Some(field) = record.get("secret") {
        record.accept_rest();
        return Some(Err(not_done(&field, "secret")));
    }
    let Some(field) = record.get("mismatch") else { return Some(Ok(Some((Arc::from(name), value)))) };
    match field.text()? {
        "" => Some(Ok(Some((Arc::from(name), value)))),
        "LOG" => Some(Ok(None)),
        "ADD" | "DELETE" | "REPLACE" => Some(Err(not_done(&field, "mismatch"))),
        _ => {
            field.wrong(Code::InvalidValue, "LOG, ADD, DELETE or REPLACE");
            None
        }
    }
}

fn server_name(field: &Field<'_>) -> Option<DomainPattern> {
    let name = field.text()?.parse().ok();
    if name.is_none() {
        field.wrong(Code::InvalidValue, "a server name such as example.com or *.example.com");
    }
    name
}
