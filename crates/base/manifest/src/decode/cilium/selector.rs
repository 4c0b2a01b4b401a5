//! Selectors of endpoints: which keys speak of the pod, its namespace, its service account, or of what is no pod.

use super::super::labels::{CLUSTER, ONLY_CLUSTER, expressions};
use crate::fields::Field;
use crate::finding::Code;
use crate::{CiliumPeer, EndpointSelector, Entity};
use lictor_model::{Labels, Operator, PolicyKind, Requirement, Selector};
use std::sync::Arc;

const NAMESPACE: &str = "io.kubernetes.pod.namespace";
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";
const ACCOUNT: &str = "io.cilium.k8s.policy.serviceaccount";
/// The label that every namespace has its name under.
const NAME: &str = "kubernetes.io/metadata.name";

/// What is no pod, by the label that Cilium gives it.
const RESERVED: [(&str, Entity); 6] = [
    ("host", Entity::Host),
    ("remote-node", Entity::RemoteNode),
    ("kube-apiserver", Entity::KubeApiserver),
    ("world", Entity::World),
    ("world-ipv4", Entity::WorldIpv4),
    ("world-ipv6", Entity::WorldIpv6),
];

/// The subject of a policy: pods of its own namespace, whatever namespace it names; of any if it is cluster-wide.
pub(super) fn subject(field: &Field<'_>, kind: PolicyKind) -> Option<EndpointSelector> {
    let Split { mut pods, reserved } = split(field)?;
    if !reserved.iter().all(|(_, operator)| holds(operator, None)) {
        pods.accounts.push(never());
    }
    if kind == PolicyKind::CiliumNetworkPolicy {
        pods.namespaces = None;
        let elsewhere = |requirement: &&(Arc<str>, Operator)| &*requirement.0 == NAMESPACE;
        if expressions_of(field).iter().any(|pair| elsewhere(&pair)) {
            field.doubt(
                Code::InvalidSelector,
                "the policy speaks of its own namespace, whatever namespace its `endpointSelector` names",
            );
        }
    }
    Some(pods)
}

/// The peers that a selector means: pods, and what is no pod if it names that.
pub(super) fn peers(field: &Field<'_>) -> Vec<CiliumPeer> {
    let Some(Split { pods, reserved }) = split(field) else { return Vec::new() };
    if reserved.is_empty() {
        return vec![CiliumPeer::Pods(pods)];
    }
    let meant = |name: &str| {
        let own = reserved.iter().all(|(key, operator)| holds(operator, (&**key == name).then_some("")));
        let others =
            pods.pods.matches(&Labels::default()) && pods.accounts.iter().all(|operator| holds(operator, None));
        own && others && pods.namespaces.as_ref().is_none_or(|selector| selector.matches(&Labels::default()))
    };
    let entities = RESERVED.iter().filter(|(name, _)| meant(name)).map(|(_, entity)| CiliumPeer::Entity(*entity));
    let mut peers: Vec<CiliumPeer> = entities.collect();
    if reserved.iter().all(|(_, operator)| holds(operator, None)) {
        // Such a selector is not narrowed to the policy's namespace.
        let namespaces = Some(pods.namespaces.clone().unwrap_or_default());
        peers.push(CiliumPeer::Pods(EndpointSelector { namespaces, ..pods }));
    }
    peers
}

struct Split {
    pods: EndpointSelector,
    /// The requirements on labels that only what is no pod has, without their prefix.
    reserved: Vec<(Arc<str>, Operator)>,
}

fn expressions_of(field: &Field<'_>) -> Vec<(Arc<str>, Operator)> {
    let requirements = expressions(field, is_key).unwrap_or_default();
    let bare = |requirement: &Requirement| {
        let (_, key) = source(&requirement.key);
        (Arc::from(key), requirement.operator.clone())
    };
    requirements.iter().map(bare).collect()
}

fn split(field: &Field<'_>) -> Option<Split> {
    let (mut namespaces, mut pods, mut accounts, mut reserved) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Requirement { key, operator } in expressions(field, is_key)? {
        match source(&key) {
            ("reserved", name) => reserved.push((Arc::from(name), operator)),
            ("any" | "k8s", NAMESPACE) => namespaces.push(Requirement { key: Arc::from(NAME), operator }),
            ("any" | "k8s", CLUSTER) => {
                if !holds(&operator, Some(ONLY_CLUSTER)) {
                    accounts.push(never());
                }
            }
            ("any" | "k8s", ACCOUNT) => accounts.push(operator),
            ("any" | "k8s", key) => match key.strip_prefix(NAMESPACE_LABELS) {
                Some(key) => namespaces.push(Requirement { key: Arc::from(key), operator }),
                None => pods.push(Requirement { key: Arc::from(key), operator }),
            },
            // No endpoint of Kubernetes has labels of another source.
            _ if holds(&operator, None) => {}
            _ => accounts.push(never()),
        }
    }
    let namespaces = (!namespaces.is_empty()).then(|| Selector::new(namespaces));
    Some(Split { pods: EndpointSelector { namespaces, pods: Selector::new(pods), accounts }, reserved })
}

/// What a requirement holds for when no service account can meet it.
fn never() -> Operator {
    Operator::In([].into())
}

fn holds(operator: &Operator, value: Option<&str>) -> bool {
    operator.holds(value)
}

/// The source of a label and its key.
fn source(key: &str) -> (&str, &str) {
    key.split_once(':').unwrap_or(("any", key))
}

/// A label key with or without a source in front.
fn is_key(text: &str) -> bool {
    let (source, key) = source(text);
    let word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !source.is_empty() && source.bytes().all(word) && super::super::syntax::is_label_key(derived(key))
}

/// The part of a derived key that has the syntax of a label.
fn derived(key: &str) -> &str {
    key.strip_prefix(NAMESPACE_LABELS).unwrap_or(key)
}
