//! The smallest part of a rule: one field, or one half (`values`, `notValues`) of a condition.

use crate::facts::{Facts, is_service_account};
use crate::path::PathPattern;
use crate::text::{Text, Texts};
use lictor_model::Cidr;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// A field of a rule: one of its values must match, or, in a `not` form, none may.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Check {
    /// Where it stands within its rule, such as `from[0].source.principals`.
    pub(crate) field: Box<str>,
    /// Whether it is a `not` form.
    pub(crate) negated: bool,
    /// What the values are compared with.
    pub(crate) test: Test,
    /// The values, in a reader's words.
    pub(crate) wanted: Arc<str>,
}

/// What a field's values are compared with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Test {
    Principal(Texts),
    Namespace(Texts),
    TrustDomain(Texts),
    /// Namespace and name.
    ServiceAccount(Box<[(Box<str>, Box<str>)]>),
    SourceIp(Box<[Cidr]>),
    RemoteIp(Box<[Cidr]>),
    DestinationIp(Box<[Cidr]>),
    DestinationPort(Box<[u16]>),
    Sni(Texts),
    Host(Box<[Text]>),
    Method(Texts),
    Path(Box<[PathPattern]>),
    Header(HeaderTest),
    /// Patterns on the `iss` and `sub` claims.
    RequestPrincipal(Box<[(Text, Text)]>),
    Claim(ClaimTest),
    /// An attribute that lictor never knows the value of.
    Unknown,
}

/// A request header.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HeaderTest {
    /// Its name in lower case.
    pub(crate) name: Box<str>,
    /// Whether its mere presence is enough (`*`).
    pub(crate) present: bool,
    /// The other values.
    pub(crate) texts: Texts,
    /// How the values of a repeated header are read.
    pub(crate) repeated: Repeated,
}

/// How the values of a repeated header are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeated {
    /// Joined by commas, as Envoy does: a rule that lets something through is not met by one of several.
    Joined,
    /// Joined, and each alone: a rule that keeps something out is not evaded by sending the header twice.
    Each,
    /// Each comma-separated element alone (`request.experimental.inline.headers`).
    Elements,
}

/// A claim of the request's token.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ClaimTest {
    /// Its path through nested objects.
    pub(crate) path: Box<[Box<str>]>,
    /// The values.
    pub(crate) texts: Texts,
    /// Whether a text is a list separated by spaces.
    ///
    /// Source: istio/istio, `pilot/pkg/security/authn/policy_applier.go`: `scope` and `permission` are.
    pub(crate) spaced: bool,
}

impl Check {
    /// Whether the request meets it.
    pub(crate) fn holds(&self, facts: &Facts<'_>) -> bool {
        self.test.matches(facts) != self.negated
    }
}

impl Test {
    /// Whether only the server name within TLS can answer it.
    pub(crate) fn needs_sni(&self) -> bool {
        matches!(self, Self::Sni(_))
    }

    /// Whether only an HTTP request can answer it.
    ///
    /// Source: istio/istio, `pilot/pkg/security/authz/model/generator.go` ("is HTTP only").
    pub(crate) fn needs_http(&self) -> bool {
        match self {
            Self::Host(_) | Self::Method(_) | Self::Path(_) | Self::Header(_) => true,
            Self::RequestPrincipal(_) | Self::Claim(_) => true,
            Self::Principal(_) | Self::Namespace(_) | Self::TrustDomain(_) | Self::ServiceAccount(_) => false,
            Self::SourceIp(_) | Self::RemoteIp(_) | Self::DestinationIp(_) | Self::DestinationPort(_) => false,
            Self::Sni(_) | Self::Unknown => false,
        }
    }

    /// Whether only a verified token can answer it.
    pub(crate) fn needs_token(&self) -> bool {
        matches!(self, Self::RequestPrincipal(_) | Self::Claim(_))
    }

    fn matches(&self, facts: &Facts<'_>) -> bool {
        let request = facts.request;
        let http = request.http.as_ref();
        let within = |blocks: &[Cidr], address: IpAddr| blocks.iter().any(|block| block.contains(address));
        match self {
            Self::Principal(texts) => facts.principal().is_some_and(|principal| texts.matches(principal)),
            Self::Namespace(texts) => facts.namespace().is_some_and(|namespace| texts.matches(namespace)),
            Self::TrustDomain(texts) => request.principal.is_some_and(|id| texts.matches(id.trust_domain_str())),
            Self::ServiceAccount(accounts) => request.principal.is_some_and(|id| {
                accounts.iter().any(|(namespace, account)| is_service_account(id, namespace, account))
            }),
            Self::SourceIp(blocks) => within(blocks, request.source_ip),
            Self::RemoteIp(blocks) => within(blocks, request.remote_ip),
            Self::DestinationIp(blocks) => within(blocks, request.destination_ip),
            Self::DestinationPort(ports) => ports.contains(&request.destination_port),
            Self::Sni(texts) => request.sni.is_some_and(|sni| texts.matches(sni)),
            Self::Host(texts) => {
                http.is_some_and(|http| texts.iter().any(|text| text.matches_ignoring_case(http.host)))
            }
            Self::Method(texts) => http.is_some_and(|http| texts.matches(http.method)),
            Self::Path(patterns) => facts.path().is_some_and(|path| patterns.iter().any(|one| one.matches(path))),
            Self::Header(header) => header.matches(facts),
            Self::RequestPrincipal(patterns) => {
                let (Some(iss), Some(sub)) = (facts.claim_text("iss"), facts.claim_text("sub")) else { return false };
                patterns.iter().any(|(issuer, subject)| issuer.matches(iss) && subject.matches(sub))
            }
            Self::Claim(claim) => facts.claim(&claim.path).is_some_and(|value| claim.matches(value)),
            Self::Unknown => false,
        }
    }

    /// What the request has in this field, in a reader's words.
    pub(crate) fn seen(&self, facts: &Facts<'_>) -> Arc<str> {
        let request = facts.request;
        let identity = || Arc::from("no identity (plaintext)");
        let text = |value: Option<&str>, absent: &str| Arc::from(value.unwrap_or(absent));
        if self.needs_http() && request.http.is_none() {
            return Arc::from("a connection that is not HTTP");
        }
        match self {
            Self::Principal(_) | Self::ServiceAccount(_) => facts.principal().map_or_else(identity, Arc::from),
            Self::Namespace(_) => facts.namespace().map_or_else(identity, Arc::from),
            Self::TrustDomain(_) => request.principal.map_or_else(identity, |id| Arc::from(id.trust_domain_str())),
            Self::SourceIp(_) => request.source_ip.to_string().into(),
            Self::RemoteIp(_) => request.remote_ip.to_string().into(),
            Self::DestinationIp(_) => request.destination_ip.to_string().into(),
            Self::DestinationPort(_) => request.destination_port.to_string().into(),
            Self::Sni(_) => text(request.sni, "no server name"),
            Self::Host(_) => text(request.http.as_ref().map(|http| http.host), ""),
            Self::Method(_) => text(request.http.as_ref().map(|http| http.method), ""),
            Self::Path(_) => text(facts.path(), ""),
            Self::Header(header) => text(facts.header(&header.name).as_deref(), "no such header"),
            Self::RequestPrincipal(_) => match (facts.claim_text("iss"), facts.claim_text("sub")) {
                (Some(iss), Some(sub)) => format!("{iss}/{sub}").into(),
                _ => Arc::from("no verified token"),
            },
            Self::Claim(_) if request.claims.is_none() => Arc::from("no verified token"),
            Self::Claim(claim) => match facts.claim(&claim.path) {
                Some(Value::String(value)) => Arc::from(value.as_str()),
                Some(value) => value.to_string().into(),
                None => Arc::from("no such claim"),
            },
            Self::Unknown => Arc::from("an attribute that is not known here"),
        }
    }
}

impl HeaderTest {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let one = |value: &str| self.texts.matches(value);
        match self.repeated {
            Repeated::Elements => facts
                .header_values(&self.name)
                .flat_map(|value| value.split(','))
                .any(|element| self.present || one(element.trim_matches([' ', '\t']))),
            Repeated::Each if facts.header_values(&self.name).any(one) => true,
            Repeated::Joined | Repeated::Each => {
                facts.header(&self.name).is_some_and(|joined| self.present || one(&joined))
            }
        }
    }
}

impl ClaimTest {
    fn matches(&self, value: &Value) -> bool {
        match value {
            Value::String(text) if self.spaced => text.split(' ').any(|word| self.texts.matches(word)),
            Value::String(text) => self.texts.matches(text),
            Value::Array(items) => items.iter().filter_map(Value::as_str).any(|item| self.texts.matches(item)),
            _ => false,
        }
    }
}
