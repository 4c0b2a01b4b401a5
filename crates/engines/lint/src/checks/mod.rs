//! The checks, each a function from the world to findings.

mod blocks;
mod coverage;
mod effect;
mod labels;
mod peers;
mod ports;
mod references;
mod rules;
mod sayings;

pub(crate) use labels::Carried;

use crate::world::World;
use lictor_manifest::Finding;

/// A check.
type Check = fn(&World<'_>) -> Vec<Finding>;

/// Every check.
pub(crate) const ALL: &[Check] = &[
    blocks::over_pods,
    blocks::over_services,
    blocks::over_nodes,
    blocks::open_to_world,
    blocks::metadata_service,
    coverage::without_default_deny,
    coverage::unselected_pods,
    coverage::host_network,
    coverage::egress_without_dns,
    effect::policies_without_effect,
    labels::unknown_labels,
    peers::matching_nothing,
    peers::open_to_all,
    peers::nobody_gets_through,
    ports::not_exposed,
    ports::of_a_service,
    ports::dns_over_one_protocol,
    references::missing,
    rules::duplicate_policies,
    rules::shadowed,
    rules::unreachable,
    rules::passing_to_nothing,
    rules::allowing_no_one,
    sayings::unseen,
    sayings::names_without_dns,
];
