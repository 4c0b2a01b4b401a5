//! What a connection is used for, against what policies let it be used for.

use lictor_manifest::{HttpRule, Said};
use lictor_model::{Http, Protocol};
use std::fmt;

/// Why a connection is denied that may be used for some things only.
pub const UNSEEN: &str = "a rule allows some uses of it only, and no proxy sees how it is used";

/// What is asked about a connection beyond its ends.
#[derive(Debug, Clone, Copy)]
pub enum Asked<'a> {
    /// Whether it may be opened at all.
    Connection,
    /// An HTTP request on it.
    Http(Http<'a>),
    /// A DNS question for a name on it.
    Dns(&'a str),
    /// TLS for a server name on it; empty when the client names none.
    ServerName(&'a str),
}

impl fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connection => f.write_str("the connection"),
            Self::Http(http) => write!(f, "{} {}", http.method, http.path),
            Self::Dns(name) => write!(f, "DNS for {name}"),
            Self::ServerName(name) => write!(f, "TLS for {name}"),
        }
    }
}

/// Whether something limits connections where that can be seen to: questions for names at the cluster's DNS, anything
/// else where the proxy captures the connection.
pub(crate) fn is_seen(said: &Said, resolver: bool, proxied: bool) -> bool {
    if matches!(said, Said::Dns(_)) { resolver } else { proxied }
}

/// Whether the endpoint's proxy captures connections of a protocol.
pub(crate) fn is_proxied(enrolled: bool, protocol: Protocol) -> bool {
    enrolled && protocol == Protocol::Tcp
}

/// Whether what is asked is among what may be said. Opening a connection is: something may be said on it.
pub fn may_say(said: &Said, asked: &Asked<'_>) -> bool {
    match (said, asked) {
        (_, Asked::Connection) => true,
        (Said::Http(rules), Asked::Http(http)) => rules.iter().any(|rule| is_request(rule, http)),
        (Said::Dns(names), Asked::Dns(name)) => names.iter().any(|pattern| pattern.matches(name)),
        (Said::ServerNames(names), Asked::ServerName(name)) => names.iter().any(|pattern| pattern.matches(name)),
        _ => false,
    }
}

/// Whether each field that the rule has matches.
///
/// Source: Cilium, `pkg/policy/api/http.go`: expressions match the whole method, `:path` and host; a header is compared
/// with its exact value.
fn is_request(rule: &HttpRule, http: &Http<'_>) -> bool {
    let headers = |name: &str, value: Option<&str>| {
        // A repeated header counts as one, its values joined, as Envoy compares it.
        let sent: Vec<&str> = http.headers.iter().filter(|(sent, _)| *sent == name).map(|(_, value)| *value).collect();
        !sent.is_empty() && value.is_none_or(|value| sent.join(",") == value)
    };
    rule.method.as_ref().is_none_or(|method| method.matches(http.method))
        && rule.path.as_ref().is_none_or(|path| path.matches(http.path))
        && rule.host.as_ref().is_none_or(|host| host.matches(http.host))
        && rule.headers.iter().all(|(name, value)| headers(name, value.as_deref()))
}
