//! Address blocks.

use crate::world::{World, at, named};
use lictor_manifest::{Code, Finding};
use lictor_model::{Cidr, Direction, IpBlock};
use lictor_network::{Effect, RuleFact};
use std::net::{IpAddr, Ipv4Addr};

/// Where clouds answer for a machine's credentials.
const METADATA: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254));

/// The blocks of rules that are about somewhere: those that mean everything are another matter.
fn blocks<'w>(world: &'w World<'_>) -> impl Iterator<Item = (&'w RuleFact<'w>, IpBlock)> {
    let of = |fact: &'w RuleFact<'w>| {
        let blocks = fact.peers().into_iter().flatten().filter_map(|peer| peer.block());
        blocks.map(move |block| (fact, block)).collect::<Vec<_>>()
    };
    world.facts.iter().flat_map(of)
}

fn is_everything(block: &IpBlock) -> bool {
    block.cidr.prefix() == 0
}

/// A pod's address lasts as long as the pod.
pub(crate) fn over_pods(world: &World<'_>) -> Vec<Finding> {
    let over = blocks(world).filter(|(_, block)| !is_everything(block) && !world.snapshot.cidr_excludes_pods);
    let finding = |(fact, block): (&RuleFact<'_>, IpBlock)| {
        let within = world.pods.iter().filter(|pod| pod.addresses.iter().any(|address| block.contains(*address)));
        let count = within.count();
        let message = format!("{} of {} means the addresses of {count} pods now", block, named(&fact.rule));
        (count > 0).then(|| {
            at(fact.meta, &fact.peers_path(), Code::BlockOverPods, message)
                .with_hint("name the pods by their labels: the address of a pod is another's once it is gone")
        })
    };
    over.filter_map(finding).collect()
}

/// A service's virtual address has become a pod's before any policy is asked.
pub(crate) fn over_services(world: &World<'_>) -> Vec<Finding> {
    let out = blocks(world).filter(|(fact, block)| fact.direction == Direction::Egress && !is_everything(block));
    let finding = |(fact, block): (&RuleFact<'_>, IpBlock)| {
        let mut services = world.snapshot.services.values();
        let within = services.find(|service| service.addresses.iter().any(|address| block.contains(*address)))?;
        let name = &within.service.meta.name;
        let message = format!(
            "{block} of {} holds the virtual address of Service {name}, which no policy ever sees",
            named(&fact.rule)
        );
        Some(
            at(fact.meta, &fact.peers_path(), Code::BlockOverServices, message)
                .with_hint("name the pods behind the Service, and their port"),
        )
    };
    out.filter_map(finding).collect()
}

pub(crate) fn over_nodes(world: &World<'_>) -> Vec<Finding> {
    let narrow = blocks(world).filter(|(_, block)| !is_everything(block));
    let finding = |(fact, block): (&RuleFact<'_>, IpBlock)| {
        let mut nodes = world.snapshot.nodes.values();
        let node = nodes.find(|node| node.addresses.iter().any(|address| block.contains(*address)))?;
        let message = format!("{block} of {} holds the address of node {}", named(&fact.rule), node.name);
        Some(
            at(fact.meta, &fact.peers_path(), Code::BlockOverNodes, message)
                .with_hint("host-network pods and everything else on that node share the address"),
        )
    };
    narrow.filter_map(finding).collect()
}

pub(crate) fn open_to_world(world: &World<'_>) -> Vec<Finding> {
    let wide = blocks(world).filter(|(fact, block)| {
        fact.direction == Direction::Egress
            && fact.effect == Effect::Allow
            && is_everything(block)
            && block.except.is_empty()
    });
    let finding = |(fact, block): (&RuleFact<'_>, IpBlock)| {
        let message = format!("{} lets everything out to {block}, the cluster's own pods included", named(&fact.rule));
        at(fact.meta, &fact.peers_path(), Code::OpenToWorld, message)
            .with_hint("name the blocks, or take the private ones out with `except`")
    };
    wide.map(finding).collect()
}

pub(crate) fn metadata_service(world: &World<'_>) -> Vec<Finding> {
    let out = blocks(world).filter(|(fact, block)| {
        let ports = fact.ports();
        let on_its_port = ports.is_none_or(|ports| {
            ports.iter().any(|port| crate::checks::ports::means(port, lictor_model::Protocol::Tcp, 80))
        });
        fact.direction == Direction::Egress && fact.effect == Effect::Allow && block.contains(METADATA) && on_its_port
    });
    let finding = |(fact, block): (&RuleFact<'_>, IpBlock)| {
        let message = format!(
            "{block} of {} holds {METADATA}, where clouds give the node's credentials to whoever asks",
            named(&fact.rule)
        );
        let hint = format!("add `except: [{}]`", Cidr::host(METADATA));
        at(fact.meta, &fact.peers_path(), Code::MetadataReachable, message).with_hint(hint)
    };
    out.map(finding).collect()
}
