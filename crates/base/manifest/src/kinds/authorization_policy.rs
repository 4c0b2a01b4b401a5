//! `security.istio.io` AuthorizationPolicy.

use crate::Meta;
use lictor_model::{Cidr, Selector};

/// Who may do what to the selected workloads.
///
/// Source: istio/api, `security/v1beta1/authorization_policy.proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationPolicy {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// The workloads; nothing means the whole namespace, or the whole mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Whether it is attached by `targetRef(s)` to something that the lab has none of (a Gateway, a Service).
    pub has_target_refs: bool,
    /// What a match does.
    pub action: Action,
    /// The rules; one match is a match. Without any, an ALLOW policy allows nothing, and a DENY policy nothing denies.
    pub rules: Vec<AuthorizationRule>,
    /// Whether `istio.io/dry-run: "true"` makes it a record only.
    pub dry_run: bool,
}

/// What a matching policy does.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Allow, once any ALLOW policy applies nothing else is.
    Allow,
    /// Deny, before any ALLOW is asked.
    Deny,
    /// Record.
    Audit,
    /// Ask an external provider, by name.
    Custom(String),
}

/// A rule: a source, an operation and every condition must match; an empty list matches anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuthorizationRule {
    /// `from`: one of these must match.
    pub from: Vec<Source>,
    /// `to`: one of these must match.
    pub to: Vec<Operation>,
    /// `when`: all of these must match.
    pub when: Vec<Condition>,
}

/// A source: all of its fields must match; each field matches by one of its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // The names are the API's own; each has its `not` form beside it.
pub struct Source {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
    pub ip_blocks: Vec<Cidr>,
    pub not_ip_blocks: Vec<Cidr>,
    pub remote_ip_blocks: Vec<Cidr>,
    pub not_remote_ip_blocks: Vec<Cidr>,
}

/// An operation: all of its fields must match; each field matches by one of its values.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // The names are the API's own; each has its `not` form beside it.
pub struct Operation {
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub ports: Vec<u16>,
    pub not_ports: Vec<u16>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

/// A condition on an attribute such as `request.headers[x-token]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Condition {
    /// The attribute.
    pub key: String,
    /// One of these must match, unless empty.
    pub values: Vec<String>,
    /// None of these may match.
    pub not_values: Vec<String>,
}
