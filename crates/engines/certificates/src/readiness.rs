//! Whether what a Secret holds is what was asked for.

use crate::reissue::{Cause, Examined, Reissue, mismatch};

/// Why a Certificate is not ready: the reason and message of its condition.
pub type NotReady = Reissue;

/// Whether a Certificate is ready: its Secret holds what was asked for, and that has not expired. What is due for renewal is
/// ready still.
///
/// Source: cert-manager, `NewReadinessPolicyChain`.
///
/// # Errors
/// It is not.
pub fn readiness(examined: &Examined<'_>) -> Result<(), NotReady> {
    let (_, certificate) = mismatch(examined)?;
    if examined.now > certificate.not_after {
        let message = format!("Certificate expired on {}", certificate.not_after);
        return Err(Reissue::new(Cause::Expired, message));
    }
    Ok(())
}
