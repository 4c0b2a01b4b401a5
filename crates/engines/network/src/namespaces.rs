//! Namespaces that come, go or have other labels.

use crate::cilium::Spec;
use crate::compile::Last;
use crate::difference::Difference;
use crate::gates::place;
use crate::groups::side;
use crate::tiers::tier_rules;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::ClusterNetworkPolicy;
use lictor_model::{Direction, Name};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// So many questions whether a policy selects a pod cost as much as compiling all of a large cluster does.
const QUESTIONS: usize = 500_000;

/// Whether it costs more to ask which policies select the pods of these namespaces, one by one, than to compile all.
pub(crate) fn weigh_much(namespaces: &BTreeSet<Arc<str>>, snapshot: &Snapshot) -> bool {
    let questions = namespaces.iter().map(|namespace| {
        let first = Name::new(Arc::clone(namespace), "");
        let policies = snapshot.policies.network.range(first..);
        let own = policies.take_while(|(name, _)| name.namespace == *namespace).count();
        snapshot.pods_in(namespace).count().saturating_mul(1 + own + snapshot.policies.cilium.len())
    });
    questions.fold(namespaces.len(), usize::saturating_add) > QUESTIONS
}

impl Last {
    /// The difference, with the policies that spoke of no one and come to speak of pods because the labels of their namespace
    /// changed: what these say is to be taken in as if they were new.
    pub(crate) fn with_called_for<'a>(&self, snapshot: &Snapshot, difference: &'a Difference) -> Cow<'a, Difference> {
        let in_namespaces = difference.namespaces.iter().flat_map(|namespace| snapshot.pods_in(namespace));
        let pods: Vec<&Arc<Pod>> = in_namespaces.filter(|pod| !pod.host_network).collect();
        if pods.is_empty() {
            return Cow::Borrowed(difference);
        }
        let mut with = difference.clone();
        let tiered =
            snapshot.policies.cluster_network.iter().filter(|policy| {
                self.is_not_live(policy) && pods.iter().any(|pod| snapshot.selects(&policy.subject, pod))
            });
        with.cluster_policies.extend(tiered.map(|policy| (policy.kind, policy.meta.name.clone())));
        let cilium = snapshot.policies.cilium.values().flat_map(|policy| Spec::of(policy)).filter(|spec| {
            spec.spec.subject.namespaces.is_some() && pods.iter().any(|pod| self.comes_to_speak(snapshot, *spec, pod))
        });
        with.cilium_policies.extend(cilium.map(|spec| spec.policy.meta.name.clone()));
        Cow::Owned(with)
    }

    fn is_not_live(&self, policy: &ClusterNetworkPolicy) -> bool {
        let says = |direction: &Direction| !tier_rules(policy, *direction).is_empty();
        let is_live = |direction| self.live[side(direction)].tiered.contains_key(&place(policy));
        Direction::BOTH.into_iter().filter(says).any(|direction| !is_live(direction))
    }

    fn comes_to_speak(&self, snapshot: &Snapshot, spec: Spec<'_>, pod: &Pod) -> bool {
        let is_live = |direction| self.live[side(direction)].cilium.contains_key(&spec.place());
        Direction::BOTH.into_iter().any(|direction| !is_live(direction) && spec.speaks(snapshot, pod, direction))
    }
}
