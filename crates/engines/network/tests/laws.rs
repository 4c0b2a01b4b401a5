//! What must hold for every cluster, every policy and every flow.

mod following;
mod random;

use following::following;
use lictor_cluster::Snapshot;
use lictor_manifest::{CiliumNetworkPolicy, ClusterNetworkPolicy, NetworkPolicy, NetworkRule};
use lictor_model::{Direction, Flow, Http, Name, Peer, PolicyKind, Protocol};
use lictor_network::{Asked, Change, ClassId, Compiler, Difference, Gate, Program, compile, judge, judge_asked};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use random::{Cluster, cluster, rule};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Ports where rules of [`random`] begin, end or do not reach, on every kind of protocol.
const SERVICES: [(Protocol, u16); 11] = [
    (Protocol::Tcp, 80),
    (Protocol::Tcp, 81),
    (Protocol::Tcp, 443),
    (Protocol::Tcp, 0),
    (Protocol::Tcp, u16::MAX),
    (Protocol::Udp, 80),
    (Protocol::Sctp, 80),
    (Protocol::Sctp, 443),
    (Protocol::Other(1), 8),
    (Protocol::Other(1), 13),
    (Protocol::Other(58), 128),
];

/// Everyone that a flow can be with: pods, nodes, and addresses outside.
fn addresses(snapshot: &Snapshot) -> Vec<IpAddr> {
    let pods = snapshot.pods.values().flat_map(|pod| &pod.addresses);
    let nodes = snapshot.nodes.values().flat_map(|node| &node.addresses);
    let outside = [
        "203.0.113.7",
        "203.0.113.9",
        "203.0.113.200",
        "10.244.0.5",
        "203.0.113.200",
        "10.244.0.200",
        "8.8.8.8",
        "2001:db8::7",
        "fd00::ffff",
    ];
    let outside = outside.iter().map(|text| text.parse().expect("an address"));
    pods.chain(nodes).copied().chain(outside).collect::<BTreeSet<IpAddr>>().into_iter().collect()
}

/// Every flow at every endpoint, as the endpoint's side sees it.
fn for_each_flow(snapshot: &Snapshot, mut ask: impl FnMut(&Name, Direction, &Flow)) {
    let far = addresses(snapshot);
    for pod in snapshot.pods.values().filter(|pod| !pod.host_network) {
        for (peer, (protocol, port)) in far.iter().flat_map(|peer| SERVICES.map(|service| (*peer, service))) {
            let near = Peer::pod(pod.name.clone(), pod.address_like(peer).expect("an address of each family"));
            let far = snapshot.peer(peer);
            let flow = |source, destination| Flow { source, destination, protocol, port };
            ask(&pod.name, Direction::Ingress, &flow(far.clone(), near.clone()));
            ask(&pod.name, Direction::Egress, &flow(near, far));
        }
    }
}

fn peer(flow: &Flow, direction: Direction) -> IpAddr {
    match direction {
        Direction::Ingress => flow.source.address,
        Direction::Egress => flow.destination.address,
    }
}

fn assert_says_the_same(program: &Program, snapshot: &Snapshot) {
    for_each_flow(snapshot, |name, direction, flow| {
        let http = Http { method: "GET", path: "/public", host: "", headers: &[] };
        for asked in
            [Asked::Connection, Asked::Http(http), Asked::Dns("example.com"), Asked::ServerName("a.example.com")]
        {
            let step = judge_asked(snapshot, flow, direction, &asked);
            let (peer, service) = (peer(flow, direction), (flow.protocol, flow.port));
            let compiled = program.judge_asked(name, direction, peer, service, &asked);
            assert_eq!(
                (compiled.verdict, compiled.mode, compiled.by),
                (step.verdict, step.mode, step.by),
                "{flow} {direction} {asked}"
            );
        }
    });
}

/// The classes that a program gives to addresses.
fn classes(program: &Program) -> BTreeSet<ClassId> {
    let known = program.addresses.values().map(|known| known.class).chain(program.prefixes.values().copied());
    known.chain([ClassId::default(), ClassId::ANY]).collect()
}

/// No number of `before` has come to mean something else in `after`.
fn assert_numbers_keep_their_meaning(before: &Program, after: &Program) {
    assert_eq!(before.rules, after.rules[..before.rules.len()]);
    let common: BTreeSet<ClassId> = classes(before).intersection(&classes(after)).copied().collect();
    for (id, old) in &before.rule_sets {
        let Some(new) = after.rule_sets.get(id) else { continue };
        assert_eq!(old.bounds, new.bounds);
        let shared = |set: &Arc<lictor_network::RuleSet>| {
            let entries = set.entries.iter().filter(|(entry, _)| common.contains(&entry.class));
            entries.map(|(entry, outcome)| (*entry, outcome.rule)).collect::<BTreeSet<_>>()
        };
        assert_eq!(shared(old), shared(new));
    }
}

/// Clusters of which each differs from the one before it in one part.
fn successive(first: Cluster, changes: Vec<(usize, usize, Cluster)>) -> Vec<Cluster> {
    let mut steps = vec![first];
    for (part, at, other) in changes {
        let mut next = steps.last().cloned().expect("the first one");
        match part {
            0 => next.pods = other.pods,
            1 => next.policies = other.policies,
            2 => next.namespaces = other.namespaces,
            3 => next.stances = other.stances,
            4 => (next.tiered, next.cilium) = (other.tiered, other.cilium),
            5 => next.heard = other.heard,
            _ => {
                let at = at % next.pods.len();
                next.pods[at].template = other.pods[0].template.clone();
            }
        }
        steps.push(next);
    }
    steps
}

/// The same cluster with one of its policies only.
fn with_policy(cluster: &Cluster, at: usize) -> Cluster {
    Cluster { policies: vec![cluster.policies[at].clone()], ..cluster.clone() }
}

/// The cluster with a rule more in one direction that one of its policies isolates.
fn with_rule(cluster: &Cluster, at: usize, rule: NetworkRule) -> Option<Cluster> {
    let mut more = cluster.clone();
    let lists = more.policies.iter_mut().flat_map(|policy| [&mut policy.ingress, &mut policy.egress]);
    let mut lists: Vec<_> = lists.flatten().collect();
    let count = lists.len().max(1);
    lists.get_mut(at % count)?.push(rule);
    Some(more)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_program_says_what_the_policies_say(cluster in cluster()) {
        let snapshot = cluster.snapshot();
        assert_says_the_same(&compile(&snapshot), &snapshot);
    }

    #[test]
    fn policies_only_add_up(cluster in cluster()) {
        let cluster = Cluster { tiered: Vec::new(), cilium: Vec::new(), ..cluster };
        let snapshot = cluster.snapshot();
        let alone: Vec<Snapshot> = (0..cluster.policies.len()).map(|at| with_policy(&cluster, at).snapshot()).collect();
        let unisolated = "default, no policy applies";
        for_each_flow(&snapshot, |_, direction, flow| {
            let together = judge(&snapshot, flow, direction);
            let each: Vec<_> = alone.iter().map(|snapshot| judge(snapshot, flow, direction)).collect();
            let isolated = each.iter().any(|step| step.by.to_string() != unisolated);
            let allowed = each.iter().any(|step| step.verdict.is_allow() && step.by.to_string() != unisolated);
            assert_eq!(together.verdict.is_allow(), !isolated || allowed, "{flow} {direction}");
        });
    }

    #[test]
    fn a_rule_more_never_denies(cluster in cluster(), at in 0_usize..16, rule in rule()) {
        if let Some(more) = with_rule(&cluster, at, rule) {
            let (before, after) = (cluster.snapshot(), more.snapshot());
            for_each_flow(&before, |_, direction, flow| {
                if judge(&before, flow, direction).verdict.is_allow() {
                    assert!(judge(&after, flow, direction).verdict.is_allow(), "{flow} {direction}");
                }
            });
        }
    }

    #[test]
    fn a_compiler_says_the_same_whatever_it_compiled_before(
        first in cluster(),
        changes in prop::collection::vec((0_usize..7, 0_usize..8, cluster()), 1..5),
    ) {
        let mut compiler = Compiler::default();
        let mut before: Option<Program> = None;
        for cluster in successive(first, changes) {
            let snapshot = cluster.snapshot();
            let program = compiler.compile(&snapshot);
            assert_says_the_same(&program, &snapshot);
            if let Some(before) = &before {
                assert_numbers_keep_their_meaning(before, &program);
            }
            let again = compiler.compile(&snapshot);
            assert_eq!(&program.endpoints, &again.endpoints);
            assert_eq!((&program.addresses, &program.prefixes), (&again.addresses, &again.prefixes));
            for (id, set) in &program.rule_sets {
                assert!(Arc::ptr_eq(set, &again.rule_sets[id]), "a table that did not change was made again");
            }
            before = Some(again);
        }
    }

    #[test]
    fn the_program_is_the_same_on_however_many_threads(
        first in cluster(),
        changes in prop::collection::vec((0_usize..7, 0_usize..8, cluster()), 0..3),
    ) {
        let mut compilers = [1, 2, 3, 7].map(|threads| {
            Compiler::on_threads(NonZeroUsize::new(threads).expect("one at least"))
        });
        for cluster in successive(first, changes) {
            let snapshot = cluster.snapshot();
            let [one, others @ ..] = compilers.each_mut().map(|compiler| compiler.compile(&snapshot));
            for other in others {
                assert_eq!((&one.endpoints, &one.addresses), (&other.endpoints, &other.addresses));
                assert_eq!((&one.rule_sets, &one.prefixes), (&other.rule_sets, &other.prefixes));
                assert_eq!((&one.said, &one.rules), (&other.said, &other.rules));
            }
        }
    }

    #[test]
    fn an_edit_of_one_policy_keeps_what_it_does_not_touch(cluster in cluster(), at in 0_usize..16, rule in rule()) {
        if let Some(more) = with_rule(&cluster, at, rule) {
            let mut compiler = Compiler::default();
            let before = compiler.compile(&cluster.snapshot());
            let snapshot = more.snapshot();
            let after = compiler.compile(&snapshot);
            assert_says_the_same(&after, &snapshot);
            assert_numbers_keep_their_meaning(&before, &after);
            let edited = (0..cluster.policies.len()).find(|at| cluster.policies[*at] != more.policies[*at]);
            let edited = edited.map(|at| cluster.policies[at].meta.name.clone());
            for (name, old) in &before.endpoints {
                let new = &after.endpoints[name];
                for direction in Direction::BOTH {
                    let (old, new) = (old.gate(direction), new.gate(direction));
                    let touched = old.isolated_by.iter().any(|policy| Some(&policy.name) == edited.as_ref());
                    // A port name of an egress rule may bring new port classes to other rules.
                    let bounds = |program: &Program, gate: &lictor_network::Gate| {
                        gate.rule_set.and_then(|id| Some(program.rule_sets.get(&id)?.bounds.clone()))
                    };
                    if !touched && bounds(&before, old) == bounds(&after, new) {
                        assert_eq!(old, new, "{name} {direction}");
                    }
                }
            }
        }
    }
}

/// Clusters of which each differs from the one before it in one namespace, one pod, one policy or what pods have heard.
fn in_small_steps(first: Cluster, changes: Vec<(usize, usize, Cluster)>) -> Vec<Cluster> {
    let mut steps = vec![first];
    for (part, at, other) in changes {
        let mut next = steps.last().cloned().expect("the first one");
        let pod = at % next.pods.len();
        let policy = at % next.policies.len().max(1);
        match part {
            0 => next.pods[pod].template.labels = other.pods[0].template.labels.clone(),
            1 => next.pods[pod].template = other.pods[0].template.clone(),
            2 if next.pods.len() > 1 => drop(next.pods.remove(pod)),
            3 if next.pods.iter().all(|pod| pod.meta.name != other.pods[0].meta.name) => {
                next.pods.push(other.pods[0].clone());
            }
            4 if !next.policies.is_empty() => drop(next.policies.remove(policy)),
            5 => next.heard = other.heard,
            6 if !next.heard.is_empty() => drop(next.heard.remove(at % next.heard.len())),
            7 if !other.policies.is_empty() => {
                let added = &other.policies[0];
                next.policies.retain(|known| known.meta.name != added.meta.name);
                next.policies.push(added.clone());
            }
            8 => edit(&mut next.cilium, &other.cilium, at),
            9 => edit(&mut next.tiered, &other.tiered, at),
            10 => next.behind = other.behind,
            11 => next.namespaces[at % 3] = other.namespaces[at % 3].clone(),
            _ if !next.policies.is_empty() && !other.policies.is_empty() => {
                let meta = next.policies[policy].meta.clone();
                next.policies[policy] = NetworkPolicy { meta, ..other.policies[0].clone() };
            }
            _ => {}
        }
        steps.push(next);
    }
    steps
}

/// Has a policy go, come, or say something else.
fn edit<T: Clone + Named>(policies: &mut Vec<T>, others: &[T], at: usize) {
    let place = at % policies.len().max(1);
    match (at % 3, others.first()) {
        (0, _) if !policies.is_empty() => drop(policies.remove(place)),
        (1, Some(other)) if policies.iter().all(|known| known.name() != other.name()) => policies.push(other.clone()),
        (_, Some(other)) if !policies.is_empty() => policies[place] = other.named(&policies[place]),
        _ => {}
    }
}

trait Named {
    fn name(&self) -> (PolicyKind, &Name);
    /// The same under the name of another.
    fn named(&self, other: &Self) -> Self;
}

impl Named for CiliumNetworkPolicy {
    fn name(&self) -> (PolicyKind, &Name) {
        (self.kind, &self.meta.name)
    }

    fn named(&self, other: &Self) -> Self {
        Self { meta: other.meta.clone(), kind: other.kind, ..self.clone() }
    }
}

impl Named for ClusterNetworkPolicy {
    fn name(&self) -> (PolicyKind, &Name) {
        (self.kind, &self.meta.name)
    }

    fn named(&self, other: &Self) -> Self {
        Self { meta: other.meta.clone(), kind: other.kind, tier: other.tier, ..self.clone() }
    }
}

#[test]
fn what_follows_a_program_in_parts_is_what_all_of_it_compiles_to() {
    let config = ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new(config);
    let changes = prop::collection::vec((0_usize..17, 0_usize..8, cluster()), 1..8);
    let (patches, wholes, of_others) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let outcome = runner.run(&(cluster(), changes, any::<bool>()), |(first, changes, cilium)| {
        let first = if cilium { first } else { Cluster { cilium: Vec::new(), ..first } };
        let mut compiler = Compiler::default();
        let mut before: Option<(Snapshot, Program)> = None;
        for cluster in in_small_steps(first, changes) {
            let snapshot = cluster.snapshot();
            let (snapshot, program) = match before {
                None => {
                    let program = compiler.compile(&snapshot);
                    (snapshot, program)
                }
                Some((old, before)) => {
                    let snapshot = following(&old, snapshot);
                    let difference = Difference::between(&old, &snapshot)
                        .expect("namespaces, pods, policies and names alone differ");
                    let program = match compiler.change(&before, &snapshot, &difference) {
                        Change::Whole(program) => {
                            wholes.set(wholes.get() + 1);
                            program
                        }
                        Change::Patch(patch) => {
                            patches.set(patches.get() + 1);
                            let others = difference.cilium_policies.len() + difference.cluster_policies.len();
                            of_others.set(of_others.get() + usize::from(others > 0));
                            let mut program = before.clone();
                            program.patch(patch);
                            program
                        }
                    };
                    assert_numbers_keep_their_meaning(&before, &program);
                    (snapshot, program)
                }
            };
            assert_says_the_same(&program, &snapshot);
            let asked = program.endpoints.values().flat_map(|known| [known.ingress.rule_set, known.egress.rule_set]);
            let asked: BTreeSet<_> = asked.flatten().collect();
            assert_eq!(asked, program.rule_sets.keys().copied().collect(), "each rule set is asked");
            let whole = compile(&snapshot);
            let gates = |program: &Program| -> Vec<_> {
                let all = program.endpoints.values().flat_map(|known| [known.ingress.clone(), known.egress.clone()]);
                all.map(|gate| Gate { rule_set: None, ..(*gate).clone() }).collect()
            };
            assert_eq!(gates(&program), gates(&whole));
            let at = |program: &Program| program.addresses.keys().copied().collect::<BTreeSet<_>>();
            assert_eq!(at(&program), at(&whole));
            before = Some((snapshot, program));
        }
        Ok(())
    });
    outcome.expect("the programs agree");
    println!("{} patches, {} for other than NetworkPolicies; {} whole", patches.get(), of_others.get(), wholes.get());
    assert!(of_others.get() > 10, "{} patches for other kinds of policies", of_others.get());
    assert!(patches.get() > wholes.get(), "{} patches, {} compiled as a whole", patches.get(), wholes.get());
}
