//! Edits that change what other policies' peers mean, one by one: each is followed in parts.
#![allow(missing_docs)]

mod following;
#[allow(dead_code)]
mod world;

use following::following;
use lictor_cluster::Snapshot;
use lictor_model::{Direction, Flow, Peer, Protocol, Revision};
use lictor_network::{Change, Compiler, Difference, Program, judge};
use std::collections::BTreeSet;
use std::net::IpAddr;
use world::world;

/// `a/web` may go behind Services: by name, by label, those of the API server; nobody else is spoken of.
const SERVICES: &str = "
---
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: services, namespace: a}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
  - toServices:
    - k8sService: {serviceName: db, namespace: a}
    - k8sServiceSelector: {selector: {matchLabels: {part: shop}}, namespace: b}
  - toEntities: [kube-apiserver]
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: a}
spec: {selector: {app: db}, ports: [{port: 5432}]}
";

fn pod(namespace: &str, name: &str, labels: &str, ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}\n\
         spec: {{nodeName: n1, containers: [{{name: c, image: i, ports: [{{name: http, containerPort: 81}}]}}]}}\n\
         status: {{podIPs: [{{ip: {ip}}}]}}\n"
    )
}

fn service(namespace: &str, name: &str, part: &str, addresses: &[&str]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("{{ip: {address}}}")).collect();
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: {namespace}, labels: {{part: {part}}}}}\n\
         spec: {{ports: [{{port: 443}}]}}\n---\napiVersion: v1\nkind: Endpoints\nmetadata: {{name: {name}, namespace: \
         {namespace}}}\nsubsets: [{{addresses: [{}], ports: [{{port: 443}}]}}]\n",
        addresses.join(", ")
    )
}

/// A NetworkPolicy of `a` for everyone in it.
fn egress(name: &str, rule: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: a}}\n\
         spec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{rule}]}}\n"
    )
}

fn tier(rule: &str) -> String {
    format!(
        "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: admin}}\n\
         spec: {{tier: Admin, priority: 1, subject: {{namespaces: {{}}}}, egress: [{rule}]}}\n"
    )
}

/// The program says of every endpoint and every address what the policies say.
fn says_the_same(program: &Program, snapshot: &Snapshot, step: &str) {
    let of_pods = snapshot.pods.values().flat_map(|pod| &pod.addresses);
    let of_nodes = snapshot.nodes.values().flat_map(|node| &node.addresses);
    let outside = ["203.0.113.7", "203.0.113.8", "10.244.1.9", "8.8.8.8"].map(|text| text.parse().expect("an address"));
    let addresses: BTreeSet<IpAddr> = of_pods.chain(of_nodes).copied().chain(outside).collect();
    for near in snapshot.pods.values().filter(|pod| !pod.host_network) {
        for (peer, port) in addresses.iter().flat_map(|peer| [80, 81, 82, 443, 5432].map(|port| (*peer, port))) {
            let Some(own) = near.addresses.iter().find(|own| own.is_ipv4() == peer.is_ipv4()) else { continue };
            for direction in Direction::BOTH {
                let (own, far) = (Peer::pod(near.name.clone(), *own), snapshot.peer(peer));
                let (source, destination) = match direction {
                    Direction::Ingress => (far, own),
                    Direction::Egress => (own, far),
                };
                let flow = Flow { source, destination, protocol: Protocol::Tcp, port };
                let (said, meant) = (
                    program.judge(&near.name, direction, peer, Protocol::Tcp, port),
                    judge(snapshot, &flow, direction),
                );
                assert_eq!((said.verdict, &said.by), (meant.verdict, &meant.by), "{step}: {flow} {direction}");
            }
        }
    }
}

/// Each of these documents in turn, the first one compiled, every other one followed in parts.
fn is_followed(steps: &[(&str, String)]) {
    let mut compiler = Compiler::default();
    let mut last: Option<(Snapshot, Program)> = None;
    for (revision, (step, documents)) in (1..).zip(steps) {
        let mut snapshot = world(documents).snapshot;
        if let Some((before, _)) = &last {
            snapshot = following(before, snapshot);
        }
        snapshot.revision = Revision(revision);
        let program = match &last {
            None => compiler.compile(&snapshot),
            Some((before, program)) => {
                let difference = Difference::between(before, &snapshot)
                    .expect("namespaces, pods, policies and Services alone differ");
                let Change::Patch(patch) = compiler.change(program, &snapshot, &difference) else {
                    panic!("all is compiled again: {step}")
                };
                let mut program = program.clone();
                program.patch(patch);
                program
            }
        };
        says_the_same(&program, &snapshot, step);
        last = Some((snapshot, program));
    }
}

#[test]
fn what_services_are_for_is_followed() {
    let with = |more: &[String]| format!("{SERVICES}{}", more.concat());
    let shop = |addresses: &[&str]| service("b", "shop", "shop", addresses);
    let api = |addresses: &[&str]| service("default", "kubernetes", "api", addresses);
    is_followed(&[
        ("one backend", with(&[])),
        ("a backend comes", with(&[pod("a", "db2", "app: db", "10.244.1.9")])),
        ("it is one no more", with(&[pod("a", "db2", "app: other", "10.244.1.9")])),
        ("it is one again", with(&[pod("a", "db2", "app: db", "10.244.1.9")])),
        ("it goes, and its address stays behind another Service", with(&[shop(&["10.244.1.9"])])),
        ("a pod takes the address", with(&[shop(&["10.244.1.9"]), pod("b", "x", "app: x", "10.244.1.9")])),
        ("the pod goes", with(&[shop(&["10.244.1.9"])])),
        ("addresses outside, of a node, of a pod", with(&[shop(&["203.0.113.7", "192.168.0.2", "10.244.2.2"])])),
        ("they go", with(&[shop(&["203.0.113.8"])])),
        ("a Service names a pod", with(&[shop(&["10.244.1.9"]), pod("b", "x", "app: x", "10.244.1.9")])),
        ("the pod goes and leaves it", with(&[shop(&["10.244.1.9"])])),
        ("the API server comes", with(&[api(&["192.168.0.1"])])),
        ("the API server moves out", with(&[api(&["203.0.113.7"])])),
        ("the API server is a pod", with(&[api(&["10.244.2.2"])])),
        ("the Service has another label", with(&[service("b", "shop", "none", &["203.0.113.8"])])),
        ("nothing is left", with(&[])),
    ]);
}

#[test]
fn peers_that_no_policy_has_named_are_followed() {
    let steps = [
        ("nothing", String::new()),
        ("a block of nodes", egress("p", "{to: [{ipBlock: {cidr: 192.168.0.0/24}}]}")),
        ("but for one of them", egress("p", "{to: [{ipBlock: {cidr: 192.168.0.0/24, except: [192.168.0.1/32]}}]}")),
        ("a tier that names nodes", tier("{action: Deny, to: [{nodes: {matchLabels: {none: here}}}]}")),
        ("another selector of nodes", tier("{action: Deny, to: [{nodes: {}}]}")),
        ("a name of nobody", tier("{action: Accept, to: [{domainNames: ['*.example.com']}]}")),
        ("everyone", tier("{action: Deny, to: [{networks: ['0.0.0.0/0', '::/0']}]}")),
        (
            "a block of nodes beside it",
            format!(
                "{}{}",
                tier("{action: Deny, to: [{networks: ['0.0.0.0/0', '::/0']}]}"),
                egress("q", "{to: [{ipBlock: {cidr: 192.168.0.2/32}}]}")
            ),
        ),
        ("the port that peers have under a name", egress("p", "{ports: [{port: http}]}")),
        (
            "a pod has another number under it",
            format!("{}{}", egress("p", "{ports: [{port: http}]}"), pod("b", "x", "app: x", "10.244.1.9")),
        ),
        ("it goes", egress("p", "{ports: [{port: http}]}")),
        ("another name", egress("p", "{ports: [{port: sql}]}")),
    ];
    is_followed(&steps);
}

#[test]
fn a_pod_may_take_the_address_of_one_that_goes() {
    let policy = egress("p", "{to: [{podSelector: {matchLabels: {app: x}}}]}");
    let with = |namespace: &str, name: &str| format!("{policy}{}", pod(namespace, name, "app: x", "10.244.1.9"));
    is_followed(&[
        ("one has it", with("a", "x")),
        ("another has it", with("a", "z")),
        ("of another namespace", with("b", "z")),
    ]);
}

/// A namespace beside the two that all tests have, with a pod.
fn team(namespace: &str, team: &str, ip: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{team: {team}}}}}\n{}",
        pod(namespace, "x", "app: x", ip)
    )
}

/// Policies of each family that speak of namespaces by their labels, as peers and as subjects.
const OF_TEAMS: &str = "
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: green}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {matchLabels: {team: green}}}
  ingress:
  - {action: Deny, from: [{namespaces: {matchLabels: {team: red}}}]}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: blue}
spec:
  endpointSelector: {matchLabels: {'k8s:io.cilium.k8s.namespace.labels.team': blue}}
  ingress:
  - fromEndpoints: [{matchLabels: {'k8s:io.cilium.k8s.namespace.labels.team': green}}]
";

#[test]
fn labels_of_namespaces_are_followed() {
    let own = egress("p", "{to: [{namespaceSelector: {matchLabels: {team: green}}}, {podSelector: {}}]}");
    let with = |more: &[String]| format!("{OF_TEAMS}{own}{}", more.concat());
    let c = |color: &str| team("c", color, "10.244.3.1");
    let d = |color: &str| team("d", color, "10.244.4.1");
    is_followed(&[
        ("no team is spoken of", with(&[c("grey")])),
        ("it is a peer, and the subject of a policy that spoke of no one", with(&[c("green")])),
        ("it is a peer of that one", with(&[c("red")])),
        ("it is the subject of another family", with(&[c("blue")])),
        ("a namespace comes", with(&[c("blue"), d("green")])),
        ("two change at once", with(&[c("green"), d("red")])),
        ("one goes", with(&[d("red")])),
        ("another comes", with(&[c("red"), d("green")])),
        ("none is spoken of again", with(&[c("grey"), d("grey")])),
    ]);
}
