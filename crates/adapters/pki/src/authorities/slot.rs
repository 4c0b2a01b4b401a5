//! The slots of one kind of authority: one that signs, one that waits, and those that are only believed.

use super::{AuthorityStatus, Kind, State};
use crate::authority::CertificateAuthority;
use crate::jwt::LEEWAY;
use crate::tally::Tally;
use crate::tokens::TokenAuthority;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// How long an authority is believed after it has stopped signing, whatever it signed: what was being signed when it
/// stopped is counted by then.
const SETTLING: Duration = Duration::MINUTE;

/// What the slots need to know of an authority.
pub(super) trait Authority {
    const KIND: Kind;
    /// How long after its last second something that was signed is taken.
    const LEEWAY: Duration;
    /// Whether something may still be signed for a moment after it has stopped: nobody waits for it.
    const SIGNS_WHEN_OLD: bool;
    fn id(&self) -> Option<String>;
    fn tally(&self) -> &Tally;
}

impl Authority for CertificateAuthority {
    const KIND: Kind = Kind::X509;
    /// A certificate is valid to the end of its last second (RFC 5280, section 4.1.2.5).
    const LEEWAY: Duration = Duration::SECOND;
    const SIGNS_WHEN_OLD: bool = false;

    fn id(&self) -> Option<String> {
        self.certificates().first().and_then(crate::key_id::subject_key_id)
    }

    fn tally(&self) -> &Tally {
        self.tally()
    }
}

impl Authority for TokenAuthority {
    const KIND: Kind = Kind::Jwt;
    const LEEWAY: Duration = Duration::seconds(LEEWAY);
    const SIGNS_WHEN_OLD: bool = true;

    fn id(&self) -> Option<String> {
        Some(self.public().id.clone())
    }

    fn tally(&self) -> &Tally {
        self.tally()
    }
}

#[derive(Debug)]
pub(super) struct Slot<A> {
    pub(super) authority: Arc<A>,
    pub(super) id: Arc<str>,
    pub(super) state: State,
    /// When it was made.
    pub(super) since: OffsetDateTime,
    pub(super) not_after: OffsetDateTime,
    /// When it stopped signing.
    pub(super) stopped: Option<OffsetDateTime>,
}

/// The slots of one kind. `old` holds those that are old or tainted, the one that stopped first at the front.
#[derive(Debug)]
pub(super) struct Slots<A> {
    pub(super) active: Slot<A>,
    pub(super) next: Option<Slot<A>>,
    pub(super) old: Vec<Slot<A>>,
}

impl<A: Authority> Slot<A> {
    /// From when on verifiers need it no more: the last thing that it signed is over.
    pub(super) fn believed_until(&self) -> OffsetDateTime {
        let Some(stopped) = self.stopped else { return self.not_after + A::LEEWAY };
        let last = self.authority.tally().last_expiry().map(|last| last + A::LEEWAY);
        last.unwrap_or(stopped).max(stopped + SETTLING)
    }

    pub(super) fn status(&self) -> AuthorityStatus {
        let tally = self.authority.tally();
        AuthorityStatus {
            kind: A::KIND,
            id: Arc::clone(&self.id),
            state: self.state,
            since: self.since,
            not_after: self.not_after,
            issued: tally.count(),
            last_expiry: tally.last_expiry(),
        }
    }

    /// How far through its life `share` of it is.
    fn after(&self, share: f64) -> OffsetDateTime {
        self.since + (self.not_after - self.since) * share
    }

    /// Half of its life: the next one is prepared, so that it is in every bundle long before it signs.
    pub(super) fn prepares_at(&self) -> OffsetDateTime {
        self.after(1.0 / 2.0)
    }

    /// The last sixth of its life: the next one takes over, so that nothing signed here is cut short.
    pub(super) fn hands_over_at(&self) -> OffsetDateTime {
        self.after(5.0 / 6.0)
    }
}

impl<A: Authority> Slots<A> {
    pub(super) fn all(&self) -> impl Iterator<Item = &Slot<A>> {
        std::iter::once(&self.active).chain(&self.next).chain(&self.old)
    }

    pub(super) fn state_of(&self, id: &str) -> Option<State> {
        self.all().find(|slot| &*slot.id == id).map(|slot| slot.state)
    }

    /// The prepared one takes over; returns its name, or nothing if none is prepared.
    pub(super) fn activate(&mut self, now: OffsetDateTime) -> Option<Arc<str>> {
        let mut next = self.next.take()?;
        next.state = State::Active;
        let id = Arc::clone(&next.id);
        let mut before = std::mem::replace(&mut self.active, next);
        before.state = State::Old;
        before.stopped = Some(now);
        self.old.push(before);
        Some(id)
    }

    /// Drops those that nothing depends on any more; returns their names.
    pub(super) fn retire(&mut self, now: OffsetDateTime) -> Vec<Arc<str>> {
        let (over, kept) = std::mem::take(&mut self.old).into_iter().partition(|slot| slot.believed_until() <= now);
        self.old = kept;
        Vec::into_iter(over).map(|slot| slot.id).collect()
    }

    /// When the schedule has something to do.
    pub(super) fn next_event(&self) -> OffsetDateTime {
        let own = match &self.next {
            None => self.active.prepares_at(),
            Some(_) => self.active.hands_over_at(),
        };
        self.old.iter().map(Slot::believed_until).fold(own, OffsetDateTime::min)
    }
}

impl<A> Clone for Slot<A> {
    fn clone(&self) -> Self {
        let Self { authority, id, state, since, not_after, stopped } = self;
        Self {
            authority: Arc::clone(authority),
            id: Arc::clone(id),
            state: *state,
            since: *since,
            not_after: *not_after,
            stopped: *stopped,
        }
    }
}

impl<A> Clone for Slots<A> {
    fn clone(&self) -> Self {
        let Self { active, next, old } = self;
        Self { active: active.clone(), next: next.clone(), old: old.clone() }
    }
}
