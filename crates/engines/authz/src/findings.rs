//! What a snapshot's policies make worth saying.

use crate::app_protocol::AppProtocol;
use crate::check::{Check, Test};
use crate::policy::{Refusal, Rule};
use crate::program::{PolicyState, PolicyStatus, Prepared, applies, peer_authentication};
use crate::transport::{Scopes, selects};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{Action, AuthorizationPolicy, Code, Finding, PeerAuthentication};
use lictor_model::{Name, Protocol};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Findings about AuthorizationPolicies.
pub(crate) fn authorization(snapshot: &Snapshot, prepared: &[Prepared<'_>], status: &[PolicyStatus]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (one, status) in prepared.iter().zip(status) {
        let policy = one.source;
        match status.state {
            PolicyState::AttachedElsewhere => findings.push(attached(policy)),
            PolicyState::Refused(refusal) => findings.push(refused(one, refusal)),
            PolicyState::Enforced | PolicyState::FailsClosed(_) | PolicyState::DryRun | PolicyState::Ineffective => {}
        }
        if status.pods == 0 && status.state != PolicyState::AttachedElsewhere {
            findings.push(selects_nothing(&policy.meta.name, &policy.meta, "AuthorizationPolicy"));
        }
        for rule in &one.policy.rules {
            findings.extend(http_on_other_port(snapshot, one, rule));
            findings.extend(never_matching(one, rule));
        }
    }
    findings
}

fn attached(policy: &AuthorizationPolicy) -> Finding {
    let message = format!(
        "AuthorizationPolicy {} is attached by targetRef to a Gateway or Service, which have no enforcement point here",
        policy.meta.name
    );
    Finding::new(Code::AttachedElsewhere, policy.meta.origin.position("spec"), message)
        .with_hint("name the workloads by `selector` to have it enforced at them")
}

fn refused(one: &Prepared<'_>, refusal: Refusal) -> Finding {
    let (policy, name) = (one.source, &one.source.meta.name);
    let effect = match policy.action {
        Action::Allow => "until then it allows nothing, and what it selects stays isolated",
        Action::Deny | Action::Custom(_) => "until then it denies everything that its other fields select",
        Action::Audit => "until then it records everything that its other fields select",
    };
    let (code, path, what) = match refusal {
        Refusal::NeedsProvider => {
            (Code::NeedsProvider, "spec.action".to_owned(), "asks an external provider, and none can be asked")
        }
        Refusal::NeedsToken => {
            let rules = one.policy.rules.iter();
            let mut checks = rules.flat_map(|rule| rule.checks().map(move |check| (rule, check)));
            let first = checks.find(|(_, check)| check.test.needs_token());
            let path = first.map(|(rule, check)| format!("{}.{}", rule.reference.path, check.field));
            (Code::NeedsToken, path.unwrap_or_default(), "needs verified tokens, and none are verified")
        }
    };
    let message = format!("AuthorizationPolicy {name} is refused: it {what} yet; {effect}");
    Finding::new(code, policy.meta.origin.position(&path), message)
}

fn selects_nothing(name: &Name, meta: &lictor_manifest::Meta, kind: &str) -> Finding {
    let message = format!("{kind} {name} applies to no pod that is in the mesh");
    Finding::new(Code::PolicySelectsNothing, meta.origin.position("spec.selector"), message)
}

/// One finding a rule: the declared ports that are known not to be HTTP and that the rule could apply to.
fn http_on_other_port(snapshot: &Snapshot, one: &Prepared<'_>, rule: &Rule) -> Option<Finding> {
    let check = rule.http_checks().next()?;
    let pods = snapshot.pods.values().filter(|pod| applies(snapshot, pod, one.source));
    let others: BTreeSet<String> = pods.flat_map(|pod| other_ports(snapshot, pod, rule)).collect();
    if others.is_empty() {
        return None;
    }
    let list = others.into_iter().collect::<Vec<_>>().join(", ");
    let (name, at) = (&one.source.meta.name, &rule.reference.path);
    let effect = match one.source.action {
        Action::Allow => "the rule allows nothing there",
        Action::Deny | Action::Custom(_) => "the rule denies there whatever its other fields select",
        Action::Audit => "the rule records there whatever its other fields select",
    };
    let message = format!(
        "{at} of AuthorizationPolicy {name} speaks of HTTP, but {list} is declared as another protocol: {effect}"
    );
    let position = one.source.meta.origin.position(&format!("{at}.{}", check.field));
    let hint = "name the ports that the rule is meant for under `to.operation.ports`";
    Some(Finding::new(Code::HttpOnOtherPort, position, message).with_hint(hint))
}

/// Principals that are written as URIs: an identity is compared without its scheme, so nothing can match them.
fn never_matching(one: &Prepared<'_>, rule: &Rule) -> Vec<Finding> {
    let (meta, at) = (&one.source.meta, &rule.reference.path);
    let with_scheme = rule.checks().filter(|check| matches!(check.test, Test::Principal(_)));
    let with_scheme = with_scheme.filter(|check| check.wanted.contains("spiffe://"));
    let finding = |check: &Check| {
        let field = format!("{at}.{}", check.field);
        let message = format!("`{field}`: no identity matches a principal that begins with spiffe://");
        let hint = "write it without its scheme: cluster.local/ns/NAMESPACE/sa/ACCOUNT";
        Finding::new(Code::NeverMatches, meta.origin.position(&field), message).with_hint(hint)
    };
    with_scheme.map(finding).collect()
}

fn other_ports(snapshot: &Snapshot, pod: &Pod, rule: &Rule) -> Vec<String> {
    let tcp = pod.ports.iter().filter(|port| port.protocol == Protocol::Tcp && rule.applies_to_port(port.port));
    let other = tcp.filter(|port| AppProtocol::of(snapshot, pod, port.port) == AppProtocol::Other);
    other.map(|port| format!("{}:{}", pod.workload.name, port.port)).collect()
}

/// States of, and findings about, PeerAuthentications.
pub(crate) fn transport(snapshot: &Snapshot) -> (Vec<PolicyStatus>, Vec<Finding>) {
    let policies: Vec<&Arc<PeerAuthentication>> = snapshot.policies.peer_authentication.values().collect();
    let root = &snapshot.root_namespace;
    let (mut status, mut findings) = (Vec::new(), Vec::new());
    for policy in &policies {
        let name = &policy.meta.name;
        let position = |path: &str| policy.meta.origin.position(path);
        let pods: Vec<&Pod> =
            snapshot.pods.values().map(|pod| &**pod).filter(|pod| concerns(policy, pod, root)).collect();
        let void = selects(policy) && name.namespace == *root;
        let counts = |pod: &&Pod| {
            let scopes = Scopes::sort(crate::transport::applying(snapshot, pod), root);
            [scopes.mesh, scopes.namespace, scopes.workload].into_iter().flatten().any(|one| one.meta.name == *name)
        };
        let shadowed = !void && !pods.is_empty() && !pods.iter().any(counts);
        if void {
            let message =
                format!("PeerAuthentication {name} has a selector in the root namespace, which makes it void");
            findings.push(Finding::new(Code::IneffectivePeerAuthentication, position("spec.selector"), message));
        } else if pods.is_empty() {
            findings.push(selects_nothing(name, &policy.meta, "PeerAuthentication"));
        } else if shadowed {
            let message = format!("PeerAuthentication {name} never counts: an older one speaks for the same pods");
            let hint = "keep one PeerAuthentication a scope; without creation times the first by name counts";
            findings.push(Finding::new(Code::ShadowedPeerAuthentication, position(""), message).with_hint(hint));
        }
        if !policy.ports.is_empty() && !selects(policy) {
            let message = format!("the port modes of PeerAuthentication {name} have no effect without a selector");
            findings.push(Finding::new(Code::IneffectivePeerAuthentication, position("spec.portLevelMtls"), message));
        }
        let state = if void || shadowed { PolicyState::Ineffective } else { PolicyState::Enforced };
        status.push(PolicyStatus { policy: peer_authentication(name), state, pods: if void { 0 } else { pods.len() } });
    }
    (status, findings)
}

fn concerns(policy: &PeerAuthentication, pod: &Pod, root: &Arc<str>) -> bool {
    let namespace = &policy.meta.name.namespace;
    pod.enrolled
        && (*namespace == pod.name.namespace || namespace == root)
        && policy.selector.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
}
