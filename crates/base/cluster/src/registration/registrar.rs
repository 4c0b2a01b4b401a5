//! The registrar: what there is, by index, and what follows from it.

use super::attested::{Attested, PROCESS};
use super::judge::Verdict;
use super::lookup::{IdLookup, PodLookup};
use super::settings::RegistrationSettings;
use super::status::Stats;
use crate::pod::{Node, Pod};
use lictor_manifest::{ClusterSpiffeId, ClusterStaticEntry, EntrySelector, Issuance};
use lictor_model::{Labels, Name, SpiffeId, TrustDomain};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Who gets which identity, kept as things change.
///
/// Each change returns the pods whose entries are others than before.
#[derive(Debug, Clone)]
pub struct Registrar {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) settings: RegistrationSettings,
    pub(crate) namespaces: BTreeMap<Arc<str>, Labels>,
    pub(crate) nodes: BTreeMap<Arc<str>, Node>,
    pub(crate) ids: BTreeMap<Arc<str>, Compiled>,
    pub(crate) id_lookup: IdLookup,
    pub(crate) static_entries: BTreeMap<Arc<str>, Arc<ClusterStaticEntry>>,
    /// Static entries by one of their selectors.
    pub(crate) static_lookup: HashMap<EntrySelector, BTreeSet<Arc<str>>>,
    /// Those that only say what a process has to be.
    pub(crate) static_anywhere: BTreeSet<Arc<str>>,
    /// The identities that entries for a node's pods may have as their parent.
    pub(crate) parents: BTreeMap<Arc<str>, BTreeSet<SpiffeId>>,
    pub(crate) pods: BTreeMap<Name, (Subject, Verdict)>,
    pod_lookup: PodLookup,
    pub(crate) judged: u64,
    pub(crate) rendered: u64,
}

/// A ClusterSPIFFEID and its status.
#[derive(Debug, Clone)]
pub(crate) struct Compiled {
    pub(crate) resource: Arc<ClusterSpiffeId>,
    pub(crate) issuance: Arc<Issuance>,
    pub(crate) stats: Stats,
}

/// A pod, and the Services that lead to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) pod: Arc<Pod>,
    pub(crate) services: BTreeSet<Arc<str>>,
}

/// The pods whose entries changed.
type Changed = BTreeSet<Name>;

/// The identity of the server, the parent of aliases of nodes.
pub(crate) const SERVER: &str = "/spire/server";

impl Registrar {
    /// Without anything.
    pub fn new(trust_domain: TrustDomain, settings: RegistrationSettings) -> Self {
        Self {
            trust_domain,
            settings,
            namespaces: BTreeMap::new(),
            nodes: BTreeMap::new(),
            ids: BTreeMap::new(),
            id_lookup: IdLookup::default(),
            static_entries: BTreeMap::new(),
            static_lookup: HashMap::new(),
            static_anywhere: BTreeSet::new(),
            parents: BTreeMap::new(),
            pods: BTreeMap::new(),
            pod_lookup: PodLookup::default(),
            judged: 0,
            rendered: 0,
        }
    }

    /// Takes a namespace in, or its new labels; without labels, it goes.
    pub fn set_namespace(&mut self, name: &Arc<str>, labels: Option<&Labels>) -> Changed {
        let before = match labels {
            Some(labels) => self.namespaces.insert(Arc::clone(name), labels.clone()),
            None => self.namespaces.remove(name),
        };
        if before.as_ref() == labels {
            return Changed::new();
        }
        let ignored = usize::from(self.settings.ignores(name));
        for compiled in self.ids.values_mut() {
            let selects = |labels: &Labels| compiled.resource.namespaces.matches(labels);
            let (was, is) = (before.as_ref().is_some_and(selects), labels.is_some_and(selects));
            let stats = &mut compiled.stats;
            match (was, is) {
                (true, false) => {
                    stats.namespaces_selected -= 1;
                    stats.namespaces_ignored -= ignored;
                }
                (false, true) => {
                    stats.namespaces_selected += 1;
                    stats.namespaces_ignored += ignored;
                }
                _ => {}
            }
        }
        self.judge_all(self.pods_in(name))
    }

    /// Takes a node in, or what it is now; a node that goes leaves its pods without entries.
    pub fn set_node(&mut self, name: &Arc<str>, node: Option<&Node>) -> Changed {
        let before = match node {
            Some(node) => self.nodes.insert(Arc::clone(name), node.clone()),
            None => self.nodes.remove(name),
        };
        if before.as_ref() == node {
            return Changed::new();
        }
        self.set_parents(name);
        self.judge_all(self.pod_lookup.on(name))
    }

    /// Takes a pod in, or what it is now, with the names of the Services that lead to it.
    pub fn set_pod(&mut self, pod: &Arc<Pod>, services: BTreeSet<Arc<str>>) -> Changed {
        let subject = Subject { pod: Arc::clone(pod), services };
        if self.pods.get(&pod.name).is_some_and(|(before, _)| *before == subject) {
            return Changed::new();
        }
        let had = self.forget(&pod.name);
        self.pod_lookup.add(&pod.name, &pod.labels, &pod.node);
        self.pods.insert(pod.name.clone(), (subject, Verdict::default()));
        self.judge_again(&pod.name);
        let differs = self.pods.get(&pod.name).is_some_and(|(_, verdict)| !verdict.gives_like(&had));
        differs.then(|| pod.name.clone()).into_iter().collect()
    }

    /// A pod goes.
    pub fn remove_pod(&mut self, pod: &Name) -> Changed {
        let had = self.forget(pod);
        let had = !had.gives_like(&Verdict::default());
        had.then(|| pod.clone()).into_iter().collect()
    }

    /// Takes a ClusterSPIFFEID in, or what it is now. One of another class is as if it were not there.
    pub fn set_id(&mut self, resource: &Arc<ClusterSpiffeId>) -> Changed {
        let name = &resource.meta.name.name;
        if self.ids.get(name).is_some_and(|before| before.resource == *resource) {
            return Changed::new();
        }
        let mut affected = self.take_id(name);
        if self.settings.acts_on(&resource.class) {
            let namespaces = self.namespaces.iter().filter(|(_, labels)| resource.namespaces.matches(labels));
            let (mut selected, mut ignored) = (0, 0);
            for (namespace, _) in namespaces {
                selected += 1;
                ignored += usize::from(self.settings.ignores(namespace));
            }
            let stats = Stats { namespaces_selected: selected, namespaces_ignored: ignored, ..Stats::default() };
            self.id_lookup.add(resource);
            let issuance = Arc::new(resource.issuance.clone());
            self.ids.insert(Arc::clone(name), Compiled { resource: Arc::clone(resource), issuance, stats });
            affected.extend(self.selected(resource));
        }
        self.judge_all(affected)
    }

    /// A ClusterSPIFFEID goes.
    pub fn remove_id(&mut self, name: &Arc<str>) -> Changed {
        let affected = self.take_id(name);
        self.judge_all(affected)
    }

    /// Takes a ClusterStaticEntry in, or what it is now. One of another class is as if it were not there.
    pub fn set_static_entry(&mut self, resource: &Arc<ClusterStaticEntry>) -> Changed {
        let name = &resource.meta.name.name;
        if self.static_entries.get(name) == Some(resource) {
            return Changed::new();
        }
        let mut affected = self.take_static_entry(name);
        if self.settings.acts_on(&resource.class) {
            let found_by = match key(resource) {
                Some(selector) => self.static_lookup.entry(selector.clone()).or_default(),
                None => &mut self.static_anywhere,
            };
            found_by.insert(Arc::clone(name));
            self.static_entries.insert(Arc::clone(name), Arc::clone(resource));
            affected.extend(self.concerned(resource));
        }
        self.judge_all(affected)
    }

    /// A ClusterStaticEntry goes.
    pub fn remove_static_entry(&mut self, name: &Arc<str>) -> Changed {
        let affected = self.take_static_entry(name);
        self.judge_all(affected)
    }

    /// The pods of a namespace.
    fn pods_in(&self, namespace: &Arc<str>) -> BTreeSet<Name> {
        let first = Name::new(Arc::clone(namespace), "");
        self.pods
            .range(first..)
            .map(|(name, _)| name)
            .take_while(|name| name.namespace == *namespace)
            .cloned()
            .collect()
    }

    /// The pods that a resource may select: by a label of theirs or by their namespaces, whichever leads to fewer.
    fn selected(&self, resource: &ClusterSpiffeId) -> BTreeSet<Name> {
        let by_label = self.pod_lookup.selected(&resource.pods);
        if resource.namespaces.is_empty() {
            return match by_label {
                Some((_, pairs)) => self.pod_lookup.with(&pairs),
                None => self.pods.keys().cloned().collect(),
            };
        }
        let namespaces = self.namespaces.iter().filter(|(_, labels)| resource.namespaces.matches(labels));
        let limit = by_label.as_ref().map_or(usize::MAX, |(count, _)| *count);
        let mut within = BTreeSet::new();
        for (namespace, _) in namespaces {
            within.extend(self.pods_in(namespace));
            if let Some((_, pairs)) = by_label.as_ref().filter(|_| within.len() > limit) {
                return self.pod_lookup.with(pairs);
            }
        }
        within
    }

    /// The pods that a static entry may concern: those that carry its narrowest label, or all.
    fn concerned(&mut self, resource: &ClusterStaticEntry) -> BTreeSet<Name> {
        if resource.parent.path() == SERVER {
            let names: Vec<_> = self.nodes.keys().cloned().collect();
            names.iter().for_each(|name| self.set_parents(name));
            return self.pods.keys().cloned().collect();
        }
        for selector in &resource.selectors {
            match (selector.kind(), selector.value().split_once(':')) {
                ("k8s", Some(("ns", namespace))) => return self.pods_in(&Arc::from(namespace)),
                ("k8s", Some(("node-name", node))) => return self.pod_lookup.on(&Arc::from(node)),
                ("k8s", Some(("pod-label", pair))) => {
                    let Some((key, value)) = pair.split_once(':') else { continue };
                    return self.pod_lookup.with(&[(Arc::from(key), Arc::from(value))]);
                }
                _ => {}
            }
        }
        self.pods.keys().cloned().collect()
    }

    /// The agent of a node, and its aliases.
    ///
    /// Source: SPIRE, `doc/plugin_server_nodeattestor_k8s_psat.md` and registration of node aliases.
    fn set_parents(&mut self, name: &Arc<str>) {
        let Some(node) = self.nodes.get(name) else {
            self.parents.remove(name);
            return;
        };
        let attested = Attested::of_node(node, &self.settings);
        let is_alias = |entry: &&Arc<ClusterStaticEntry>| {
            entry.parent.trust_domain_str() == self.trust_domain.as_str()
                && entry.parent.path() == SERVER
                && attested.meets(&entry.selectors)
        };
        let aliases = self.static_entries.values().filter(is_alias).map(|entry| entry.id.clone());
        let agent = self.settings.agent(&self.trust_domain, name).ok();
        let parents = aliases.chain(agent).collect();
        self.parents.insert(Arc::clone(name), parents);
    }

    fn take_id(&mut self, name: &Arc<str>) -> BTreeSet<Name> {
        let Some(compiled) = self.ids.remove(name) else { return BTreeSet::new() };
        self.id_lookup.remove(&compiled.resource);
        let affected = self.selected(&compiled.resource);
        // Its status goes with it, so that nothing of it is left to be counted off.
        let mut had =
            |pod: &Name| self.pods.get_mut(pod).is_some_and(|(_, verdict)| verdict.ids.remove(name).is_some());
        affected.into_iter().filter(|pod| had(pod)).collect()
    }

    fn take_static_entry(&mut self, name: &Arc<str>) -> BTreeSet<Name> {
        let Some(entry) = self.static_entries.remove(name) else { return BTreeSet::new() };
        self.static_anywhere.remove(name);
        if let Some(selector) = key(&entry)
            && let Some(names) = self.static_lookup.get_mut(selector)
        {
            names.remove(name);
            if names.is_empty() {
                self.static_lookup.remove(selector);
            }
        }
        self.concerned(&entry)
    }

    /// Takes a pod out; what it was given.
    fn forget(&mut self, pod: &Name) -> Verdict {
        let Some((subject, verdict)) = self.pods.remove(pod) else { return Verdict::default() };
        self.pod_lookup.remove(pod, &subject.pod.labels, &subject.pod.node);
        self.count(&verdict, false);
        verdict
    }

    fn judge_all(&mut self, pods: BTreeSet<Name>) -> Changed {
        pods.into_iter().filter(|pod| self.judge_again(pod)).collect()
    }

    /// Judges a pod anew; whether its entries are others.
    fn judge_again(&mut self, pod: &Name) -> bool {
        let Some((subject, before)) = self.pods.remove(pod) else { return false };
        let (verdict, rendered) = self.judge(&subject);
        self.judged += 1;
        self.rendered += rendered;
        self.count(&before, false);
        self.count(&verdict, true);
        let changed = !before.gives_like(&verdict);
        self.pods.insert(pod.clone(), (subject, verdict));
        changed
    }

    /// Adds what a pod counts for to the status of its resources, or takes it off.
    fn count(&mut self, verdict: &Verdict, add: bool) {
        for (name, outcome) in &verdict.ids {
            let Some(Compiled { stats, .. }) = self.ids.get_mut(name) else { continue };
            let counts = outcome.counts();
            for (total, one) in [
                (&mut stats.pods_selected, counts.pods_selected),
                (&mut stats.pod_entry_render_failures, counts.pod_entry_render_failures),
                (&mut stats.entries_masked, counts.entries_masked),
                (&mut stats.entries_to_set, counts.entries_to_set),
                (&mut stats.entry_failures, counts.entry_failures),
            ] {
                *total = if add { *total + one } else { total.saturating_sub(one) };
            }
        }
    }
}

/// The selector that a static entry is found by; nothing if no pod leads to it more than another.
fn key(entry: &ClusterStaticEntry) -> Option<&EntrySelector> {
    entry.selectors.iter().filter(|selector| selector.kind() != PROCESS).min()
}
