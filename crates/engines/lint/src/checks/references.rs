//! What policies name and nothing is.

use crate::world::{World, at, named};
use lictor_manifest::{CiliumPeer, Code, Finding, GroupRef};
use lictor_model::Name;
use lictor_network::PeerFact;
use std::sync::Arc;

/// CiliumCIDRGroups and Services that are not there.
pub(crate) fn missing(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in &world.facts {
        for peer in fact.peers().into_iter().flatten() {
            let PeerFact::Cilium(peer) = peer else { continue };
            let (code, what) = match peer {
                CiliumPeer::Group(GroupRef::Name(name), _)
                    if !world.snapshot.policies.cidr_groups.contains_key(&Name::new("", Arc::clone(name))) =>
                {
                    (Code::GroupMissing, format!("CiliumCIDRGroup {name}"))
                }
                CiliumPeer::Service(name) => {
                    let namespace = match &*name.namespace {
                        "" => &fact.meta.name.namespace,
                        _ => &name.namespace,
                    };
                    let name = Name::new(Arc::clone(namespace), Arc::clone(&name.name));
                    if world.snapshot.services.contains_key(&name) {
                        continue;
                    }
                    (Code::ServiceMissing, format!("Service {name}"))
                }
                _ => continue,
            };
            let message = format!("{} names {what}, which is not there: it means no one", named(&fact.rule));
            findings.push(at(fact.meta, &fact.rule.path, code, message));
        }
    }
    findings
}
