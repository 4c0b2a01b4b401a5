//! The nodes: those of the settings, and those that dumped pods name.

use crate::build::{Settings, UnknownNodes};
use crate::inventory::Inventory;
use crate::notice;
use crate::pod::Node;
use lictor_manifest::{Finding, Workload, WorkloadKind};
use lictor_model::Labels;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// The nodes of a snapshot.
pub(crate) struct Nodes {
    pub(crate) by_name: BTreeMap<Arc<str>, Node>,
    pub(crate) by_address: HashMap<IpAddr, Arc<str>>,
    /// Where pods are that name no node.
    first: Arc<str>,
}

/// The name of the node when neither the settings nor a pod names one.
const ONLY_NODE: &str = "node";

impl Nodes {
    /// The nodes of the settings and of the objects.
    pub(crate) fn of(settings: &Settings, inventory: &Inventory, findings: &mut Vec<Finding>) -> Self {
        let mut nodes = Self { by_name: BTreeMap::new(), by_address: HashMap::new(), first: Arc::from(ONLY_NODE) };
        for node in &settings.nodes {
            nodes.add(&node.name, &node.labels);
            for address in &node.addresses {
                nodes.give(&node.name, *address);
            }
        }
        if settings.unknown_nodes == UnknownNodes::Made {
            nodes.make_unknown(inventory, findings);
        }
        match settings.nodes.first().map(|node| &node.name).or_else(|| nodes.by_name.keys().next()) {
            Some(first) => nodes.first = Arc::clone(first),
            None => {
                nodes.add(&Arc::from(ONLY_NODE), &Labels::default());
            }
        }
        if settings.unknown_nodes == UnknownNodes::Absent {
            nodes.tell_absent(inventory, findings);
        }
        for node in nodes.by_name.values_mut() {
            node.addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        }
        nodes
    }

    /// Makes the nodes that pods name, with the addresses that their status gives.
    fn make_unknown(&mut self, inventory: &Inventory, findings: &mut Vec<Finding>) {
        for (workload, name) in named(inventory) {
            if self.add(name, &Labels::default()) {
                findings.push(notice::node_made(&workload.meta, &path(workload), name));
            }
        }
        for workload in inventory.workloads.values() {
            let Some(address) = workload.host_address.map(|address| address.to_canonical()) else { continue };
            let name = match &workload.template.spec.node_name {
                Some(name) => Arc::clone(name),
                None if self.by_address.contains_key(&address) => continue,
                None => Arc::from(address.to_string()),
            };
            if self.add(&name, &Labels::default()) {
                findings.push(notice::node_made(&workload.meta, "status.hostIP", &name));
            }
            self.give(&name, address);
        }
    }

    /// Says of each node that pods name and that is not there, once, where its pods are.
    fn tell_absent(&self, inventory: &Inventory, findings: &mut Vec<Finding>) {
        let mut told = BTreeSet::new();
        for (workload, name) in named(inventory) {
            if !self.by_name.contains_key(name) && told.insert(name) {
                findings.push(notice::node_absent(&workload.meta, &path(workload), name, &self.first));
            }
        }
    }

    /// The node that a pod is on.
    pub(crate) fn of_pod(&self, bound: Option<&Arc<str>>, workload: &Workload) -> Arc<str> {
        let by_address = || self.by_address.get(&workload.host_address?.to_canonical());
        let known = bound.filter(|name| self.by_name.contains_key(*name));
        Arc::clone(known.or_else(by_address).unwrap_or(&self.first))
    }

    /// A node's addresses.
    pub(crate) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.by_name.get(name).map_or(&[], |node| &node.addresses)
    }

    /// The names, sorted.
    pub(crate) fn names(&self) -> Vec<Arc<str>> {
        self.by_name.keys().cloned().collect()
    }

    /// Whether the node is new.
    fn add(&mut self, name: &Arc<str>, labels: &Labels) -> bool {
        if self.by_name.contains_key(name) {
            return false;
        }
        let node = Node { name: Arc::clone(name), labels: labels.clone(), addresses: Vec::new() };
        self.by_name.insert(Arc::clone(name), node);
        true
    }

    /// Gives a node an address that no other one has.
    fn give(&mut self, name: &Arc<str>, address: IpAddr) {
        let address = address.to_canonical();
        if self.by_address.contains_key(&address) {
            return;
        }
        if let Some(node) = self.by_name.get_mut(name) {
            node.addresses.push(address);
            self.by_address.insert(address, Arc::clone(name));
        }
    }
}

/// The workloads that name a node, and its name.
fn named(inventory: &Inventory) -> impl Iterator<Item = (&Arc<Workload>, &Arc<str>)> {
    inventory.workloads.values().filter_map(|workload| Some((workload, workload.template.spec.node_name.as_ref()?)))
}

/// Where a workload names its node.
fn path(workload: &Workload) -> String {
    let spec = if workload.kind == WorkloadKind::Pod { "spec" } else { "spec.template.spec" };
    format!("{spec}.nodeName")
}
