//! The steps of an authority's life, by hand and on schedule.

use super::slot::{Authority, Slot, Slots};
use super::{Authorities, Event, Kind, LifecycleError, State, new_jwt, new_x509};
use crate::upstream::Upstream;
use std::sync::Arc;
use time::OffsetDateTime;

impl Authorities {
    /// Makes an authority that waits for its turn and is believed from now on. One that waited already and has signed
    /// nothing gives way to it.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn prepare(&mut self, kind: Kind, now: OffsetDateTime) -> Result<Arc<str>, LifecycleError> {
        self.counted(|own| match kind {
            Kind::X509 => {
                let slot = new_x509(&own.keys, &own.jwt.active.authority, own.upstream.as_deref(), own.life, now)?;
                let id = Arc::clone(&slot.id);
                own.x509.next = Some(slot);
                Ok(id)
            }
            Kind::Jwt => {
                let slot = new_jwt(&own.keys, &own.trust_domain, own.life, now)?;
                let id = Arc::clone(&slot.id);
                own.jwt.next = Some(slot);
                Ok(id)
            }
        })
    }

    /// Has the prepared authority sign from now on; the one that signed so far is old.
    ///
    /// # Errors
    /// None is prepared, or `id` is the name of another one.
    pub fn activate(&mut self, kind: Kind, id: Option<&str>, now: OffsetDateTime) -> Result<Arc<str>, LifecycleError> {
        match kind {
            Kind::X509 => activate(&mut self.x509, id, now),
            Kind::Jwt => activate(&mut self.jwt, id, now),
        }
    }

    /// Marks an old authority as not to be trusted: whoever hands out what it signed replaces it at once. Verifiers
    /// believe it until it is revoked, so that nothing fails in the meantime.
    ///
    /// # Errors
    /// It is not old; without a name, there is none or more than one that is.
    pub fn taint(&mut self, kind: Kind, id: Option<&str>) -> Result<Arc<str>, LifecycleError> {
        self.refuse_upstream(kind)?;
        match kind {
            Kind::X509 => taint(&mut self.x509, id),
            Kind::Jwt => taint(&mut self.jwt, id),
        }
    }

    /// Believes a tainted authority no more.
    ///
    /// # Errors
    /// It is not tainted; without a name, there is none or more than one that is.
    pub fn revoke(&mut self, kind: Kind, id: Option<&str>) -> Result<Arc<str>, LifecycleError> {
        let at = self.revocable(kind, id)?;
        self.counted(|own| {
            match kind {
                Kind::X509 => own.x509.old.retain(|slot| slot.id != at),
                Kind::Jwt => own.jwt.old.retain(|slot| slot.id != at),
            }
            Ok(at)
        })
    }

    /// The authority that [`revoke`](Self::revoke) would be for.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub fn revocable(&self, kind: Kind, id: Option<&str>) -> Result<Arc<str>, LifecycleError> {
        self.refuse_upstream(kind)?;
        let hint = "taint it first, so that what it signed is replaced";
        match kind {
            Kind::X509 => found(&self.x509, id, State::Tainted, "a tainted", hint),
            Kind::Jwt => found(&self.jwt, id, State::Tainted, "a tainted", hint),
        }
    }

    /// Does what the schedule has for `now`, one step for each kind at most, and says what it did.
    ///
    /// What is prepared here takes over in a later step at the earliest, so that its bundle goes out before; only where
    /// the active one has ended already there is nothing to wait for.
    ///
    /// # Errors
    /// An authority cannot be made; what was due is due again.
    pub fn step(&mut self, now: OffsetDateTime) -> Result<Vec<Event>, LifecycleError> {
        let mut events = self.counted(|own| {
            let gone = |kind, ids: Vec<Arc<str>>| ids.into_iter().map(move |id| Event { kind, id, became: None });
            let (x509, jwt) = (own.x509.retire(now), own.jwt.retire(now));
            Ok(gone(Kind::X509, x509).chain(gone(Kind::Jwt, jwt)).collect::<Vec<_>>())
        })?;
        for kind in Kind::ALL {
            let (prepares, activates, ended) = match kind {
                Kind::X509 => due(&self.x509, now),
                Kind::Jwt => due(&self.jwt, now),
            };
            if prepares {
                let id = self.prepare(kind, now)?;
                events.push(Event { kind, id, became: Some(State::Prepared) });
            }
            if activates || (prepares && ended) {
                let id = self.activate(kind, None, now)?;
                events.push(Event { kind, id, became: Some(State::Active) });
            }
        }
        Ok(events)
    }

    /// When [`step`](Self::step) has something to do.
    pub fn next_event(&self) -> OffsetDateTime {
        self.x509.next_event().min(self.jwt.next_event())
    }

    /// Has the next authority for certificates signed by this upstream; its roots are believed from now on. If they are
    /// others than before, the next authority is prepared at once.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn set_upstream(&mut self, upstream: Arc<Upstream>, now: OffsetDateTime) -> Result<(), LifecycleError> {
        let moved = self.x509.active.authority.roots() != upstream.roots();
        self.counted(|own| {
            own.upstream = Some(upstream);
            // One that waits is signed by the upstream of before.
            if moved || own.x509.next.is_some() {
                own.prepare(Kind::X509, now)?;
            }
            Ok(())
        })
    }

    /// Runs a change; the number of the bundle grows by one if its content has changed.
    fn counted<T>(&mut self, change: impl FnOnce(&mut Self) -> Result<T, LifecycleError>) -> Result<T, LifecycleError> {
        let (before, number) = (self.content(), self.sequence);
        let changed = change(self);
        if self.content() != before {
            self.sequence = number.saturating_add(1);
        }
        changed
    }

    fn refuse_upstream(&self, kind: Kind) -> Result<(), LifecycleError> {
        match (kind, &self.upstream) {
            (Kind::X509, Some(_)) => Err(LifecycleError::Upstream { kind }),
            _ => Ok(()),
        }
    }
}

/// Whether the schedule prepares and activates, and whether the active one has ended.
fn due<A: Authority>(slots: &Slots<A>, now: OffsetDateTime) -> (bool, bool, bool) {
    // One that has ended while it waited is as good as none.
    let waits = slots.next.as_ref().is_some_and(|next| now < next.not_after);
    let prepares = !waits && now >= slots.active.prepares_at();
    let activates = waits && now >= slots.active.hands_over_at();
    (prepares, activates, now >= slots.active.not_after)
}

fn activate<A: Authority>(
    slots: &mut Slots<A>,
    id: Option<&str>,
    now: OffsetDateTime,
) -> Result<Arc<str>, LifecycleError> {
    if let Some(id) = id {
        found(slots, Some(id), State::Prepared, "a prepared", "prepare one and activate that")?;
    }
    slots.activate(now).ok_or(LifecycleError::NothingPrepared { kind: A::KIND })
}

fn taint<A: Authority>(slots: &mut Slots<A>, id: Option<&str>) -> Result<Arc<str>, LifecycleError> {
    let hint = match id.and_then(|id| slots.state_of(id)) {
        Some(State::Prepared) => "it has signed nothing: prepare again, and the new one takes its place",
        Some(State::Tainted) => "it can be revoked",
        _ => "prepare and activate another one first",
    };
    let id = found(slots, id, State::Old, "an old", hint)?;
    for slot in slots.old.iter_mut().filter(|slot| slot.id == id) {
        slot.state = State::Tainted;
    }
    Ok(id)
}

/// The authority of this name, or the only one in the state that the step begins in.
fn found<A: Authority>(
    slots: &Slots<A>,
    id: Option<&str>,
    wanted_state: State,
    wanted: &'static str,
    hint: &'static str,
) -> Result<Arc<str>, LifecycleError> {
    let kind = A::KIND;
    let Some(id) = id else {
        let fitting: Vec<&Slot<A>> = slots.all().filter(|slot| slot.state == wanted_state).collect();
        return match fitting.as_slice() {
            [only] => Ok(Arc::clone(&only.id)),
            several => Err(LifecycleError::Unnamed { wanted, kind, candidates: names(several) }),
        };
    };
    let all: Vec<&Slot<A>> = slots.all().collect();
    match all.iter().find(|slot| &*slot.id == id) {
        None => Err(LifecycleError::Unknown { kind, id: id.to_owned(), known: names(&all) }),
        Some(slot) if slot.state == wanted_state => Ok(Arc::clone(&slot.id)),
        Some(slot) => Err(LifecycleError::State { wanted, id: id.to_owned(), state: slot.state, hint }),
    }
}

fn names<A>(slots: &[&Slot<A>]) -> String {
    let names: Vec<String> = slots.iter().map(|slot| format!("{} ({})", slot.id, slot.state)).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
