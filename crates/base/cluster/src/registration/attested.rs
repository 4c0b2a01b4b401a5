//! What a pod, its containers and a node are, as SPIRE's attestors spell it.

use crate::pod::{Node, Pod};
use crate::registration::{Entry, RegistrationSettings};
use lictor_manifest::{Container, EntrySelector};
use lictor_model::{Labels, ProcessSelector};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The type of selectors that are asked of each process when it asks for its identity.
pub(crate) const PROCESS: &str = "unix";

/// What holds for every process of a pod, and for those of each of its containers.
///
/// An image is called what the pod's status calls it, which has the digest; before it runs, what its manifest does.
///
/// Source: SPIRE, `doc/plugin_agent_workloadattestor_k8s.md` and `pkg/agent/plugin/workloadattestor/k8s/k8s.go`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attested {
    whole: BTreeSet<EntrySelector>,
    containers: BTreeMap<Arc<str>, BTreeSet<EntrySelector>>,
}

/// An entry that is for some processes of a pod and not for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The entry.
    pub entry: Arc<Entry>,
    /// For which of them.
    pub scope: Scope,
}

/// Which processes of a pod an entry is for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Those of these containers; of any where nothing is said.
    pub containers: Option<BTreeSet<Arc<str>>>,
    /// Those for which all of these hold.
    pub process: BTreeSet<ProcessSelector>,
}

impl Scope {
    /// Whether it is every process of the pod.
    pub fn is_whole(&self) -> bool {
        self.containers.is_none() && self.process.is_empty()
    }
}

impl Attested {
    /// What a pod is, and what its containers are.
    pub fn of_pod(pod: &Pod, namespace: &Labels) -> Self {
        let spec = &pod.spec;
        // To Kubernetes they are init containers.
        let sidecars = || spec.containers.iter().filter(|container| container.sidecar);
        let mut texts = vec![
            format!("ns:{}", pod.name.namespace),
            format!("sa:{}", pod.service_account),
            format!("pod-name:{}", pod.name.name),
            format!("pod-uid:{}", pod.uid),
            format!("node-name:{}", pod.node),
            format!("pod-image-count:{}", spec.containers.len() - sidecars().count()),
            format!("pod-init-image-count:{}", spec.init_images.len() + sidecars().count()),
        ];
        texts.extend(pod.labels.iter().map(|(key, value)| format!("pod-label:{key}:{value}")));
        texts.extend(namespace.iter().map(|(key, value)| format!("ns-label:{key}:{value}")));
        if let Some(owner) = &pod.owner {
            texts.push(format!("pod-owner:{}:{}", owner.kind, owner.name));
            texts.extend(owner.uid.iter().map(|uid| format!("pod-owner-uid:{}:{uid}", owner.kind)));
        }
        let plain = spec.containers.iter().filter(|container| !container.sidecar);
        texts.extend(plain.flat_map(Container::image_names).map(|image| format!("pod-image:{image}")));
        let init = spec.init_images.iter().flatten().cloned().chain(sidecars().flat_map(Container::image_names));
        texts.extend(init.map(|image| format!("pod-init-image:{image}")));
        let of_container = |container: &Container| {
            let name = [format!("container-name:{}", container.name)].into_iter();
            let images = container.image_names().into_iter().map(|image| format!("container-image:{image}"));
            (Arc::clone(&container.name), kubernetes(name.chain(images)))
        };
        let containers = spec.containers.iter().map(of_container).collect();
        Self { whole: kubernetes(texts.into_iter()), containers }
    }

    /// Those of a node's agent; labels, which SPIRE attests by a list of its own, are not among them.
    ///
    /// Source: SPIRE, `doc/plugin_server_nodeattestor_k8s_psat.md`.
    pub(crate) fn of_node(node: &Node, settings: &RegistrationSettings) -> Self {
        let named = [
            format!("k8s_psat:cluster:{}", settings.cluster_name),
            format!("k8s_psat:agent_node_name:{}", node.name),
            format!("k8s_psat:agent_node_uid:{}", settings.node_uid(&node.name)),
        ];
        let addresses = node.addresses.iter().map(|address| format!("k8s_psat:agent_node_ip:{address}"));
        Self { whole: selectors(named.into_iter().chain(addresses)), containers: BTreeMap::new() }
    }

    /// Whether all of these hold for the whole.
    pub fn meets<'s>(&self, selectors: impl IntoIterator<Item = &'s EntrySelector>) -> bool {
        selectors.into_iter().all(|selector| self.whole.contains(selector))
    }

    /// The processes for which all of these hold; nothing if there can be none.
    pub fn scope<'s>(&self, selectors: impl IntoIterator<Item = &'s EntrySelector>) -> Option<Scope> {
        let mut process = BTreeSet::new();
        let mut of_container: Vec<&EntrySelector> = Vec::new();
        for selector in selectors.into_iter().filter(|selector| !self.whole.contains(selector)) {
            match selector.kind() {
                PROCESS => drop(process.insert(selector.to_string().parse().ok()?)),
                _ => of_container.push(selector),
            }
        }
        let meeting = |(_, own): &(&Arc<str>, &BTreeSet<EntrySelector>)| {
            of_container.iter().all(|selector| own.contains(*selector))
        };
        let named: BTreeSet<Arc<str>> =
            self.containers.iter().filter(meeting).map(|(name, _)| Arc::clone(name)).collect();
        if named.is_empty() && !of_container.is_empty() {
            return None;
        }
        let containers = (named.len() < self.containers.len()).then_some(named);
        Some(Scope { containers, process })
    }

    /// What holds for the whole or for a part of it.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &EntrySelector> {
        self.whole.iter().chain(self.containers.values().flatten())
    }
}

fn kubernetes(texts: impl Iterator<Item = String>) -> BTreeSet<EntrySelector> {
    selectors(texts.map(|text| format!("k8s:{text}")))
}

fn selectors(texts: impl Iterator<Item = String>) -> BTreeSet<EntrySelector> {
    // Each begins with a type and a colon and goes on, so that each is one.
    texts.filter_map(|text| text.parse().ok()).collect()
}
