//! Labels that nothing carries.

use crate::world::{World, at, named};
use lictor_cluster::Snapshot;
use lictor_manifest::{Code, Finding};
use lictor_model::{Labels, Operator, Selector};
use lictor_network::PeerFact;
use std::collections::{BTreeMap, BTreeSet};

/// The values that things carry under each key.
type Values<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// The labels of a cluster's pods and namespaces.
pub(crate) struct Carried<'a> {
    pods: Values<'a>,
    namespaces: Values<'a>,
}

impl<'a> Carried<'a> {
    pub(crate) fn of(snapshot: &'a Snapshot) -> Self {
        let gather = |all: &mut dyn Iterator<Item = &'a Labels>| {
            let mut values = Values::new();
            for (key, value) in all.flat_map(Labels::iter) {
                values.entry(key).or_default().insert(value);
            }
            values
        };
        Self {
            pods: gather(&mut snapshot.pods.values().map(|pod| &pod.labels)),
            namespaces: gather(&mut snapshot.namespaces.values().map(|state| &state.labels)),
        }
    }

    /// The selectors of a peer that ask for what nothing carries.
    fn unknown(&self, peer: &PeerFact<'_>) -> Vec<(Code, &'static str, String, Option<String>)> {
        let Some((namespaces, pods)) = peer.selectors() else { return Vec::new() };
        let kinds = [
            (pods, &self.pods, Code::LabelUnknown, "pod"),
            (namespaces, &self.namespaces, Code::NamespaceLabelUnknown, "namespace"),
        ];
        let asked = kinds.into_iter().filter_map(|(selector, carried, code, what)| {
            let (wanted, hint) = unknown(selector?, carried)?;
            Some((code, what, wanted, hint))
        });
        asked.collect()
    }

    /// Whether a peer asks for a label that nothing carries.
    pub(crate) fn asks_for_unknown(&self, peer: &PeerFact<'_>) -> bool {
        !self.unknown(peer).is_empty()
    }
}

/// Requirements on a key or value that no pod, or no namespace, has.
pub(crate) fn unknown_labels(world: &World<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for fact in &world.facts {
        for peer in fact.peers().into_iter().flatten() {
            for (code, what, wanted, hint) in world.carried.unknown(&peer) {
                let message = format!("{} asks for `{wanted}`, which no {what} carries", named(&fact.rule));
                let finding = at(fact.meta, &fact.peers_path(), code, message);
                findings.push(match hint {
                    Some(hint) => finding.with_hint(hint),
                    None => finding,
                });
            }
        }
    }
    findings
}

/// The first requirement that nothing carries, and what its writer may have meant.
fn unknown(selector: &Selector, carried: &Values<'_>) -> Option<(String, Option<String>)> {
    selector.requirements().iter().find_map(|requirement| {
        let values = match &requirement.operator {
            Operator::In(values) => Some(values),
            Operator::Exists => None,
            Operator::NotIn(_) | Operator::DoesNotExist => return None,
        };
        let Some(known) = carried.get(&*requirement.key) else {
            let near = nearest(&requirement.key, carried.keys().copied());
            return Some((requirement.to_string(), near.map(|key| format!("did you mean the key `{key}`?"))));
        };
        let values = values?;
        if values.iter().any(|value| known.contains(&**value)) {
            return None;
        }
        let near = values.iter().find_map(|value| nearest(value, known.iter().copied()));
        Some((requirement.to_string(), near.map(|value| format!("did you mean `{}={value}`?", requirement.key))))
    })
}

/// The word that differs in one letter, or in case alone.
fn nearest<'w>(word: &str, known: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    let word = word.to_lowercase();
    let last = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
    known.into_iter().find(|other| {
        let other = other.to_lowercase();
        let near = |a: &str, b: &str| a.len() > 2 && edits_of_one(a, b);
        near(&word, &other) || last(&other) == word || (other == "kubernetes.io/metadata.name" && word == "name")
    })
}

/// Whether one letter more, less, other or swapped makes one text the other.
fn edits_of_one(a: &str, b: &str) -> bool {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let same = long.iter().zip(&short).take_while(|(a, b)| a == b).count();
    let rest = |text: &[char], from: usize| text.get(from..).unwrap_or_default().to_vec();
    match long.len() - short.len() {
        0 => {
            rest(&long, same + 1) == rest(&short, same + 1)
                || (long.get(same) == short.get(same + 1)
                    && long.get(same + 1) == short.get(same)
                    && rest(&long, same + 2) == rest(&short, same + 2))
        }
        1 => rest(&long, same + 1) == rest(&short, same),
        _ => false,
    }
}
