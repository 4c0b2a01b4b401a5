//! What single pods have learnt of names, as terms.
//!
//! An address that some pod has learnt is a class of its own: whoever learns it next, or forgets it, changes nothing about
//! it. What differs from pod to pod is which of these classes the rules about a name mean, so pods that have learnt the
//! same share a rule set as before, and those that have learnt nothing share the one without.

use crate::compile::LiveRules;
use crate::numbers::Numbers;
use crate::rules::Rule;
use crate::terms::{HostsOf, Term, TermId, Terms};
use lictor_cluster::Snapshot;
use lictor_model::{DomainPattern, Name};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// The terms that a pattern means for a pod beyond what it means for everyone, ascending.
pub(crate) type Meant = Arc<[TermId]>;

/// By pod: what each pattern of live rules means for it, if it has learnt any of that.
#[derive(Debug, Clone, Default)]
pub(crate) struct Learnt(HashMap<Name, BTreeMap<DomainPattern, Meant>>);

impl Learnt {
    /// What the pods of a snapshot have learnt of what these rules name.
    pub(crate) fn of(snapshot: &Snapshot, live: &LiveRules, terms: &mut Terms, numbers: &mut Numbers<Term>) -> Self {
        let patterns = domains(live.all());
        let mut all = HashMap::new();
        if patterns.is_empty() {
            return Self(all);
        }
        for (pod, learnt) in snapshot.names.learnt() {
            let mut by_pattern = BTreeMap::new();
            for pattern in &patterns {
                let outside = learnt.addresses(pattern).into_iter().filter(|address| snapshot.is_outside(*address));
                let meant: BTreeSet<TermId> =
                    outside.map(|at| terms.add_hosts(HostsOf::Address(at), || [at].into(), numbers)).collect();
                if !meant.is_empty() {
                    by_pattern.insert(pattern.clone(), meant.into_iter().collect());
                }
            }
            if !by_pattern.is_empty() {
                all.insert(pod.clone(), by_pattern);
            }
        }
        Self(all)
    }

    /// What a pattern means for a pod.
    pub(crate) fn meant(&self, pod: &Name, pattern: &DomainPattern) -> Option<&Meant> {
        self.0.get(pod)?.get(pattern)
    }
}

/// The patterns that rules name, in order.
pub(crate) fn domains<'a>(rules: impl Iterator<Item = &'a Rule>) -> BTreeSet<DomainPattern> {
    rules.filter_map(|rule| rule.peers.as_ref()).flat_map(|peers| peers.domains.iter().cloned()).collect()
}
