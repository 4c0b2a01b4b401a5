//! Who gets which identity: entries, made of the resources of `spire.spiffe.io` for the pods that they select.
//!
//! **Purpose.** A [`Registrar`] is told of namespaces, nodes, pods, Services and resources as they come and go, and knows the
//! [`Entry`]s of every pod and the status of every resource. [`Snapshot::build`](crate::Snapshot::build) fills the
//! pods' identities in with it.
//!
//! **Invariants.**
//! - A change costs what depends on it: a pod is compared with the resources that may select it, a resource with the pods
//!   that it may select, both found by label. What results does not depend on the order of the changes.
//! - A pod is given an entry only if every selector of it holds for all of its processes, or can hold for some: then those get
//!   it for which they hold, by what the node knows of them.
//! - Where templates give no valid entry there is none, and the status counts it; nothing is half an entry.
//!
//! Source: spiffe/spire-controller-manager, `pkg/spireentry`, and what SPIRE's server and agent add to it.

mod attested;
mod entry;
mod inspect;
mod judge;
mod lookup;
mod registrar;
mod render;
mod settings;
mod status;

pub use attested::{Attested, Part, Scope};
pub use entry::{By, Entry, Failure, Refusal};
pub use inspect::Troubled;
pub use registrar::Registrar;
pub use settings::RegistrationSettings;
pub(crate) use settings::made_uid;
pub use status::{Registrations, StaticStatus, Stats};

use crate::notice;
use crate::pod::Pod;
use crate::service::ClusterService;
use crate::snapshot::NamespaceState;
use lictor_manifest::{ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterStaticEntry, Finding, Meta};
use lictor_model::{Name, TrustDomain};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The resources, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Each field is its kind.
pub struct Resources {
    pub ids: BTreeMap<Arc<str>, Arc<ClusterSpiffeId>>,
    pub static_entries: BTreeMap<Arc<str>, Arc<ClusterStaticEntry>>,
    pub federated: BTreeMap<Arc<str>, Arc<ClusterFederatedTrustDomain>>,
}

impl Resources {
    /// What registration makes of a cluster: the pods get their entries, and with the first of them their identity.
    pub(crate) fn register(
        &self,
        mut registrar: Registrar,
        namespaces: &BTreeMap<Arc<str>, NamespaceState>,
        pods: &mut BTreeMap<Name, Arc<Pod>>,
        services: &BTreeMap<Name, Arc<ClusterService>>,
        findings: &mut Vec<Finding>,
    ) -> Registrations {
        if self.ids.is_empty() && self.static_entries.is_empty() && self.federated.is_empty() {
            return Registrations::default();
        }
        for (name, state) in namespaces {
            registrar.set_namespace(name, Some(&state.labels));
        }
        self.ids.values().for_each(|resource| drop(registrar.set_id(resource)));
        self.static_entries.values().for_each(|resource| drop(registrar.set_static_entry(resource)));
        let mut leading = leading(services);
        for (name, pod) in pods.iter_mut() {
            registrar.set_pod(pod, leading.remove(name).unwrap_or_default());
            let (entries, parts) = (registrar.entries(name), registrar.parts(name));
            if !entries.is_empty() || !parts.is_empty() {
                let pod = Arc::make_mut(pod);
                if let Some(first) = entries.first() {
                    pod.identity = first.id.clone();
                }
                pod.entries = entries.to_vec();
                pod.parts = parts.to_vec();
            }
        }
        findings.extend(registrar.troubled().iter().map(notice::registration_fails));
        findings.extend(self.of_others(&registrar.settings));
        Registrations {
            ids: registrar.stats(),
            static_entries: registrar.static_stats(),
            federated: self.federated(&registrar.settings, findings),
        }
    }

    /// A finding for each resource that another controller acts on.
    fn of_others(&self, settings: &RegistrationSettings) -> Vec<Finding> {
        let ids = self.ids.values().map(|resource| ("ClusterSPIFFEID", &resource.meta, &resource.class));
        let entries = self.static_entries.values();
        let entries = entries.map(|resource| ("ClusterStaticEntry", &resource.meta, &resource.class));
        let federated = self.federated.values();
        let federated = federated.map(|resource| ("ClusterFederatedTrustDomain", &resource.meta, &resource.class));
        let other = |(_, _, class): &(&str, &Meta, &Arc<str>)| !settings.acts_on(class);
        let all = ids.chain(entries).chain(federated).filter(other);
        all.map(|(kind, meta, class)| notice::other_class(kind, meta, class)).collect()
    }

    /// The other trust domains, each once: the older resource's, then the first one's by name.
    fn federated(
        &self,
        settings: &RegistrationSettings,
        findings: &mut Vec<Finding>,
    ) -> BTreeMap<TrustDomain, Arc<ClusterFederatedTrustDomain>> {
        let mut resources: Vec<_> =
            self.federated.values().filter(|resource| settings.acts_on(&resource.class)).collect();
        resources.sort_by_key(|resource| (resource.meta.created, resource.meta.name.clone()));
        let mut federated: BTreeMap<TrustDomain, Arc<ClusterFederatedTrustDomain>> = BTreeMap::new();
        for resource in resources {
            match federated.get(&resource.trust_domain) {
                Some(first) => findings.push(notice::federated_twice(resource, first)),
                None => drop(federated.insert(resource.trust_domain.clone(), Arc::clone(resource))),
            }
        }
        federated
    }
}

/// The names of the Services that lead to each pod.
fn leading(services: &BTreeMap<Name, Arc<ClusterService>>) -> BTreeMap<Name, BTreeSet<Arc<str>>> {
    let mut leading: BTreeMap<Name, BTreeSet<Arc<str>>> = BTreeMap::new();
    for (name, service) in services {
        let pods = service.ports.iter().flat_map(|port| &port.backends).filter_map(|backend| backend.pod.as_ref());
        for pod in pods.filter(|pod| pod.namespace == name.namespace) {
            leading.entry(pod.clone()).or_default().insert(Arc::clone(&name.name));
        }
    }
    leading
}
