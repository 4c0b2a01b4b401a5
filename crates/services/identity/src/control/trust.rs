//! Whom nodes are to believe, as it changes.

use crate::ca::Ca;
use lictor_pki::NoJwk;
use lictor_wire::node::Trust;

/// Whom to believe now.
pub(super) fn trust(ca: &Ca) -> Result<Trust, NoJwk> {
    let keyring = ca.keyring();
    Ok(Trust {
        bundle: keyring.bundle().to_jwks()?.into_bytes(),
        tainted: ca.tainted().iter().map(ToString::to_string).collect(),
        token_issuer: keyring.token_issuer().as_deref().unwrap_or_default().to_owned(),
    })
}
