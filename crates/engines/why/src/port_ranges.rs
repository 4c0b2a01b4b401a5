//! Ports by the ranges in which verdicts cannot differ.

use crate::engines::Engines;
use lictor_model::PortRange;
use std::collections::BTreeSet;

/// The parts into which these cuts divide a range.
pub(crate) fn ranges(cuts: &BTreeSet<u16>, within: PortRange) -> impl Iterator<Item = PortRange> {
    let inner = cuts.range(within.first()..=within.last()).copied().filter(move |cut| *cut > within.first());
    let firsts: Vec<u16> = std::iter::once(within.first()).chain(inner).collect();
    let lasts: Vec<u16> = firsts.iter().skip(1).map(|next| next - 1).chain([within.last()]).collect();
    firsts.into_iter().zip(lasts).filter_map(|(first, last)| PortRange::new(first, last).ok())
}

/// The ports that peer authentication and authorization speak of, and the one after each.
pub(crate) fn spoken_ports(versions: &[Engines<'_>; 2]) -> BTreeSet<u16> {
    let mut ports = BTreeSet::new();
    for snapshot in versions.iter().map(|engines| engines.snapshot) {
        for rule in snapshot.policies.authorization.values().flat_map(|policy| &policy.rules) {
            ports.extend(rule.to.iter().flat_map(|operation| operation.ports.iter().chain(&operation.not_ports)));
            let conditions = rule.when.iter().filter(|condition| condition.key == "destination.port");
            let values = conditions.flat_map(|condition| condition.values.iter().chain(&condition.not_values));
            ports.extend(values.filter_map(|value| value.parse::<u16>().ok()));
        }
        ports.extend(snapshot.policies.peer_authentication.values().flat_map(|policy| policy.ports.keys().copied()));
    }
    let after: Vec<u16> = ports.iter().filter_map(|port| port.checked_add(1)).collect();
    ports.extend(after);
    ports
}

/// Neighbouring ranges as one.
pub(crate) fn merged(ranges: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
    let mut merged: Vec<PortRange> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if last.last().checked_add(1) == Some(range.first()) => {
                if let Ok(wider) = PortRange::new(last.first(), range.last()) {
                    *last = wider;
                }
            }
            _ => merged.push(range),
        }
    }
    merged
}
