//! When the next SVID of each subject is due, whoever signs it.

use super::Fraction;
use crate::registry::Registry;
use lictor_pki::{Keyring, Subject};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::sync::watch;

/// The subjects that are needed here, and when each is due.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    /// Tells of pods that came and went; nothing before the first look at them.
    changes: Option<watch::Receiver<()>>,
    /// The tainted authorities whose SVIDs are due already.
    tainted: Vec<Arc<str>>,
    /// Each subject's next SVID.
    due: BTreeMap<Subject, Due>,
    /// The same by time.
    queue: BTreeSet<(OffsetDateTime, Subject)>,
}

/// A subject's next SVID.
#[derive(Debug)]
pub(crate) struct Due {
    /// When it is due.
    pub(crate) at: OffsetDateTime,
    /// Who signed the one that it replaces; `None` if that one could not be replaced the last time.
    pub(crate) signer: Option<Arc<str>>,
}

impl Schedule {
    /// Has the SVIDs of new subjects be due, and drops those that no pod needs any more.
    pub(crate) fn follow_pods(&mut self, registry: &Registry, keyring: &Keyring, now: OffsetDateTime) {
        match &mut self.changes {
            Some(changes) if !changes.has_changed().unwrap_or(true) => return,
            Some(changes) => changes.mark_unchanged(),
            None => self.changes = Some(registry.changes()),
        }
        // Looked at after the change was noted: what comes meanwhile is noted again.
        let wanted = registry.subjects();
        let queue = &mut self.queue;
        self.due.retain(|subject, due| {
            let needed = wanted.binary_search(subject).is_ok();
            if !needed {
                keyring.remove_of(subject);
                queue.remove(&(due.at, subject.clone()));
            }
            needed
        });
        for subject in wanted {
            if !self.due.contains_key(&subject) {
                self.put(subject, Due { at: now, signer: None });
            }
        }
    }

    /// Has everything that a tainted authority signed be due at once.
    pub(crate) fn follow_taint(&mut self, tainted: Vec<Arc<str>>, now: OffsetDateTime) {
        if tainted == self.tainted {
            return;
        }
        let is_tainted = |due: &Due| due.signer.as_ref().is_some_and(|signer| tainted.contains(signer));
        let again: Vec<Subject> = self
            .due
            .iter()
            .filter(|(_, due)| due.at > now && is_tainted(due))
            .map(|(subject, _)| subject.clone())
            .collect();
        again.into_iter().for_each(|subject| self.put(subject, Due { at: now, signer: None }));
        self.tainted = tainted;
    }

    /// Says when the next SVID of a subject is due.
    pub(crate) fn put(&mut self, subject: Subject, next: Due) {
        let at = next.at;
        if let Some(before) = self.due.insert(subject.clone(), next) {
            self.queue.remove(&(before.at, subject.clone()));
        }
        self.queue.insert((at, subject));
    }

    /// Says when the next SVID of a subject is due, if one is needed at all; tells whether it is.
    pub(crate) fn replace(&mut self, subject: &Subject, next: Due) -> bool {
        let needed = self.due.contains_key(subject);
        if needed {
            self.put(subject.clone(), next);
        }
        needed
    }

    /// The subject that has been due for the longest time, if one is.
    pub(crate) fn due(&self, now: OffsetDateTime) -> Option<Subject> {
        self.queue.first().filter(|(at, _)| *at <= now).map(|(_, subject)| subject.clone())
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<OffsetDateTime> {
        self.queue.first().map(|(at, _)| *at)
    }

    /// How many subjects are needed here.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }
}

/// When an SVID of `now` is to be replaced: at half of its life, give or take a twentieth.
pub(crate) fn half_life(now: OffsetDateTime, not_after: OffsetDateTime, fraction: &mut Fraction) -> OffsetDateTime {
    now + (not_after - now) * (0.45 + 0.1 * fraction().clamp(0.0, 1.0))
}
