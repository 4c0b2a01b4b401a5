//! Keeping a change, and what becomes of the keys that it leaves behind in a key store.

use super::{Ca, CaError};
use lictor_pki::{Authorities, Bundle, LifecycleError};
use time::OffsetDateTime;

impl Ca {
    /// Makes a change, and has the store keep it before anyone hears of it: whoever signs after a restart is somebody that
    /// peers knew before.
    pub(super) fn keep<T>(
        &self,
        change: impl FnOnce(&mut Authorities, OffsetDateTime) -> Result<T, LifecycleError>,
        changed: &mut Authorities,
    ) -> Result<(T, Bundle), CaError> {
        let done = change(changed, self.now())?;
        let bundle = changed.bundle()?;
        if let Some(store) = &self.0.store {
            store.save_authorities(changed)?;
        }
        Ok((done, bundle))
    }
}

/// Deletes the keys that a change has left behind: of authorities that are gone, or, where the change was not made, of those that
/// it had prepared. One that cannot be deleted is told; nothing signs with it any more.
pub(super) fn forget_unused(before: &Authorities, changed: &Authorities, made: bool) {
    let (had, has) = (before.held_keys(), changed.held_keys());
    let unused = if made { had.difference(&has) } else { has.difference(&had) };
    for reference in unused {
        if let Err(error) = before.keys().forget(reference) {
            tracing::warn!(key = %reference, %error, "a key that is needed no more is still in its store");
        }
    }
}
