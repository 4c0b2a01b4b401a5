//! Services: their virtual addresses and what is behind them.

use crate::addresses::AddressPool;
use crate::inventory::Inventory;
use crate::notice;
use crate::placement::Placement;
use crate::pod::Pod;
use crate::service::{Backend, ClusterService, ServiceBackends};
use lictor_manifest::{Endpoints, Finding, Service, ServicePort, ServiceType, TargetPort};
use lictor_model::{Name, Operator, Requirement, Selector};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Every Service with its virtual addresses and backends.
pub(crate) fn services(
    inventory: &Inventory,
    placement: &Placement,
    pool: &mut AddressPool,
    findings: &mut Vec<Finding>,
) -> BTreeMap<Name, Arc<ClusterService>> {
    let mut virtuals = virtual_addresses(inventory, pool, findings);
    let index = PodIndex::of(&placement.pods, inventory.services.values());
    let mut services = BTreeMap::new();
    for (name, service) in &inventory.services {
        let addresses = virtuals.remove(name).unwrap_or_default();
        let behind = match (&service.kind, &service.selector) {
            (ServiceType::External(_), _) => Behind::Nothing,
            (_, Some(selector)) if !selector.is_empty() => Behind::Pods(index.select(name, selector)),
            _ => Behind::Endpoints(inventory.endpoints.get(name).map_or(&[], Vec::as_slice)),
        };
        let ports = (service.ports.iter())
            .map(|port| {
                let mut backends: BTreeSet<Backend> = behind.backends(name, port, placement);
                if !addresses.is_empty() {
                    // A virtual address forwards within its own family.
                    backends.retain(|backend| addresses.iter().any(|a| a.is_ipv4() == backend.address.is_ipv4()));
                }
                ServiceBackends { port: port.clone(), backends: backends.into_iter().collect() }
            })
            .collect();
        let resolved = ClusterService { service: Arc::clone(service), addresses, ports };
        report(&resolved, &behind, findings);
        services.insert(name.clone(), Arc::new(resolved));
    }
    for (service, objects) in inventory.endpoints.iter().filter(|(service, _)| !services.contains_key(*service)) {
        findings.extend(objects.iter().map(|object| notice::endpoints_alone(&object.meta, service)));
    }
    services
}

/// The virtual addresses: those that manifests state first, then one from each block, in the order of names.
fn virtual_addresses(
    inventory: &Inventory,
    pool: &mut AddressPool,
    findings: &mut Vec<Finding>,
) -> HashMap<Name, Vec<IpAddr>> {
    let clustered = |service: &Service| matches!(service.kind, ServiceType::Cluster(_));
    for block in &mut pool.services {
        block.retain(|owner, _| inventory.services.get(owner).is_some_and(|service| clustered(service)));
    }
    let mut owners: HashMap<IpAddr, &Name> = HashMap::new();
    let mut given: HashMap<Name, Vec<IpAddr>> = HashMap::new();
    for (name, service) in &inventory.services {
        let ServiceType::Cluster(stated) = &service.kind else { continue };
        for address in stated.iter().map(|address| address.to_canonical()) {
            let block = pool.services.iter_mut().find(|block| block.block().contains(address));
            let holder = match owners.get(&address) {
                Some(owner) => Some(owner.to_string()),
                None => (!block.is_none_or(|block| block.claim(name, address))).then(|| "an older Service".to_owned()),
            };
            match holder {
                None => {
                    owners.insert(address, name);
                    given.entry(name.clone()).or_default().push(address);
                }
                Some(holder) => {
                    findings.push(notice::address_taken(&service.meta, "spec.clusterIP", address, &holder));
                }
            }
        }
    }
    for (name, service) in inventory.services.iter().filter(|(_, service)| clustered(service)) {
        if given.contains_key(name) {
            continue;
        }
        let addresses = given.entry(name.clone()).or_default();
        for block in &mut pool.services {
            match block.assign(name) {
                Ok(address) => addresses.push(address),
                Err(exhausted) => findings.push(notice::no_address_left(&service.meta, name, &exhausted)),
            }
        }
    }
    for addresses in given.values_mut() {
        addresses.sort_by_key(|address| (address.is_ipv6(), *address));
        addresses.dedup();
    }
    given
}

/// What a Service forwards to.
enum Behind<'a> {
    Nothing,
    Pods(Vec<&'a Arc<Pod>>),
    Endpoints(&'a [Arc<Endpoints>]),
}

impl Behind<'_> {
    /// The backends of one port.
    fn backends(&self, service: &Name, port: &ServicePort, placement: &Placement) -> BTreeSet<Backend> {
        match self {
            Self::Nothing => BTreeSet::new(),
            Self::Pods(pods) => pods.iter().flat_map(|pod| of_pod(pod, service, port)).collect(),
            Self::Endpoints(objects) => {
                objects.iter().flat_map(|object| of_endpoints(object, port, placement)).collect()
            }
        }
    }
}

/// A pod as the backend of a port: one a family, none when the target port does not resolve.
fn of_pod(pod: &Pod, service: &Name, port: &ServicePort) -> Vec<Backend> {
    let number = match &port.target {
        TargetPort::Number(number) => Some(*number),
        TargetPort::Named(name) => pod.named_port(name, port.protocol),
    };
    // Source: Kubernetes, "DNS for Services and Pods": a pod has a record of its own below a headless Service
    // when its `subdomain` is the Service's name and it has a `hostname`.
    let in_subdomain = pod.spec.subdomain.as_ref() == Some(&service.name);
    let hostname = pod.spec.hostname.clone().filter(|_| in_subdomain).unwrap_or_default();
    let backend = |port, address: &IpAddr| Backend {
        address: *address,
        port,
        pod: Some(pod.name.clone()),
        hostname: hostname.clone(),
    };
    number.map_or_else(Vec::new, |number| pod.addresses.iter().map(|address| backend(number, address)).collect())
}

/// The backends of a port that an Endpoints or EndpointSlice object names.
fn of_endpoints(object: &Endpoints, port: &ServicePort, placement: &Placement) -> Vec<Backend> {
    let mut backends = Vec::new();
    for (addresses, ports) in &object.subsets {
        let matching = ports.iter().filter(|other| other.name == port.name && other.protocol == port.protocol);
        for number in matching.map(|other| other.port) {
            backends.extend(addresses.iter().map(|(address, hostname)| {
                let address = address.to_canonical();
                let pod = placement.by_address.get(&address).cloned();
                Backend { address, port: number, pod, hostname: hostname.clone() }
            }));
        }
    }
    backends
}

/// Says what a Service misses.
fn report(service: &ClusterService, behind: &Behind<'_>, findings: &mut Vec<Finding>) {
    let meta = &service.service.meta;
    match behind {
        Behind::Pods(pods) if pods.is_empty() => findings.push(notice::selects_nothing(meta)),
        Behind::Pods(_) => {
            for (at, port) in service.ports.iter().enumerate() {
                if let (TargetPort::Named(target), true) = (&port.port.target, port.backends.is_empty()) {
                    findings.push(notice::target_port_unresolved(meta, at, target));
                }
            }
        }
        Behind::Nothing | Behind::Endpoints(_) => {}
    }
}

/// Pods by namespace and by the labels that Services select by.
struct PodIndex<'a> {
    pods: &'a BTreeMap<Name, Arc<Pod>>,
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<&'a Arc<Pod>>>,
}

impl<'a> PodIndex<'a> {
    fn of(pods: &'a BTreeMap<Name, Arc<Pod>>, services: impl Iterator<Item = &'a Arc<Service>>) -> Self {
        let selectors = services.filter_map(|service| service.selector.as_ref());
        let keys: HashSet<&str> =
            selectors.flat_map(|selector| selector.requirements()).map(|requirement| &*requirement.key).collect();
        let mut by_label: HashMap<_, Vec<_>> = HashMap::new();
        for pod in pods.values() {
            for (key, value) in pod.labels.iter().filter(|(key, _)| keys.contains(key)) {
                by_label.entry((&*pod.name.namespace, key, value)).or_default().push(pod);
            }
        }
        Self { pods, by_label }
    }

    /// The pods of a Service's namespace that its selector selects.
    fn select(&self, service: &'a Name, selector: &'a Selector) -> Vec<&'a Arc<Pod>> {
        let lists = |requirement: &'a Requirement| match &requirement.operator {
            Operator::In(values) => {
                let of = |value: &'a Arc<str>| self.by_label.get(&(&*service.namespace, &*requirement.key, &**value));
                Some(values.iter().filter_map(of).collect::<Vec<_>>())
            }
            _ => None,
        };
        let narrowest = (selector.requirements().iter().filter_map(lists))
            .min_by_key(|lists| lists.iter().map(|list| list.len()).sum::<usize>());
        let all = || {
            let first = Name::new(service.namespace.clone(), "");
            let within = self.pods.range(first..).take_while(|(name, _)| name.namespace == service.namespace);
            within.map(|(_, pod)| pod).collect()
        };
        let mut selected: Vec<&Arc<Pod>> = match narrowest {
            Some(lists) => lists.into_iter().flatten().copied().collect(),
            None => all(),
        };
        selected.retain(|pod| selector.matches(&pod.labels));
        selected
    }
}
