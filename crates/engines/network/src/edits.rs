//! Policies that changed, of all kinds.

use crate::addressing::peer_names;
use crate::cilium::Spec;
use crate::compile::{Compiler, Last};
use crate::difference::Difference;
use crate::gates::place;
use crate::groups::side;
use crate::learnt::domains;
use crate::matching::rules;
use crate::policy_rules::PolicyRules;
use crate::program::{Endpoint, Program};
use crate::terms::{Extended, Terms};
use crate::tiers::tier_rules;
use lictor_cluster::{Pod, Policies, Snapshot};
use lictor_manifest::{CiliumNetworkPolicy, ClusterNetworkPolicy, NetworkPolicy};
use lictor_model::{Direction, Name};
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The policies that changed.
#[derive(Default)]
pub(crate) struct Edits<'a> {
    /// What they were.
    old: Vec<Subjects>,
    /// What they are.
    new: Vec<Subjects>,
    /// What terms that are new change.
    pub(crate) extended: Extended<'a>,
    /// Whether they name domains that no policy has named.
    pub(crate) name_domains: bool,
}

/// Whom a policy speaks of.
#[derive(Debug, Clone)]
pub(crate) enum Subjects {
    Network(Arc<NetworkPolicy>),
    Tiered(Arc<ClusterNetworkPolicy>),
    /// One of the specs of the policy.
    Cilium(Arc<CiliumNetworkPolicy>, usize),
}

impl Compiler {
    /// Takes the policies that changed in, and what Services and pods change about the others; nothing where all has to be
    /// compiled.
    pub(crate) fn edit<'a>(
        &mut self,
        last: &mut Last,
        program: &Program,
        snapshot: &'a Snapshot,
        difference: &Difference,
    ) -> Option<Edits<'a>> {
        let mut edits = Edits {
            old: Subjects::named(&last.policies, difference),
            new: Subjects::named(&snapshot.policies, difference),
            ..Edits::default()
        };
        // Which of them select an endpoint is told in one word.
        if edits.new.len() > 64 {
            return None;
        }
        let mut terms = Terms::default();
        let names = last.names.len();
        self.replace(last, &mut edits, snapshot, &mut terms);
        last.terms.follow_namespaces(&difference.namespaces, snapshot);
        edits.extended = last.terms.extend(terms, snapshot, difference.moved(program, snapshot));
        if last.names.len() > names {
            let has_any = |pod: &&Arc<Pod>| !pod.host_network && !pod.ports.is_empty();
            edits.extended.pods.extend(snapshot.pods.values().filter(has_any));
        }
        if !edits.old.is_empty() || !edits.new.is_empty() || !difference.namespaces.is_empty() {
            last.selected.clear();
        }
        for subjects in edits.old.iter().chain(&edits.new) {
            match subjects {
                Subjects::Network(policy) => last.selecting.add(&policy.pod_selector),
                Subjects::Tiered(policy) => last.selecting.add(&policy.subject.pods),
                Subjects::Cilium(..) => {
                    subjects.spec().into_iter().for_each(|spec| last.selecting.add_endpoints(&spec.spec.subject));
                }
            }
        }
        last.replaced.extend(edits.old.iter().cloned());
        follow(&mut last.policies, &snapshot.policies, difference);
        Some(edits)
    }

    /// Replaces the rules of the policies that changed; their terms are among `terms` then.
    fn replace(&mut self, last: &mut Last, edits: &mut Edits<'_>, snapshot: &Snapshot, terms: &mut Terms) {
        for direction in Direction::BOTH {
            let live = &mut last.live[side(direction)];
            for old in &edits.old {
                match old {
                    Subjects::Network(policy) => drop(live.network.remove(&place(&**policy))),
                    Subjects::Tiered(policy) => drop(live.tiered.remove(&place(&**policy))),
                    Subjects::Cilium(..) => drop(old.spec().and_then(|spec| live.cilium.remove(&spec.place()))),
                }
            }
            for new in &edits.new {
                let made = self.rules_of(new, snapshot, direction, terms);
                if direction == Direction::Egress {
                    last.names.extend(peer_names(made.iter()));
                    edits.name_domains |= last.learnt.name(domains(made.iter()));
                }
                match new {
                    Subjects::Network(policy) => drop(live.network.insert(place(&**policy), made)),
                    Subjects::Tiered(policy) => drop(live.tiered.insert(place(&**policy), (policy.tier, made))),
                    Subjects::Cilium(..) => drop(new.spec().and_then(|spec| live.cilium.insert(spec.place(), made))),
                }
            }
        }
    }

    fn rules_of(
        &mut self,
        subjects: &Subjects,
        snapshot: &Snapshot,
        direction: Direction,
        terms: &mut Terms,
    ) -> PolicyRules {
        match subjects {
            Subjects::Network(policy) => self.network_rules(policy, direction, terms),
            Subjects::Tiered(policy) => self.tiered_rules(snapshot, policy, direction, terms),
            Subjects::Cilium(..) => {
                let made = subjects.spec().map(|spec| self.cilium_rules(snapshot, spec, direction, terms));
                made.unwrap_or_else(|| PolicyRules::from_iter([]))
            }
        }
    }
}

impl Subjects {
    /// Those of the policies that differ.
    fn named(policies: &Policies, difference: &Difference) -> Vec<Self> {
        let network = difference.network_policies.iter().filter_map(|name| policies.network.get(name));
        let tiered =
            difference.cluster_policies.iter().filter_map(|(kind, name)| policies.cluster_network_policy(*kind, name));
        let cilium = difference.cilium_policies.iter().filter_map(|name| policies.cilium.get(name));
        let specs = cilium.flat_map(|policy| (0..policy.specs.len()).map(|at| Self::Cilium(Arc::clone(policy), at)));
        let network = network.map(|policy| Self::Network(Arc::clone(policy)));
        network.chain(tiered.map(|policy| Self::Tiered(Arc::clone(policy)))).chain(specs).collect()
    }

    fn spec(&self) -> Option<Spec<'_>> {
        match self {
            Self::Cilium(policy, at) => Some(Spec { policy, spec: policy.specs.get(*at)? }),
            Self::Network(_) | Self::Tiered(_) => None,
        }
    }

    /// Whether it says anything in a direction, of whomever.
    fn speak(&self, direction: Direction) -> bool {
        match self {
            Self::Network(policy) => rules(policy, direction).is_some(),
            Self::Tiered(policy) => !tier_rules(policy, direction).is_empty(),
            Self::Cilium(..) => true,
        }
    }

    /// Whether it may speak of pods of a namespace.
    fn may_be_in(&self, namespace: &Arc<str>) -> bool {
        self.namespace().is_none_or(|own| own == namespace)
    }

    /// The namespace of all pods that it may speak of, if it has one.
    fn namespace(&self) -> Option<&Arc<str>> {
        match self {
            Self::Network(policy) => Some(&policy.meta.name.namespace),
            Self::Tiered(_) => None,
            Self::Cilium(policy, _) => (!policy.is_clusterwide()).then_some(&policy.meta.name.namespace),
        }
    }

    fn select(&self, snapshot: &Snapshot, pod: &Pod) -> bool {
        match self {
            Self::Network(policy) => pod.is_selected_by(policy),
            Self::Tiered(policy) => snapshot.selects(&policy.subject, pod),
            Self::Cilium(policy, _) => {
                self.spec().is_some_and(|spec| snapshot.is_endpoint(policy, &spec.spec.subject, pod))
            }
        }
    }
}

/// Has policies be what they are now, where they differ.
fn follow(policies: &mut Policies, now: &Policies, difference: &Difference) {
    for name in &difference.network_policies {
        match now.network.get(name) {
            Some(policy) => drop(policies.network.insert(name.clone(), Arc::clone(policy))),
            None => drop(policies.network.remove(name)),
        }
    }
    for name in &difference.cilium_policies {
        match now.cilium.get(name) {
            Some(policy) => drop(policies.cilium.insert(name.clone(), Arc::clone(policy))),
            None => drop(policies.cilium.remove(name)),
        }
    }
    if !difference.cluster_policies.is_empty() {
        policies.cluster_network.clone_from(&now.cluster_network);
    }
}

/// The order of two names. A snapshot and the program of the one before mostly have a name from one place.
fn order(known: &Name, pod: &Name) -> Ordering {
    let same = Arc::ptr_eq(&known.name, &pod.name) && Arc::ptr_eq(&known.namespace, &pod.namespace);
    if same { Ordering::Equal } else { known.cmp(pod) }
}

impl Edits<'_> {
    /// Whether one of them says or said anything in a direction.
    pub(crate) fn speak(&self, direction: Direction) -> bool {
        self.old.iter().chain(&self.new).any(|subjects| subjects.speak(direction))
    }

    /// The endpoints that one of them selects or selected and that the program knows, each once, with which of them
    /// select it now.
    pub(crate) fn selected<'b>(
        &self,
        snapshot: &'b Snapshot,
        program: &'b Program,
    ) -> Vec<(&'b Arc<Pod>, &'b Endpoint, u64)> {
        let mut found = Vec::new();
        let all = || self.old.iter().chain(&self.new);
        let everywhere = all().any(|subjects| subjects.namespace().is_none());
        let namespaces: BTreeSet<&Arc<str>> = match everywhere {
            true => snapshot.namespaces.keys().collect(),
            false => all().filter_map(Subjects::namespace).collect(),
        };
        for namespace in namespaces {
            let old: Vec<&Subjects> = self.old.iter().filter(|subjects| subjects.may_be_in(namespace)).collect();
            // Both are in the order of names.
            let mut known = program.endpoints.range(Name::new(Arc::clone(namespace), "")..).peekable();
            for pod in snapshot.pods_in(namespace) {
                let selecting = self.selecting(snapshot, pod);
                if selecting == 0 && !old.iter().any(|policy| policy.select(snapshot, pod)) {
                    continue;
                }
                while known.next_if(|(name, _)| order(name, &pod.name).is_lt()).is_some() {}
                let Some((_, endpoint)) = known.next_if(|(name, _)| order(name, &pod.name).is_eq()) else { continue };
                found.push((pod, endpoint, selecting));
            }
        }
        found
    }

    /// Which of them select an endpoint now.
    fn selecting(&self, snapshot: &Snapshot, pod: &Pod) -> u64 {
        self.new.iter().fold(0, |all, subjects| all << 1 | u64::from(subjects.select(snapshot, pod)))
    }
}
