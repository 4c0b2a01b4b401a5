//! A policy, prepared for matching.

use crate::attribute::{Effect, Scope};
use crate::check::{Check, Test};
use crate::facts::Facts;
use lictor_manifest::{Action, AuthorizationPolicy, AuthorizationRule};
use lictor_model::{PolicyKind, PolicyRef};
use std::sync::Arc;

/// What the enforcement points can find out for a policy, beyond the connection and the request themselves.
///
/// A policy that needs what is missing is refused, and a refused policy never widens access: an ALLOW matches
/// nothing and isolates all the same, a DENY or CUSTOM denies everything that its other fields select.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities {
    /// Tokens are verified: `requestPrincipals` and `request.auth.*` can be answered.
    pub tokens: bool,
    /// External providers are asked: CUSTOM works.
    pub custom: bool,
}

impl Capabilities {
    /// Everything, for an evaluation whose requests carry claims and answers as data.
    pub const ALL: Self = Self { tokens: true, custom: true };
}

/// Why a policy is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// It needs verified tokens.
    NeedsToken,
    /// It asks an external provider.
    NeedsProvider,
}

/// A policy, prepared for matching.
#[derive(Debug, PartialEq)]
pub(crate) struct Policy {
    /// The policy as a whole.
    pub(crate) reference: PolicyRef,
    pub(crate) action: Action,
    pub(crate) dry_run: bool,
    pub(crate) refused: Option<Refusal>,
    pub(crate) rules: Box<[Rule]>,
}

/// One rule: a source, an operation and every condition must match; an empty list matches anything.
#[derive(Debug, PartialEq)]
pub(crate) struct Rule {
    /// The policy at `spec.rules[n]`.
    pub(crate) reference: PolicyRef,
    pub(crate) effect: Effect,
    pub(crate) from: Box<[Box<[Check]>]>,
    pub(crate) to: Box<[Box<[Check]>]>,
    pub(crate) when: Box<[Check]>,
    has_http: bool,
    tokens: bool,
}

/// What a rule makes of a check for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// It is compared.
    Compared,
    /// It counts as met: it cannot be answered, and the rule keeps out.
    Met,
    /// It counts as not met: it cannot be answered, and the rule lets through.
    Unmet,
}

impl Policy {
    /// Prepares a policy for a mesh with this trust domain.
    pub(crate) fn prepare(policy: &AuthorizationPolicy, trust_domain: &str, capabilities: Capabilities) -> Self {
        let effect = match policy.action {
            Action::Allow => Effect::Permit,
            Action::Deny | Action::Audit | Action::Custom(_) => Effect::Forbid,
        };
        let reference = PolicyRef::whole(PolicyKind::AuthorizationPolicy, policy.meta.name.clone());
        let scope = Scope { namespace: &policy.meta.name.namespace, trust_domain, effect };
        let rules: Box<[Rule]> = policy
            .rules
            .iter()
            .enumerate()
            .map(|(at, rule)| {
                Rule::prepare(rule, reference.at(format!("spec.rules[{at}]")), scope, capabilities.tokens)
            })
            .collect();
        let asks = matches!(policy.action, Action::Custom(_)) && !capabilities.custom;
        let needs =
            !capabilities.tokens && rules.iter().any(|rule| rule.checks().any(|check| check.test.needs_token()));
        let refused = if asks { Some(Refusal::NeedsProvider) } else { needs.then_some(Refusal::NeedsToken) };
        Self { reference, action: policy.action.clone(), dry_run: policy.dry_run, refused, rules }
    }

    /// The first rule that matches.
    pub(crate) fn matching_rule(&self, facts: &Facts<'_>) -> Option<&Rule> {
        if self.refused.is_some() && self.action == Action::Allow {
            return None;
        }
        self.rules.iter().find(|rule| rule.matches(facts))
    }

    /// Whether a rule that could apply to connections to this port speaks of HTTP.
    pub(crate) fn needs_http(&self, port: u16) -> bool {
        self.rules.iter().any(|rule| rule.has_http && rule.applies_to_port(port))
    }

    /// Whether a rule that could apply to connections to this port speaks of the server name within TLS.
    pub(crate) fn needs_sni(&self, port: u16) -> bool {
        self.rules.iter().any(|rule| rule.checks().any(|check| check.test.needs_sni()) && rule.applies_to_port(port))
    }
}

impl Rule {
    fn prepare(rule: &AuthorizationRule, reference: PolicyRef, scope: Scope<'_>, tokens: bool) -> Self {
        let from: Box<[_]> = rule.from.iter().enumerate().map(|(at, source)| scope.source(at, source)).collect();
        let to: Box<[_]> = rule.to.iter().enumerate().map(|(at, operation)| scope.operation(at, operation)).collect();
        let when: Box<[_]> = rule.when.iter().enumerate().flat_map(|(at, one)| scope.condition(at, one)).collect();
        let mut prepared = Self { reference, effect: scope.effect, from, to, when, has_http: false, tokens };
        let has_http = prepared.http_checks().next().is_some();
        prepared.has_http = has_http;
        prepared
    }

    /// Every check of the rule.
    pub(crate) fn checks(&self) -> impl Iterator<Item = &Check> {
        self.from.iter().chain(&self.to).flat_map(|alternative| alternative.iter()).chain(&self.when)
    }

    /// The checks that speak of HTTP.
    pub(crate) fn http_checks(&self) -> impl Iterator<Item = &Check> {
        self.checks().filter(|check| check.test.needs_http())
    }

    /// Whether the rule matches.
    ///
    /// On a connection that is not HTTP, an ALLOW rule with any HTTP field does not, wherever the field stands;
    /// a DENY rule matches by its other fields alone.
    ///
    /// Source: istio.io, tasks/security/authorization/authz-tcp; istio/istio,
    /// `pilot/pkg/security/authz/model/model.go`, `checkError`.
    pub(crate) fn matches(&self, facts: &Facts<'_>) -> bool {
        let holds = |check: &Check| match self.reading(check, facts) {
            Reading::Compared => check.holds(facts),
            Reading::Met => true,
            Reading::Unmet => false,
        };
        let one_of = |list: &[Box<[Check]>]| list.is_empty() || list.iter().any(|checks| checks.iter().all(holds));
        !self.is_void(facts) && one_of(&self.from) && one_of(&self.to) && self.when.iter().all(holds)
    }

    /// Whether the rule lets something through only for HTTP requests, and this is none.
    pub(crate) fn is_void(&self, facts: &Facts<'_>) -> bool {
        self.effect == Effect::Permit && self.has_http && facts.request.http.is_none()
    }

    /// What the rule makes of one of its checks.
    pub(crate) fn reading(&self, check: &Check, facts: &Facts<'_>) -> Reading {
        let unanswered = check.test == Test::Unknown
            || (check.test.needs_http() && facts.request.http.is_none())
            || (check.test.needs_token() && !self.tokens);
        match (unanswered, self.effect) {
            (false, _) => Reading::Compared,
            (true, Effect::Forbid) => Reading::Met,
            (true, Effect::Permit) => Reading::Unmet,
        }
    }

    /// Whether its port fields let it apply to a port.
    pub(crate) fn applies_to_port(&self, port: u16) -> bool {
        let allows = |check: &Check| match &check.test {
            Test::DestinationPort(ports) => ports.contains(&port) != check.negated,
            _ => true,
        };
        (self.to.is_empty() || self.to.iter().any(|checks| checks.iter().all(allows))) && self.when.iter().all(allows)
    }
}

/// A prepared policy, shared by the workloads that it selects.
pub(crate) type Shared = Arc<Policy>;
