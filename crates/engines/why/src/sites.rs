//! Pods that are looked at as one, and addresses outside.
//!
//! A cluster of ten thousand pods has a few hundred workloads, and pods of one workload that look alike to every policy
//! are one *site*: one of them speaks for all. So are pods without an owner that look alike.

use crate::sight::Sight;
use lictor_cluster::{Pod, WorkloadRef};
use lictor_manifest::WorkloadKind;
use lictor_model::Name;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// Pods that behave alike, or an address outside that stands for others.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The workload of the first pod; nothing outside the cluster.
    pub workload: Option<WorkloadRef>,
    /// The pods; empty outside the cluster.
    pub pods: Vec<Arc<Pod>>,
    /// The first one's first address, or the address outside.
    pub address: IpAddr,
}

impl Site {
    /// What a person calls it: of pods without an owner, the first one's name.
    pub(crate) fn label(&self) -> Arc<str> {
        match &self.workload {
            Some(workload) => workload.name.to_string().into(),
            None => format!("outside, such as {}", self.address).into(),
        }
    }

    /// How many pods it speaks for that its name does not say.
    pub(crate) fn alike(&self) -> usize {
        match &self.workload {
            Some(workload) if workload.kind == WorkloadKind::Pod => self.pods.len().saturating_sub(1),
            _ => 0,
        }
    }

    /// The pod that speaks for it.
    pub(crate) fn pod(&self) -> Option<&Arc<Pod>> {
        self.pods.first()
    }
}

/// One pod of each workload, the first of these.
pub(crate) fn one_of_each<'a>(pods: impl IntoIterator<Item = &'a Arc<Pod>>) -> BTreeMap<&'a WorkloadRef, &'a Arc<Pod>> {
    let mut one_of_each = BTreeMap::new();
    for pod in pods {
        one_of_each.entry(&pod.workload).or_insert(pod);
    }
    one_of_each
}

/// The workload of a pod; nothing where it has no owner, so that its name alone tells it from those that look alike.
pub(crate) fn owner(pod: &Pod) -> Option<&WorkloadRef> {
    Some(&pod.workload).filter(|workload| workload.kind != WorkloadKind::Pod)
}

/// A site for each key, in the order of their first pods.
pub(crate) fn sites<'a, K: Eq + Hash>(
    pods: impl IntoIterator<Item = &'a Arc<Pod>>,
    key: impl Fn(&'a Arc<Pod>) -> K,
) -> Vec<Site> {
    let mut places: HashMap<Rc<K>, usize> = HashMap::new();
    let mut sites: Vec<Site> = Vec::new();
    let mut last: Option<(Rc<K>, usize)> = None;
    for pod in pods {
        // Nothing connects to or from a pod without an address.
        let Some(address) = pod.addresses.first() else { continue };
        let own = key(pod);
        let place = match &last {
            // Most stand beside one that is like them.
            Some((known, place)) if **known == own => *place,
            _ => {
                let own = Rc::new(own);
                let place = *places.entry(Rc::clone(&own)).or_insert(sites.len());
                last = Some((own, place));
                place
            }
        };
        match sites.get_mut(place) {
            Some(site) => site.pods.push(Arc::clone(pod)),
            None => {
                let pods = vec![Arc::clone(pod)];
                sites.push(Site { workload: Some(pod.workload.clone()), pods, address: *address });
            }
        }
    }
    sites
}

/// The pods of a site by what a list calls them: a workload each, the pods without an owner that look alike together.
pub(crate) fn rows(site: &Site, sight: &Sight<'_>) -> Vec<Site> {
    let looks = |pod| if owner(pod).is_none() { Some(sight.looks(pod)) } else { None };
    if site.workload.is_none() { vec![site.clone()] } else { sites(&site.pods, |pod| (owner(pod), looks(pod))) }
}

/// Whether some of a site's pods are among these.
pub(crate) fn has_any(site: &Site, names: &std::collections::BTreeSet<Name>) -> bool {
    site.pods.iter().any(|pod| names.contains(&pod.name))
}
