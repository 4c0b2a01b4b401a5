//! What single pods have learnt of names, as terms.
//!
//! An address that some pod has learnt is a class of its own: whoever learns it next, or forgets it, changes nothing about
//! it. What differs from pod to pod is which of these classes the rules about a name mean, so pods that have learnt the
//! same share a rule set as before, and those that have learnt nothing share the one without.

use crate::classes::{Meaning, Noted};
use crate::compile::{Compiler, Last, LiveRules};
use crate::difference::Difference;
use crate::numbers::Numbers;
use crate::patch::Patch;
use crate::program::Program;
use crate::rules::Rule;
use crate::terms::{HostsOf, Term, TermId, Terms};
use foldhash::{HashMap, HashSet};
use lictor_cluster::Snapshot;
use lictor_model::{Cidr, DomainPattern, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The terms that a pattern means for a pod beyond what it means for everyone, ascending.
pub(crate) type Meant = Arc<[TermId]>;

/// What each pod has learnt of what live rules name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Learnt {
    patterns: BTreeSet<DomainPattern>,
    by_pod: HashMap<Name, Own>,
    /// How many pods have learnt an address.
    knowing: HashMap<IpAddr, usize>,
}

/// What one pod has learnt.
#[derive(Debug, Clone, Default)]
struct Own {
    meant: BTreeMap<DomainPattern, Meant>,
    addresses: BTreeSet<IpAddr>,
}

impl Learnt {
    /// What the pods of a snapshot have learnt of what these rules name; the terms are among the live ones.
    pub(crate) fn of(snapshot: &Snapshot, live: &LiveRules, terms: &mut Terms, numbers: &mut Numbers<Term>) -> Self {
        let mut all = Self { patterns: domains(live.all()), ..Self::default() };
        if !all.patterns.is_empty() {
            for (pod, _) in snapshot.names.learnt() {
                all.update(pod, snapshot, numbers);
            }
        }
        for address in all.knowing.keys() {
            terms.add_hosts(HostsOf::Address(*address), snapshot, numbers);
        }
        all
    }

    /// Takes in the domains that rules name; whether some are new, which what pods have learnt has not been held against.
    pub(crate) fn name(&mut self, domains: BTreeSet<DomainPattern>) -> bool {
        let known = self.patterns.len();
        self.patterns.extend(domains);
        self.patterns.len() > known
    }

    /// Takes in what a pod has learnt now; the addresses that are new to it, and those that it has forgotten.
    fn update(&mut self, pod: &Name, snapshot: &Snapshot, numbers: &mut Numbers<Term>) -> Vec<IpAddr> {
        let before = self.by_pod.remove(pod).unwrap_or_default();
        let own = self.own(pod, snapshot, numbers);
        let differing: Vec<IpAddr> = before.addresses.symmetric_difference(&own.addresses).copied().collect();
        for address in &differing {
            let knowing = self.knowing.entry(*address).or_default();
            if own.addresses.contains(address) {
                *knowing += 1;
            } else {
                *knowing -= 1;
            }
            if *knowing == 0 {
                self.knowing.remove(address);
            }
        }
        if !own.addresses.is_empty() {
            self.by_pod.insert(pod.clone(), own);
        }
        differing
    }

    fn own(&self, pod: &Name, snapshot: &Snapshot, numbers: &mut Numbers<Term>) -> Own {
        let mut own = Own::default();
        let Some(learnt) = snapshot.names.learnt_by(pod) else { return own };
        for pattern in &self.patterns {
            let mut addresses = learnt.addresses(pattern);
            addresses.retain(|address| snapshot.is_outside(*address));
            let meant: BTreeSet<TermId> = addresses.iter().map(|address| term(*address, numbers)).collect();
            if !meant.is_empty() {
                own.meant.insert(pattern.clone(), meant.into_iter().collect());
                own.addresses.extend(addresses);
            }
        }
        own
    }

    /// Whether some pod has learnt an address.
    fn is_known(&self, address: IpAddr) -> bool {
        self.knowing.contains_key(&address)
    }

    /// What a pattern means for a pod.
    pub(crate) fn meant(&self, pod: &Name, pattern: &DomainPattern) -> Option<&Meant> {
        self.by_pod.get(pod)?.meant.get(pattern)
    }
}

impl Compiler {
    /// Gives addresses that these pods have learnt classes of their own, and takes them back from those that all have forgotten.
    pub(crate) fn learn(
        &mut self,
        last: &mut Last,
        snapshot: &Snapshot,
        pods: &BTreeSet<Name>,
        noted: &mut Noted,
        patch: &mut Patch,
    ) {
        let mut differing = BTreeSet::new();
        for pod in pods {
            differing.extend(last.learnt.update(pod, snapshot, &mut self.terms));
        }
        for address in differing {
            let id = term(address, &mut self.terms);
            let met = if last.learnt.is_known(address) {
                let Some(met) = last.terms.add_address(id, address) else { continue };
                Some(met)
            } else {
                last.forgotten += 1;
                last.terms.remove_address(id, address)
            };
            let class = met.map(|met| last.classes.of_noting(Meaning::of(&met), &mut self.classes, noted));
            patch.prefixes.insert(Cidr::host(address), class);
        }
    }
}

/// Whether a pod that came, went or changed has or had an address that somebody knows by a name: only addresses outside
/// open by name.
pub(crate) fn moves_named_hosts(last: &Last, program: &Program, snapshot: &Snapshot, difference: &Difference) -> bool {
    if difference.pods.is_empty() {
        return false;
    }
    let named: HashSet<IpAddr> = snapshot.names.hosts().collect();
    let is_named = |address: &IpAddr| named.contains(address) || last.terms.is_named(*address);
    difference.moved(program, snapshot).any(|address| is_named(&address))
}

/// The number of the term for an address that some pod has learnt.
fn term(address: IpAddr, numbers: &mut Numbers<Term>) -> TermId {
    numbers.of(&Term::Hosts(HostsOf::Address(address)))
}

/// The patterns that rules name, in order.
pub(crate) fn domains<'a>(rules: impl Iterator<Item = &'a Rule>) -> BTreeSet<DomainPattern> {
    rules.filter_map(|rule| rule.peers.as_ref()).flat_map(|peers| peers.domains.iter().cloned()).collect()
}
