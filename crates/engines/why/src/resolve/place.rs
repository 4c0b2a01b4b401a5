//! The grammar of one end: `[namespace/][kind/]name[:port[/protocol]]`, an address, or a cluster DNS name.

use super::unclear::Unclear;
use super::workload_kind;
use lictor_manifest::WorkloadKind;
use lictor_model::{Name, Protocol};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// An end's words, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The part before the port.
    pub name: String,
    /// That part as an address.
    pub address: Option<IpAddr>,
    /// The port.
    pub port: Option<PortWord>,
    /// The protocol behind the port.
    pub protocol: Option<Protocol>,
}

/// A port as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PortWord {
    Number(u16),
    Name(String),
}

impl fmt::Display for PortWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(port) => port.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A kind written before a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Pod,
    Service,
    Workload(WorkloadKind),
}

/// A reading of a place's name.
pub(super) struct Reading {
    pub name: Name,
    pub kind: Option<Kind>,
}

impl Place {
    pub(super) fn read(text: &str) -> Result<Self, Unclear> {
        let empty = || Unclear::Empty;
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self { name: text.to_owned(), address: Some(address), port: None, protocol: None });
        }
        let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((inside, rest)) => {
                inside.parse::<Ipv6Addr>().map_err(|_| Unclear::NotAnAddress { text: inside.to_owned() })?;
                (inside, rest.strip_prefix(':'))
            }
            None => match text.rsplit_once(':') {
                Some((name, port)) => (name, Some(port)),
                None => (text, None),
            },
        };
        if name.is_empty() || name.split('/').any(str::is_empty) {
            return Err(empty());
        }
        let (port, protocol) = match port {
            None => (None, None),
            Some(port) => {
                let (port, protocol) = match port.split_once('/') {
                    Some((port, word)) => (port, Some(protocol(word)?)),
                    None => (port, None),
                };
                (Some(port_word(port)?), protocol)
            }
        };
        Ok(Self { name: name.to_owned(), address: name.parse().ok(), port, protocol })
    }

    /// The readings of the name, the likeliest first.
    pub(super) fn names(&self, default_namespace: &str, is_namespace: impl Fn(&str) -> bool) -> Vec<Reading> {
        let reading = |namespace: &str, kind, name: &str| Reading { name: Name::new(namespace, name), kind };
        let parts: Vec<&str> = self.name.split('/').collect();
        match parts.as_slice() {
            [name] => {
                let mut readings = vec![reading(default_namespace, None, name)];
                if let Some((service, namespace)) = dns_name(name) {
                    readings.push(reading(namespace, Some(Kind::Service), service));
                }
                readings
            }
            [first, name] => {
                let mut readings = Vec::new();
                if let Some(kind) = kind(first) {
                    readings.push(reading(default_namespace, Some(kind), name));
                }
                let at = if is_namespace(first) { 0 } else { readings.len() };
                readings.insert(at, reading(first, None, name));
                readings
            }
            [namespace, word, name] => {
                kind(word).map(|kind| reading(namespace, Some(kind), name)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The name as `namespace/name`, for a message.
    pub(super) fn full_name(&self, default_namespace: &str) -> Name {
        match dns_name(&self.name) {
            Some((service, namespace)) if !self.name.contains('/') => Name::new(namespace, service),
            _ => Name::parse(&self.name, default_namespace),
        }
    }
}

fn kind(word: &str) -> Option<Kind> {
    match word {
        "po" | "pod" | "pods" => Some(Kind::Pod),
        "svc" | "service" | "services" => Some(Kind::Service),
        word => workload_kind(word).map(Kind::Workload),
    }
}

/// `service.namespace`, `service.namespace.svc`, `service.namespace.svc.<cluster domain>`.
fn dns_name(text: &str) -> Option<(&str, &str)> {
    let (service, rest) = text.trim_end_matches('.').split_once('.')?;
    let (namespace, rest) = rest.split_once('.').unwrap_or((rest, "svc"));
    let is_service = rest == "svc" || rest.starts_with("svc.");
    (is_service && !service.is_empty() && !namespace.is_empty()).then_some((service, namespace))
}

fn port_word(text: &str) -> Result<PortWord, Unclear> {
    let refused = || Unclear::NotAPort { text: text.to_owned() };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse() {
            Ok(port) if port > 0 => Ok(PortWord::Number(port)),
            _ => Err(refused()),
        };
    }
    // IANA_SVC_NAME, as Kubernetes checks port names.
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.len() <= 63 && text.bytes().all(allowed) { Ok(PortWord::Name(text.to_owned())) } else { Err(refused()) }
}

fn protocol(word: &str) -> Result<Protocol, Unclear> {
    word.to_ascii_uppercase().parse().map_err(|_| Unclear::NotAProtocol { text: word.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{Place, PortWord};
    use lictor_model::Protocol;

    #[test]
    fn ends_are_taken_apart() {
        let read = |text: &str| {
            let place = Place::read(text).expect("a place");
            (place.name, place.address.is_some(), place.port.map(|port| port.to_string()), place.protocol)
        };
        let place = |name: &str, address, port: &str, protocol| {
            (name.to_owned(), address, (!port.is_empty()).then(|| port.to_owned()), protocol)
        };
        assert_eq!(read("production/db:5432"), place("production/db", false, "5432", None));
        assert_eq!(read("production/db:postgres/tcp"), place("production/db", false, "postgres", Some(Protocol::Tcp)));
        assert_eq!(read("db"), place("db", false, "", None));
        assert_eq!(read("10.0.0.1:53/UDP"), place("10.0.0.1", true, "53", Some(Protocol::Udp)));
        assert_eq!(read("2001:db8::1"), place("2001:db8::1", true, "", None));
        assert_eq!(read("[2001:db8::1]:443"), place("2001:db8::1", true, "443", None));
        assert_eq!(Place::read("a:0").map(|place| place.port), Err(super::Unclear::NotAPort { text: "0".to_owned() }));
        assert_ne!(Place::read("a:80").map(|place| place.port), Ok(Some(PortWord::Name("80".to_owned()))));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ":80", "a:", "a:99999", "a:Http", "/a", "a//b", "[x]:80", "a:80/ICMP", "a:80/"] {
            assert!(Place::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_cluster_dns_name_is_a_service() {
        for text in [
            "db.production",
            "db.production.svc",
            "db.production.svc.cluster.local",
            "db.production.svc.cluster.local.",
        ] {
            assert_eq!(Place::read(text).expect("a place").full_name("default").to_string(), "production/db");
        }
        assert_eq!(Place::read("db").expect("a place").full_name("default").to_string(), "default/db");
    }
}
