//! The snapshot and its look-ups.

use crate::certificates::Certificates;
use crate::names::Names;
use crate::pod::{Node, Pod, WorkloadRef};
use crate::registration::Registrations;
use crate::service::ClusterService;
use lictor_manifest::{
    AuthorizationPolicy, CidrGroup, CiliumNetworkPolicy, CiliumPeer, ClusterNetworkPolicy, EndpointSelector,
    NamespacedPods, NetworkPolicy, PeerAuthentication, Stance, Stored, TierPeer,
};
use lictor_model::{Established, Labels, Layer, Mode, Name, Peer, PolicyKind, PolicyRef, Revision, TrustDomain};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The cluster at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Its number.
    pub revision: Revision,
    /// The trust domain of every identity in it.
    pub trust_domain: TrustDomain,
    /// Istio's root namespace: policies there speak for the whole mesh.
    pub root_namespace: Arc<str>,
    /// The namespaces by name.
    pub namespaces: BTreeMap<Arc<str>, NamespaceState>,
    /// The nodes by name.
    pub nodes: BTreeMap<Arc<str>, Node>,
    /// The pods by name.
    pub pods: BTreeMap<Name, Arc<Pod>>,
    /// The workloads that run no pod now, sorted: CronJobs, and those scaled to zero.
    pub suspended: Vec<WorkloadRef>,
    /// The services by name.
    pub services: BTreeMap<Name, Arc<ClusterService>>,
    /// The policies.
    pub policies: Policies,
    /// What registration makes of its resources, beside the entries of the pods.
    pub registrations: Registrations,
    /// The Certificates that are asked for.
    pub certificates: Certificates,
    /// What DNS says of names that policies may speak of.
    pub names: Names,
    /// The addresses of the cluster's own DNS, which asks the policies about names.
    pub resolvers: BTreeSet<IpAddr>,
    /// Whether address blocks of policies leave pods and nodes out, as Cilium's do; Kubernetes' match them.
    pub cidr_excludes_pods: bool,
    pub(crate) pods_by_address: HashMap<IpAddr, Name>,
    pub(crate) nodes_by_address: HashMap<IpAddr, Arc<str>>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceState {
    /// Its labels, `kubernetes.io/metadata.name` among them.
    pub labels: Labels,
    /// Whether a manifest declares it; a namespace that is only used is made.
    pub declared: bool,
}

/// The policies, by kind and then by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Each field is its kind.
pub struct Policies {
    pub network: BTreeMap<Name, Arc<NetworkPolicy>>,
    /// In the order in which they are asked: by tier, priority, kind and name.
    pub cluster_network: Vec<Arc<ClusterNetworkPolicy>>,
    /// The two kinds: those of the cluster have no namespace, and stand first.
    pub cilium: BTreeMap<Name, Arc<CiliumNetworkPolicy>>,
    pub cidr_groups: BTreeMap<Name, Arc<CidrGroup>>,
    pub peer_authentication: BTreeMap<Name, Arc<PeerAuthentication>>,
    pub authorization: BTreeMap<Name, Arc<AuthorizationPolicy>>,
    pub stances: BTreeMap<Name, Arc<Stance>>,
    /// The ConfigMaps whose Rego judges what an Envoy asks.
    pub rego: BTreeMap<Name, Arc<Stored>>,
}

impl Policies {
    /// Adds a cluster-wide policy at its place.
    pub fn add_cluster_network(&mut self, policy: Arc<ClusterNetworkPolicy>) {
        self.cluster_network.push(policy);
        self.sort_cluster_network();
    }

    /// The cluster-wide policy with a kind and name.
    pub fn cluster_network_policy(&self, kind: PolicyKind, name: &Name) -> Option<&Arc<ClusterNetworkPolicy>> {
        self.cluster_network.iter().find(|policy| policy.kind == kind && policy.meta.name == *name)
    }

    pub(crate) fn sort_cluster_network(&mut self) {
        let order =
            |policy: &Arc<ClusterNetworkPolicy>| (policy.tier, policy.priority, policy.kind, policy.meta.name.clone());
        self.cluster_network.sort_by_cached_key(order);
    }
}

impl Snapshot {
    /// The same cluster with these pods alone. What it says of their addresses, and of addresses that are no pod's, is
    /// what the whole one says; Services go on naming the backends that they have.
    #[must_use]
    pub fn with_pods(&self, pods: impl IntoIterator<Item = Arc<Pod>>) -> Self {
        let pods: BTreeMap<Name, Arc<Pod>> = pods.into_iter().map(|pod| (pod.name.clone(), pod)).collect();
        let addresses = |pod: &Arc<Pod>| -> Vec<(IpAddr, Name)> {
            let own = pod.addresses.iter().map(IpAddr::to_canonical);
            let own = own.filter(|address| self.pods_by_address.get(address) == Some(&pod.name));
            own.map(|address| (address, pod.name.clone())).collect()
        };
        Self {
            revision: self.revision,
            trust_domain: self.trust_domain.clone(),
            root_namespace: Arc::clone(&self.root_namespace),
            namespaces: self.namespaces.clone(),
            nodes: self.nodes.clone(),
            pods_by_address: pods.values().flat_map(addresses).collect(),
            pods,
            suspended: self.suspended.clone(),
            services: self.services.clone(),
            policies: self.policies.clone(),
            registrations: self.registrations.clone(),
            certificates: self.certificates.clone(),
            names: self.names.clone(),
            resolvers: self.resolvers.clone(),
            cidr_excludes_pods: self.cidr_excludes_pods,
            nodes_by_address: self.nodes_by_address.clone(),
        }
    }

    /// The pod with an address; a host-network pod is not found by its node's.
    pub fn pod_at(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.pods.get(self.pods_by_address.get(&address.to_canonical())?)
    }

    /// The pods of a namespace, by name.
    pub fn pods_in(&self, namespace: &Arc<str>) -> impl Iterator<Item = &Arc<Pod>> {
        let first = Name::new(Arc::clone(namespace), "");
        self.pods.range(first..).map(|(_, pod)| pod).take_while(move |pod| pod.name.namespace == *namespace)
    }

    /// The node with an address.
    pub fn node_at(&self, address: IpAddr) -> Option<&Node> {
        self.nodes.get(self.nodes_by_address.get(&address.to_canonical())?)
    }

    /// Whether a pod is among these; the caller has left host-network pods out.
    pub fn selects(&self, pods: &NamespacedPods, pod: &Pod) -> bool {
        pods.namespaces.matches(&self.namespace_labels(&pod.name.namespace)) && pods.pods.matches(&pod.labels)
    }

    /// Whether a pod is among those that a Cilium policy means; the caller has left host-network pods out.
    pub fn is_endpoint(&self, policy: &CiliumNetworkPolicy, selector: &EndpointSelector, pod: &Pod) -> bool {
        let namespace = &pod.name.namespace;
        let in_scope = match &selector.namespaces {
            Some(selector) => selector.matches(&self.namespace_labels(namespace)),
            None => policy.is_clusterwide() || *namespace == policy.meta.name.namespace,
        };
        in_scope && selector.selects(&pod.labels, &pod.service_account)
    }

    /// Whether some spec of a Cilium policy means a pod; the caller has left host-network pods out.
    pub fn is_subject(&self, policy: &CiliumNetworkPolicy, pod: &Pod) -> bool {
        policy.specs.iter().any(|spec| self.is_endpoint(policy, &spec.subject, pod))
    }

    /// Whether some egress rule for a pod names hosts by a pattern that means a name.
    pub fn speaks_of_name(&self, pod: &Pod, name: &str) -> bool {
        let cilium = || {
            let own = |policy: &&Arc<CiliumNetworkPolicy>| {
                policy.is_clusterwide() || policy.meta.name.namespace == pod.name.namespace
            };
            let specs = self.policies.cilium.values().filter(own).flat_map(|policy| {
                let selecting = policy.specs.iter().filter(|spec| self.is_endpoint(policy, &spec.subject, pod));
                selecting.flat_map(|spec| spec.egress.allow.iter().chain(&spec.egress.deny))
            });
            specs.flat_map(|rule| rule.peers.iter().flatten()).any(|peer| match peer {
                CiliumPeer::Domain(pattern) => pattern.matches(name),
                _ => false,
            })
        };
        let tiered = || {
            let selecting = self.policies.cluster_network.iter().filter(|policy| self.selects(&policy.subject, pod));
            selecting.flat_map(|policy| &policy.egress).flat_map(|rule| &rule.peers).any(|peer| match peer {
                TierPeer::Domain(pattern) => pattern.matches(name),
                _ => false,
            })
        };
        !pod.host_network && (cilium() || tiered())
    }

    /// Whether a policy's address block matches an address.
    pub fn is_in_block(&self, address: IpAddr, contains: impl FnOnce(IpAddr) -> bool) -> bool {
        contains(address.to_canonical()) && (!self.cidr_excludes_pods || self.is_outside(address))
    }

    /// Whether an address is no pod's and no node's.
    pub fn is_outside(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.pods_by_address.contains_key(&address) && !self.nodes_by_address.contains_key(&address)
    }

    /// The peer with an address: a pod's, if one has it.
    pub fn peer(&self, address: IpAddr) -> Peer {
        Peer { address, pod: self.pod_at(address).map(|pod| pod.name.clone()) }
    }

    /// A namespace's labels; those of an unknown one are empty.
    pub fn namespace_labels(&self, namespace: &str) -> Labels {
        self.namespaces.get(namespace).map(|state| state.labels.clone()).unwrap_or_default()
    }

    /// How far a layer goes at a pod, and the Stance that says so.
    ///
    /// The narrowest Stance wins: one with a selector before its namespace's, that before the root
    /// namespace's; among equals the stricter mode. Without one, a policy that exists is enforced.
    pub fn mode(&self, pod: &Pod, layer: Layer) -> (Mode, Option<PolicyRef>) {
        self.stance(pod, layer).map_or((Mode::Enforce, None), |stance| {
            (stance.mode, Some(PolicyRef::whole(PolicyKind::Stance, stance.meta.name.clone())))
        })
    }

    /// What a policy change does to open connections of a pod, as far as a layer is concerned.
    pub fn established(&self, pod: &Pod, layer: Layer) -> Established {
        self.stance(pod, layer).map(|stance| stance.established).unwrap_or_default()
    }

    /// The narrowest Stance that speaks of a layer for a pod.
    fn stance(&self, pod: &Pod, layer: Layer) -> Option<&Arc<Stance>> {
        let applies = |stance: &&Arc<Stance>| {
            stance.layers.iter().any(|named| named.covers(layer))
                && [&pod.name.namespace, &self.root_namespace].contains(&&stance.meta.name.namespace)
                && stance.selector.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
        };
        let narrowness = |stance: &Stance| {
            (stance.meta.name.namespace == pod.name.namespace, stance.selector.is_some(), stance.mode)
        };
        self.policies.stances.values().filter(applies).max_by_key(|stance| narrowness(stance))
    }
}
