//! Classes of addresses: those that every live peer term and every live port name treats alike.

use crate::numbers::Numbers;
use crate::program::ClassId;
use crate::rules::PortName;
use crate::terms::TermId;
use foldhash::{HashMap, HashSet};
use std::borrow::Cow;
use std::collections::BTreeSet;

/// What makes a class: the terms that it meets, and the ports that it has under the names that egress rules use.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Meaning {
    /// Ascending.
    pub(crate) terms: Box<[TermId]>,
    /// In the order of names.
    pub(crate) ports: Box<[(PortName, u16)]>,
}

impl Meaning {
    /// Of an address that no pod has.
    pub(crate) fn of(terms: &[TermId]) -> Self {
        Self { terms: terms.into(), ports: Box::default() }
    }
}

/// What classes that are new meet, and the names of ports that they have: rule sets that speak of these follow.
#[derive(Default)]
pub(crate) struct Noted {
    pub(crate) terms: BTreeSet<TermId>,
    pub(crate) names: BTreeSet<PortName>,
    /// Whether nodes are of some class that none was of: rule sets that tell an endpoint's own node apart follow.
    pub(crate) nodes: bool,
}

/// The classes of one compilation, and which of them a rule speaks of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Classes {
    known: HashSet<ClassId>,
    /// Ascending.
    by_term: HashMap<TermId, Vec<ClassId>>,
    by_port: HashMap<PortName, Vec<(ClassId, u16)>>,
    nodes: BTreeSet<ClassId>,
}

impl Classes {
    /// The class with a meaning; class 0 for what nothing speaks of.
    pub(crate) fn of(&mut self, meaning: &Meaning, numbers: &mut Numbers<Meaning>) -> ClassId {
        if *meaning == Meaning::default() {
            return ClassId::default();
        }
        let class = ClassId(numbers.of(meaning));
        if self.known.insert(class) {
            for term in &meaning.terms {
                let classes = self.by_term.entry(*term).or_default();
                let place = classes.partition_point(|other| *other < class);
                classes.insert(place, class);
            }
            for (name, port) in &meaning.ports {
                self.by_port.entry(name.clone()).or_default().push((class, *port));
            }
        }
        class
    }

    /// Makes room for so many classes that meet so many terms.
    pub(crate) fn expect(&mut self, classes: usize, terms: usize) {
        self.known.reserve(classes);
        self.by_term.reserve(terms);
    }

    /// The same; what one that is new meets and has is noted.
    pub(crate) fn of_noting(&mut self, meaning: Meaning, numbers: &mut Numbers<Meaning>, noted: &mut Noted) -> ClassId {
        let known = self.known.len();
        let class = self.of(&meaning, numbers);
        if self.known.len() > known {
            noted.terms.extend(meaning.terms);
            noted.names.extend(meaning.ports.into_iter().map(|(name, _)| name));
        }
        class
    }

    /// Notes that some node's address is of a class; whether that is new.
    pub(crate) fn has_node(&mut self, class: ClassId) -> bool {
        self.nodes.insert(class)
    }

    /// The classes of nodes' addresses.
    pub(crate) fn of_nodes(&self) -> impl Iterator<Item = ClassId> {
        self.nodes.iter().copied()
    }

    /// The classes that meet one of these terms, ascending.
    pub(crate) fn meeting(&self, terms: &[TermId]) -> Cow<'_, [ClassId]> {
        if let [term] = terms {
            return Cow::Borrowed(self.by_term.get(term).map_or(&[], Vec::as_slice));
        }
        let met = terms.iter().filter_map(|term| self.by_term.get(term));
        let mut classes: Vec<ClassId> = met.flatten().copied().collect();
        classes.sort_unstable();
        classes.dedup();
        Cow::Owned(classes)
    }

    /// The classes that have a port under a name, with its number.
    pub(crate) fn named(&self, name: &PortName) -> &[(ClassId, u16)] {
        self.by_port.get(name).map_or(&[], Vec::as_slice)
    }
}
