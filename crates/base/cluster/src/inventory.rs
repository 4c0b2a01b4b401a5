//! The objects of a build, sorted by kind, each name once.

use crate::certificates::Certificates;
use crate::notice;
use crate::registration::Resources;
use crate::snapshot::Policies;
use lictor_manifest::{Endpoints, Finding, Meta, Namespace, Object, Service, Workload, WorkloadKind};
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Every object that a snapshot is made of; of two with one kind and name, the first.
#[derive(Default)]
pub(crate) struct Inventory {
    pub(crate) namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    pub(crate) accounts: BTreeSet<Name>,
    pub(crate) workloads: BTreeMap<(WorkloadKind, Name), Arc<Workload>>,
    pub(crate) services: BTreeMap<Name, Arc<Service>>,
    /// By the Service that they belong to.
    pub(crate) endpoints: BTreeMap<Name, Vec<Arc<Endpoints>>>,
    pub(crate) policies: Policies,
    pub(crate) registration: Resources,
    pub(crate) certificates: Certificates,
    /// The namespaces that something is in, with the first object there by kind and name.
    pub(crate) used: BTreeMap<Arc<str>, Meta>,
}

impl Inventory {
    /// Sorts objects; one without a namespace that needs one is in `default_namespace`.
    pub(crate) fn of(objects: &[Object], default_namespace: &Arc<str>, findings: &mut Vec<Finding>) -> Self {
        let mut inventory = Self::default();
        let mut seen: HashMap<(&str, Name), &Meta> = HashMap::new();
        for object in objects {
            let meta = object.meta();
            let namespace = meta.name.namespace.is_empty().then_some(default_namespace);
            let name = match (object, namespace) {
                (
                    Object::Namespace(_)
                    | Object::ClusterNetworkPolicy(_)
                    | Object::CidrGroup(_)
                    | Object::ClusterSpiffeId(_)
                    | Object::ClusterStaticEntry(_)
                    | Object::ClusterFederatedTrustDomain(_)
                    | Object::Other(..),
                    _,
                )
                | (_, None) => meta.name.clone(),
                (Object::CiliumNetworkPolicy(policy), _) if policy.is_clusterwide() => meta.name.clone(),
                (_, Some(namespace)) => Name::new(namespace.clone(), meta.name.name.clone()),
            };
            // Endpoints and EndpointSlices of one name are different objects; theirs are joined.
            if !matches!(object, Object::Endpoints(_)) {
                if let Some(first) = seen.get(&(kind(object), name.clone())) {
                    findings.push(notice::duplicate(kind(object), &name, first, meta));
                    continue;
                }
                seen.insert((kind(object), name.clone()), meta);
            }
            inventory.take(object, name, namespace);
            if let Object::Other(kind, meta) = object {
                inventory.certificates.take_issuer(kind, meta, default_namespace);
            }
        }
        inventory.policies.sort_cluster_network();
        inventory.count_namespaces();
        inventory
    }

    fn take(&mut self, object: &Object, name: Name, namespace: Option<&Arc<str>>) {
        match object {
            Object::Namespace(object) => {
                self.namespaces.insert(name.name, Arc::clone(object));
            }
            Object::ServiceAccount(_) => {
                self.accounts.insert(name);
            }
            Object::Workload(object) => {
                let object = placed(object, |object| &mut object.meta, namespace);
                self.workloads.insert((object.kind, name), object);
            }
            Object::Service(object) => {
                self.services.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::Endpoints(object) => {
                let service = Name::new(name.namespace, object.service.clone());
                let object = placed(object, |object| &mut object.meta, namespace);
                self.endpoints.entry(service).or_default().push(object);
            }
            Object::NetworkPolicy(object) => {
                self.policies.network.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::ClusterNetworkPolicy(object) => self.policies.cluster_network.push(Arc::clone(object)),
            Object::CiliumNetworkPolicy(object) => {
                let namespace = namespace.filter(|_| !object.is_clusterwide());
                self.policies.cilium.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::CidrGroup(object) => {
                self.policies.cidr_groups.insert(name, Arc::clone(object));
            }
            Object::PeerAuthentication(object) => {
                self.policies.peer_authentication.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::AuthorizationPolicy(object) => {
                self.policies.authorization.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::Stance(object) => {
                self.policies.stances.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::ClusterSpiffeId(object) => drop(self.registration.ids.insert(name.name, Arc::clone(object))),
            Object::ClusterStaticEntry(object) => {
                self.registration.static_entries.insert(name.name, Arc::clone(object));
            }
            Object::ClusterFederatedTrustDomain(object) => {
                self.registration.federated.insert(name.name, Arc::clone(object));
            }
            Object::Certificate(object) => {
                self.certificates.by_name.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::Stored(stored) if stored.secret => self.certificates.take_secret(name, object),
            Object::Stored(object) if object.is_authorization() => {
                self.policies.rego.insert(name, placed(object, |object| &mut object.meta, namespace));
            }
            Object::Entrance(_) | Object::Stored(_) | Object::Other(..) => {}
        }
    }

    /// Notes which namespaces have something in them that lictor acts on.
    fn count_namespaces(&mut self) {
        let policies = &self.policies;
        let metas = (self.workloads.values().map(|object| &object.meta))
            .chain(self.services.values().map(|object| &object.meta))
            .chain(self.endpoints.values().flatten().map(|object| &object.meta))
            .chain(policies.network.values().map(|object| &object.meta))
            .chain(policies.cilium.values().filter(|policy| !policy.is_clusterwide()).map(|object| &object.meta))
            .chain(policies.peer_authentication.values().map(|object| &object.meta))
            .chain(policies.authorization.values().map(|object| &object.meta))
            .chain(policies.stances.values().map(|object| &object.meta))
            .chain(self.certificates.by_name.values().map(|object| &object.meta))
            .chain(policies.rego.values().map(|object| &object.meta));
        for meta in metas {
            if !self.used.contains_key(&meta.name.namespace) {
                self.used.insert(meta.name.namespace.clone(), meta.clone());
            }
        }
    }
}

/// The object itself, or a copy of it in the namespace that it does not name.
fn placed<T: Clone>(object: &Arc<T>, meta: fn(&mut T) -> &mut Meta, namespace: Option<&Arc<str>>) -> Arc<T> {
    let mut object = Arc::clone(object);
    if let Some(namespace) = namespace {
        meta(Arc::make_mut(&mut object)).name.namespace = Arc::clone(namespace);
    }
    object
}

fn kind(object: &Object) -> &str {
    match object {
        Object::Namespace(_) => "Namespace",
        Object::ServiceAccount(_) => "ServiceAccount",
        Object::Workload(object) => object.kind.as_str(),
        Object::Service(_) => "Service",
        Object::Entrance(object) => object.kind,
        Object::Endpoints(_) => "Endpoints",
        Object::ClusterNetworkPolicy(object) => object.kind.as_str(),
        Object::Stored(object) if object.secret => "Secret",
        Object::Stored(_) => "ConfigMap",
        Object::CiliumNetworkPolicy(object) => object.kind.as_str(),
        Object::CidrGroup(_) => "CiliumCIDRGroup",
        Object::NetworkPolicy(_) => "NetworkPolicy",
        Object::PeerAuthentication(_) => "PeerAuthentication",
        Object::AuthorizationPolicy(_) => "AuthorizationPolicy",
        Object::Stance(_) => "Stance",
        Object::ClusterSpiffeId(_) => "ClusterSPIFFEID",
        Object::ClusterStaticEntry(_) => "ClusterStaticEntry",
        Object::ClusterFederatedTrustDomain(_) => "ClusterFederatedTrustDomain",
        Object::Certificate(_) => "Certificate",
        Object::Other(kind, _) => kind,
    }
}
