//! How a lab's identities are signed.

use crate::dns::CLUSTER_DOMAIN;
use anyhow::{Context, Result};
use lictor_certificates::{Issuers, Rules};
use lictor_identity::certificates::{Certificates, CertificatesOptions};
use lictor_identity::{Ca, CaOptions, StoreOptions, UpstreamFiles, system_clock};
use lictor_model::TrustDomain;
use lictor_pkcs11::{Token, TokenOptions};
use lictor_pki::Keys;
use std::sync::Arc;
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
    /// The token that holds the keys of the authorities; they are in this process without.
    pub token: Option<TokenOptions>,
    /// The ClusterIssuers that Certificates name to mean the lab's authorities; the default one if there are none.
    pub certificate_issuers: Vec<String>,
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
        let keys = match &self.token {
            Some(token) => Keys::held_by(Arc::new(Token::open(token)?)),
            None => Keys::default(),
        };
        Ca::start_with_keys(options, &keys, system_clock()).context("no authority for the pods' identities")
    }

    /// Which Certificates are served.
    pub(crate) fn rules(&self) -> Rules {
        let issuers = Issuers::clusterwide(self.certificate_issuers.iter().map(String::as_str));
        Rules { issuers, cluster_domain: CLUSTER_DOMAIN.into() }
    }

    /// The Secrets of Certificates, signed by these authorities.
    pub(crate) fn certificates(&self, ca: &Ca) -> Result<Certificates> {
        let options = CertificatesOptions { rules: self.rules(), store: self.store.clone() };
        Certificates::start(ca.clone(), options).context("no Secrets for Certificates")
    }
}
