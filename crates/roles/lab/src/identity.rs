//! How a lab's identities are signed.

use anyhow::{Context, Result};
use lictor_identity::{Ca, CaOptions, StoreOptions, UpstreamFiles, system_clock};
use lictor_model::TrustDomain;
use std::time::Duration;

/// How long SVIDs and those who sign them live, and where the authorities come from.
#[derive(Debug, Clone)]
pub struct Identity {
    /// How long an SVID lives.
    pub svid_lifetime: Duration,
    /// How long an authority lives.
    pub authority_lifetime: Duration,
    /// Who signs the authorities; they are roots without.
    pub upstream: Option<UpstreamFiles>,
    /// Where the authorities are kept; they end with the lab without.
    pub store: Option<StoreOptions>,
}

impl Identity {
    /// The authorities of a trust domain.
    pub(crate) fn ca(&self, trust_domain: &TrustDomain) -> Result<Ca> {
        let options = CaOptions {
            trust_domain: trust_domain.clone(),
            life: self.authority_lifetime.try_into()?,
            upstream: self.upstream.clone(),
            store: self.store.clone(),
        };
        Ca::start(options, system_clock()).context("no authority for the pods' identities")
    }
}
