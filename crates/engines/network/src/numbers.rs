//! Numbers that keep their meaning.

use foldhash::HashMap;
use std::hash::Hash;

/// Gives each meaning a number of its own.
///
/// A meaning that stays in use from one compilation to the next keeps its number, and a number is not given to
/// a second meaning (not before four billion others were): tables that name it can be changed one by one.
#[derive(Debug, Clone)]
pub(crate) struct Numbers<K> {
    known: HashMap<K, Slot>,
    next: u32,
    wrapped: bool,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    number: u32,
    in_use: bool,
}

/// Kept back: 0 and the last number mean something else wherever these numbers go.
const RESERVED: [u32; 2] = [0, u32::MAX];

impl<K: Eq + Hash + Clone> Numbers<K> {
    pub(crate) fn new() -> Self {
        Self { known: HashMap::default(), next: 1, wrapped: false }
    }

    /// The number of a meaning, which counts as in use from now on.
    pub(crate) fn of(&mut self, meaning: &K) -> u32 {
        if let Some(slot) = self.known.get_mut(meaning) {
            slot.in_use = true;
            return slot.number;
        }
        let number = self.draw();
        self.known.insert(meaning.clone(), Slot { number, in_use: true });
        number
    }

    /// Makes room for so many in all: a table that grows is made anew twice as large, over and over.
    pub(crate) fn expect(&mut self, count: usize) {
        self.known.reserve(count.saturating_sub(self.known.len()));
    }

    /// Every meaning with its number.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, u32)> {
        self.known.iter().map(|(meaning, slot)| (meaning, slot.number))
    }

    /// Forgets what was not in use since the last call.
    pub(crate) fn forget_unused(&mut self) {
        self.known.retain(|_, slot| std::mem::replace(&mut slot.in_use, false));
    }

    fn draw(&mut self) -> u32 {
        loop {
            let number = self.next;
            self.next = self.next.wrapping_add(1);
            self.wrapped |= self.next == 0;
            let taken = self.wrapped && self.known.values().any(|slot| slot.number == number);
            if !RESERVED.contains(&number) && !taken {
                return number;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    #[test]
    fn a_number_lives_as_long_as_its_meaning_and_is_not_given_twice() {
        let mut numbers = Numbers::new();
        let (a, b) = (numbers.of(&"a"), numbers.of(&"b"));
        numbers.forget_unused();
        assert_eq!(numbers.of(&"a"), a);
        numbers.forget_unused();
        let again = numbers.of(&"b");
        assert!(again != a && again != b && numbers.of(&"a") == a);
    }

    #[test]
    fn after_the_last_number_only_free_ones_are_given() {
        let mut numbers = Numbers::new();
        let a = numbers.of(&"a");
        numbers.next = u32::MAX - 1;
        assert_eq!((a, numbers.of(&"b"), numbers.of(&"c")), (1, u32::MAX - 1, 2));
    }
}
