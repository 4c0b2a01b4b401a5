//! An X.509-SVID with its private key.

use crate::pem;
use lictor_model::SpiffeId;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::fmt;
use time::OffsetDateTime;
use zeroize::Zeroizing;

/// A private key as PKCS#8 DER; wiped from memory when dropped, never printed.
#[derive(Clone)]
pub struct PrivateKey(Zeroizing<Vec<u8>>);

impl PrivateKey {
    /// Takes PKCS#8 DER as it is; whoever signs with it finds out whether it is a key.
    pub fn from_pkcs8(der: Vec<u8>) -> Self {
        Self(Zeroizing::new(der))
    }

    /// The PKCS#8 DER, unencrypted.
    pub fn pkcs8(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes as rustls wants them, not copied.
    pub fn as_der(&self) -> PrivatePkcs8KeyDer<'_> {
        PrivatePkcs8KeyDer::from(self.0.as_slice())
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(elided)")
    }
}

/// A certificate that proves a SPIFFE ID, the chain below the trust domain's root, and the key.
#[derive(Clone)]
pub struct Svid {
    /// Whom it proves.
    pub id: SpiffeId,
    /// Leaf first, then the intermediates; the root is not part of it.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key.
    pub key: PrivateKey,
    /// From when the leaf is valid, to the second.
    pub not_before: OffsetDateTime,
    /// Until when the leaf is valid, to the second.
    pub not_after: OffsetDateTime,
}

impl Svid {
    /// The chain as PEM, leaf first.
    pub fn chain_pem(&self) -> String {
        let mut text = Zeroizing::new(String::new());
        self.chain.iter().for_each(|der| pem::push_block(&mut text, "CERTIFICATE", der));
        text.to_string()
    }

    /// The key as PEM: one `PRIVATE KEY` block (RFC 7468, section 10), unencrypted.
    pub fn key_pem(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::new());
        pem::push_block(&mut text, pem::KEY, self.key.pkcs8());
        text
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id.as_str())
            .field("certificates", &self.chain.len())
            .field("not_before", &self.not_before)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}
