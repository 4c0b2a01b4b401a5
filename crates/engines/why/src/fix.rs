//! The smallest change of policies that allows a connection.
//!
//! Each layer that denies gets the change that its own kind offers; the engines then run on the changed snapshot, and
//! only a change after which they allow the connection is told. What else it opens or closes is told with it.

mod authorization;
mod network;
mod tier;
mod transport;

use crate::answer::place;
use crate::effect::{Effect, For, Touched, compare};
use crate::engines::Engines;
use crate::question::RequestAsk;
use crate::samples::speaks_for;
use crate::tree::Tree;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{AuthorizationPolicy, ClusterNetworkPolicy, NetworkPolicy, Object, PeerAuthentication, Position};
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
    Tiered(Arc<ClusterNetworkPolicy>),
    PeerAuthentication(Arc<PeerAuthentication>),
    Authorization(Arc<AuthorizationPolicy>),
}

/// More layers than there are cannot deny, and a layer needs at most a few changes.
const MAX_CHANGES: usize = 8;

/// Looks for the smallest change that makes every layer allow the wish.
pub(crate) fn find(engines: &Engines<'_>, wish: &Wish<'_>) -> Option<Fix> {
    let mut snapshot = engines.snapshot.clone();
    let mut changes = Vec::new();
    let mut touched = Touched::default();
    loop {
        let changed = Engines::new(&snapshot);
        let ladder = changed.ladder(wish.flow, wish.request);
        let Some(step) = ladder.would_be_denied_at() else { break };
        if changes.len() == MAX_CHANGES {
            return None;
        }
        // A layer whose change did not help has no better one.
        if changes.iter().filter(|change: &&Change| change.layer() == step.layer).count() > 2 {
            return None;
        }
        let patch = patch(&snapshot, wish, step)?;
        patch.policy.touch(&snapshot, &mut touched);
        patch.policy.put(&mut snapshot);
        changes.push(patch.change);
    }
    let after = Engines::new(&snapshot);
    let wanted = For {
        source: wish.source.map(|pod| &pod.name),
        source_address: wish.flow.source.address,
        destination: wish.destination.map(|pod| &pod.name),
        destination_address: wish.flow.destination.address,
        protocol: wish.flow.protocol,
        port: wish.flow.port,
        request: wish.request,
    };
    let effect = compare(engines, &after, &touched, &wanted);
    Some(Fix { changes, effect })
}

/// The change that one denying layer offers.
fn patch(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Option<Patch> {
    match step.layer {
        Layer::Egress => network::egress(snapshot, wish, step).or_else(|| tier::exempt(snapshot, wish, step)),
        Layer::Ingress => network::ingress(snapshot, wish, step).or_else(|| tier::exempt(snapshot, wish, step)),
        Layer::Transport => transport::permissive(snapshot, wish, step),
        Layer::Authorization => authorization::allow(snapshot, wish, step),
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
    fn put(self, snapshot: &mut Snapshot) {
        let policies = &mut snapshot.policies;
        match self {
            Self::Network(policy) => drop(policies.network.insert(policy.meta.name.clone(), policy)),
            Self::Tiered(policy) => policies.add_cluster_network(policy),
            Self::PeerAuthentication(policy) => {
                drop(policies.peer_authentication.insert(policy.meta.name.clone(), policy));
            }
            Self::Authorization(policy) => drop(policies.authorization.insert(policy.meta.name.clone(), policy)),
        }
    }

    /// The pods whose verdicts this policy has a part in.
    fn touch(&self, snapshot: &Snapshot, touched: &mut Touched) {
        let pods = snapshot.pods.values();
        match self {
            Self::Network(policy) => {
                let own = |pod: &&Arc<Pod>| {
                    pod.name.namespace == policy.meta.name.namespace && policy.pod_selector.matches(&pod.labels)
                };
                let names: Vec<Name> = pods.filter(own).map(|pod| pod.name.clone()).collect();
                if policy.egress.is_some() {
                    touched.as_source.extend(names.iter().cloned());
                }
                if policy.ingress.is_some() {
                    touched.as_destination.extend(names);
                }
            }
            Self::Tiered(policy) => {
                let own = |pod: &&Arc<Pod>| snapshot.selects(&policy.subject, pod);
                let names: Vec<Name> = pods.filter(own).map(|pod| pod.name.clone()).collect();
                if !policy.egress.is_empty() {
                    touched.as_source.extend(names.iter().cloned());
                }
                if !policy.ingress.is_empty() {
                    touched.as_destination.extend(names);
                }
            }
            Self::PeerAuthentication(policy) => {
                let own = |pod: &&Arc<Pod>| speaks_for(snapshot, &policy.meta.name, policy.selector.as_ref(), pod);
                touched.as_destination.extend(pods.filter(own).map(|pod| pod.name.clone()));
            }
            Self::Authorization(policy) => {
                let own = |pod: &&Arc<Pod>| speaks_for(snapshot, &policy.meta.name, policy.selector.as_ref(), pod);
                touched.as_destination.extend(pods.filter(own).map(|pod| pod.name.clone()));
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
