//! Certificates that are not in the keyring: signed like SVIDs, and counted among those who stand by an authority.

use super::journal::Issued;
use super::{Ca, lock};
use lictor_model::{Name, SpiffeId};
use lictor_pki::{Certified, IssueError, Leaf, LeafKey, Subject, serial_number};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// What has expired is looked for when there are so many, and again when there are twice as many as it left.
const ROOM: usize = 1024;

/// Who holds a certificate that this process does not use itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A Secret.
    Secret(Name),
    /// A node, for itself or for a pod of it.
    Node(Arc<str>, Subject),
}

/// A certificate that somebody else holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) id: SpiffeId,
    pub(super) authority: Arc<str>,
    pub(super) not_after: OffsetDateTime,
}

/// The last certificate of each holder.
#[derive(Debug)]
pub(super) struct Held {
    by: BTreeMap<Holder, Holding>,
    room: usize,
}

impl Default for Held {
    fn default() -> Self {
        Self { by: BTreeMap::new(), room: ROOM }
    }
}

impl Held {
    pub(super) fn insert(&mut self, holder: Holder, holding: Holding, now: OffsetDateTime) {
        self.by.insert(holder, holding);
        if self.by.len() > self.room {
            self.by.retain(|_, one| now <= one.not_after);
            self.room = ROOM.max(self.by.len() * 2);
        }
    }
}

impl Ca {
    /// Signs a certificate that is to be in a Secret. From now on the Secret stands by the authority that signed it, until
    /// [`release`](Self::release) or another one is signed for it.
    pub(crate) fn certify(
        &self,
        secret: &Name,
        leaf: &Leaf<'_>,
        key: &LeafKey,
        lifetime: Duration,
    ) -> Result<Certified, IssueError> {
        let now = self.now();
        // Held until the Secret is counted: who stands by an authority is looked for after it signs no more.
        let authorities = self.read();
        let (signer, authority) = authorities.signer();
        let certified = signer.certify(leaf, key, now, lifetime)?;
        let (authority, not_after) = (Arc::clone(authority), certified.not_after);
        self.stands(secret, leaf.id.clone(), Arc::clone(&authority), not_after);
        drop(authorities);
        let serial = certified.chain.first().and_then(serial_number).unwrap_or_default();
        lock(&self.0.journal).push(Issued { at: now, id: leaf.id.clone(), serial, authority, not_after });
        Ok(certified)
    }

    /// Counts a Secret that holds a certificate already.
    pub(crate) fn stands(&self, secret: &Name, id: SpiffeId, authority: Arc<str>, not_after: OffsetDateTime) {
        let holding = Holding { id, authority, not_after };
        lock(&self.0.held).insert(Holder::Secret(secret.clone()), holding, self.now());
    }

    /// Counts a Secret no more.
    pub(crate) fn release(&self, secret: &Name) {
        lock(&self.0.held).by.remove(&Holder::Secret(secret.clone()));
    }

    /// The identities that Secrets and nodes hold certificates of, and who signed them.
    pub(super) fn certified(&self, now: OffsetDateTime) -> Vec<(SpiffeId, String)> {
        let held = lock(&self.0.held);
        let valid = held.by.values().filter(|one| now <= one.not_after);
        valid.map(|one| (one.id.clone(), one.authority.to_string())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Held, Holder, Holding, ROOM};
    use std::sync::Arc;
    use time::{Duration, OffsetDateTime};

    #[test]
    fn what_has_expired_makes_room() {
        let mut held = Held::default();
        let holding = |not_after: i64| Holding {
            id: "spiffe://td/a".parse().expect("an identity"),
            authority: Arc::from("x"),
            not_after: OffsetDateTime::UNIX_EPOCH + Duration::seconds(not_after),
        };
        for at in 0..10 * ROOM {
            let second = i64::try_from(at).expect("a number");
            let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(second);
            let id: lictor_model::SpiffeId = "spiffe://td/a".parse().expect("an identity");
            let holder = Holder::Node(format!("n{at}").into(), id.into());
            held.insert(holder, holding(second + 100), now);
            assert!(held.by.len() <= ROOM, "{at}");
        }
        assert!(held.by.len() >= 100);
    }
}
