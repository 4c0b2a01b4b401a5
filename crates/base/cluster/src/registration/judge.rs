//! What the resources make of one pod.

use super::attested::{Attested, Part};
use super::entry::{By, Entry, Failure};
use super::registrar::{Registrar, Subject};
use super::render::Declared;
use super::status::Stats;
use lictor_manifest::ClusterStaticEntry;
use lictor_model::Labels;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use time::OffsetDateTime;

/// What a ClusterSPIFFEID that selects a pod makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing: it is a fallback, and another one has an entry for the pod.
    NotNeeded,
    /// No entry.
    Failed(Failure),
    /// An entry that another one stands in for.
    Masked,
    /// An entry; whether it is given to the pod as a whole is said apart.
    Set(Declared),
}

/// What all resources make of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Verdict {
    pub(crate) ids: BTreeMap<Arc<str>, Outcome>,
    /// The entries that the pod is given as a whole, the first of them its default.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Those that some of its processes are given.
    pub(crate) parts: Vec<Part>,
}

impl Verdict {
    /// Whether the pod is given the same.
    pub(crate) fn gives_like(&self, other: &Self) -> bool {
        (&self.entries, &self.parts) == (&other.entries, &other.parts)
    }
}

/// The order in which one of two equal entries is preferred, and in which a pod gets its entries: the older resource first.
///
/// Source: spire-controller-manager, `objectCmp`. Where it asks for the uid, the name is asked here, which a manifest has.
type Preference = (Option<OffsetDateTime>, By);

impl Registrar {
    /// What the resources make of a pod now; also how often a template was rendered for it.
    pub(crate) fn judge(&self, subject: &Subject) -> (Verdict, u64) {
        let none = Labels::default();
        let pod = &subject.pod;
        let namespace = self.namespaces.get(&pod.name.namespace).unwrap_or(&none);
        let mut ids = BTreeMap::new();
        let mut declared: Vec<(Preference, Declared)> = Vec::new();
        let mut rendered = 0;
        if !self.settings.ignores(&pod.name.namespace) {
            let candidates = self.id_lookup.candidates(&pod.labels, namespace).into_iter();
            let selecting = candidates.filter_map(|name| self.ids.get(&name)).filter(|compiled| {
                let resource = &compiled.resource;
                resource.namespaces.matches(namespace) && resource.pods.matches(&pod.labels)
            });
            let (fallbacks, plain): (Vec<_>, Vec<_>) = selecting.partition(|compiled| compiled.resource.fallback);
            let mut applied = false;
            for compiled in plain.into_iter().chain(fallbacks) {
                let resource = &compiled.resource;
                let name = Arc::clone(&resource.meta.name.name);
                if resource.fallback && applied {
                    ids.insert(name, Outcome::NotNeeded);
                    continue;
                }
                rendered += 1;
                match self.render(resource, &compiled.issuance, pod, &subject.services) {
                    Ok(entry) => {
                        applied |= !resource.fallback;
                        declared.push(((resource.meta.created, entry.entry.by.clone()), entry));
                    }
                    Err(failure) => drop(ids.insert(name, Outcome::Failed(failure))),
                }
            }
        }
        let attested = Attested::of_pod(pod, namespace);
        declared.extend(self.static_entries_of(subject, &attested));
        declared.sort_by(|(one, _), (other, _)| one.cmp(other));
        (settle(ids, declared, &attested), rendered)
    }

    /// The static entries whose selectors hold for the pod, below a parent that its node is.
    fn static_entries_of(&self, subject: &Subject, attested: &Attested) -> Vec<(Preference, Declared)> {
        if self.static_entries.is_empty() {
            return Vec::new();
        }
        let found: BTreeSet<&Arc<str>> = attested
            .iter()
            .filter_map(|selector| self.static_lookup.get(selector))
            .flatten()
            .chain(&self.static_anywhere)
            .collect();
        let holds = |name: &&Arc<str>| {
            let entry = self.static_entries.get(*name)?;
            let under = self.parents.get(&subject.pod.node).is_some_and(|parents| parents.contains(&entry.parent));
            (under && attested.scope(&entry.selectors).is_some()).then(|| self.declare(entry))
        };
        found.iter().filter_map(holds).collect()
    }

    /// A static entry as it stands.
    pub(crate) fn declare(&self, resource: &ClusterStaticEntry) -> (Preference, Declared) {
        let by = By::Static(Arc::clone(&resource.meta.name.name));
        let entry = Entry {
            id: resource.id.clone(),
            parent: resource.parent.clone(),
            selectors: resource.selectors.iter().cloned().collect(),
            dns_names: resource.dns_names.clone(),
            issuance: Arc::new(resource.issuance.clone()),
            by: by.clone(),
        };
        let refusal = entry.refusal(&self.trust_domain);
        ((resource.meta.created, by), Declared { entry: Arc::new(entry), refusal })
    }
}

/// Masks equal entries, and gives the pod those that are taken and hold for all or some of its processes.
///
/// An identity is given once to the whole pod. Of two entries with one hint the first is given: by SPIFFE Workload API, section 5.2.1, hints
/// tell the SVIDs of a workload apart.
fn settle(mut ids: BTreeMap<Arc<str>, Outcome>, declared: Vec<(Preference, Declared)>, attested: &Attested) -> Verdict {
    let mut set: Vec<Declared> = Vec::new();
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    let mut parts: Vec<Part> = Vec::new();
    for (_, declared) in declared {
        let masked = set.iter().any(|other| other.entry.is_like(&declared.entry));
        if let By::SpiffeId(name) = &declared.entry.by {
            ids.insert(Arc::clone(name), if masked { Outcome::Masked } else { Outcome::Set(declared.clone()) });
        }
        if masked {
            continue;
        }
        let entry = &declared.entry;
        let twice = |other: &Arc<Entry>| {
            let hint = &entry.issuance.hint;
            other.id == entry.id || (!hint.is_empty() && other.issuance.hint == *hint)
        };
        if declared.refusal.is_none()
            && let Some(scope) = attested.scope(&entry.selectors)
        {
            match scope.is_whole() {
                true if entries.iter().any(twice) => {}
                true => entries.push(Arc::clone(entry)),
                false => parts.push(Part { entry: Arc::clone(entry), scope }),
            }
        }
        set.push(declared);
    }
    parts.retain(|part| entries.iter().all(|entry| entry.id != part.entry.id));
    Verdict { ids, entries, parts }
}

impl Outcome {
    /// What it counts for in the status of its resource.
    pub(crate) fn counts(&self) -> Stats {
        let stats = Stats { pods_selected: 1, ..Stats::default() };
        match self {
            Self::NotNeeded => stats,
            Self::Failed(_) => Stats { pod_entry_render_failures: 1, ..stats },
            Self::Masked => Stats { entries_masked: 1, ..stats },
            Self::Set(declared) => {
                Stats { entries_to_set: 1, entry_failures: usize::from(declared.refusal.is_some()), ..stats }
            }
        }
    }
}
