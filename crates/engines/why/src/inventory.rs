//! The workloads of a snapshot, and what speaks for each.

use crate::engines::Engines;
use crate::notes::is_built_in;
use crate::samples;
use lictor_authz::mode_word;
use lictor_cluster::{Pod, Snapshot, WorkloadRef};
use lictor_model::{Name, PolicyKind, PolicyRef, SpiffeId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadView {
    /// Namespace and name.
    pub workload: Name,
    /// Its kind, such as `Deployment`.
    pub kind: &'static str,
    /// Its pods.
    pub pods: Vec<Name>,
    /// The identity that they can prove: the first one's default.
    pub identity: SpiffeId,
    /// The other identities that one of them has by registration.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub other_identities: BTreeSet<SpiffeId>,
    /// Whether their traffic goes through the mesh.
    pub enrolled: bool,
    /// The mutual-TLS mode that connections to it meet, as policies write it; none outside the mesh.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport: Option<&'static str>,
    /// Declared ports with another mode.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_transports: BTreeMap<u16, &'static str>,
    /// The policies that speak for it, the whole policy each.
    pub policies: Vec<PolicyRef>,
    /// Whether lictor made it itself.
    pub built_in: bool,
}

/// The workloads of a snapshot, by namespace, name and kind.
pub fn workloads(snapshot: &Snapshot) -> Vec<WorkloadView> {
    let engines = Engines::new(snapshot);
    let mut groups: BTreeMap<(&Name, &WorkloadRef), Vec<&Arc<Pod>>> = BTreeMap::new();
    for pod in snapshot.pods.values() {
        groups.entry((&pod.workload.name, &pod.workload)).or_default().push(pod);
    }
    groups.into_values().filter_map(|pods| engines.view(&pods)).collect()
}

impl Engines<'_> {
    fn view(&self, pods: &[&Arc<Pod>]) -> Option<WorkloadView> {
        let first = pods.first()?;
        // Port 0 is no one's own: it has the mode of every port that has none of its own.
        let mode = |port: u16| mode_word(self.authorization.transport(&first.name, port).mode);
        let transport = first.enrolled.then(|| mode(0));
        let other = |port: u16| Some(mode(port)).filter(|mode| transport.is_some_and(|whole| whole != *mode));
        let port_transports = first.ports.iter().filter_map(|port| Some((port.port, other(port.port)?))).collect();
        let all = pods.iter().flat_map(|pod| pod.identities());
        let other_identities = all.filter(|id| **id != first.identity).cloned().collect();
        Some(WorkloadView {
            workload: first.workload.name.clone(),
            kind: first.workload.kind.as_str(),
            pods: pods.iter().map(|pod| pod.name.clone()).collect(),
            identity: first.identity.clone(),
            other_identities,
            enrolled: first.enrolled,
            transport,
            port_transports,
            policies: self.policies_of(first),
            built_in: is_built_in(first),
        })
    }

    fn policies_of(&self, pod: &Pod) -> Vec<PolicyRef> {
        let mut policies: BTreeSet<PolicyRef> = BTreeSet::new();
        if let Some(endpoint) = self.network.endpoints.get(&pod.name) {
            for gate in [&endpoint.egress, &endpoint.ingress] {
                policies.extend(gate.isolated_by.iter().chain(gate.others.iter()).cloned());
            }
        }
        if pod.enrolled {
            let modes = [0].into_iter().chain(pod.ports.iter().map(|port| port.port));
            let decided =
                modes.filter_map(|port| Some(self.authorization.transport(&pod.name, port).by.policy()?.at("")));
            policies.extend(decided);
            let whole = |name: &Name| PolicyRef::whole(PolicyKind::AuthorizationPolicy, name.clone());
            policies.extend(samples::policies(self.snapshot, pod).map(|policy| whole(&policy.meta.name)));
        }
        policies.into_iter().collect()
    }
}
