//! Selectors, found by a label that they ask for.

use foldhash::HashMap;
use lictor_model::{Labels, Operator, Selector};
use std::sync::Arc;

/// Things with a selector each. Of ten thousand selectors that ask for a value of `app` each, a pod meets one: the
/// others are not looked at.
#[derive(Debug, Clone)]
pub(crate) struct SelectorIndex<T> {
    by_label: HashMap<Arc<str>, HashMap<Arc<str>, Vec<T>>>,
    /// Those that ask for no one value of a key, and the first few whatever they ask for: a table costs more than looking
    /// at them does.
    others: Vec<T>,
}

/// So many are looked at, one after the other.
const FEW: usize = 8;

impl<T> Default for SelectorIndex<T> {
    fn default() -> Self {
        Self { by_label: HashMap::default(), others: Vec::new() }
    }
}

impl<T: Copy> SelectorIndex<T> {
    /// Takes a thing in.
    pub(crate) fn insert(&mut self, selector: &Selector, thing: T) {
        if self.others.len() < FEW {
            self.others.push(thing);
            return;
        }
        let asked = selector.requirements().iter().find_map(|requirement| match &requirement.operator {
            Operator::In(values) if values.len() == 1 => Some((&requirement.key, values.first()?)),
            _ => None,
        });
        match asked {
            Some((key, value)) => {
                let of_key = self.by_label.entry(Arc::clone(key)).or_default();
                of_key.entry(Arc::clone(value)).or_default().push(thing);
            }
            None => self.others.push(thing),
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.others.is_empty()
    }

    /// Every thing.
    pub(crate) fn all(&self) -> impl Iterator<Item = T> {
        let asking = self.by_label.values().flat_map(HashMap::values).flatten();
        self.others.iter().chain(asking).copied()
    }

    /// Forgets all of them, and keeps the room.
    pub(crate) fn clear(&mut self) {
        self.by_label.clear();
        self.others.clear();
    }

    /// Every thing whose selector can match these labels, and some whose does not.
    pub(crate) fn candidates<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = T> + 'a {
        let asked = self.by_label.iter().filter_map(|(key, of_key)| of_key.get(labels.get(key)?));
        self.others.iter().chain(asked.flatten()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::SelectorIndex;
    use lictor_model::{Labels, Selector};

    #[test]
    fn only_what_asks_for_the_label_or_for_no_one_value_is_looked_at() {
        let labels = |pairs: &[(&str, &str)]| pairs.iter().copied().collect::<Labels>();
        let mut index = SelectorIndex::default();
        (0..8).for_each(|few| index.insert(&Selector::equal_to(&labels(&[("app", "few")])), -few));
        for (number, pairs) in
            [(1, &[("app", "a")][..]), (2, &[("app", "b")]), (3, &[]), (4, &[("tier", "x"), ("zone", "z")])]
        {
            index.insert(&Selector::equal_to(&labels(pairs)), number);
        }
        let found = |pairs: &[(&str, &str)]| {
            let mut found: Vec<i32> = index.candidates(&labels(pairs)).filter(|number| *number > 0).collect();
            found.sort_unstable();
            found
        };
        assert_eq!(found(&[("app", "a")]), [1, 3]);
        assert_eq!(found(&[("app", "c"), ("tier", "x")]), [3, 4]);
        assert_eq!(found(&[]), [3]);
    }
}
