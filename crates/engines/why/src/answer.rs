//! The answer to one question.

use crate::fix::Fix;
use crate::question::{EndKind, RequestAsk};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{CiliumSpec, Code, Position};
use lictor_model::{Layer, Mode, Name, PolicyKind, PolicyRef, Protocol, Revision, SpiffeId, Step, Verdict};
use serde::Serialize;
use std::net::IpAddr;
use std::sync::Arc;

/// Why a connection or request is allowed or denied, and what would turn that.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// The connection that the ladder is about.
    pub connection: Connection,
    /// What happens to it.
    pub verdict: Verdict,
    /// What would happen had every layer enforced.
    pub would: Verdict,
    /// The layer that denies it, or that would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied_at: Option<Layer>,
    /// Each layer's part, in the order in which the connection meets them.
    pub ladder: Vec<Rung>,
    /// Where the question was about several pairs of pods: how many there are, and how many are allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<Pairs>,
    /// The smallest change that would allow it; none when it is allowed, or when none was found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
    /// What else a reader should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// The snapshot that was asked.
    pub revision: Revision,
}

/// The connection that a ladder is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// Who opens it.
    pub source: Side,
    /// Whom it is for.
    pub destination: Side,
    /// The protocol.
    pub protocol: Protocol,
    /// The port that was asked for.
    pub port: u16,
    /// The port at the destination's pod, where a service stands for another.
    pub target_port: u16,
    /// Whether it goes by mutual TLS.
    pub encrypted: bool,
    /// The mutual-TLS mode of the destination's port, as policies write it; none outside the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtls: Option<&'static str>,
    /// The HTTP request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestAsk>,
}

/// One end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    /// The words that name it.
    pub name: String,
    /// What they name.
    pub kind: EndKind,
    /// The pod that was looked at; none outside the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
    /// The address that was looked at.
    pub address: IpAddr,
    /// The identity that the pod can prove.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<SpiffeId>,
    /// Whether its traffic goes through the mesh.
    pub enrolled: bool,
}

/// One layer's part, with the places of what it names.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rung {
    /// The part.
    #[serde(flatten)]
    pub step: Step,
    /// Where the policies stand that decided; in the order in which `by` names them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub at: Vec<Position>,
    /// Where the nearest miss stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_miss_at: Option<Position>,
    /// What the authors of CiliumNetworkPolicies say about what decided.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<Remark>,
    /// The Stance that sets the layer's mode, when it does not enforce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stance: Option<PolicyRef>,
}

/// What its author says about a `spec` of a CiliumNetworkPolicy: `description`, and what is to be found in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Remark {
    /// The policy, and the path of the `spec`.
    pub policy: PolicyRef,
    /// `description`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<Arc<str>>,
    /// `log.value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Arc<str>>,
}

/// How many pairs of pods a question was about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Pairs {
    /// All.
    pub total: usize,
    /// Those that were looked at.
    pub asked: usize,
    /// Those of them that are allowed.
    pub allowed: usize,
}

/// What else a reader should know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The code of a finding that `lictor explain` knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The sentence.
    pub text: String,
}

impl Note {
    /// A sentence without a code.
    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { code: None, text: text.into() }
    }
}

impl Answer {
    /// The process's exit code: 0 when it is allowed, 1 when it is denied.
    pub fn exit_code(&self) -> u8 {
        u8::from(!self.verdict.is_allow())
    }

    /// The rung of a layer.
    pub fn rung(&self, layer: Layer) -> Option<&Rung> {
        self.ladder.iter().find(|rung| rung.step.layer == layer)
    }
}

impl Rung {
    /// A step at a pod, with the places of what it names.
    pub(crate) fn of(snapshot: &Snapshot, subject: Option<&Pod>, step: Step) -> Self {
        let stance = subject.and_then(|pod| snapshot.mode(pod, step.layer).1);
        let remarks =
            step.by.policies().iter().flat_map(|policy| remarks(snapshot, subject, step.layer, policy)).collect();
        let at = step.by.policies().iter().filter_map(|policy| place(snapshot, policy)).collect();
        let nearest_miss_at = step.nearest_miss.as_ref().and_then(|miss| place(snapshot, &miss.rule));
        Self { at, nearest_miss_at, remarks, stance: stance.filter(|_| step.mode != Mode::Enforce), step }
    }
}

/// What is said about a rule, or about what of a whole policy isolates a pod.
fn remarks(snapshot: &Snapshot, subject: Option<&Pod>, layer: Layer, rule: &PolicyRef) -> Vec<Remark> {
    let is_cilium = matches!(rule.kind, PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy);
    let Some(policy) = snapshot.policies.cilium.get(&rule.name).filter(|_| is_cilium) else { return Vec::new() };
    let decides = |spec: &&CiliumSpec| match rule.path.strip_prefix(&*spec.path) {
        Some(rest) => rest.starts_with('.'),
        None => {
            let side = if layer == Layer::Egress { &spec.egress } else { &spec.ingress };
            rule.path.is_empty()
                && side.default_deny
                && subject.is_some_and(|pod| snapshot.is_endpoint(policy, &spec.subject, pod))
        }
    };
    let remark = |spec: &CiliumSpec| Remark {
        policy: rule.at(spec.path.to_string()),
        description: spec.description.clone(),
        log: spec.log.clone(),
    };
    let said = policy.specs.iter().filter(decides).map(remark);
    said.filter(|remark| remark.description.is_some() || remark.log.is_some()).collect()
}

/// Where a rule stands; none when its policy is not in the snapshot.
pub fn place(snapshot: &Snapshot, rule: &PolicyRef) -> Option<Position> {
    let policies = &snapshot.policies;
    let name = &rule.name;
    let meta = match rule.kind {
        PolicyKind::NetworkPolicy => policies.network.get(name).map(|policy| &policy.meta),
        kind @ (PolicyKind::ClusterNetworkPolicy
        | PolicyKind::AdminNetworkPolicy
        | PolicyKind::BaselineAdminNetworkPolicy) => {
            policies.cluster_network_policy(kind, name).map(|policy| &policy.meta)
        }
        PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy => {
            policies.cilium.get(name).map(|policy| &policy.meta)
        }
        PolicyKind::PeerAuthentication => policies.peer_authentication.get(name).map(|policy| &policy.meta),
        PolicyKind::AuthorizationPolicy => policies.authorization.get(name).map(|policy| &policy.meta),
        PolicyKind::Stance => policies.stances.get(name).map(|policy| &policy.meta),
        PolicyKind::ConfigMap => policies.rego.get(name).map(|policy| &policy.meta),
    }?;
    Some(meta.origin.position(&rule.path))
}
