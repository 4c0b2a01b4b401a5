//! A key that stays here, and the request that has somebody else sign its public half.

use crate::authority::IssueError;
use crate::bundle::Bundle;
use crate::keys::WipedKey;
use crate::received::InvalidReceived;
use crate::svid::{PrivateKey, Svid};
use lictor_model::SpiffeId;
use rcgen::{CertificateParams, DistinguishedName};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::fmt;
use time::OffsetDateTime;

/// A new P-256 key with its request (PKCS#10, RFC 2986), which names nobody: whom the key is to prove, the signer knows.
pub struct SigningRequest {
    key: WipedKey,
    der: CertificateSigningRequestDer<'static>,
}

impl SigningRequest {
    /// A new key and its request.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Self, IssueError> {
        let key = WipedKey::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let der = params.serialize_request(&key.0)?.der().clone();
        Ok(Self { key, der })
    }

    /// The request, signed by the key.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The SVID that somebody else has signed for this request: `chain` leaf first.
    ///
    /// # Errors
    /// At `now`, no peer that believes `bundle` would take it for `id` at both ends of a connection.
    pub fn answered(
        &self,
        id: &SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        bundle: &Bundle,
        now: OffsetDateTime,
    ) -> Result<Svid, InvalidReceived> {
        Svid::from_chain(id, chain, self.key(), bundle, now)
    }

    /// The key.
    pub fn key(&self) -> PrivateKey {
        PrivateKey::from_pkcs8(self.key.0.serialized_der().to_vec())
    }
}

impl fmt::Debug for SigningRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningRequest(elided)")
    }
}

#[cfg(test)]
mod tests {
    use super::SigningRequest;
    use crate::forge::{domain, now};
    use crate::{CertificateAuthority, InvalidReceived as E, PeerError};
    use lictor_model::SpiffeId;
    use rustls_pki_types::CertificateSigningRequestDer;
    use time::Duration;

    #[test]
    fn what_is_signed_for_a_request_is_an_svid_with_the_key_that_stayed() {
        let root = || CertificateAuthority::new(domain(), now(), Duration::DAY).expect("a root");
        let (own, other) = (root(), root());
        let id = |path: &str| format!("spiffe://{}/{path}", domain()).parse::<SpiffeId>().expect("an identity");
        let request = SigningRequest::new().expect("a request");
        let der = CertificateSigningRequestDer::from(request.der().to_vec());
        let made = own.sign(&der, &id("a").into(), now(), Duration::HOUR).expect("a certificate");
        let read = |request: &SigningRequest, path: &str, root: &CertificateAuthority, later: Duration| {
            request.answered(&id(path), made.chain.clone(), &root.bundle(1), now() + later)
        };
        let svid = read(&request, "a", &own, Duration::ZERO).expect("an SVID");
        assert_eq!((svid.not_before, svid.not_after, &svid.chain), (made.not_before, made.not_after, &made.chain));

        assert!(matches!(read(&request, "b", &own, Duration::ZERO), Err(E::Identity { .. })));
        let stranger = read(&request, "a", &other, Duration::ZERO);
        assert!(matches!(stranger, Err(E::Chain(PeerError::UnknownAuthority))));
        let another = SigningRequest::new().expect("a request");
        assert!(matches!(read(&another, "a", &own, Duration::ZERO), Err(E::Key(_))));
        let late = read(&request, "a", &own, Duration::hours(2));
        assert!(matches!(late, Err(E::Chain(PeerError::Expired { .. }))));
        // Five minutes behind, where a certificate begins a minute before it was made.
        let early = read(&request, "a", &own, -Duration::minutes(5)).expect_err("a refusal").to_string();
        assert!(
            early.starts_with("its chain proves nothing by its own bundle: the certificate is valid from "),
            "{early}"
        );
        let nothing = request.answered(&id("a"), Vec::new(), &own.bundle(1), now());
        assert!(matches!(nothing, Err(E::Chain(PeerError::NoCertificate))));
        assert_eq!(format!("{another:?}"), "SigningRequest(elided)");
    }
}
