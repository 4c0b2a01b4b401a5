//! Readiness as Services see it.

use super::PodHealth;
use lictor_cluster::{ClusterService, Snapshot};
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The pods that are not ready.
pub fn unready(health: &BTreeMap<Name, PodHealth>) -> BTreeSet<Name> {
    health.iter().filter(|(_, health)| !health.ready).map(|(name, _)| name.clone()).collect()
}

/// A snapshot without the backends whose pods are not ready, but for Services that publish those too
/// (`publishNotReadyAddresses`). Nothing else differs; services of which nothing is left out are shared.
pub fn published(snapshot: &Snapshot, unready: &BTreeSet<Name>) -> Snapshot {
    let mut published = snapshot.clone();
    for service in published.services.values_mut() {
        let left_out = |pod: &Option<Name>| pod.as_ref().is_some_and(|pod| unready.contains(pod));
        let mut backends = service.ports.iter().flat_map(|port| &port.backends);
        if service.service.publish_not_ready || !backends.any(|backend| left_out(&backend.pod)) {
            continue;
        }
        let mut ports = service.ports.clone();
        for port in &mut ports {
            port.backends.retain(|backend| !left_out(&backend.pod));
        }
        *service = Arc::new(ClusterService { ports, ..ClusterService::clone(service) });
    }
    published
}
