//! Policies that could go without a change.

use crate::world::{World, at};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{Code, Finding, Meta};
use lictor_model::{Direction, PolicyKind, PolicyRef, Protocol};
use lictor_network::{Program, compile};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Each policy costs a compilation, so only this many are tried.
const MOST_POLICIES: usize = 200;
const MOST_PODS: usize = 2_000;

/// Policies whose removal changes no verdict about any pod, peer and port of the snapshot.
pub(crate) fn policies_without_effect(world: &World<'_>) -> Vec<Finding> {
    let policies = &world.snapshot.policies;
    let count = policies.network.len() + policies.cluster_network.len() + policies.cilium.len();
    if count > MOST_POLICIES || world.pods.len() > MOST_PODS {
        return Vec::new();
    }
    let gates = world.program.endpoints.values().flat_map(|known| [&known.ingress, &known.egress]);
    let live: BTreeSet<&PolicyRef> = gates.flat_map(|gate| gate.isolated_by.iter().chain(gate.others.iter())).collect();
    let mut findings = Vec::new();
    let mut tried = |kind: PolicyKind, meta: &Meta, without: Snapshot| {
        // One that selects nothing is told of elsewhere.
        let speaks = live.contains(&PolicyRef::whole(kind, meta.name.clone()));
        if speaks && says_the_same(world, &compile(&without)) {
            let message = format!("{kind} {} changes nothing: without it every verdict is the same", meta.name);
            findings.push(at(meta, "metadata", Code::PolicyWithoutEffect, message));
        }
    };
    for (name, policy) in &policies.network {
        let mut without = world.snapshot.clone();
        without.policies.network.remove(name);
        tried(PolicyKind::NetworkPolicy, &policy.meta, without);
    }
    for (place, policy) in policies.cluster_network.iter().enumerate() {
        let mut without = world.snapshot.clone();
        without.policies.cluster_network.remove(place);
        tried(policy.kind, &policy.meta, without);
    }
    for (name, policy) in &policies.cilium {
        let mut without = world.snapshot.clone();
        without.policies.cilium.remove(name);
        tried(policy.kind, &policy.meta, without);
    }
    findings
}

/// Whether another program says of every kind of peer, on every kind of port, what the world's own says.
fn says_the_same(world: &World<'_>, other: &Program) -> bool {
    let peers = peers(&world.program);
    let mut alike: BTreeSet<(Vec<Option<u32>>, bool)> = BTreeSet::new();
    let mut differs = |pod: &Arc<Pod>| {
        let gates = |program: &Program| {
            let sets =
                program.endpoints.get(&pod.name).map(|known| [&known.ingress, &known.egress].map(|gate| gate.rule_set));
            sets.into_iter().flatten().map(|set| set.map(|set| set.0)).collect::<Vec<_>>()
        };
        let own = gates(&world.program);
        // Pods of the same rule sets in both are judged alike.
        if !alike.insert(([own, gates(other)].concat(), pod.enrolled)) {
            return false;
        }
        Direction::BOTH.iter().any(|direction| {
            let ports = ports(&world.program, pod, *direction);
            peers.iter().any(|peer| {
                ports.iter().any(|(protocol, port)| {
                    let said = |program: &Program| {
                        let judged = program.judge(&pod.name, *direction, *peer, *protocol, *port);
                        let limits = program.limits(&pod.name, *direction, *peer, *protocol, *port);
                        (judged.verdict, limits.iter().map(|limit| Arc::clone(&limit.said)).collect::<Vec<_>>())
                    };
                    said(&world.program) != said(other)
                })
            })
        })
    };
    !world.pods.iter().any(|pod| differs(pod))
}

/// An address of every class.
fn peers(program: &Program) -> Vec<IpAddr> {
    let mut one_each = BTreeMap::new();
    for (address, known) in &program.addresses {
        one_each.entry((known.class, known.pod.is_none())).or_insert(*address);
    }
    for (block, class) in &program.prefixes {
        let ends = [block.network(), block.last()];
        let own = ends.into_iter().find(|address| program.class(*address) == *class);
        if let Some(address) = own {
            one_each.entry((*class, false)).or_insert(address);
        }
    }
    let nowhere: [IpAddr; 2] = [[203, 0, 113, 77].into(), [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 0x77].into()];
    one_each.into_values().chain(nowhere).collect()
}

/// A port of every class, on every protocol that rules may tell apart.
fn ports(program: &Program, pod: &Pod, direction: Direction) -> Vec<(Protocol, u16)> {
    let set = program.endpoints.get(&pod.name).and_then(|known| known.gate(direction).rule_set);
    let bounds = set.and_then(|id| program.rule_sets.get(&id)).map(|set| set.bounds.clone()).unwrap_or_else(|| vec![0]);
    let protocols = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::from_number(1), Protocol::from_number(58)];
    protocols.into_iter().flat_map(|protocol| bounds.iter().map(move |bound| (protocol, *bound))).collect()
}
