//! Names that pods have learnt: for whom they open, what pods share, and that it follows in parts.
#![allow(missing_docs)]

#[allow(dead_code)]
mod world;

use lictor_cluster::{Answers, Snapshot};
use lictor_model::{Direction, Flow, Name, Peer, Protocol, Revision};
use lictor_network::{Change, ClassId, Compiler, Difference, Program, compile, judge};
use std::collections::BTreeSet;
use std::net::IpAddr;
use world::world;

/// What a pod has learnt: its name, that of a host, and an address.
type Heard = (&'static str, &'static str, &'static str);

/// All pods of both namespaces may go to names; those of `a` to blocks as well, one of them a single address.
const POLICIES: &str = "
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: names}
spec:
  endpointSelector: {}
  egress:
  - toFQDNs: [{matchPattern: '*.example.com'}]
    toPorts: [{ports: [{port: '443', protocol: TCP}]}]
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: blocks, namespace: a}
spec:
  endpointSelector: {matchLabels: {app: web}}
  egress:
  - toCIDR: [203.0.113.7/32, 198.51.100.0/24]
    toPorts: [{ports: [{port: '80', protocol: TCP}]}]
";

/// The snapshot in which pods have learnt this, and everyone knows one name.
fn knowing(snapshot: &Snapshot, heard: &[Heard]) -> Snapshot {
    let mut next = snapshot.clone();
    next.revision = Revision(next.revision.0 + 1);
    next.names = lictor_cluster::Names::default();
    next.names.learn("shared.example.com", [address("203.0.113.9")]);
    for pod in snapshot.pods.keys() {
        let mut answers = Answers::default();
        for (_, host, at) in heard.iter().filter(|(of, ..)| *of == pod.to_string()) {
            answers.add(host, [address(at)]);
        }
        next.names.set(pod, answers);
    }
    next
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn pod(text: &str) -> Name {
    Name::parse(text, "default")
}

/// Asks the policies and the program; whether the pod may open the connection.
fn may(snapshot: &Snapshot, program: &Program, from: &Name, to: IpAddr, port: u16) -> bool {
    let own = snapshot.pods[from].address_like(to).expect("an address of each family");
    let flow =
        Flow { source: Peer::pod(from.clone(), own), destination: snapshot.peer(to), protocol: Protocol::Tcp, port };
    let (said, compiled) =
        (judge(snapshot, &flow, Direction::Egress), program.judge(from, Direction::Egress, to, Protocol::Tcp, port));
    assert_eq!((said.verdict, said.by), (compiled.verdict, compiled.by), "{flow}");
    said.verdict.is_allow()
}

const HOSTS: [&str; 8] = [
    "203.0.113.7",
    "203.0.113.8",
    "203.0.113.9",
    "203.0.113.10",
    "198.51.100.1",
    "198.51.100.2",
    "2001:db8::1",
    "10.244.2.2",
];

#[test]
fn a_name_opens_for_the_pod_that_has_learnt_it() {
    let heard = [
        ("a/web", "www.example.com", "203.0.113.8"),
        ("a/web", "www.example.com", "2001:db8::1"),
        ("a/web", "www.other.com", "203.0.113.10"),
        ("b/api", "api.example.com", "203.0.113.10"),
        ("b/web", "cluster.example.com", "10.244.2.2"),
    ];
    let snapshot = knowing(&world(POLICIES).snapshot, &heard);
    let program = compile(&snapshot);
    for (of, open) in [
        ("a/web", &["203.0.113.8", "203.0.113.9", "2001:db8::1"][..]),
        ("b/api", &["203.0.113.9", "203.0.113.10"]),
        ("a/db", &["203.0.113.9"]),
        ("b/web", &["203.0.113.9"]),
    ] {
        // An endpoint may always talk with itself.
        let others = HOSTS.iter().filter(|host| !snapshot.pods[&pod(of)].addresses.contains(&address(host)));
        let found: Vec<&str> =
            others.copied().filter(|host| may(&snapshot, &program, &pod(of), address(host), 443)).collect();
        assert_eq!(found, open, "{of}");
    }
}

#[test]
fn a_name_is_spoken_of_to_the_pods_that_a_policy_selects() {
    let policies = POLICIES.replace("endpointSelector: {}", "endpointSelector: {matchLabels: {app: web}}")
        + "---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: own, namespace: a}
spec:
  endpointSelector: {}
  egress: [{toFQDNs: [{matchName: own.test}]}]
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: tier}
spec:
  tier: Admin
  priority: 1
  subject: {namespaces: {matchLabels: {team: blue}}}
  egress: [{action: Accept, to: [{domainNames: ['*.tier.test']}]}]
";
    let snapshot = world(&policies).snapshot;
    for (of, told) in [
        ("a/web", &["www.example.com", "own.test"][..]),
        ("a/db", &["own.test"]),
        ("b/web", &["www.example.com", "a.tier.test"]),
        ("b/api", &["a.tier.test"]),
        // It is its node, which no policy selects.
        ("b/agent", &[]),
    ] {
        let names = ["www.example.com", "own.test", "a.tier.test", "example.com"];
        let found: Vec<&str> =
            names.into_iter().filter(|name| snapshot.speaks_of_name(&snapshot.pods[&pod(of)], name)).collect();
        assert_eq!(found, told, "{of}");
    }
}

#[test]
fn a_denial_says_that_others_know_the_address_by_the_name() {
    let snapshot = knowing(&world(POLICIES).snapshot, &[("a/web", "www.example.com", "203.0.113.8")]);
    let seen = |to: &str| {
        let source = Peer::pod(pod("b/web"), address("10.244.2.1"));
        let flow = Flow { source, destination: snapshot.peer(address(to)), protocol: Protocol::Tcp, port: 443 };
        let miss = judge(&snapshot, &flow, Direction::Egress).nearest_miss.expect("a rule comes near");
        miss.fields[0].seen.to_string()
    };
    assert_eq!(seen("203.0.113.8"), "203.0.113.8, which b/web has not got from DNS");
    assert_eq!(seen("203.0.113.10"), "203.0.113.10");
}

#[test]
fn pods_that_have_learnt_the_same_share_what_they_ask() {
    let sets = |heard: &[Heard]| {
        let program = compile(&knowing(&world(POLICIES).snapshot, heard));
        let of = |name: &str| program.endpoints[&pod(name)].egress.rule_set;
        let asked = ["a/db", "b/web", "b/api", "b/far"].map(of);
        let classes: BTreeSet<ClassId> = program.prefixes.values().copied().collect();
        (asked.into_iter().collect::<BTreeSet<_>>().len(), classes.len())
    };
    let (alone, classes) = sets(&[]);
    assert_eq!(alone, 1, "who has learnt nothing has one with all others");
    let one = ("b/web", "www.example.com", "203.0.113.8");
    assert_eq!(sets(&[one]), (2, classes + 1));
    let another = ("b/api", "www.example.com", "203.0.113.8");
    assert_eq!(sets(&[one, another]), (2, classes + 1), "the same address is one class, and makes one rule set");
    assert_eq!(sets(&[one, ("b/api", "other.org", "203.0.113.8")]), (2, classes + 1), "no rule names the other");
    assert_eq!(sets(&[one, ("b/api", "api.example.com", "203.0.113.10")]), (3, classes + 2));
    assert_eq!(sets(&[("b/web", "other.org", "203.0.113.8")]), (1, classes), "of what no rule names nothing is made");
}

#[test]
fn what_pods_learn_and_forget_is_followed_in_parts() {
    // The address may be a block of a policy, one that everyone knows, within a block, or none of these.
    let of_all: Vec<Heard> = HOSTS.map(|host| ("a/web", "www.example.com", host)).to_vec();
    let of_another: Vec<Heard> = HOSTS.map(|host| ("b/api", "api.example.com", host)).to_vec();
    let both = [of_all.clone(), of_another.clone()].concat();
    let steps = [&[][..], &of_all, &of_all[..3], &both, &of_another, &[], &of_another[..1], &both, &of_all[4..], &[]];
    let first = world(POLICIES).snapshot;
    let mut compiler = Compiler::default();
    let mut before = knowing(&first, &[]);
    let mut program = compiler.compile(&before);
    for heard in steps {
        let snapshot = knowing(&first, heard);
        let difference = Difference::between(&before, &snapshot).expect("only what pods have learnt differs");
        let Change::Patch(patch) = compiler.change(&program, &snapshot, &difference) else {
            panic!("all is compiled again for {heard:?}")
        };
        program.patch(patch);
        for (from, host) in snapshot.pods.keys().flat_map(|from| HOSTS.map(|host| (from, host))) {
            for port in [80, 443] {
                if !snapshot.pods[from].host_network {
                    may(&snapshot, &program, from, address(host), port);
                }
            }
        }
        assert_eq!(program.prefixes.len(), compile(&snapshot).prefixes.len(), "nothing is left behind of {heard:?}");
        before = snapshot;
    }
}

#[test]
fn a_policy_that_is_the_first_to_name_what_pods_have_learnt_is_followed_in_parts() {
    let heard = [("a/web", "www.example.com", "203.0.113.7"), ("b/api", "www.example.com", "203.0.113.8")];
    let named = knowing(&world(POLICIES).snapshot, &heard);
    let mut unnamed = named.clone();
    unnamed.policies.cilium.retain(|name, _| *name.name != *"names");
    let mut compiler = Compiler::default();
    let mut program = compiler.compile(&unnamed);
    let difference = Difference::between(&unnamed, &named).expect("one policy differs");
    let Change::Patch(patch) = compiler.change(&program, &named, &difference) else { panic!("all is compiled again") };
    program.patch(patch);
    for from in named.pods.keys().filter(|from| !named.pods[*from].host_network) {
        for host in ["203.0.113.7", "203.0.113.8"] {
            let opens = heard.iter().any(|(pod, _, known)| *pod == from.to_string() && *known == host);
            assert_eq!(may(&named, &program, from, address(host), 443), opens, "{from} to {host}");
        }
    }
}
