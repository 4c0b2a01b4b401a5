//! A small cluster to ask questions about, in both engines at once.

use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
use lictor_manifest::{Level, read};
use lictor_model::{Cidr, Direction, Flow, Labels, Peer, Protocol, Revision, Step};
use lictor_network::{Program, compile, judge};
use std::net::IpAddr;
use std::sync::Arc;

/// Two namespaces; `a/web`, `a/db`, `b/web`, `b/api` with IPv4 and IPv6 addresses on node n1, `b/far` on n2, and
/// `b/agent` in the network of n2.
const CLUSTER: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: a, labels: {team: red}}
---
apiVersion: v1
kind: Namespace
metadata: {name: b, labels: {team: blue}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: a, labels: {app: web, tier: front}}
spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]}
status: {podIPs: [{ip: 10.244.1.1}, {ip: 'fd00:1::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: a, labels: {app: db}}
spec:
  nodeName: n1
  containers:
  - {name: c, image: i, ports: [{name: sql, containerPort: 5432}, {name: dns, containerPort: 53, protocol: UDP}]}
  - {name: d, image: i, ports: [{name: http, containerPort: 8080}]}
status: {podIPs: [{ip: 10.244.1.2}, {ip: 'fd00:1::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: b, labels: {app: web}}
spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: http, containerPort: 8000}]}]}
status: {podIPs: [{ip: 10.244.2.1}, {ip: 'fd00:2::1'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: b, labels: {app: api, tier: back}}
spec: {nodeName: n1, containers: [{name: c, image: i, ports: [{name: http, containerPort: 80, protocol: UDP}]}]}
status: {podIPs: [{ip: 10.244.2.2}, {ip: 'fd00:2::2'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: far, namespace: b, labels: {app: far}}
spec: {nodeName: n2, containers: [{name: c, image: i}]}
status: {podIPs: [{ip: 10.244.2.3}, {ip: 'fd00:2::3'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: agent, namespace: b, labels: {app: web}}
spec: {nodeName: n2, hostNetwork: true, containers: [{name: c, image: i, ports: [{name: http, containerPort: 80}]}]}
";

/// Both engines on one snapshot.
pub(crate) struct World {
    pub snapshot: Snapshot,
    pub program: Program,
}

/// The cluster with these documents beside it.
pub(crate) fn world(documents: &str) -> World {
    let mut objects = Vec::new();
    for text in [CLUSTER, documents] {
        let reading = read("world.yaml", text);
        let errors: Vec<_> = reading.findings.iter().filter(|finding| finding.level == Level::Error).collect();
        assert!(errors.is_empty(), "{errors:?}");
        objects.extend(reading.objects);
    }
    let block = |text: &str| text.parse::<Cidr>().expect("a block");
    let node = |name: &str, addresses: [&str; 2]| Node {
        name: Arc::from(name),
        labels: Labels::default(),
        addresses: addresses.map(|text| text.parse().expect("an address")).to_vec(),
    };
    let settings =
        Settings::new(vec![node("n1", ["192.168.0.1", "fd00:9::1"]), node("n2", ["192.168.0.2", "fd00:9::2"])]);
    let mut pool = AddressPool::new(&[block("10.244.0.0/16"), block("fd00::/16")], &[block("10.96.0.0/16")]);
    let (snapshot, _) = Snapshot::build(&objects, &settings, &mut pool, Revision(1));
    let program = compile(&snapshot);
    World { snapshot, program }
}

impl World {
    /// What both engines say of a flow such as `a/web -> a/db:5432/TCP` at its source (egress) or destination
    /// (ingress). `6:` before it takes the pods' IPv6 addresses; an end may also be an address.
    pub(crate) fn ask(&self, direction: Direction, flow: &str) -> Step {
        let (v6, text) = flow.strip_prefix("6:").map_or((false, flow), |rest| (true, rest));
        let (source, rest) = text.split_once(" -> ").expect("source -> destination");
        let (rest, protocol) = rest.rsplit_once('/').expect("a protocol");
        let (destination, port) = rest.rsplit_once(':').expect("a port");
        let protocol = match protocol {
            "ICMP" => Protocol::Other(1),
            known => known.parse().expect("a protocol"),
        };
        let end = |text: &str| match text.parse::<IpAddr>() {
            Ok(address) => Peer::address(address),
            Err(_) => {
                let pod = &self.snapshot.pods[&lictor_model::Name::parse(text, "default")];
                let address = pod.addresses.iter().find(|address| address.is_ipv6() == v6).expect("an address");
                Peer::pod(pod.name.clone(), *address)
            }
        };
        let flow = Flow {
            source: end(source),
            destination: end(destination),
            protocol,
            port: port.parse().expect("a number"),
        };
        let step = judge(&self.snapshot, &flow, direction);
        let (near, far) = match direction {
            Direction::Ingress => (&flow.destination, &flow.source),
            Direction::Egress => (&flow.source, &flow.destination),
        };
        if let Some(name) = near.pod.as_ref().filter(|name| self.program.endpoints.contains_key(*name)) {
            let compiled = self.program.judge(name, direction, far.address, flow.protocol, flow.port);
            assert_eq!(
                (compiled.verdict, compiled.mode, &compiled.by),
                (step.verdict, step.mode, &step.by),
                "the program and the policies disagree about {flow} ({direction})"
            );
        }
        step
    }
}

/// Asks both engines: each line is a direction, a flow, and what decides (`+` allowed, `-` denied, then the
/// policy's name and rule, or the words of the default).
pub(crate) fn check(documents: &str, expected: &str) {
    let world = world(documents);
    let mut wrong = Vec::new();
    for line in expected.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (direction, rest) = line.split_once(' ').expect("a direction");
        let direction = match direction {
            "in" => Direction::Ingress,
            "out" => Direction::Egress,
            other => panic!("in or out, not {other}"),
        };
        let (flow, wanted) = rest.split_once(" = ").expect("flow = verdict");
        let step = world.ask(direction, flow.trim());
        let sign = if step.verdict.is_allow() { '+' } else { '-' };
        let by = step.by.to_string();
        // The kind goes without saying.
        let kinds = ["NetworkPolicy ", "ClusterNetworkPolicy ", "AdminNetworkPolicy ", "BaselineAdminNetworkPolicy "];
        let said = kinds.into_iter().find_map(|kind| by.strip_prefix(kind)).unwrap_or(&by);
        let seen = format!("{sign} {said}");
        if seen != wanted.trim() {
            wrong.push(format!("{line}\n    but: {seen}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
