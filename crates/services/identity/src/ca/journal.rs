//! The last certificates that were issued.

use lictor_model::SpiffeId;
use std::collections::VecDeque;
use std::sync::Arc;
use time::OffsetDateTime;

/// How many are kept.
const KEPT: usize = 1024;

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// When.
    pub at: OffsetDateTime,
    /// Whom it names.
    pub id: SpiffeId,
    /// Its serial number, in hex.
    pub serial: String,
    /// Who signed it.
    pub authority: Arc<str>,
    /// Its last second.
    pub not_after: OffsetDateTime,
}

/// The last of what was issued, the oldest first. Nothing depends on it: how long an authority is needed is counted with
/// the authority itself.
#[derive(Debug, Default)]
pub(super) struct Journal(VecDeque<Issued>);

impl Journal {
    pub(super) fn push(&mut self, issued: Issued) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(issued);
    }

    pub(super) fn last(&self, count: usize) -> Vec<Issued> {
        self.0.iter().skip(self.0.len().saturating_sub(count)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Issued, Journal, KEPT};
    use time::OffsetDateTime;

    #[test]
    fn it_has_room_for_so_many_and_drops_the_oldest() {
        let mut journal = Journal::default();
        let issued = |serial: usize| Issued {
            at: OffsetDateTime::UNIX_EPOCH,
            id: "spiffe://td/a".parse().expect("an identity"),
            serial: serial.to_string(),
            authority: "x".into(),
            not_after: OffsetDateTime::UNIX_EPOCH,
        };
        (0..KEPT + 5).for_each(|serial| journal.push(issued(serial)));
        let serials = |count: usize| journal.last(count).into_iter().map(|one| one.serial).collect::<Vec<_>>();
        assert_eq!(serials(2), ["1027", "1028"]);
        assert_eq!((serials(KEPT * 2).len(), serials(KEPT * 2)[0].as_str()), (KEPT, "5"));
    }
}
