//! Random clusters: few names and few numbers, so that they meet.

mod cilium;

use cilium::cilium;
use lictor_cluster::{AddressPool, Answers, Node, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{
    CidrGroup, CiliumNetworkPolicy, ClusterNetworkPolicy, Container, ContainerPort, Meta, Namespace, NamespacedPods,
    NetworkPolicy, NetworkRule, Object, Origin, PeerTerm, PodSpec, PodTemplate, PortMatch, PortTerm, Stance,
    StanceLayer, Tier, TierAction, TierPeer, TierPort, TierRule, Workload, WorkloadKind, read,
};
use lictor_model::{
    Cidr, DomainPattern, Established, IpBlock, Labels, Mode, Name, Operator, PolicyKind, PortRange, Protocol,
    Requirement, Revision, Selector,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The objects of a snapshot, open to be changed.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    pub namespaces: Vec<Namespace>,
    pub pods: Vec<Workload>,
    pub policies: Vec<NetworkPolicy>,
    pub tiered: Vec<ClusterNetworkPolicy>,
    pub cilium: Vec<CiliumNetworkPolicy>,
    pub stances: Vec<Stance>,
    pub heard: Vec<Heard>,
    /// The label `app` of the pods behind the Service `n1/db`.
    pub behind: &'static str,
    pub cidr_excludes_pods: bool,
}

/// Addresses behind the Services that name them: outside, of a node, and of one that a pod may have.
pub(crate) const API_SERVER: [&str; 2] = ["192.168.0.1", "203.0.113.200"];
pub(crate) const NAMED_BACKENDS: [&str; 2] = ["203.0.113.9", "10.244.0.5"];

/// The Services of these clusters: one by labels, and two with their Endpoints.
fn services(behind: &str) -> String {
    let named = |namespace: &str, name: &str, addresses: [&str; 2]| {
        let [first, second] = addresses;
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{tier: a}}}}\n\
             spec: {{ports: [{{port: 80}}]}}\n---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}, namespace: \
             {namespace}}}\nsubsets: [{{addresses: [{{ip: {first}}}, {{ip: {second}}}], ports: [{{port: 80}}]}}]\n"
        )
    };
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: db, namespace: n1, labels: {{tier: b}}}}\n\
         spec: {{selector: {{app: {behind}}}, ports: [{{port: 80}}]}}\n{}{}",
        named("n0", "named", NAMED_BACKENDS),
        named("default", "kubernetes", API_SERVER)
    )
}

/// An address of a name that the pod with a number has got from DNS.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub pod: usize,
    pub name: &'static str,
    pub address: &'static str,
}

impl Heard {
    /// Whether it was this pod.
    pub(crate) fn is_of(&self, pod: &Name) -> bool {
        *pod.name == *format!("pod{}", self.pod)
    }
}

const NAMESPACES: [&str; 3] = ["n0", "n1", "n2"];

impl Cluster {
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut objects: Vec<Object> = Vec::new();
        objects.extend(self.namespaces.iter().cloned().map(|object| Object::Namespace(Arc::new(object))));
        objects.extend(self.pods.iter().cloned().map(|object| Object::Workload(Arc::new(object))));
        objects.extend(self.policies.iter().cloned().map(|object| Object::NetworkPolicy(Arc::new(object))));
        let tiered = self.tiered.iter().cloned();
        objects.extend(tiered.map(|object| Object::ClusterNetworkPolicy(Arc::new(object))));
        let cilium = self.cilium.iter().cloned();
        objects.extend(cilium.map(|object| Object::CiliumNetworkPolicy(Arc::new(object))));
        let group =
            CidrGroup { meta: meta("", "outside"), blocks: vec![block("203.0.113.0/24"), block("2001:db8::/32")] };
        objects.push(Object::CidrGroup(Arc::new(group)));
        objects.extend(read("services.yaml", &services(self.behind)).objects);
        objects.extend(self.stances.iter().cloned().map(|object| Object::Stance(Arc::new(object))));
        let node = |name: &str, team: &str, addresses: [&str; 2]| Node {
            name: Arc::from(name),
            labels: [("team", team)].into_iter().collect(),
            addresses: addresses.map(|text| text.parse().expect("an address")).to_vec(),
        };
        let settings = Settings {
            trust_domain: "cluster.local".parse().expect("a trust domain"),
            root_namespace: Arc::from("n0"),
            default_namespace: Arc::from("default"),
            nodes: vec![node("node1", "a", ["192.168.0.1", "fd01::1"]), node("node2", "b", ["192.168.0.2", "fd01::2"])],
            unknown_nodes: UnknownNodes::Made,
            cidr_excludes_pods: self.cidr_excludes_pods,
            registration: lictor_cluster::RegistrationSettings::default(),
        };
        let mut pool = AddressPool::new(&[block("10.244.0.0/16"), block("fd00::/112")], &[block("10.96.0.0/16")]);
        let mut snapshot = Snapshot::build(&objects, &settings, &mut pool, Revision(1)).0;
        let addresses = ["203.0.113.7", "8.8.8.8", "10.244.0.4"].map(|text| text.parse().expect("an address"));
        snapshot.names.learn("www.example.com", addresses);
        snapshot.names.learn("example.com", ["2001:db8::7".parse().expect("an address")]);
        let pods: Vec<Name> = snapshot.pods.keys().cloned().collect();
        for pod in pods {
            let mut learnt = Answers::default();
            for heard in self.heard.iter().filter(|heard| heard.is_of(&pod)) {
                learnt.add(heard.name, [heard.address.parse().expect("an address")]);
            }
            snapshot.names.set(&pod, learnt);
        }
        // Some pod answers questions for names.
        snapshot.resolvers = ["10.244.0.3".parse().expect("an address")].into();
        snapshot
    }
}

fn block(text: &str) -> Cidr {
    text.parse().expect("a block")
}

fn meta(namespace: &str, name: impl Into<Arc<str>>) -> Meta {
    Meta {
        name: Name::new(namespace, name),
        labels: Labels::default(),
        annotations: BTreeMap::new(),
        created: None,
        uid: None,
        origin: Origin::none(),
    }
}

/// A cluster of three namespaces, up to seven pods and up to five policies.
pub(crate) fn cluster() -> impl Strategy<Value = Cluster> {
    let namespaces = vec(labels(&["team"]), 3).prop_map(|labels| {
        let named = NAMESPACES.into_iter().zip(labels);
        named.map(|(name, labels)| Namespace { meta: Meta { labels, ..meta("", name) } }).collect()
    });
    (
        namespaces,
        vec(pod(), 1..8),
        vec(policy(), 0..6),
        vec(tiered(), 0..4),
        vec(cilium(), 0..4),
        vec(stance(), 0..3),
        vec(heard(), 0..8),
        (select(&["a", "b", "c"][..]), prop::bool::weighted(0.2)),
    )
        .prop_map(
            |(
                namespaces,
                mut pods,
                mut policies,
                mut tiered,
                mut cilium,
                mut stances,
                heard,
                (behind, cidr_excludes_pods),
            )| {
                let number = |meta: &mut Meta, at: usize| meta.name.name = Arc::from(format!("{}{at}", meta.name.name));
                pods.iter_mut().enumerate().for_each(|(at, pod)| number(&mut pod.meta, at));
                policies.iter_mut().enumerate().for_each(|(at, policy)| number(&mut policy.meta, at));
                tiered.iter_mut().enumerate().for_each(|(at, policy)| number(&mut policy.meta, at));
                cilium.iter_mut().enumerate().for_each(|(at, policy)| number(&mut policy.meta, at));
                stances.iter_mut().enumerate().for_each(|(at, stance)| number(&mut stance.meta, at));
                Cluster { namespaces, pods, policies, tiered, cilium, stances, heard, behind, cidr_excludes_pods }
            },
        )
}

fn labels(keys: &'static [&'static str]) -> impl Strategy<Value = Labels> {
    vec(option::of(select(&["a", "b", "c"][..])), keys.len()).prop_map(move |values| {
        let pairs = keys.iter().zip(values);
        pairs.filter_map(|(key, value)| Some((*key, value?))).collect()
    })
}

fn protocol() -> impl Strategy<Value = Protocol> {
    prop_oneof![6 => Just(Protocol::Tcp), 2 => Just(Protocol::Udp), 1 => Just(Protocol::Sctp)]
}

fn pod() -> impl Strategy<Value = Workload> {
    let port = (select(&["http", "sql"][..]), select(&[80_u16, 81, 443][..]), protocol());
    let port = port.prop_map(|(name, port, protocol)| ContainerPort { name: Arc::from(name), port, protocol });
    let parts = (select(&NAMESPACES[..]), labels(&["app", "tier"]), vec(port, 0..3), any::<bool>(), 0..8);
    parts.prop_map(|(namespace, labels, ports, second, kind)| Workload {
        meta: meta(namespace, "pod"),
        kind: WorkloadKind::Pod,
        replicas: 1,
        template: PodTemplate {
            labels,
            annotations: BTreeMap::new(),
            spec: PodSpec {
                service_account: Arc::from(if kind % 2 == 0 { "a" } else { "default" }),
                host_network: kind == 0,
                node_name: Some(Arc::from(if second { "node2" } else { "node1" })),
                containers: vec![Container { ports, ..Container::default() }],
                ..PodSpec::default()
            },
        },
        addresses: Vec::new(),
        host_address: None,
        owner: None,
    })
}

fn selector(keys: &'static [&'static str]) -> impl Strategy<Value = Selector> {
    let values =
        || subsequence(vec!["a", "b", "c"], 1..3).prop_map(|values| values.into_iter().map(Arc::from).collect());
    let operator = prop_oneof![
        4 => values().prop_map(Operator::In),
        2 => values().prop_map(Operator::NotIn),
        1 => Just(Operator::Exists),
        1 => Just(Operator::DoesNotExist),
    ];
    let requirement =
        (select(keys), operator).prop_map(|(key, operator)| Requirement { key: Arc::from(key), operator });
    vec(requirement, 0..3).prop_map(Selector::new)
}

fn policy() -> impl Strategy<Value = NetworkPolicy> {
    let rules = || option::weighted(0.7, vec(rule(), 0..3));
    (select(&NAMESPACES[..]), selector(&["app", "tier"]), rules(), rules()).prop_map(
        |(namespace, pod_selector, ingress, egress)| NetworkPolicy {
            meta: meta(namespace, "policy"),
            pod_selector,
            ingress,
            egress,
        },
    )
}

/// A rule of any form.
pub(crate) fn rule() -> impl Strategy<Value = NetworkRule> {
    (vec(peer(), 0..3), vec(port(), 0..3)).prop_map(|(peers, ports)| NetworkRule { peers, ports })
}

fn tiered() -> impl Strategy<Value = ClusterNetworkPolicy> {
    let kind = select(&[PolicyKind::ClusterNetworkPolicy, PolicyKind::AdminNetworkPolicy][..]);
    let tier = select(&[Tier::Admin, Tier::Baseline][..]);
    let rules = |egress| vec(tier_rule(egress), 0..4);
    (kind, tier, 0_u16..3, namespaced_pods(), rules(false), rules(true)).prop_map(
        |(kind, tier, priority, subject, ingress, egress)| ClusterNetworkPolicy {
            meta: meta("", "tier"),
            kind,
            tier,
            priority,
            subject,
            ingress,
            egress,
        },
    )
}

fn heard() -> impl Strategy<Value = Heard> {
    let name = select(&["example.com", "api.example.com", "a.b.com", "other.com"][..]);
    let address = select(&["203.0.113.7", "203.0.113.200", "10.244.0.5", "2001:db8::7", "fd00::ffff"][..]);
    (0_usize..8, name, address).prop_map(|(pod, name, address)| Heard { pod, name, address })
}

fn domain() -> impl Strategy<Value = DomainPattern> {
    select(&["example.com", "*.example.com", "**.com", "other.com"][..])
        .prop_map(|text| text.parse().expect("a pattern"))
}

fn namespaced_pods() -> impl Strategy<Value = NamespacedPods> {
    (selector(&["team"]), selector(&["app", "tier"])).prop_map(|(namespaces, pods)| NamespacedPods { namespaces, pods })
}

fn tier_rule(egress: bool) -> impl Strategy<Value = TierRule> {
    let action = select(&[TierAction::Accept, TierAction::Deny, TierAction::Pass][..]);
    let pods = || namespaced_pods().prop_map(TierPeer::Pods);
    let peer = if egress {
        prop_oneof![
            5 => pods(),
            2 => selector(&["team"]).prop_map(TierPeer::Nodes),
            4 => ip_block().prop_map(|block| TierPeer::Network(block.cidr)),
            1 => domain().prop_map(TierPeer::Domain),
            1 => Just(TierPeer::Unknown),
        ]
        .boxed()
    } else {
        prop_oneof![8 => pods(), 1 => Just(TierPeer::Unknown)].boxed()
    };
    let port = prop_oneof![
        6 => port().prop_filter_map("a number", |term| match term.port {
            PortMatch::Named(_) => None,
            PortMatch::Any => Some(TierPort::Of(term.protocol, PortRange::ALL)),
            PortMatch::Range(range) => Some(TierPort::Of(term.protocol, range)),
        }),
        3 => select(&["http", "sql", "none"][..]).prop_map(|name| TierPort::Named(Arc::from(name))),
        1 => Just(TierPort::Unknown),
    ];
    (action, vec(peer, 1..3), vec(port, 0..3)).prop_map(|(action, peers, ports)| TierRule {
        name: None,
        action,
        peers,
        ports,
    })
}

fn peer() -> impl Strategy<Value = PeerTerm> {
    let name = (select(&NAMESPACES[..]))
        .prop_map(|name| Selector::equal_to(&[("kubernetes.io/metadata.name", name)].into_iter().collect::<Labels>()));
    let namespaces = prop_oneof![selector(&["team"]), name];
    let pods = || selector(&["app", "tier"]);
    prop_oneof![
        pods().prop_map(|pods| PeerTerm::Pods { namespaces: None, pods: Some(pods) }),
        (namespaces, option::of(pods()))
            .prop_map(|(namespaces, pods)| PeerTerm::Pods { namespaces: Some(namespaces), pods }),
        ip_block().prop_map(PeerTerm::Block),
    ]
}

/// Blocks that hold some pods, some nodes, some addresses outside, with holes within them.
fn ip_block() -> impl Strategy<Value = IpBlock> {
    let choices: [(&str, &[&str]); 8] = [
        ("0.0.0.0/0", &["10.0.0.0/8", "203.0.113.0/24", "192.168.0.1/32", "10.244.0.4/32"]),
        ("10.244.0.0/16", &["10.244.0.0/30", "10.244.0.4/31", "10.244.0.200/32"]),
        ("10.244.0.4/30", &["10.244.0.5/32", "10.244.0.6/32"]),
        ("192.168.0.0/24", &["192.168.0.2/32"]),
        ("203.0.113.0/24", &["203.0.113.128/25"]),
        ("::/0", &["fd00::/112", "2001:db8::/32", "fd01::2/128"]),
        ("fd00::/112", &["fd00::/126", "fd00::4/127"]),
        ("fd00::4/126", &["fd00::5/128"]),
    ];
    select(choices.to_vec()).prop_flat_map(|(cidr, holes)| {
        subsequence(holes.to_vec(), 0..=holes.len())
            .prop_map(move |holes| IpBlock { cidr: block(cidr), except: holes.into_iter().map(block).collect() })
    })
}

fn port() -> impl Strategy<Value = PortTerm> {
    let range = select(vec![(80, 80), (81, 81), (80, 81), (81, 443), (0, 80), (443, u16::MAX)]);
    let range = range.prop_map(|(first, last)| PortRange::new(first, last).expect("a range"));
    let port = prop_oneof![
        1 => Just(PortMatch::Any),
        3 => range.prop_map(PortMatch::Range),
        3 => select(&["http", "sql", "none"][..]).prop_map(|name| PortMatch::Named(Arc::from(name))),
    ];
    (protocol(), port).prop_map(|(protocol, port)| PortTerm { protocol, port })
}

fn stance() -> impl Strategy<Value = Stance> {
    let mode = select(&[Mode::Observe, Mode::Audit, Mode::Enforce][..]);
    let established = select(&[Established::Rejudge, Established::Keep][..]);
    let made = |(namespace, selector, mode, established)| Stance {
        meta: meta(namespace, "stance"),
        layers: vec![StanceLayer::Segmentation],
        selector,
        mode,
        established,
    };
    (select(&NAMESPACES[..]), option::of(selector(&["app"])), mode, established).prop_map(made)
}
