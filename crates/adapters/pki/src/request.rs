//! A key that stays here, and the request that has somebody else sign its public half.

use crate::authority::IssueError;
use crate::keys::WipedKey;
use crate::svid::PrivateKey;
use rcgen::{CertificateParams, DistinguishedName};
use rustls_pki_types::CertificateSigningRequestDer;
use std::fmt;

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
    use crate::{CertificateAuthority, Usage, tls, unix_time, verify};
    use rustls_pki_types::CertificateSigningRequestDer;
    use time::Duration;

    #[test]
    fn what_is_signed_for_a_request_proves_the_identity_with_the_key_that_stayed() {
        let root = CertificateAuthority::new(domain(), now(), Duration::DAY).expect("a root");
        let id = format!("spiffe://{}/lictor/node/a", domain()).parse().expect("an identity");
        let request = SigningRequest::new().expect("a request");
        let der = CertificateSigningRequestDer::from(request.der().to_vec());
        let made = root.sign(&der, &id, now(), Duration::HOUR).expect("a certificate");
        assert_eq!(verify(&made.chain, &root.bundle(1), unix_time(now()), Usage::Client), Ok(id));
        let key = rustls_pki_types::PrivateKeyDer::Pkcs8(request.key().as_der().clone_key());
        assert!(tls::endpoint::certificate(made.chain.clone(), &key).is_ok());
        let other = SigningRequest::new().expect("a request");
        let key = rustls_pki_types::PrivateKeyDer::Pkcs8(other.key().as_der().clone_key());
        assert!(tls::endpoint::certificate(made.chain, &key).is_err());
        assert_eq!(format!("{other:?}"), "SigningRequest(elided)");
    }
}
