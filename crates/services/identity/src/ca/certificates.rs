//! Certificates for Secrets: signed like SVIDs, and counted among those who stand by an authority.

use super::journal::Issued;
use super::{Ca, lock};
use lictor_model::{Name, SpiffeId};
use lictor_pki::{Certified, IssueError, Leaf, LeafKey, serial_number};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// A certificate that a Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holding {
    id: SpiffeId,
    authority: Arc<str>,
    not_after: OffsetDateTime,
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
        lock(&self.0.held).insert(secret.clone(), Holding { id, authority, not_after });
    }

    /// Counts a Secret no more.
    pub(crate) fn release(&self, secret: &Name) {
        lock(&self.0.held).remove(secret);
    }

    /// The identities that Secrets hold certificates of, and who signed them.
    pub(super) fn certified(&self, now: OffsetDateTime) -> Vec<(SpiffeId, String)> {
        let held = lock(&self.0.held);
        let valid = held.values().filter(|one| now <= one.not_after);
        valid.map(|one| (one.id.clone(), one.authority.to_string())).collect()
    }
}
