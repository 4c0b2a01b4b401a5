//! From drafts to pods: each gets its addresses, its node and its identity.

use crate::addresses::{AddressPool, Addresses};
use crate::build::{ENROLL_ANNOTATION, Settings};
use crate::expand::Draft;
use crate::inventory::Inventory;
use crate::nodes::Nodes;
use crate::notice;
use crate::pod::{NamedPort, Pod};
use crate::registration::made_uid;
use lictor_manifest::{Finding, Owner, PodSpec, WorkloadKind};
use lictor_model::{Cidr, Labels, Name, SpiffeId};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The pods, and which of them has which address.
pub(crate) struct Placement {
    pub(crate) pods: BTreeMap<Name, Arc<Pod>>,
    pub(crate) by_address: HashMap<IpAddr, Name>,
}

/// Gives every draft its addresses: those that its manifest states first, then one from each block of the
/// pool that it has none of, in the order of names.
pub(crate) fn place(
    drafts: BTreeMap<Name, Draft>,
    inventory: &Inventory,
    nodes: &Nodes,
    settings: &Settings,
    pool: &mut AddressPool,
    findings: &mut Vec<Finding>,
) -> Placement {
    for block in &mut pool.pods {
        let of = block.block();
        block.retain(|owner, held| drafts.get(owner).is_some_and(|draft| keeps(draft, of, held)));
    }
    let mut stated = Stated::default();
    for (name, draft) in &drafts {
        stated.claim(name, draft, nodes, pool, findings);
    }
    let mut placement = Placement { pods: BTreeMap::new(), by_address: HashMap::new() };
    let mut specs = Specs::default();
    let mut labels = SharedLabels::default();
    let mut told = Told::default();
    for (name, draft) in drafts {
        let host_network = draft.object.template.spec.host_network;
        let node = nodes.of_pod(draft.node.as_ref(), &draft.object);
        let addresses = if host_network {
            Some(nodes.addresses(&node).to_vec())
        } else {
            stated.complete(&name, &draft, pool, &mut told, findings)
        };
        let identity = identity(&name, &draft, inventory, settings, &mut told, findings);
        let (Some(addresses), Some((service_account, identity))) = (addresses, identity) else { continue };
        if !host_network {
            placement.by_address.extend(addresses.iter().map(|address| (*address, name.clone())));
        }
        let pod = Pod {
            labels: labels.of(&draft.object.template.labels),
            annotations: draft.object.template.annotations.clone(),
            addresses,
            ports: ports(&draft.object.template.spec),
            node,
            host_network,
            enrolled: !host_network && enrolled(&draft, inventory),
            identity,
            entries: Vec::new(),
            parts: Vec::new(),
            owner: owner(&draft),
            uid: uid(&name, &draft),
            service_account,
            spec: specs.of(&name, &draft),
            workload: draft.workload,
            name: name.clone(),
        };
        placement.pods.insert(name, Arc::new(pod));
    }
    placement
}

/// What owns the pod of a draft.
fn owner(draft: &Draft) -> Option<Owner> {
    let object = &draft.object;
    match object.kind {
        WorkloadKind::Pod => object.owner.clone(),
        WorkloadKind::Deployment | WorkloadKind::CronJob => None,
        kind => Some(Owner {
            kind: Arc::from(kind.as_str()),
            name: Arc::clone(&object.meta.name.name),
            uid: object.meta.uid.clone(),
        }),
    }
}

/// Whether a pod keeps the address that it has in a block: not if it states another one, which a pod that takes its place
/// may have asked for.
fn keeps(draft: &Draft, block: Cidr, held: IpAddr) -> bool {
    let stated = draft.object.addresses.iter().map(|address| address.to_canonical());
    let mut here = stated.filter(|address| block.contains(*address)).peekable();
    !draft.object.template.spec.host_network && (here.peek().is_none() || here.any(|address| address == held))
}

/// Pods with equal labels share them: ten thousand pods without an owner have a few hundred label sets, and what shares
/// one is told to be equal without reading it.
#[derive(Default)]
struct SharedLabels(HashSet<Labels>);

impl SharedLabels {
    fn of(&mut self, labels: &Labels) -> Labels {
        if let Some(shared) = self.0.get(labels) {
            return shared.clone();
        }
        self.0.insert(labels.clone());
        labels.clone()
    }
}

/// What was said of a whole workload, so that a hundred replicas do not say it a hundred times.
#[derive(Default)]
struct Told {
    exhausted: BTreeSet<(WorkloadKind, Name)>,
    account: BTreeSet<(WorkloadKind, Name)>,
}

/// The addresses that manifests state.
#[derive(Default)]
struct Stated {
    owners: HashMap<IpAddr, Name>,
    by_pod: HashMap<Name, Vec<IpAddr>>,
}

impl Stated {
    /// Sets aside what a dumped Pod's status says: one address a family, as Kubernetes has it.
    fn claim(
        &mut self,
        name: &Name,
        draft: &Draft,
        nodes: &Nodes,
        pool: &mut AddressPool,
        findings: &mut Vec<Finding>,
    ) {
        if draft.object.template.spec.host_network {
            return;
        }
        let mut families = HashSet::new();
        for address in draft.object.addresses.iter().map(|address| address.to_canonical()) {
            if !families.insert(address.is_ipv4()) {
                continue;
            }
            let block = pool.pods.iter_mut().find(|block| block.block().contains(address));
            let holder = if let Some(owner) = self.owners.get(&address) {
                Some(owner.to_string())
            } else if let Some(node) = nodes.by_address.get(&address) {
                Some(format!("node {node}"))
            } else {
                let free = |block: &mut Addresses| block.gateway() != address && block.claim(name, address);
                (!block.is_none_or(free)).then(|| "the node's end of the link or an older pod".to_owned())
            };
            match holder {
                None => {
                    self.owners.insert(address, name.clone());
                    self.by_pod.entry(name.clone()).or_default().push(address);
                }
                Some(holder) => {
                    findings.push(notice::address_taken(&draft.object.meta, "status.podIP", address, &holder));
                }
            }
        }
    }

    /// A pod's addresses, IPv4 first: the stated ones, and one from each block of another family.
    fn complete(
        &self,
        name: &Name,
        draft: &Draft,
        pool: &mut AddressPool,
        told: &mut Told,
        findings: &mut Vec<Finding>,
    ) -> Option<Vec<IpAddr>> {
        let mut addresses = self.by_pod.get(name).cloned().unwrap_or_default();
        for block in &mut pool.pods {
            let family = block.block().network().is_ipv4();
            if addresses.iter().any(|address| address.is_ipv4() == family) {
                continue;
            }
            match block.assign(name) {
                Ok(address) => addresses.push(address),
                Err(exhausted) => {
                    if told.exhausted.insert((draft.object.kind, draft.object.meta.name.clone())) {
                        findings.push(notice::no_address_left(&draft.object.meta, name, &exhausted));
                    }
                    return None;
                }
            }
        }
        addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        Some(addresses)
    }
}

/// The service account and the identity; nothing when the names make no identity.
fn identity(
    name: &Name,
    draft: &Draft,
    inventory: &Inventory,
    settings: &Settings,
    told: &mut Told,
    findings: &mut Vec<Finding>,
) -> Option<(Arc<str>, SpiffeId)> {
    const DEFAULT: &str = "default";
    let account = &draft.object.template.spec.service_account;
    let account = if account.is_empty() { Arc::from(DEFAULT) } else { Arc::clone(account) };
    let first = told.account.insert((draft.object.kind, draft.object.meta.name.clone()));
    match settings.trust_domain.workload(&name.namespace, &account) {
        Ok(identity) => {
            let known = inventory.accounts.contains(&Name::new(name.namespace.clone(), account.clone()));
            if first && !known && &*account != DEFAULT {
                findings.push(notice::no_service_account(&draft.object.meta, &path(draft), &account));
            }
            Some((account, identity))
        }
        Err(error) => {
            if first {
                findings.push(notice::no_identity(&draft.object.meta, &path(draft), &account, &error));
            }
            None
        }
    }
}

/// Where an object names its service account.
fn path(draft: &Draft) -> String {
    let spec = match draft.object.kind {
        WorkloadKind::Pod => "spec",
        _ => "spec.template.spec",
    };
    format!("{spec}.serviceAccountName")
}

/// The uid that a dumped pod has; for any other one, always the same one for its name.
fn uid(name: &Name, draft: &Draft) -> Arc<str> {
    let stated = draft.object.meta.uid.as_ref().filter(|_| draft.object.kind == WorkloadKind::Pod);
    stated.map_or_else(|| Arc::from(made_uid(&["pod", &name.namespace, &name.name])), Arc::clone)
}

/// Whether neither the pod nor its namespace opts out of the mesh.
fn enrolled(draft: &Draft, inventory: &Inventory) -> bool {
    let out = |annotations: &BTreeMap<String, String>| {
        annotations.get(ENROLL_ANNOTATION).is_some_and(|value| value.eq_ignore_ascii_case("false"))
    };
    let namespace = inventory.namespaces.get(&draft.object.meta.name.namespace);
    !out(&draft.object.template.annotations) && !namespace.is_some_and(|namespace| out(&namespace.meta.annotations))
}

/// The ports of all containers.
fn ports(spec: &PodSpec) -> Vec<NamedPort> {
    let declared = spec.containers.iter().flat_map(|container| &container.ports);
    declared.map(|port| NamedPort { name: port.name.clone(), protocol: port.protocol, port: port.port }).collect()
}

/// Pod specs, shared by the replicas of a workload.
#[derive(Default)]
struct Specs(HashMap<(WorkloadKind, Name), Arc<PodSpec>>);

impl Specs {
    /// The spec of a pod; a StatefulSet's has its own name as `hostname`, as the controller sets it.
    fn of(&mut self, name: &Name, draft: &Draft) -> Arc<PodSpec> {
        let spec = &draft.object.template.spec;
        if draft.object.kind == WorkloadKind::StatefulSet {
            return Arc::new(PodSpec { hostname: Some(name.name.clone()), ..spec.clone() });
        }
        let key = (draft.object.kind, draft.object.meta.name.clone());
        Arc::clone(self.0.entry(key).or_insert_with(|| Arc::new(spec.clone())))
    }
}
