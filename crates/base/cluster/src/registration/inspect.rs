//! What a registrar is asked.

use super::attested::{Attested, PROCESS, Part};
use super::entry::Entry;
use super::judge::Outcome;
use super::registrar::{Registrar, SERVER, Subject};
use super::render::Declared;
use super::status::{StaticStatus, Stats};
use lictor_manifest::ClusterSpiffeId;
use lictor_model::{Labels, Name};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// A pod that a resource selects and gives nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Troubled {
    /// The ClusterSPIFFEID.
    pub resource: Arc<ClusterSpiffeId>,
    /// The first of the pods.
    pub pod: Name,
    /// Why.
    pub reason: String,
    /// How many pods there are.
    pub pods: usize,
}

impl Registrar {
    /// The entries that a pod is given as a whole, its default one first; none for a pod that nothing applies to, or that is not
    /// known.
    pub fn entries(&self, pod: &Name) -> &[Arc<Entry>] {
        self.pods.get(pod).map_or(&[], |(_, verdict)| &verdict.entries)
    }

    /// The entries that some processes of a pod are given, those of older resources first.
    pub fn parts(&self, pod: &Name) -> &[Part] {
        self.pods.get(pod).map_or(&[], |(_, verdict)| &verdict.parts)
    }

    /// The status of each ClusterSPIFFEID that is acted on.
    pub fn stats(&self) -> BTreeMap<Arc<str>, Stats> {
        self.ids.iter().map(|(name, compiled)| (Arc::clone(name), compiled.stats)).collect()
    }

    /// The status of each ClusterStaticEntry that is acted on.
    pub fn static_stats(&self) -> BTreeMap<Arc<str>, StaticStatus> {
        let mut declared: Vec<_> =
            self.static_entries.iter().map(|(name, entry)| (self.declare(entry), Arc::clone(name))).collect();
        declared.sort_by(|((one, _), _), ((other, _), _)| one.cmp(other));
        let mut seen = HashSet::new();
        let mut status = |declared: &Declared| {
            let entry = &declared.entry;
            let masked = !seen.insert((entry.id.clone(), entry.parent.clone(), entry.selectors.clone()));
            // An alias of nodes is no workload, and may have an identity that SPIRE keeps.
            let taken = declared.refusal.is_none() || entry.parent.path() == SERVER;
            StaticStatus { rendered: true, masked, set: !masked && taken }
        };
        declared.iter().map(|((_, declared), name)| (Arc::clone(name), status(declared))).collect()
    }

    /// For each ClusterSPIFFEID that gives a pod nothing which it selects: the first such pod, why, and how many there are.
    pub fn troubled(&self) -> Vec<Troubled> {
        let mut found: BTreeMap<&Arc<str>, Troubled> = BTreeMap::new();
        for (name, (subject, verdict)) in &self.pods {
            for (resource, outcome) in &verdict.ids {
                let Some(reason) = self.reason(subject, outcome) else { continue };
                let Some(compiled) = self.ids.get(resource) else { continue };
                let resource_of = || Arc::clone(&compiled.resource);
                let first = || Troubled { resource: resource_of(), pod: name.clone(), reason, pods: 0 };
                found.entry(resource).or_insert_with(first).pods += 1;
            }
        }
        found.into_values().collect()
    }

    /// How many pods were judged and how many entries rendered so far: what changes have cost.
    pub fn work(&self) -> (u64, u64) {
        (self.judged, self.rendered)
    }

    fn reason(&self, subject: &Subject, outcome: &Outcome) -> Option<String> {
        let Outcome::Set(declared) = outcome else {
            return match outcome {
                Outcome::Failed(failure) => Some(failure.to_string()),
                _ => None,
            };
        };
        let unmet = || {
            let none = Labels::default();
            let namespace = self.namespaces.get(&subject.pod.name.namespace).unwrap_or(&none);
            let attested = Attested::of_pod(&subject.pod, namespace);
            if attested.scope(&declared.entry.selectors).is_some() {
                return None;
            }
            let selectors = &declared.entry.selectors;
            Some(match selectors.iter().find(|selector| attested.scope([*selector]).is_none()) {
                Some(unmet) if unmet.kind() == PROCESS => format!("its selector {unmet} can hold for no process"),
                Some(unmet) => format!("its selector {unmet} holds for no process of the pod"),
                None => "its selectors hold for no process of the pod together".to_owned(),
            })
        };
        declared.refusal.as_ref().map(ToString::to_string).or_else(unmet)
    }
}
