//! Every workload's policies and transport, compiled from a snapshot.

use crate::findings;
use crate::policy::{Capabilities, Policy, Refusal, Shared};
use crate::transport::{PodTransport, Transport};
use crate::workload::{Outcome, Provider, Stage, Workload};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{AuthorizationPolicy, Finding, MtlsMode};
use lictor_model::{By, Layer, Mode, Name, PolicyKind, PolicyRef, Request, Revision, Verdict};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

/// Every verdict about every pod, ready to be asked for.
#[derive(Debug, Default)]
pub struct Program {
    /// The snapshot that it was compiled from.
    pub revision: Revision,
    /// What became of each AuthorizationPolicy and PeerAuthentication, in the order of kind and name.
    pub status: Vec<PolicyStatus>,
    pods: BTreeMap<Name, Entry>,
}

/// What became of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStatus {
    /// The policy as a whole.
    pub policy: PolicyRef,
    /// What became of it.
    pub state: PolicyState,
    /// How many pods it applies to.
    pub pods: usize,
}

/// What becomes of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PolicyState {
    /// It is in force.
    Enforced,
    /// It is in force, and so many of its rules ask for what is not done: they fail closed.
    FailsClosed(usize),
    /// It is evaluated, and its verdict only told (`istio.io/dry-run`).
    DryRun,
    /// It is attached to something that is not a workload.
    AttachedElsewhere,
    /// It asks for what is not there; see [`Capabilities`] for what stands in its place.
    Refused(Refusal),
    /// It has no effect: a PeerAuthentication that Istio ignores, or that an older one shadows.
    Ineffective,
}

impl fmt::Display for PolicyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FailsClosed(1) => "enforced, but 1 rule asks for what is not done and fails closed",
            Self::FailsClosed(rules) => {
                return write!(f, "enforced, but {rules} rules ask for what is not done and fail closed");
            }
            Self::Enforced => "enforced",
            Self::DryRun => "dry run",
            Self::AttachedElsewhere => "attached to no workload",
            Self::Refused(Refusal::NeedsToken) => "refused: needs a verified token",
            Self::Refused(Refusal::NeedsProvider) => "refused: needs an external provider",
            Self::Ineffective => "without effect",
        })
    }
}

#[derive(Debug)]
struct Entry {
    /// Nothing when the pod is outside the mesh.
    workload: Option<Arc<Workload>>,
    transport: Arc<PodTransport>,
}

impl Program {
    /// Compiles a snapshot.
    ///
    /// The findings are about policies that are refused, select nothing, speak of HTTP on a port that is not, or
    /// have parts without effect. Pods with the same policies share one [`Workload`].
    pub fn compile(snapshot: &Snapshot, capabilities: Capabilities) -> (Self, Vec<Finding>) {
        let prepared = prepare(snapshot, capabilities);
        let mut shared: HashMap<(Vec<usize>, Mode), Arc<Workload>> = HashMap::new();
        let mut pods = BTreeMap::new();
        let mut selected = vec![0; prepared.len()];
        for pod in snapshot.pods.values() {
            let mut workload = None;
            if pod.enrolled {
                let mode = snapshot.mode(pod, Layer::Authorization).0;
                let (mut applying, mut policies) = (Vec::new(), Vec::new());
                for (at, (one, count)) in prepared.iter().zip(&mut selected).enumerate() {
                    if applies(snapshot, pod, one.source) {
                        *count += 1;
                        applying.push(at);
                        policies.push(Arc::clone(&one.policy));
                    }
                }
                let same = shared.entry((applying, mode)).or_insert_with(|| Arc::new(Workload::new(&policies, mode)));
                workload = Some(Arc::clone(same));
            }
            let transport = Arc::new(PodTransport::of(snapshot, pod));
            pods.insert(pod.name.clone(), Entry { workload, transport });
        }
        let mut status: Vec<_> = prepared.iter().zip(selected).map(|(one, pods)| one.status(pods)).collect();
        let mut findings = findings::authorization(snapshot, &prepared, &status);
        let (transport, about_transport) = findings::transport(snapshot);
        status.extend(transport);
        findings.extend(about_transport);
        (Self { revision: snapshot.revision, status, pods }, findings)
    }

    /// The policies of a pod; nothing when it is outside the mesh or not known, so that there is nothing to judge.
    pub fn workload(&self, pod: &Name) -> Option<Arc<Workload>> {
        self.pods.get(pod)?.workload.clone()
    }

    /// What a pod's port takes. A pod that is not known takes mutual TLS only.
    pub fn transport(&self, pod: &Name, port: u16) -> Transport {
        match self.pods.get(pod) {
            Some(entry) => entry.transport.at(port),
            None => Transport { mode: MtlsMode::Strict, by: unknown(pod), stance: Mode::Enforce },
        }
    }

    /// What the whole program says of a request to a pod: first its transport, then its policies.
    ///
    /// A pod outside the mesh takes everything; one that is not known, nothing.
    pub fn decide(&self, pod: &Name, request: &Request<'_>, provider: Provider<'_>) -> Outcome {
        let fixed =
            |verdict, mode, stage, by| Outcome { verdict, would: verdict, mode, stage, by, audited: Vec::new() };
        let Some(entry) = self.pods.get(pod) else {
            return fixed(Verdict::Deny, Mode::Enforce, Stage::PeerAuthentication, unknown(pod));
        };
        let Some(workload) = &entry.workload else {
            return fixed(Verdict::Allow, Mode::Enforce, Stage::NoAllowPolicy, By::OutsideMesh);
        };
        let transport = entry.transport.at(request.destination_port);
        let refused = transport.verdict(request.principal.is_some());
        if refused.under(transport.stance).is_allow() {
            workload.decide_with(request, provider)
        } else {
            fixed(refused, transport.stance, Stage::PeerAuthentication, transport.by)
        }
    }
}

fn unknown(pod: &Name) -> By {
    By::Unknown(format!("{pod} is not known here"))
}

/// An AuthorizationPolicy of a snapshot and its prepared form.
pub(crate) struct Prepared<'a> {
    pub(crate) source: &'a Arc<AuthorizationPolicy>,
    pub(crate) policy: Shared,
}

impl Prepared<'_> {
    fn status(&self, pods: usize) -> PolicyStatus {
        let state = match self.policy.refused {
            _ if self.source.has_target_refs => PolicyState::AttachedElsewhere,
            Some(refusal) => PolicyState::Refused(refusal),
            None if self.policy.dry_run => PolicyState::DryRun,
            None => PolicyState::Enforced,
        };
        PolicyStatus { policy: self.policy.reference.clone(), state, pods }
    }
}

/// Every AuthorizationPolicy of a snapshot, by name.
fn prepare(snapshot: &Snapshot, capabilities: Capabilities) -> Vec<Prepared<'_>> {
    let trust_domain = snapshot.trust_domain.as_str();
    let prepare = |source| Prepared { source, policy: Arc::new(Policy::prepare(source, trust_domain, capabilities)) };
    snapshot.policies.authorization.values().map(prepare).collect()
}

/// Whether a policy applies to a pod: it is of the pod's namespace or of the root namespace, and selects it.
pub(crate) fn applies(snapshot: &Snapshot, pod: &Pod, policy: &AuthorizationPolicy) -> bool {
    let namespace = &policy.meta.name.namespace;
    pod.enrolled
        && !policy.has_target_refs
        && (*namespace == pod.name.namespace || *namespace == snapshot.root_namespace)
        && policy.selector.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
}

/// The workload of one pod, as [`Program::compile`] would make it.
pub(crate) fn workload_of(snapshot: &Snapshot, pod: &Pod, capabilities: Capabilities) -> Workload {
    let trust_domain = snapshot.trust_domain.as_str();
    let applying = snapshot.policies.authorization.values().filter(|policy| applies(snapshot, pod, policy));
    let policies: Vec<Shared> =
        applying.map(|policy| Arc::new(Policy::prepare(policy, trust_domain, capabilities))).collect();
    Workload::new(&policies, snapshot.mode(pod, Layer::Authorization).0)
}

/// The kind of every reference in this crate that is not an AuthorizationPolicy's.
pub(crate) fn peer_authentication(name: &Name) -> PolicyRef {
    PolicyRef::whole(PolicyKind::PeerAuthentication, name.clone())
}
