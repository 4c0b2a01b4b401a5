//! Policies that could go without a change.

use crate::world::{World, at};
use lictor_cluster::{Pod, Policies, Snapshot};
use lictor_manifest::{Code, Finding, Meta};
use lictor_model::{Direction, Name, PolicyKind, PolicyRef, Protocol};
use lictor_network::{Change, ClassId, Compiler, Difference, Endpoint, Program, RuleSetId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// So many questions are asked of all programs together: a second or two.
const MOST_QUESTIONS: usize = 20_000_000;

/// Policies whose removal changes no verdict about any pod, peer and port of the snapshot.
///
/// Each is taken away and put back in a program that follows. In a cluster where that asks too much, the policies are asked
/// in the order of their names for as long as it goes.
pub(crate) fn policies_without_effect(world: &World<'_>) -> Vec<Finding> {
    let gates = world.program.endpoints.values().flat_map(|known| [&known.ingress, &known.egress]);
    // Endpoints share their gates.
    let gates: BTreeMap<_, _> = gates.map(|gate| (Arc::as_ptr(gate), gate)).collect();
    let live: BTreeSet<&PolicyRef> =
        gates.values().flat_map(|gate| gate.isolated_by.iter().chain(gate.others.iter())).collect();
    let mut trial = Trial::of(world);
    let mut findings = Vec::new();
    // One that selects nothing is told of elsewhere.
    for (kind, meta) in policies(world.snapshot).filter(|(kind, meta)| live.contains(&whole(*kind, meta))) {
        if trial.left == 0 {
            break;
        }
        if trial.changes_nothing_without(kind, &meta.name) {
            let message = format!("{kind} {} changes nothing: without it every verdict is the same", meta.name);
            findings.push(at(meta, "metadata", Code::PolicyWithoutEffect, message));
        }
    }
    findings
}

fn policies(snapshot: &Snapshot) -> impl Iterator<Item = (PolicyKind, &Meta)> {
    let policies = &snapshot.policies;
    let network = policies.network.values().map(|policy| (PolicyKind::NetworkPolicy, &policy.meta));
    let tiered = policies.cluster_network.iter().map(|policy| (policy.kind, &policy.meta));
    let cilium = policies.cilium.values().map(|policy| (policy.kind, &policy.meta));
    network.chain(tiered).chain(cilium)
}

fn whole(kind: PolicyKind, meta: &Meta) -> PolicyRef {
    PolicyRef::whole(kind, meta.name.clone())
}

/// By class and whether they are nodes': addresses, with the pods that have them.
type Addresses = BTreeMap<(ClassId, bool), Vec<(Option<Name>, IpAddr)>>;

/// The program of the snapshot, and what it becomes without single policies.
struct Trial<'a> {
    compiler: Compiler,
    base: &'a Program,
    program: Program,
    snapshot: Snapshot,
    /// One of each of two pods, so that one is not the endpoint's own.
    addresses: Addresses,
    /// The pods that a policy can be about.
    own: BTreeSet<&'a Name>,
    /// Questions that may still be asked.
    left: usize,
}

impl<'a> Trial<'a> {
    fn of(world: &'a World<'a>) -> Self {
        let (compiler, snapshot, base) = (world.compiler.clone(), world.snapshot.clone(), &world.program);
        let (program, addresses) = (base.clone(), addresses(base));
        let own = world.pods.iter().map(|pod| &pod.name).collect();
        Self { compiler, base, program, snapshot, addresses, own, left: MOST_QUESTIONS }
    }

    fn changes_nothing_without(&mut self, kind: PolicyKind, name: &Name) -> bool {
        let policies = &mut self.snapshot.policies;
        let mut difference = Difference::default();
        match kind {
            PolicyKind::NetworkPolicy => {
                let Some(policy) = policies.network.remove(name) else { return false };
                difference.network_policies.insert(name.clone());
                self.is_same(&difference, |policies| drop(policies.network.insert(name.clone(), policy)))
            }
            PolicyKind::CiliumNetworkPolicy | PolicyKind::CiliumClusterwideNetworkPolicy => {
                let Some(policy) = policies.cilium.remove(name) else { return false };
                difference.cilium_policies.insert(name.clone());
                self.is_same(&difference, |policies| drop(policies.cilium.insert(name.clone(), policy)))
            }
            _ => {
                let all = policies.cluster_network.clone();
                policies.cluster_network.retain(|policy| (policy.kind, &policy.meta.name) != (kind, name));
                difference.cluster_policies.insert((kind, name.clone()));
                self.is_same(&difference, |policies| policies.cluster_network = all)
            }
        }
    }

    fn is_same(&mut self, difference: &Difference, put_back: impl FnOnce(&mut Policies)) -> bool {
        let touched = self.follow(difference);
        // To follow twice costs as much as a few questions about each endpoint.
        self.left = self.left.saturating_sub(4 * touched.len());
        let same = self.says_the_same(&touched);
        put_back(&mut self.snapshot.policies);
        self.follow(difference);
        same
    }

    /// Has the program follow the snapshot; the endpoints that may be judged otherwise.
    fn follow(&mut self, difference: &Difference) -> Vec<Name> {
        match self.compiler.change(&self.program, &self.snapshot, difference) {
            Change::Whole(program) => {
                self.program = program;
                self.program.endpoints.keys().cloned().collect()
            }
            Change::Patch(patch) => {
                let touched = patch.endpoints.iter().map(|(name, _)| name.clone()).collect();
                self.program.patch(patch);
                touched
            }
        }
    }

    /// Whether the program says of every kind of peer, on every kind of port, what it said with all policies.
    fn says_the_same(&mut self, touched: &[Name]) -> bool {
        let mut alike = BTreeSet::new();
        for name in touched.iter().filter(|name| self.own.contains(name)) {
            let (Some(pod), Some(before), Some(after)) =
                (self.snapshot.pods.get(name), self.base.endpoints.get(name), self.program.endpoints.get(name))
            else {
                continue;
            };
            for direction in Direction::BOTH {
                let sets = [before, after].map(|known| known.gate(direction).rule_set);
                // Pods of the same rule sets in both are judged alike.
                if sets[0] == sets[1] || !alike.insert((sets, direction, pod.enrolled)) {
                    continue;
                }
                let (asked, differs) = self.differs(pod, [before, after], direction);
                self.left = self.left.saturating_sub(asked);
                if differs {
                    return false;
                }
            }
        }
        true
    }

    /// How many questions were asked, and whether some answer differs.
    fn differs(&self, pod: &Pod, ends: [&Endpoint; 2], direction: Direction) -> (usize, bool) {
        let sets = [self.base, &self.program].into_iter().zip(ends).filter_map(|(program, end)| {
            let id: RuleSetId = end.gate(direction).rule_set?;
            program.rule_sets.get(&id)
        });
        let (mut classes, mut bounds) = (BTreeSet::new(), BTreeSet::from([0]));
        for set in sets {
            classes.extend(set.entries.keys().map(|entry| entry.class));
            bounds.extend(set.bounds.iter().copied());
        }
        // What a pod may do with itself, no policy says.
        let others = self.addresses.iter().filter_map(|(key, all)| {
            let other = all.iter().find(|(owner, _)| owner.as_ref() != Some(&pod.name))?;
            Some((key, other.1))
        });
        // A class that neither names is judged as any other such class.
        let (named, unnamed): (Vec<_>, Vec<_>) =
            others.partition(|((class, is_node), _)| *is_node || classes.contains(class));
        let protocols = [6, 17, 132, 1, 58].map(Protocol::from_number);
        let mut asked = 0;
        for address in named.iter().chain(unnamed.first()).map(|(_, address)| *address).chain(NOWHERE) {
            for protocol in protocols {
                for port in &bounds {
                    asked += 1;
                    let said = |program: &Program| {
                        let judged = program.judge(&pod.name, direction, address, protocol, *port);
                        let limits = program.limits(&pod.name, direction, address, protocol, *port);
                        (judged.verdict, limits.iter().map(|limit| Arc::clone(&limit.said)).collect::<Vec<_>>())
                    };
                    if said(self.base) != said(&self.program) {
                        return (asked, true);
                    }
                }
            }
        }
        (asked, false)
    }
}

/// An address of TEST-NET-3 (RFC 5737) and one of the documentation prefix (RFC 3849): nobody's.
const NOWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x77))];

fn addresses(program: &Program) -> Addresses {
    let mut found = Addresses::new();
    for (address, known) in &program.addresses {
        let those = found.entry((known.class, known.pod.is_none())).or_default();
        if those.len() < 2 && those.iter().all(|(owner, _)| *owner != known.pod) {
            those.push((known.pod.clone(), *address));
        }
    }
    for (block, class) in &program.prefixes {
        let own = [block.network(), block.last()].into_iter().find(|address| program.class(*address) == *class);
        if let Some(address) = own {
            found.entry((*class, false)).or_default().push((None, address));
        }
    }
    found
}
