//! The smallest change of policies that allows a connection.
//!
//! Each layer that denies gets the change that its own kind offers; the engines then run on the changed snapshot, and
//! only a change after which they allow the connection is told. What else it opens or closes is told with it.

mod authorization;
mod cilium;
mod cilium_deny;
mod network;
mod tier;
mod transport;

use crate::answer::place;
use crate::effect::{Effect, Touch, effect};
use crate::ladder::ladder;
use crate::question::RequestAsk;
use crate::samples::speaks_for;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{
    AuthorizationPolicy, CiliumNetworkPolicy, ClusterNetworkPolicy, NetworkPolicy, Object, PeerAuthentication, Position,
};
use lictor_model::{Flow, Layer, Name, PolicyKind, PolicyRef, Step};
use serde::Serialize;
use std::sync::Arc;

/// A change that allows a connection, checked by the engines.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fix {
    /// The changes; all of them are needed.
    pub changes: Vec<Change>,
    /// What they do beside what they are for.
    pub effect: Effect,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "action", rename_all = "lowercase")]
pub enum Change {
    /// Apply one more document.
    Apply {
        /// The layer that it is for.
        layer: Layer,
        /// The document.
        document: Tree,
    },
    /// Edit a document that is there, because no other document can take back what it says.
    Edit {
        /// The layer that it is for.
        layer: Layer,
        /// The policy and the path within it.
        policy: PolicyRef,
        /// Where that stands.
        #[serde(skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
        /// What to do there.
        edit: String,
    },
}

/// A connection that should be allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// The cluster with all of its pods.
    pub cluster: &'a Snapshot,
    pub flow: &'a Flow,
    pub request: Option<&'a RequestAsk>,
    pub source: Option<&'a Arc<Pod>>,
    pub destination: Option<&'a Arc<Pod>>,
    pub encrypted: bool,
}

/// A change with the policy that it makes.
pub(crate) struct Patch {
    pub change: Change,
    pub policy: Changed,
}

/// A policy that is new or edited.
pub(crate) enum Changed {
    Network(Arc<NetworkPolicy>),
    Cilium(Arc<CiliumNetworkPolicy>),
    Tiered(Arc<ClusterNetworkPolicy>),
    PeerAuthentication(Arc<PeerAuthentication>),
    Authorization(Arc<AuthorizationPolicy>),
}

/// More layers than there are cannot deny, and a layer needs at most a few changes.
const MAX_CHANGES: usize = 8;

/// Looks for the smallest change that makes every layer allow the wish; `near` is the cluster with the wish's pods, and
/// others or none.
///
/// # Errors
/// When there is none, with the reason where there is one to tell.
pub(crate) fn find(near: &Snapshot, wish: &Wish<'_>) -> Result<Fix, Option<String>> {
    let mut changed = near.clone();
    let mut changes = Vec::new();
    let mut policies = Vec::new();
    loop {
        let trace = ladder(&changed, wish.flow, wish.request);
        let Some(step) = trace.would_be_denied_at() else { break };
        if changes.len() == MAX_CHANGES {
            return Err(None);
        }
        // A layer whose change did not help has no better one.
        if changes.iter().filter(|change: &&Change| change.layer() == step.layer).count() > 2 {
            return Err(None);
        }
        let patch = patch(&changed, wish, step)?;
        patch.policy.put(&mut changed);
        policies.push(patch.policy);
        changes.push(patch.change);
    }
    let effect = effect(wish, &changed, &|pod| {
        policies.iter().fold(Touch::default(), |touch, policy| touch.or(policy.touch(wish.cluster, pod)))
    });
    Ok(Fix { changes, effect })
}

/// The change that one denying layer offers; otherwise the reason why it has none, where there is one to tell.
fn patch(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Result<Patch, Option<String>> {
    let segment = |network: fn(&Snapshot, &Wish<'_>, &Step) -> Option<Patch>| {
        if cilium::denies_request_alone(snapshot, wish, step) {
            return cilium::request(snapshot, wish, step).ok_or(None);
        }
        let patch = cilium::connection(snapshot, wish, step).or_else(|| network(snapshot, wish, step));
        match patch.or_else(|| tier::exempt(snapshot, wish, step)) {
            Some(patch) => Ok(patch),
            None => cilium_deny::spare(snapshot, wish, step),
        }
    };
    match step.layer {
        Layer::Egress => segment(network::egress),
        Layer::Ingress => segment(network::ingress),
        Layer::Transport => transport::permissive(snapshot, wish, step).ok_or(None),
        Layer::Authorization => authorization::allow(snapshot, wish, step).ok_or(None),
    }
}

impl Change {
    /// The layer that it is for.
    pub fn layer(&self) -> Layer {
        match self {
            Self::Apply { layer, .. } | Self::Edit { layer, .. } => *layer,
        }
    }
}

impl Patch {
    /// A new document; the policy is what reading its printed form gives.
    pub(crate) fn apply(layer: Layer, document: Tree) -> Option<Self> {
        let reading = lictor_manifest::read("fix.yaml", &document.to_yaml());
        let policy = match reading.objects.into_iter().next()? {
            Object::NetworkPolicy(policy) => Changed::Network(policy),
            Object::CiliumNetworkPolicy(policy) => Changed::Cilium(policy),
            Object::ClusterNetworkPolicy(policy) => Changed::Tiered(policy),
            Object::PeerAuthentication(policy) => Changed::PeerAuthentication(policy),
            Object::AuthorizationPolicy(policy) => Changed::Authorization(policy),
            _ => return None,
        };
        Some(Self { change: Change::Apply { layer, document }, policy })
    }

    /// An edit at a path of a policy.
    pub(crate) fn edit(snapshot: &Snapshot, layer: Layer, policy: PolicyRef, edit: String, changed: Changed) -> Self {
        let at = place(snapshot, &policy);
        Self { change: Change::Edit { layer, policy, at, edit }, policy: changed }
    }
}

impl Changed {
    fn put(&self, snapshot: &mut Snapshot) {
        let policies = &mut snapshot.policies;
        match self {
            Self::Network(policy) => drop(policies.network.insert(policy.meta.name.clone(), Arc::clone(policy))),
            Self::Cilium(policy) => drop(policies.cilium.insert(policy.meta.name.clone(), Arc::clone(policy))),
            Self::Tiered(policy) => policies.add_cluster_network(Arc::clone(policy)),
            Self::PeerAuthentication(policy) => {
                drop(policies.peer_authentication.insert(policy.meta.name.clone(), Arc::clone(policy)));
            }
            Self::Authorization(policy) => {
                drop(policies.authorization.insert(policy.meta.name.clone(), Arc::clone(policy)));
            }
        }
    }

    /// The layers in which this policy has a part in a pod's verdicts.
    fn touch(&self, snapshot: &Snapshot, pod: &Pod) -> Touch {
        let speaks = |name, selector| speaks_for(snapshot, name, selector, pod);
        match self {
            Self::Network(policy) => {
                let own = pod.is_selected_by(policy);
                Touch { egress: own && policy.egress.is_some(), ingress: own && policy.ingress.is_some(), mesh: false }
            }
            Self::Cilium(policy) => {
                let own = snapshot.is_subject(policy, pod);
                Touch { egress: own, ingress: own, mesh: false }
            }
            Self::Tiered(policy) => {
                let own = snapshot.selects(&policy.subject, pod);
                Touch {
                    egress: own && !policy.egress.is_empty(),
                    ingress: own && !policy.ingress.is_empty(),
                    mesh: false,
                }
            }
            Self::PeerAuthentication(policy) => {
                Touch { mesh: speaks(&policy.meta.name, policy.selector.as_ref()), ..Touch::default() }
            }
            Self::Authorization(policy) => {
                Touch { mesh: speaks(&policy.meta.name, policy.selector.as_ref()), ..Touch::default() }
            }
        }
    }
}

/// `metadata` of a new policy (cluster-wide without a namespace): a name of these words that no policy of its kind has yet.
fn metadata(snapshot: &Snapshot, kind: PolicyKind, namespace: &str, words: &str) -> Tree {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c.to_ascii_lowercase() } else { '-' };
    let base: String = words.chars().map(allowed).take(200).collect();
    let base = base.trim_matches('-');
    let taken = |name: Name| place(snapshot, &PolicyRef::whole(kind, name)).is_some();
    let numbered = (2..).map(|number: u32| format!("{base}-{number}"));
    let name =
        std::iter::once(base.to_owned()).chain(numbered).find(|name| !taken(Name::new(namespace, name.as_str())));
    let name = ("name", Tree::text(name.unwrap_or_default()));
    if namespace.is_empty() { Tree::map([name]) } else { Tree::map([name, ("namespace", Tree::text(namespace))]) }
}

/// What an end is called in a new policy's name.
fn word(pod: Option<&Arc<Pod>>, address: std::net::IpAddr) -> String {
    pod.map_or_else(|| address.to_string(), |pod| pod.workload.name.name.to_string())
}
