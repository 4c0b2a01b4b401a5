//! Work that is split over the cores.
//!
//! What is split is pure and comes back in its order, so what is made of it is the same on however many cores.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// How many threads work is split over, and from which size on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cores {
    threads: usize,
    /// The fewest things that make a piece.
    least: usize,
}

/// More threads wait for each other's memory more than they gain.
const MOST: usize = 8;

/// A thread costs what a few hundred pods do.
const LEAST: usize = 2_048;

/// So many pieces for each thread: one that is slow holds up less.
const PIECES: usize = 4;

impl Default for Cores {
    /// Those of the machine that this process may run on.
    fn default() -> Self {
        let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { threads: threads.min(MOST), least: LEAST }
    }
}

impl Cores {
    /// So many threads, however little the work is.
    pub(crate) const fn exactly(threads: NonZeroUsize) -> Self {
        Self { threads: threads.get(), least: 1 }
    }

    /// Splits a list into pieces, none of which ends between two things that belong together.
    pub(crate) fn split<T>(self, mut list: &[T], belong: impl Fn(&T, &T) -> bool) -> Vec<&[T]> {
        let pieces = if self.threads == 1 { 1 } else { self.threads * PIECES };
        let size = list.len().div_ceil(pieces).max(self.least);
        let mut split = Vec::with_capacity(pieces);
        while list.len() > size {
            let together = list[size - 1..].windows(2).take_while(|pair| belong(&pair[0], &pair[1])).count();
            let (piece, rest) = list.split_at(size + together);
            split.push(piece);
            list = rest;
        }
        if !list.is_empty() {
            split.push(list);
        }
        split
    }

    /// What comes of each piece, in their order.
    pub(crate) fn each<T: Sync, R: Send>(self, pieces: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::with_capacity(pieces.len()));
        let run = || {
            while let at = next.fetch_add(1, Ordering::Relaxed)
                && let Some(piece) = pieces.get(at)
            {
                let result = work(piece);
                done.lock().unwrap_or_else(PoisonError::into_inner).push((at, result));
            }
        };
        thread::scope(|scope| {
            for _ in 1..self.threads.min(pieces.len()) {
                // Where there are no more threads to be had, those that there are do all of it.
                if thread::Builder::new().spawn_scoped(scope, run).is_err() {
                    break;
                }
            }
            run();
        });
        let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_unstable_by_key(|(at, _)| *at);
        done.into_iter().map(|(_, result)| result).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Cores;
    use proptest::prelude::*;
    use std::num::NonZeroUsize;

    proptest! {
        #[test]
        fn pieces_are_the_list_and_what_belongs_together_stays_so(
            mut list in prop::collection::vec(0_u8..12, 0..60),
            threads in 1_usize..5,
            least in 1_usize..9,
        ) {
            list.sort_unstable();
            let threads = NonZeroUsize::new(threads).expect("one at least");
            let cores = Cores { least, ..Cores::exactly(threads) };
            let pieces = cores.split(&list, |a, b| a == b);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
            prop_assert!(pieces.windows(2).all(|pair| pair[0].last() < pair[1].first()));
            prop_assert_eq!(cores.each(&pieces, |piece| piece.to_vec()).concat(), list);
        }
    }

    #[test]
    fn what_comes_of_the_pieces_is_in_their_order() {
        let cores = Cores::exactly(NonZeroUsize::new(4).expect("four"));
        let pieces: Vec<u64> = (0..100).collect();
        let squares = cores.each(&pieces, |piece| piece * piece);
        assert_eq!(squares, pieces.iter().map(|piece| piece * piece).collect::<Vec<_>>());
    }
}
