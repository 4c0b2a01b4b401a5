//! Which connections a list is about, and how many it may have.

use crate::notes::is_built_in;
use crate::sight::Sight;
use crate::sites::{Site, has_any, owner, sites};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::sync::Arc;

/// As many pairs are listed: 3,000 workloads with each other, in half a minute and a few gigabytes where all are open.
const MOST_PAIRS: usize = 10_000_000;

/// What to look at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Only these pods as sources; nothing means all.
    pub sources: Option<BTreeSet<Name>>,
    /// Only these pods as destinations; nothing means all.
    pub destinations: Option<BTreeSet<Name>>,
    /// Only connections with one of these pods at either end; nothing means all.
    pub focus: Option<BTreeSet<Name>>,
    /// Only connections with an end in this namespace.
    pub namespace: Option<Arc<str>>,
    /// Whether each edge tells what each layer says.
    pub explain: bool,
    /// Whether the pods that lictor makes itself (the cluster's DNS) count.
    pub built_in: bool,
}

/// More pairs of workloads than are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{pairs} pairs of workloads are more than can be listed ({MOST_PAIRS})")]
pub struct TooMany {
    /// How many there are.
    pub pairs: usize,
}

impl TooMany {
    /// What to do about it.
    pub const HINT: &str = "narrow them with --namespace, --focus, --from or --to; pods without an owner are one workload \
                            only where no policy can tell them apart, by labels, service account, ports or address";
}

impl Scope {
    fn pods<'s>(&self, snapshot: &'s Snapshot) -> impl Iterator<Item = &'s Arc<Pod>> {
        snapshot.pods.values().filter(|pod| self.built_in || !is_built_in(pod))
    }

    /// The sites of each workload: pods of one that look alike.
    pub(crate) fn sites(&self, snapshot: &Snapshot) -> Vec<Site> {
        let sight = Sight::of(snapshot, None);
        let mut sites = sites(self.pods(snapshot), |pod| (&pod.workload, sight.looks(pod)));
        sites.sort_by(|one, other| one.workload.cmp(&other.workload));
        sites
    }

    /// The rows of a list, each with its sites: the workloads, and pods without an owner that look alike and are chosen
    /// alike.
    pub(crate) fn rows<'s, L: Eq + Hash, A: Eq + Hash>(
        &self,
        snapshot: &'s Snapshot,
        looks: impl Fn(&'s Arc<Pod>) -> L,
        alone: impl Fn(&'s Arc<Pod>) -> A,
    ) -> Vec<Vec<Site>> {
        let unowned = |pod: &'s Arc<Pod>| if owner(pod).is_none() { Some(alone(pod)) } else { None };
        let mut rows: BTreeMap<_, Vec<Site>> = BTreeMap::new();
        for site in sites(self.pods(snapshot), |pod| (owner(pod), looks(pod), unowned(pod))) {
            rows.entry(site.workload.clone()).or_default().push(site);
        }
        rows.into_values().collect()
    }

    /// In which of its sets a pod is: a row must not stand for pods that were not asked about.
    pub(crate) fn chosen(&self, pod: &Pod) -> [bool; 3] {
        [&self.sources, &self.destinations, &self.focus]
            .map(|names| names.as_ref().is_some_and(|names| names.contains(&pod.name)))
    }

    /// Whether so many rows can be listed.
    pub(crate) fn bound(&self, rows: &[Vec<Site>]) -> Result<(), TooMany> {
        let pairs = self.pairs(rows);
        if pairs > MOST_PAIRS { Err(TooMany { pairs }) } else { Ok(()) }
    }

    /// How many pairs of rows there are to look at, at most.
    fn pairs(&self, rows: &[Vec<Site>]) -> usize {
        let count = |chosen: &dyn Fn(&Site) -> bool| rows.iter().filter(|row| row.iter().any(chosen)).count();
        let among = |names: &Option<BTreeSet<Name>>| {
            count(&|site: &Site| names.as_ref().is_none_or(|names| has_any(site, names)))
        };
        let (sources, destinations) = (among(&self.sources), among(&self.destinations));
        let ends = |chosen: usize| chosen * (sources + destinations);
        let focus = self.focus.as_ref().map(|_| ends(among(&self.focus)));
        let within = self.namespace.as_ref().map(|own| ends(count(&|site: &Site| lives_in(site, own))));
        [Some(sources * destinations), focus, within].into_iter().flatten().min().unwrap_or_default()
    }

    pub(crate) fn takes(&self, source: &Site, destination: &Site) -> bool {
        let among =
            |site: &Site, names: &Option<BTreeSet<Name>>| names.as_ref().is_none_or(|names| has_any(site, names));
        among(source, &self.sources)
            && among(destination, &self.destinations)
            && (among(source, &self.focus) || among(destination, &self.focus))
            && self.namespace.as_ref().is_none_or(|own| lives_in(source, own) || lives_in(destination, own))
    }
}

fn lives_in(site: &Site, namespace: &Arc<str>) -> bool {
    site.pod().is_some_and(|pod| pod.name.namespace == *namespace)
}
