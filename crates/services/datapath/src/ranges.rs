//! Room in an array of the kernel: neighbouring cells, handed out and taken back.

use crate::wire::Span;
use std::collections::BTreeMap;

/// The free cells of an array.
///
/// What is given back is not handed out again before [`Ranges::settle`]: a program that runs on another
/// processor may still be reading it.
#[derive(Debug, Clone)]
pub(crate) struct Ranges {
    /// Length by first cell; no two touch.
    free: BTreeMap<u32, u32>,
    given: Vec<Span>,
    size: u32,
}

impl Ranges {
    pub(crate) fn new(size: u32) -> Self {
        Self { free: BTreeMap::from([(0, size)]), given: Vec::new(), size }
    }

    /// So many neighbouring cells, if there are.
    pub(crate) fn take(&mut self, count: u32) -> Option<Span> {
        if count == 0 {
            return Some(Span::default());
        }
        let (&first, &length) = self.free.iter().find(|(_, length)| **length >= count)?;
        self.free.remove(&first);
        if length > count {
            self.free.insert(first + count, length - count);
        }
        Some(Span { first, count })
    }

    /// Gives cells back.
    pub(crate) fn give(&mut self, span: Span) {
        if span.count > 0 {
            self.given.push(span);
        }
    }

    /// From now on, what was given back can be handed out.
    pub(crate) fn settle(&mut self) {
        for Span { mut first, mut count } in self.given.drain(..) {
            if let Some((&before, &length)) = self.free.range(..first).next_back()
                && before + length == first
            {
                self.free.remove(&before);
                (first, count) = (before, count + length);
            }
            if let Some(length) = self.free.remove(&(first + count)) {
                count += length;
            }
            self.free.insert(first, count);
        }
    }

    /// Cells in use.
    pub(crate) fn used(&self) -> usize {
        (self.size - self.free.values().sum::<u32>()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Ranges;
    use crate::wire::Span;
    use proptest::prelude::*;

    #[test]
    fn what_is_given_back_can_be_had_again_later() {
        let mut ranges = Ranges::new(10);
        let (a, b) = (ranges.take(4).expect("room"), ranges.take(6).expect("room"));
        assert_eq!(ranges.take(1), None);
        ranges.give(a);
        ranges.give(b);
        assert_eq!(ranges.take(1), None);
        ranges.settle();
        assert_eq!(ranges.take(10), Some(Span { first: 0, count: 10 }));
    }

    proptest! {
        #[test]
        fn ranges_never_overlap_and_nothing_is_lost(steps in prop::collection::vec((any::<bool>(), 0_u32..20), 0..200)) {
            let mut ranges = Ranges::new(100);
            let mut held: Vec<Span> = Vec::new();
            for (take, count) in steps {
                if take {
                    if let Some(span) = ranges.take(count) {
                        prop_assert!(held.iter().all(|other| span.count == 0 || other.count == 0
                            || span.first + span.count <= other.first || other.first + other.count <= span.first));
                        held.push(span);
                    }
                } else if let Some(span) = held.pop() {
                    ranges.give(span);
                    ranges.settle();
                }
                prop_assert_eq!(ranges.used(), held.iter().map(|span| span.count as usize).sum::<usize>());
            }
        }
    }
}
