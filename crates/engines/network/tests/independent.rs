//! A second evaluator that shares nothing with the engine but the words: it reads the policies as their sources describe
//! them, one question after the other, and has to come to the same verdict a million times.

mod random;

use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{
    CiliumNetworkPolicy, CiliumPeer, CiliumPorts, CiliumRule, CiliumSide, EndpointSelector, Entity, GroupRef,
    NetworkRule, PeerTerm, PortMatch, PortTerm, Said, Tier, TierAction, TierPeer, TierPort,
};
use lictor_model::{Direction, Flow, Labels, Peer, PolicyKind, Protocol};
use lictor_network::{compile, judge};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use random::{API_SERVER, Cluster, NAMED_BACKENDS, cluster};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// One question: a pod's side of a flow, as plain facts.
struct Ask<'a> {
    cluster: &'a Cluster,
    snapshot: &'a Snapshot,
    own: &'a Pod,
    peer: IpAddr,
    direction: Direction,
    protocol: Protocol,
    port: u16,
}

impl Ask<'_> {
    fn peer_pod(&self) -> Option<&Pod> {
        let has = |pod: &&std::sync::Arc<Pod>| !pod.host_network && pod.addresses.contains(&self.peer);
        self.snapshot.pods.values().find(has).map(|pod| &**pod)
    }

    fn peer_node(&self) -> Option<(&str, &Labels)> {
        let has = |node: &&lictor_cluster::Node| node.addresses.contains(&self.peer);
        self.snapshot.nodes.values().find(has).map(|node| (&*node.name, &node.labels))
    }

    fn on_own_node(&self) -> bool {
        self.peer_node().is_some_and(|(name, _)| *name == *self.own.node)
    }

    fn is_outside(&self) -> bool {
        self.peer_pod().is_none() && self.peer_node().is_none()
    }

    fn labels_of_namespace(&self, name: &str) -> Labels {
        self.snapshot.namespaces[name].labels.clone()
    }

    /// Whether a block of a policy means the peer.
    fn in_block(&self, contains: impl Fn(IpAddr) -> bool) -> bool {
        contains(self.peer) && (self.is_outside() || !self.cluster.cidr_excludes_pods)
    }

    /// The pod that has the flow's destination port.
    fn listener(&self) -> Option<&Pod> {
        if self.direction == Direction::Ingress { Some(self.own) } else { self.peer_pod() }
    }

    fn listens_under(&self, name: &str) -> bool {
        let has = |pod: &Pod| {
            pod.ports.iter().find(|port| &*port.name == name && port.protocol == self.protocol).map(|port| port.port)
        };
        self.listener().and_then(has) == Some(self.port)
    }

    fn on_ports(&self, ports: &[PortTerm]) -> bool {
        ports.iter().any(|term| {
            term.protocol == self.protocol
                && match &term.port {
                    PortMatch::Any => true,
                    PortMatch::Range(range) => (range.first()..=range.last()).contains(&self.port),
                    PortMatch::Named(name) => self.listens_under(name),
                }
        })
    }

    fn verdict(&self) -> bool {
        if self.own.addresses.contains(&self.peer) {
            return true;
        }
        if let Some(said) = self.tier(Tier::Admin) {
            return said;
        }
        let sides = self.cilium_sides();
        if sides.iter().any(|(policy, side)| side.deny.iter().any(|rule| self.denies(policy, rule))) {
            return false;
        }
        let network = self.network_rules();
        let cilium_isolates = sides.iter().any(|(_, side)| side.default_deny);
        let isolated = match self.on_own_node() {
            true => cilium_isolates && self.direction == Direction::Egress,
            false => cilium_isolates || network.is_some(),
        };
        if isolated {
            let by_network =
                network.unwrap_or_default().iter().any(|(namespace, rule)| self.network_allows(namespace, rule));
            return by_network || sides.iter().any(|(policy, side)| self.cilium_allows(policy, side));
        }
        self.tier(Tier::Baseline).unwrap_or(true)
    }

    /// The first rule of a tier that matches and does not pass.
    fn tier(&self, tier: Tier) -> Option<bool> {
        let mut policies: Vec<_> = self.cluster.tiered.iter().filter(|policy| policy.tier == tier).collect();
        let rank = |kind: PolicyKind| {
            [PolicyKind::ClusterNetworkPolicy, PolicyKind::AdminNetworkPolicy, PolicyKind::BaselineAdminNetworkPolicy]
                .iter()
                .position(|known| *known == kind)
        };
        policies.sort_by_key(|policy| (policy.priority, rank(policy.kind), policy.meta.name.name.to_string()));
        for policy in policies {
            let of_namespace = self.labels_of_namespace(&self.own.name.namespace);
            if !policy.subject.namespaces.matches(&of_namespace) || !policy.subject.pods.matches(&self.own.labels) {
                continue;
            }
            let rules = if self.direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
            for rule in rules {
                let strange = rule.peers.contains(&TierPeer::Unknown) || rule.ports.contains(&TierPort::Unknown);
                if strange && rule.action != TierAction::Accept {
                    return Some(false);
                }
                let peer = rule.peers.iter().any(|peer| self.is_tier_peer(peer));
                let port = rule.ports.is_empty() || rule.ports.iter().any(|port| self.is_tier_port(port));
                if !strange && peer && port {
                    match rule.action {
                        TierAction::Accept => return Some(true),
                        TierAction::Deny => return Some(false),
                        TierAction::Pass => return None,
                    }
                }
            }
        }
        None
    }

    fn is_tier_peer(&self, peer: &TierPeer) -> bool {
        match peer {
            TierPeer::Pods(wanted) => self.peer_pod().is_some_and(|pod| {
                wanted.namespaces.matches(&self.labels_of_namespace(&pod.name.namespace))
                    && wanted.pods.matches(&pod.labels)
            }),
            TierPeer::Nodes(selector) => self.peer_node().is_some_and(|(_, labels)| selector.matches(labels)),
            TierPeer::Network(block) => self.in_block(|address| block.contains(address)),
            TierPeer::Domain(pattern) => self.is_outside() && self.has_name(|name| pattern.matches(name)),
            TierPeer::Unknown => false,
        }
    }

    /// The names that [`random`] has looked up: for everyone, and the pod itself.
    fn has_name(&self, meant: impl Fn(&str) -> bool) -> bool {
        let known =
            [("www.example.com", &["203.0.113.7", "8.8.8.8", "10.244.0.4"][..]), ("example.com", &["2001:db8::7"][..])];
        let peer = self.peer.to_string();
        let own = self.cluster.heard.iter().filter(|heard| *self.own.name.name == *format!("pod{}", heard.pod));
        known.iter().any(|(name, addresses)| meant(name) && addresses.contains(&&*peer))
            || own.into_iter().any(|heard| heard.address == peer && meant(heard.name))
    }

    fn is_tier_port(&self, port: &TierPort) -> bool {
        match port {
            TierPort::Of(protocol, range) => *protocol == self.protocol && range.contains(self.port),
            TierPort::Named(name) => self.listens_under(name),
            TierPort::Unknown => false,
        }
    }

    /// The rules of the NetworkPolicies that isolate the pod; nothing where none does.
    fn network_rules(&self) -> Option<Vec<(String, NetworkRule)>> {
        let mut found = None;
        for policy in &self.cluster.policies {
            let rules = if self.direction == Direction::Ingress { &policy.ingress } else { &policy.egress };
            let own =
                policy.meta.name.namespace == self.own.name.namespace && policy.pod_selector.matches(&self.own.labels);
            if let Some(rules) = rules.as_ref().filter(|_| own) {
                let rules = rules.iter().map(|rule| (policy.meta.name.namespace.to_string(), rule.clone()));
                found.get_or_insert_with(Vec::new).extend(rules);
            }
        }
        found
    }

    fn network_allows(&self, namespace: &str, rule: &NetworkRule) -> bool {
        let is_peer = |peer: &PeerTerm| match peer {
            PeerTerm::Block(block) => self.in_block(|address| {
                block.cidr.contains(address) && !block.except.iter().any(|hole| hole.contains(address))
            }),
            PeerTerm::Pods { namespaces, pods } => self.peer_pod().is_some_and(|pod| {
                let there = match namespaces {
                    None => *pod.name.namespace == *namespace,
                    Some(selector) => selector.matches(&self.labels_of_namespace(&pod.name.namespace)),
                };
                there && pods.as_ref().is_none_or(|selector| selector.matches(&pod.labels))
            }),
        };
        (rule.peers.is_empty() || rule.peers.iter().any(is_peer))
            && (rule.ports.is_empty() || self.on_ports(&rule.ports))
    }

    /// The directions of Cilium's specs that select the pod.
    fn cilium_sides(&self) -> Vec<(&CiliumNetworkPolicy, &CiliumSide)> {
        let specs = self.cluster.cilium.iter().flat_map(|policy| policy.specs.iter().map(move |spec| (policy, spec)));
        specs
            .filter(|(policy, spec)| self.is_endpoint(policy, &spec.subject, self.own))
            .map(|(policy, spec)| {
                (policy, if self.direction == Direction::Ingress { &spec.ingress } else { &spec.egress })
            })
            .collect()
    }

    fn is_endpoint(&self, policy: &CiliumNetworkPolicy, selector: &EndpointSelector, pod: &Pod) -> bool {
        let there = match (&selector.namespaces, policy.kind) {
            (Some(selector), _) => selector.matches(&self.labels_of_namespace(&pod.name.namespace)),
            (None, PolicyKind::CiliumNetworkPolicy) => pod.name.namespace == policy.meta.name.namespace,
            (None, _) => true,
        };
        let account = selector.accounts.iter().all(|operator| operator.holds(Some(&pod.service_account)));
        there && account && selector.pods.matches(&pod.labels)
    }

    fn denies(&self, policy: &CiliumNetworkPolicy, rule: &CiliumRule) -> bool {
        let peers = match &rule.peers {
            None => true,
            Some(peers) => {
                peers.contains(&CiliumPeer::Unknown) || peers.iter().any(|peer| self.is_cilium_peer(policy, peer))
            }
        };
        peers && rule.ports.as_ref().is_none_or(|items| items.iter().any(|item| self.on_ports(&item.ports)))
    }

    fn cilium_allows(&self, policy: &CiliumNetworkPolicy, side: &CiliumSide) -> bool {
        // What is said on a connection has to be seen somewhere: by the pod's proxy, or by the DNS of the cluster.
        let seen = |item: &CiliumPorts| match item.said.as_deref() {
            None => true,
            Some(Said::Dns(_)) => self.peer.to_string() == "10.244.0.3",
            Some(_) => self.own.enrolled && self.protocol == Protocol::Tcp,
        };
        side.allow.iter().filter(|rule| rule.unsupported.is_none()).any(|rule| {
            let peers = match &rule.peers {
                None => true,
                Some(peers) => peers.iter().any(|peer| self.is_cilium_peer(policy, peer)),
            };
            let on = |item: &CiliumPorts| self.on_ports(&item.ports) && seen(item);
            peers && rule.ports.as_ref().is_none_or(|items| items.iter().any(on))
        })
    }

    fn is_cilium_peer(&self, policy: &CiliumNetworkPolicy, peer: &CiliumPeer) -> bool {
        match peer {
            CiliumPeer::Pods(selector) => self.peer_pod().is_some_and(|pod| self.is_endpoint(policy, selector, pod)),
            CiliumPeer::Entity(Entity::All) => true,
            CiliumPeer::Entity(Entity::Host) => self.on_own_node(),
            CiliumPeer::Entity(Entity::RemoteNode) => self.peer_node().is_some() && !self.on_own_node(),
            CiliumPeer::Entity(Entity::Cluster) => !self.is_outside() || self.is_one_of(API_SERVER),
            CiliumPeer::Entity(Entity::World) => self.is_outside(),
            CiliumPeer::Entity(Entity::WorldIpv4) => self.is_outside() && self.peer.is_ipv4(),
            CiliumPeer::Entity(Entity::WorldIpv6) => self.is_outside() && self.peer.is_ipv6(),
            CiliumPeer::Entity(Entity::KubeApiserver) => self.is_one_of(API_SERVER),
            CiliumPeer::Entity(Entity::None) | CiliumPeer::Unknown => false,
            CiliumPeer::Block(block) => self.in_block(|address| {
                block.cidr.contains(address) && !block.except.iter().any(|hole| hole.contains(address))
            }),
            CiliumPeer::Group(GroupRef::Name(name), except) => {
                let outside = ["203.0.113.0/24", "2001:db8::/32"]
                    .map(|text| text.parse::<lictor_model::Cidr>().expect("a block"));
                &**name == "outside"
                    && self.in_block(|address| {
                        outside.iter().any(|block| block.contains(address))
                            && !except.iter().any(|hole| hole.contains(address))
                    })
            }
            CiliumPeer::Nodes(selector) => self.peer_node().is_some_and(|(_, labels)| selector.matches(labels)),
            CiliumPeer::Domain(pattern) => self.is_outside() && self.has_name(|name| pattern.matches(name)),
            CiliumPeer::Service(name) => {
                let own = &policy.meta.name.namespace;
                let namespace = if name.namespace.is_empty() { own } else { &name.namespace };
                self.is_behind(namespace, &name.name)
            }
            CiliumPeer::Services(selector, namespace) => {
                let own = Some(&policy.meta.name.namespace).filter(|own| !own.is_empty());
                let namespace = namespace.as_ref().or(own);
                [("n1", "db", "b"), ("n0", "named", "a"), ("default", "kubernetes", "a")].iter().any(
                    |(at, name, tier)| {
                        namespace.is_none_or(|namespace| **namespace == **at)
                            && selector.matches(&[("tier", *tier)].into_iter().collect())
                            && self.is_behind(at, name)
                    },
                )
            }
            CiliumPeer::Group(GroupRef::Labels(_), _) => unreachable!("random clusters have none"),
        }
    }

    /// Whether the peer is behind a Service.
    fn is_behind(&self, namespace: &str, name: &str) -> bool {
        match (namespace, name) {
            ("default", "kubernetes") => self.is_one_of(API_SERVER),
            ("n0", "named") => self.is_one_of(NAMED_BACKENDS),
            // Its virtual address is of IPv4.
            ("n1", "db") if self.peer.is_ipv4() => {
                let mut pods = self.snapshot.pods.values().filter(|pod| *pod.name.namespace == *namespace);
                pods.any(|pod| pod.labels.get("app") == Some(self.cluster.behind) && pod.addresses.contains(&self.peer))
            }
            _ => false,
        }
    }

    fn is_one_of(&self, addresses: [&str; 2]) -> bool {
        addresses.contains(&&*self.peer.to_string())
    }
}

/// So many questions are asked, or as many as `LICTOR_TRIPLES` says.
const TRIPLES: usize = 1_000_000;

/// Ports where rules begin, end or do not reach.
const SERVICES: [(u8, u16); 10] =
    [(6, 80), (6, 81), (6, 443), (6, 65_535), (17, 80), (17, 53), (132, 443), (1, 8), (1, 13), (58, 128)];

#[test]
fn the_engine_and_the_program_say_what_an_independent_reading_says() {
    let wanted = std::env::var("LICTOR_TRIPLES").ok().and_then(|text| text.parse().ok()).unwrap_or(TRIPLES);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let (mut asked, mut allowed, mut clusters) = (0_usize, 0_usize, 0_usize);
    while asked < wanted {
        let cluster = cluster().new_tree(&mut runner).expect("a cluster").current();
        let snapshot = cluster.snapshot();
        let program = compile(&snapshot);
        clusters += 1;
        let pods = snapshot.pods.values().flat_map(|pod| &pod.addresses);
        let nodes = snapshot.nodes.values().flat_map(|node| &node.addresses);
        let outside = [
            "203.0.113.7",
            "203.0.113.9",
            "203.0.113.200",
            "10.244.0.5",
            "10.244.0.200",
            "8.8.8.8",
            "2001:db8::7",
            "fd00::ffff",
        ];
        let outside = outside.map(|text| text.parse().expect("an address"));
        let peers: BTreeSet<IpAddr> = pods.chain(nodes).copied().chain(outside).collect();
        for own in snapshot.pods.values().filter(|pod| !pod.host_network) {
            for (peer, (protocol, port)) in peers.iter().flat_map(|peer| SERVICES.map(|service| (*peer, service))) {
                let protocol = Protocol::from_number(protocol);
                for direction in Direction::BOTH {
                    let ask = Ask { cluster: &cluster, snapshot: &snapshot, own, peer, direction, protocol, port };
                    let near = Peer::pod(own.name.clone(), own.address_like(peer).expect("an address of each family"));
                    let far = snapshot.peer(peer);
                    let (source, destination) = match direction {
                        Direction::Ingress => (far, near),
                        Direction::Egress => (near, far),
                    };
                    let flow = Flow { source, destination, protocol, port };
                    let said = ask.verdict();
                    let engine = judge(&snapshot, &flow, direction);
                    let compiled = program.judge(&own.name, direction, peer, protocol, port);
                    assert_eq!(
                        (said, said),
                        (engine.verdict.is_allow(), compiled.verdict.is_allow()),
                        "{flow} {direction}: {} in {cluster:#?}",
                        engine.by
                    );
                    asked += 1;
                    allowed += usize::from(said);
                }
            }
        }
    }
    println!("{asked} questions about {clusters} clusters, {allowed} allowed");
    // Both answers have to be common, or little was tested.
    assert!(allowed > asked / 10 && allowed < asked * 9 / 10, "{allowed} of {asked}");
}
