//! From a policy's fields and conditions to checks.

use crate::check::{Check, ClaimTest, HeaderTest, Repeated, Test};
use crate::path::PathPattern;
use crate::text::{Text, Texts};
use lictor_manifest::{Condition, Operation, Source};
use lictor_model::Cidr;
use std::fmt::Display;
use std::net::IpAddr;

/// Whether a rule that matches lets something through, or keeps it out (or only notes it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// ALLOW: what it cannot tell does not match.
    Permit,
    /// DENY, CUSTOM, AUDIT: what it cannot tell matches.
    Forbid,
}

/// What a policy's own texts are relative to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// The policy's namespace.
    pub(crate) namespace: &'a str,
    /// The mesh's trust domain, which the name `cluster.local` in a principal stands for.
    pub(crate) trust_domain: &'a str,
    /// What a match of the rule does.
    pub(crate) effect: Effect,
}

/// Istio's name for "the trust domain of this mesh" in a principal, whatever that is called.
///
/// Source: istio/istio, `pilot/pkg/security/trustdomain/bundle.go`.
const LOCAL_TRUST_DOMAIN: &str = "cluster.local";

/// What one attribute's values become, for either half of it.
type Parse<'a> = &'a dyn Fn(&[String], bool) -> Test;

impl Scope<'_> {
    /// The checks of `from[at].source`.
    pub(crate) fn source(&self, at: usize, source: &Source) -> Box<[Check]> {
        let Source {
            principals,
            not_principals,
            request_principals,
            not_request_principals,
            namespaces,
            not_namespaces,
            service_accounts,
            not_service_accounts,
            trust_domains,
            not_trust_domains,
            ip_blocks,
            not_ip_blocks,
            remote_ip_blocks,
            not_remote_ip_blocks,
        } = source;
        let mut checks = Vec::new();
        let mut add = |name: &str, values: &[String], not_values: &[String], parse: Parse<'_>| {
            let fields = [field("from", at, "source", name, false), field("from", at, "source", name, true)];
            checks.extend(pair(fields, values, not_values, parse));
        };
        add("principals", principals, not_principals, &|values, _| self.principal(values));
        add("requestPrincipals", request_principals, not_request_principals, &|values, _| request_principal(values));
        add("namespaces", namespaces, not_namespaces, &|values, _| Test::Namespace(texts(values)));
        add("serviceAccounts", service_accounts, not_service_accounts, &|values, _| self.service_account(values));
        add("trustDomains", trust_domains, not_trust_domains, &|values, _| Test::TrustDomain(texts(values)));
        let mut blocks = |name: &str, values: &[Cidr], not_values: &[Cidr], test: fn(Box<[Cidr]>) -> Test| {
            let fields = [field("from", at, "source", name, false), field("from", at, "source", name, true)];
            checks.extend(pair(fields, values, not_values, &|values, _| test(values.into())));
        };
        blocks("ipBlocks", ip_blocks, not_ip_blocks, Test::SourceIp);
        blocks("remoteIpBlocks", remote_ip_blocks, not_remote_ip_blocks, Test::RemoteIp);
        checks.into()
    }

    /// The checks of `to[at].operation`.
    pub(crate) fn operation(&self, at: usize, operation: &Operation) -> Box<[Check]> {
        let Operation { hosts, not_hosts, ports, not_ports, methods, not_methods, paths, not_paths } = operation;
        let fields = |name: &str| [field("to", at, "operation", name, false), field("to", at, "operation", name, true)];
        let mut checks = Vec::new();
        checks.extend(pair(fields("ports"), ports, not_ports, &|values, _| Test::DestinationPort(values.into())));
        checks.extend(pair(fields("methods"), methods, not_methods, &|values, _| Test::Method(texts(values))));
        checks.extend(pair(fields("hosts"), hosts, not_hosts, &|values, _| {
            Test::Host(values.iter().map(|value| Text::parse(value)).collect())
        }));
        checks.extend(pair(fields("paths"), paths, not_paths, &|values, negated| {
            let strict = self.permits(negated);
            Test::Path(values.iter().map(|value| PathPattern::parse(value, strict)).collect())
        }));
        checks.into()
    }

    /// The checks of `when[at]`.
    ///
    /// Source: istio.io, reference/config/security/conditions; istio/istio,
    /// `pilot/pkg/security/authz/model/model.go`.
    pub(crate) fn condition(&self, at: usize, condition: &Condition) -> Vec<Check> {
        let Condition { key, values, not_values } = condition;
        let fields = [format!("when[{at}].values"), format!("when[{at}].notValues")];
        pair(fields, values, not_values, &|values, negated| self.attribute(key, values, negated))
    }

    fn attribute(&self, key: &str, values: &[String], negated: bool) -> Test {
        let claim = |path: &[&str]| {
            let path: Box<[Box<str>]> = path.iter().map(|part| Box::from(*part)).collect();
            let spaced = matches!(&*path, [name] if matches!(&**name, "scope" | "permission"));
            Test::Claim(ClaimTest { path, texts: texts(values), spaced })
        };
        match key {
            "source.ip" => blocks(values).map_or(Test::Unknown, Test::SourceIp),
            "remote.ip" => blocks(values).map_or(Test::Unknown, Test::RemoteIp),
            "destination.ip" => blocks(values).map_or(Test::Unknown, Test::DestinationIp),
            "destination.port" => ports(values).map_or(Test::Unknown, Test::DestinationPort),
            "source.namespace" => Test::Namespace(texts(values)),
            "source.principal" => self.principal(values),
            "source.serviceAccount" => self.service_account(values),
            "source.trustDomain" => Test::TrustDomain(texts(values)),
            "request.auth.principal" => request_principal(values),
            "request.auth.audiences" => claim(&["aud"]),
            "request.auth.presenter" => claim(&["azp"]),
            "connection.sni" => Test::Sni(texts(values)),
            _ => {
                let repeated = if self.permits(negated) { Repeated::Joined } else { Repeated::Each };
                if let Some(name) = key.strip_prefix("request.headers").and_then(in_brackets) {
                    return header(name, values, repeated);
                }
                if let Some(name) = key.strip_prefix("request.experimental.inline.headers").and_then(in_brackets) {
                    return header(name, values, Repeated::Elements);
                }
                let path = key.strip_prefix("request.auth.claims").and_then(in_nested_brackets);
                path.map_or(Test::Unknown, |path| claim(&path))
            }
        }
    }

    /// Whether a match of this half of a field helps to let the request through.
    fn permits(&self, negated: bool) -> bool {
        (self.effect == Effect::Permit) != negated
    }

    fn principal(&self, values: &[String]) -> Test {
        let local = |value: &String| match value.strip_prefix(LOCAL_TRUST_DOMAIN) {
            Some(rest) if rest.starts_with('/') => format!("{}{rest}", self.trust_domain),
            _ => value.clone(),
        };
        let values: Vec<String> = values.iter().map(local).collect();
        Test::Principal(texts(&values))
    }

    fn service_account(&self, values: &[String]) -> Test {
        let parts = |value: &String| match value.split_once('/') {
            Some((namespace, account)) => (namespace.into(), account.into()),
            None => (self.namespace.into(), value.as_str().into()),
        };
        Test::ServiceAccount(values.iter().map(parts).collect())
    }
}

/// The checks of a field and its `not` form; a form without values checks nothing.
fn pair<T: Display>(
    [field, not_field]: [String; 2],
    values: &[T],
    not_values: &[T],
    parse: &dyn Fn(&[T], bool) -> Test,
) -> Vec<Check> {
    let check = |field: String, values: &[T], negated: bool| {
        let list = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let words = match (values.len() > 1, negated) {
            (false, false) => "",
            (false, true) => "not ",
            (true, false) => "one of ",
            (true, true) => "none of ",
        };
        let wanted = format!("{words}{list}").into();
        (!values.is_empty()).then(|| Check { field: field.into(), negated, test: parse(values, negated), wanted })
    };
    [check(field, values, false), check(not_field, not_values, true)].into_iter().flatten().collect()
}

/// `from[0].source.principals`, or its `not` form `from[0].source.notPrincipals`.
fn field(list: &str, at: usize, object: &str, name: &str, negated: bool) -> String {
    let mut letters = name.chars();
    match letters.next() {
        Some(first) if negated => {
            format!("{list}[{at}].{object}.not{}{}", first.to_ascii_uppercase(), letters.as_str())
        }
        _ => format!("{list}[{at}].{object}.{name}"),
    }
}

fn texts(values: &[String]) -> Texts {
    Texts::parse(values.iter().map(String::as_str))
}

fn header(name: &str, values: &[String], repeated: Repeated) -> Test {
    let present = values.iter().any(|value| value == "*");
    Test::Header(HeaderTest { name: name.to_ascii_lowercase().into(), present, texts: texts(values), repeated })
}

/// Splits `<issuer>/<subject>` at the last slash, since an issuer may be a URL.
///
/// Source: istio/istio, `pilot/pkg/security/authz/model/generator.go`, `requestPrincipalGenerator`.
fn request_principal(values: &[String]) -> Test {
    let exact = |text: &str| Text::Exact(text.into());
    let parts = |value: &String| match (value.rsplit_once('/'), value.as_str()) {
        (_, "*") => (Text::Present, Text::Present),
        (Some((issuer, subject)), value) if value.starts_with('*') => (Text::parse(issuer), exact(subject)),
        (Some((issuer, subject)), value) if value.ends_with('*') => (exact(issuer), Text::parse(subject)),
        (Some((issuer, subject)), _) => (exact(issuer), exact(subject)),
        (None, value) if value.starts_with('*') => (Text::Present, Text::parse(value)),
        (None, value) if value.ends_with('*') => (Text::parse(value), Text::Present),
        (None, value) => (exact(value), exact("")),
    };
    Test::RequestPrincipal(values.iter().map(parts).collect())
}

/// Addresses and address blocks; nothing if one of them is neither.
fn blocks(values: &[String]) -> Option<Box<[Cidr]>> {
    let block = |value: &String| value.parse().ok().or_else(|| value.parse::<IpAddr>().ok().map(Cidr::host));
    values.iter().map(block).collect()
}

fn ports(values: &[String]) -> Option<Box<[u16]>> {
    values.iter().map(|value| value.parse().ok()).collect()
}

/// `name` of `[name]`.
fn in_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())
}

/// The names of `[a][b][c]`.
fn in_nested_brackets(text: &str) -> Option<Vec<&str>> {
    let inner = in_brackets(text)?;
    Some(inner.split("][").collect())
}

#[cfg(test)]
mod tests;
