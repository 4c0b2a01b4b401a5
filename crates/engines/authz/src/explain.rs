//! A verdict with its reasons.

use crate::check::Check;
use crate::facts::Facts;
use crate::policy::{Capabilities, Policy, Reading, Rule};
use crate::program::workload_of;
use crate::transport::{PodTransport, mode_word};
use crate::workload::{Stage, Workload};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{By, Layer, Mismatch, NearestMiss, Request, Step, Verdict};
use std::sync::Arc;

/// What the policies of a pod say of a request, why, and what came closest.
///
/// The same verdict as [`Workload::decide`] of the compiled program gives, with the capabilities that live
/// workloads have.
pub fn explain(snapshot: &Snapshot, pod: &Pod, request: &Request<'_>) -> Step {
    if !pod.enrolled {
        return Step::new(Layer::Authorization, Verdict::Allow, By::OutsideMesh);
    }
    workload_of(snapshot, pod, Capabilities::default()).explain(request)
}

/// What the transport of a port says of a connection, and why.
///
/// `source` is the pod that connects; nothing, or a pod outside the mesh, connects in plaintext, and so does any
/// pod to one that is outside the mesh.
pub fn explain_transport(snapshot: &Snapshot, source: Option<&Pod>, destination: &Pod, port: u16) -> Step {
    let transport = PodTransport::of(snapshot, destination).at(port);
    let client = source.filter(|pod| pod.enrolled && destination.enrolled);
    let mut step = Step::new(Layer::Transport, transport.verdict(client.is_some()), transport.by);
    step.mode = transport.stance;
    step.applied = step.by.policies().iter().map(|policy| policy.at("")).collect();
    let outside = |pod: &Pod| format!("{} is outside the mesh", pod.name);
    step.notes = match (source, client) {
        _ if !destination.enrolled => vec![outside(destination), "plaintext".to_owned()],
        (_, Some(client)) => {
            vec![
                mode_word(transport.mode).to_owned(),
                format!("mutual TLS, {} to {}", client.identity, destination.identity),
            ]
        }
        (Some(source), None) => vec![mode_word(transport.mode).to_owned(), outside(source), "plaintext".to_owned()],
        (None, None) => vec![mode_word(transport.mode).to_owned(), "plaintext, from no pod of the mesh".to_owned()],
    }
    .into_iter()
    .map(Arc::from)
    .collect();
    step
}

impl Workload {
    /// [`Workload::decide`] with its reasons: the policies that apply and, on a default denial, the rule that came
    /// closest.
    pub fn explain(&self, request: &Request<'_>) -> Step {
        let outcome = self.decide(request);
        let mut step = Step::new(Layer::Authorization, outcome.verdict, outcome.by);
        step.mode = outcome.mode;
        step.applied = self.policies().cloned().collect();
        if outcome.stage == Stage::NoAllowMatch {
            step.nearest_miss = nearest_miss(&self.enforced.allow, &Facts::new(request));
        }
        let refused = self.enforced.policies().filter(|policy| policy.refused.is_some());
        step.notes.extend(refused.map(|policy| format!("{} is refused, see its finding", policy.reference).into()));
        step.notes.extend(outcome.audited.iter().map(|rule| Arc::from(format!("audited by {rule}"))));
        if outcome.would != outcome.verdict {
            step.notes.push(format!("would be {} if its dry-run policies were in force", outcome.would).into());
        }
        step
    }
}

/// The ALLOW rule that failed on the fewest fields; the first of several.
fn nearest_miss(policies: &[Arc<Policy>], facts: &Facts<'_>) -> Option<NearestMiss> {
    let rules = policies.iter().filter(|policy| policy.refused.is_none()).flat_map(|policy| policy.rules.iter());
    let misses = rules.map(|rule| (rule, failing(rule, facts)));
    let (rule, checks) = misses.min_by_key(|(_, checks)| checks.len())?;
    let mismatch = |check: &Check| Mismatch {
        field: format!("{}.{}", rule.reference.path, check.field).into(),
        wanted: Arc::clone(&check.wanted),
        seen: check.test.seen(facts),
    };
    Some(NearestMiss { rule: rule.reference.clone(), fields: checks.into_iter().map(mismatch).collect() })
}

/// The checks that a rule failed on, of the source and the operation that came closest.
fn failing<'a>(rule: &'a Rule, facts: &Facts<'_>) -> Vec<&'a Check> {
    let void = rule.is_void(facts);
    let fails = |check: &&Check| {
        let compared = rule.reading(check, facts) == Reading::Compared;
        if compared { !check.holds(facts) } else { void || rule.reading(check, facts) == Reading::Unmet }
    };
    let closest = |list: &'a [Box<[Check]>]| {
        let alternatives = list.iter().map(|checks| checks.iter().filter(fails).collect::<Vec<_>>());
        alternatives.min_by_key(Vec::len).unwrap_or_default()
    };
    let mut checks = closest(&rule.from);
    checks.extend(closest(&rule.to));
    checks.extend(rule.when.iter().filter(fails));
    if checks.is_empty() && void {
        // The closest alternatives match; what voids the rule is an HTTP field in another one.
        checks.extend(rule.http_checks().next());
    }
    checks
}
