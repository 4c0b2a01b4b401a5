//! The authorities that a trust domain is believed by.

use crate::jwk::PublicJwk;
use crate::jws::Algorithm;
use crate::signing::{SigningFault, check_signer};
use lictor_model::TrustDomain;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::borrow::Cow;
use std::ops::RangeInclusive;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Whom to believe about one trust domain. Without authorities, nobody.
///
/// Source: SPIFFE Trust Domain and Bundle, sections 3 and 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    trust_domain: TrustDomain,
    authorities: Vec<CertificateDer<'static>>,
    /// The authorities as webpki wants them, read once so that a handshake does not have to.
    anchors: Vec<TrustAnchor<'static>>,
    /// First and last second of each authority, Unix time.
    valid: Vec<RangeInclusive<i64>>,
    jwt_keys: Vec<JwtKey>,
    sequence: u64,
    refresh_hint: Option<u64>,
}

/// A key that signs the tokens of a trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtKey {
    /// `kid`: what tokens call it. Two keys may have the same name (RFC 7517, section 4.5).
    pub id: String,
    /// The key.
    pub key: PublicJwk,
    /// `alg`: the one algorithm that it is for; `None` if it is for every one that it fits.
    pub algorithm: Option<Algorithm>,
}

/// A certificate that cannot be an authority of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authority {at} of the bundle: {fault}")]
pub struct InvalidAuthority {
    /// Its place in the list, from 0.
    pub at: usize,
    /// What is wrong with it.
    pub fault: SigningFault,
}

impl Bundle {
    /// A bundle of CA certificates, each in DER; `sequence` grows with each change of the content.
    ///
    /// # Errors
    /// A certificate that does not parse or may not sign SVIDs (X509-SVID, sections 3.2 and 4) spoils the whole bundle.
    pub fn new(
        trust_domain: TrustDomain,
        authorities: Vec<CertificateDer<'static>>,
        sequence: u64,
    ) -> Result<Self, InvalidAuthority> {
        let mut anchors = Vec::with_capacity(authorities.len());
        let mut valid = Vec::with_capacity(authorities.len());
        for (at, der) in authorities.iter().enumerate() {
            let (anchor, seconds) = read_authority(der).map_err(|fault| InvalidAuthority { at, fault })?;
            anchors.push(anchor);
            valid.push(seconds);
        }
        Ok(Self { trust_domain, authorities, anchors, valid, jwt_keys: Vec::new(), sequence, refresh_hint: None })
    }

    /// The same content with these keys for tokens and no others.
    #[must_use]
    pub fn with_jwt_keys(self, jwt_keys: Vec<JwtKey>) -> Self {
        Self { jwt_keys, ..self }
    }

    /// The same content with advice how often to ask for another one, in seconds.
    #[must_use]
    pub fn with_refresh_hint(self, refresh_hint: Option<u64>) -> Self {
        Self { refresh_hint, ..self }
    }

    /// The same content under another sequence number.
    #[must_use]
    pub fn numbered(self, sequence: u64) -> Self {
        Self { sequence, ..self }
    }

    /// The trust domain that these authorities speak for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The CA certificates.
    pub fn authorities(&self) -> &[CertificateDer<'static>] {
        &self.authorities
    }

    /// The keys that the trust domain's tokens are signed with.
    pub fn jwt_keys(&self) -> &[JwtKey] {
        &self.jwt_keys
    }

    /// How often to ask for another bundle, in seconds, if the trust domain says so (section 4.1.2).
    pub fn refresh_hint(&self) -> Option<u64> {
        self.refresh_hint
    }

    /// The version of the content; a larger one is newer.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The CA certificates one after another, as the Workload API sends them.
    pub fn concatenated_der(&self) -> Vec<u8> {
        self.authorities.iter().flat_map(|der| der.iter().copied()).collect()
    }

    /// The authorities that are valid at `now`: webpki itself never looks at an anchor's dates.
    pub(crate) fn anchors_at(&self, now: UnixTime) -> Cow<'_, [TrustAnchor<'static>]> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if self.valid.iter().all(|seconds| seconds.contains(&now)) {
            return Cow::Borrowed(&self.anchors);
        }
        let current = self.anchors.iter().zip(&self.valid).filter(|(_, seconds)| seconds.contains(&now));
        current.map(|(anchor, _)| anchor.clone()).collect()
    }
}

fn read_authority(der: &CertificateDer<'_>) -> Result<(TrustAnchor<'static>, RangeInclusive<i64>), SigningFault> {
    let Ok(([], parsed)) = X509Certificate::from_der(der) else { return Err(SigningFault::Malformed) };
    check_signer(&parsed)?;
    let anchor = webpki::anchor_from_trusted_cert(der).map_err(|_| SigningFault::Malformed)?.to_owned();
    let validity = parsed.validity();
    Ok((anchor, validity.not_before.timestamp()..=validity.not_after.timestamp()))
}
