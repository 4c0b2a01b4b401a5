//! From objects to a snapshot.

use crate::addresses::AddressPool;
use crate::expand::{Expansion, expand};
use crate::inventory::Inventory;
use crate::names::Names;
use crate::namespaces::namespaces;
use crate::nodes::Nodes;
use crate::placement::place;
use crate::pod::{Node, Pod};
use crate::registration::{Registrar, RegistrationSettings};
use crate::services::services;
use crate::snapshot::Snapshot;
use lictor_manifest::{Finding, Object};
use lictor_model::{Name, Revision, TrustDomain};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// `"false"` on a pod or namespace leaves it outside the mesh.
pub const ENROLL_ANNOTATION: &str = "lictor.dev/enroll";
/// `host` on a pod runs its container's command instead of the stand-in server.
pub const RUN_ANNOTATION: &str = "lictor.dev/run";
/// `"true"` marks a pod that lictor makes itself, such as the DNS of a lab; lists leave it out unless asked.
pub const BUILT_IN_ANNOTATION: &str = "lictor.dev/built-in";

/// What a snapshot needs to know beside its objects.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// Istio's root namespace.
    pub root_namespace: Arc<str>,
    /// The namespace of objects that name none.
    pub default_namespace: Arc<str>,
    /// The nodes; at least one. Pods that name none are on the first.
    pub nodes: Vec<Node>,
    /// Where pods are that name another one.
    pub unknown_nodes: UnknownNodes,
    /// Whether address blocks of policies leave pods and nodes out, as Cilium's do; Kubernetes' match them.
    pub cidr_excludes_pods: bool,
    /// How registration names the cluster, and which of its resources count.
    pub registration: RegistrationSettings,
}

impl Settings {
    /// A cluster with these nodes that is as most are: trust domain `cluster.local`, Istio's root namespace `istio-system`, the
    /// namespace `default`; other nodes are made, address blocks match pods.
    pub fn new(nodes: Vec<Node>) -> Self {
        Self {
            trust_domain: TrustDomain::default(),
            root_namespace: Arc::from("istio-system"),
            default_namespace: Arc::from("default"),
            nodes,
            unknown_nodes: UnknownNodes::Made,
            cidr_excludes_pods: false,
            registration: RegistrationSettings::default(),
        }
    }
}

/// What becomes of a node that a pod names and the settings do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownNodes {
    /// It is made, as the dump of a cluster needs it.
    Made,
    /// It does not exist: the pod is on the first node, as everything is that runs here.
    Absent,
}

/// Whether it is the pod that serves the cluster's own DNS.
fn is_own_dns(pod: &Pod) -> bool {
    let built_in = pod.annotations.get(BUILT_IN_ANNOTATION).is_some_and(|value| value == "true");
    built_in && (&*pod.name.namespace, &*pod.name.name) == ("kube-system", "kube-dns")
}

fn resolvers(pods: &BTreeMap<Name, Arc<Pod>>) -> BTreeSet<IpAddr> {
    pods.values().filter(|pod| is_own_dns(pod)).flat_map(|pod| &pod.addresses).copied().collect()
}

impl Snapshot {
    /// Makes a snapshot of objects.
    ///
    /// Workloads become pods (`deployment-0`, `deployment-1`, …: a lab's pods have stable names), pods and
    /// services get addresses from `pool`, selectors are resolved to backends, and a namespace that is used
    /// but not declared is made. A pool that has served earlier snapshots gives the pods and services that
    /// stay the addresses that they had; keep a copy of it where a snapshot may be thrown away.
    ///
    /// Findings: two objects of one name (the first is kept), a service account that does not exist, a Service
    /// that selects nothing, a Stance that decides nothing, a ClusterSPIFFEID that gives a pod nothing, no address left. A pod that cannot be made is left out, with an error.
    pub fn build(
        objects: &[Object],
        settings: &Settings,
        pool: &mut AddressPool,
        revision: Revision,
    ) -> (Self, Vec<Finding>) {
        let mut findings = Vec::new();
        let inventory = Inventory::of(objects, &settings.default_namespace, &mut findings);
        let namespaces = namespaces(&inventory, &mut findings);
        let nodes = Nodes::of(settings, &inventory, &mut findings);
        let Expansion { drafts, suspended } = expand(&inventory, &nodes.names(), &mut findings);
        let mut placement = place(drafts, &inventory, &nodes, settings, pool, &mut findings);
        let services = services(&inventory, &placement, pool, &mut findings);
        let mut registrar = Registrar::new(settings.trust_domain.clone(), settings.registration.clone());
        for (name, node) in &nodes.by_name {
            registrar.set_node(name, Some(node));
        }
        let registrations =
            inventory.registration.register(registrar, &namespaces, &mut placement.pods, &services, &mut findings);
        let resolvers = resolvers(&placement.pods);
        let snapshot = Self {
            revision,
            trust_domain: settings.trust_domain.clone(),
            root_namespace: Arc::clone(&settings.root_namespace),
            namespaces,
            nodes: nodes.by_name,
            pods: placement.pods,
            suspended,
            services,
            policies: inventory.policies,
            registrations,
            certificates: inventory.certificates,
            names: Names::default(),
            resolvers,
            cidr_excludes_pods: settings.cidr_excludes_pods,
            pods_by_address: placement.by_address,
            nodes_by_address: nodes.by_address,
        };
        findings.extend(snapshot.idle_stances());
        (snapshot, findings)
    }
}
