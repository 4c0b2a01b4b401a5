//! What a snapshot needs to know beside objects, and what every cluster of ours has.

use crate::built_in;
use lictor_cluster::{AddressPool, Addresses, Node, RegistrationSettings, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Finding, Object};
use lictor_model::{Cidr, Labels, Revision, TrustDomain};
use std::net::IpAddr;
use std::sync::Arc;

/// A cluster's constants.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// Where pods get their addresses; one block a family.
    pub pods: Vec<Cidr>,
    /// Where services get their addresses; one block a family.
    pub services: Vec<Cidr>,
    /// The name of its one node.
    pub node: Arc<str>,
    /// Whether address blocks of policies leave pods and nodes out, as Cilium's do.
    pub cidr_excludes_pods: bool,
    /// How registration names the cluster, and which of its resources count.
    pub registration: RegistrationSettings,
    /// The addresses of the DNS service: the eleventh of each service block.
    dns: Vec<IpAddr>,
}

/// A service block that has no eleventh address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a service block of at least 16 addresses, so that DNS has the eleventh, found {0}")]
pub struct NoAddress(pub Cidr);

/// Istio's root namespace.
const ROOT_NAMESPACE: &str = "istio-system";
/// The address of DNS within its block, as most clusters have it (10.96.0.10).
const DNS_AT: u128 = 10;

impl Cluster {
    /// A cluster of one node.
    ///
    /// # Errors
    /// When a service block is too small.
    pub fn new(trust_domain: TrustDomain, pods: Vec<Cidr>, services: Vec<Cidr>) -> Result<Self, NoAddress> {
        let dns = |block: &Cidr| eleventh(block).ok_or(NoAddress(*block));
        let dns = services.iter().map(dns).collect::<Result<Vec<_>, _>>()?;
        let registration = RegistrationSettings::default();
        Ok(Self { trust_domain, pods, services, node: "lab".into(), cidr_excludes_pods: false, registration, dns })
    }

    /// The addresses of the DNS service, one a family.
    pub fn dns(&self) -> &[IpAddr] {
        &self.dns
    }

    /// The addresses that the node has in the pods' blocks.
    pub fn gateways(&self) -> Vec<IpAddr> {
        self.pods.iter().map(|block| Addresses::new(*block).gateway()).collect()
    }

    /// Pools that have given out nothing yet.
    pub fn pool(&self) -> AddressPool {
        AddressPool::new(&self.pods, &self.services)
    }

    /// The settings of its snapshots.
    pub fn settings(&self) -> Settings {
        let labels = Labels::from_iter([("kubernetes.io/hostname", &*self.node)]);
        let node = Node { name: Arc::clone(&self.node), labels, addresses: self.gateways() };
        Settings {
            trust_domain: self.trust_domain.clone(),
            root_namespace: ROOT_NAMESPACE.into(),
            default_namespace: "default".into(),
            nodes: vec![node],
            unknown_nodes: UnknownNodes::Made,
            cidr_excludes_pods: self.cidr_excludes_pods,
            registration: self.registration.clone(),
        }
    }

    /// These objects and the cluster's own: its DNS in `kube-system`, unless they bring one.
    ///
    /// The DNS pod has the last usable address of each pod block, so that it does not move the others.
    pub fn objects(&self, objects: &[Object]) -> Vec<Object> {
        let pods: Vec<IpAddr> = self.pods.iter().filter_map(|block| before(block.last())).collect();
        objects.iter().cloned().chain(built_in::dns(objects, &pods, &self.dns)).collect()
    }

    /// A first snapshot of these objects and the cluster's own.
    pub fn snapshot(&self, objects: &[Object]) -> (Snapshot, Vec<Finding>) {
        Snapshot::build(&self.objects(objects), &self.settings(), &mut self.pool(), Revision(1))
    }
}

impl Default for Cluster {
    /// Trust domain `cluster.local`, pods in 10.244.0.0/16, services in 10.96.0.0/16.
    fn default() -> Self {
        let block = |net: [u8; 4]| Cidr::new(IpAddr::from(net), 16).into_iter().collect::<Vec<_>>();
        let trust_domain = "cluster.local".parse();
        match trust_domain.map(|domain| Self::new(domain, block([10, 244, 0, 0]), block([10, 96, 0, 0]))) {
            Ok(Ok(cluster)) => cluster,
            // Both are constants that the test below holds valid.
            _ => unreachable!("the defaults are valid"),
        }
    }
}

fn eleventh(block: &Cidr) -> Option<IpAddr> {
    let address = match block.network() {
        IpAddr::V4(base) => IpAddr::V4(u32::from(base).checked_add(u32::try_from(DNS_AT).ok()?)?.into()),
        IpAddr::V6(base) => IpAddr::V6(u128::from(base).checked_add(DNS_AT)?.into()),
    };
    (block.contains(address) && address != block.last()).then_some(address)
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(last) => u32::from(last).checked_sub(1).map(|bits| IpAddr::V4(bits.into())),
        IpAddr::V6(last) => u128::from(last).checked_sub(1).map(|bits| IpAddr::V6(bits.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::Cluster;
    use lictor_model::Name;

    #[test]
    fn the_default_cluster_has_a_dns_service_at_its_usual_address() {
        let cluster = Cluster::default();
        let (snapshot, findings) = cluster.snapshot(&[]);
        assert_eq!(findings, []);
        let service = &snapshot.services[&Name::new("kube-system", "kube-dns")];
        assert_eq!(service.addresses, cluster.dns());
        assert_eq!(cluster.dns()[0].to_string(), "10.96.0.10");
        let backends: Vec<u16> =
            service.ports.iter().flat_map(|port| &port.backends).map(|backend| backend.port).collect();
        assert_eq!(backends, [53, 53]);
        let pod = &snapshot.pods[&Name::new("kube-system", "kube-dns")];
        assert_eq!(pod.addresses[0].to_string(), "10.244.255.254");
        assert!(!pod.enrolled && pod.labels.get("k8s-app") == Some("kube-dns"));
    }

    #[test]
    fn a_dns_of_ones_own_replaces_it() {
        let own = "apiVersion: v1\nkind: Service\nmetadata: {name: kube-dns, namespace: kube-system}\nspec: {ports: [{port: 53}]}\n";
        let objects = lictor_manifest::read("own.yaml", own).objects;
        assert_eq!(Cluster::default().objects(&objects).len(), 1);
    }

    #[test]
    fn a_small_service_block_is_refused() {
        let block = |text: &str| vec![text.parse().expect("a block")];
        let domain = || "td".parse().expect("a trust domain");
        assert!(Cluster::new(domain(), block("10.1.0.0/16"), block("10.2.0.0/29")).is_err());
        let six = Cluster::new(domain(), block("fd00::/64"), block("fd01::/112")).expect("a cluster");
        assert_eq!(six.dns()[0].to_string(), "fd01::a");
        assert_eq!(six.gateways()[0].to_string(), "fd00::1");
    }
}
