//! The nodes: those of the settings, and those that dumped pods name.

use crate::inventory::Inventory;
use crate::notice;
use crate::pod::Node;
use lictor_manifest::{Finding, Workload, WorkloadKind};
use lictor_model::Labels;
use std::collections::{BTreeMap, HashMap};
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
    pub(crate) fn of(settings: &[Node], inventory: &Inventory, findings: &mut Vec<Finding>) -> Self {
        let mut nodes = Self { by_name: BTreeMap::new(), by_address: HashMap::new(), first: Arc::from(ONLY_NODE) };
        for node in settings {
            nodes.add(&node.name, &node.labels);
            for address in &node.addresses {
                nodes.give(&node.name, *address);
            }
        }
        for workload in inventory.workloads.values() {
            if let Some(name) = &workload.template.spec.node_name
                && nodes.add(name, &Labels::default())
            {
                let path = if workload.kind == WorkloadKind::Pod { "spec" } else { "spec.template.spec" };
                findings.push(notice::node_made(&workload.meta, &format!("{path}.nodeName"), name));
            }
        }
        for workload in inventory.workloads.values() {
            let Some(address) = workload.host_address.map(|address| address.to_canonical()) else { continue };
            let name = match &workload.template.spec.node_name {
                Some(name) => Arc::clone(name),
                None if nodes.by_address.contains_key(&address) => continue,
                None => Arc::from(address.to_string()),
            };
            if nodes.add(&name, &Labels::default()) {
                findings.push(notice::node_made(&workload.meta, "status.hostIP", &name));
            }
            nodes.give(&name, address);
        }
        match settings.first().map(|node| &node.name).or_else(|| nodes.by_name.keys().next()) {
            Some(first) => nodes.first = Arc::clone(first),
            None => {
                nodes.add(&Arc::from(ONLY_NODE), &Labels::default());
            }
        }
        for node in nodes.by_name.values_mut() {
            node.addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        }
        nodes
    }

    /// The node that a pod is on.
    pub(crate) fn of_pod(&self, bound: Option<&Arc<str>>, workload: &Workload) -> Arc<str> {
        let by_address = || self.by_address.get(&workload.host_address?.to_canonical());
        Arc::clone(bound.or_else(by_address).unwrap_or(&self.first))
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
