//! What a Secret holds, as facts.

use lictor_manifest::{IssuerRef, KeyAlgorithm};
use lictor_model::SpiffeId;
use std::collections::BTreeSet;
use std::sync::Arc;
use time::OffsetDateTime;

/// What there is to know about a Secret that a Certificate names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Held {
    /// `tls.key`: nothing if it is empty or not there, else what it is or why it is none.
    pub key: Option<Result<KeyFacts, String>>,
    /// `tls.crt`, its first certificate, in the same way.
    pub certificate: Option<Result<CertificateFacts, String>>,
    /// The Certificate that it says it was issued for.
    pub certificate_name: Option<Arc<str>>,
    /// The issuer that it says it is of; nothing if it says nothing about it.
    pub issuer: Option<IssuerRef>,
}

/// A private key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFacts {
    /// Its kind and size.
    pub algorithm: KeyAlgorithm,
    /// Its public half, as SubjectPublicKeyInfo in DER.
    pub public: Vec<u8>,
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Its public key, as SubjectPublicKeyInfo in DER.
    pub public: Vec<u8>,
    /// When it was issued.
    pub issued: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
    /// The names in it.
    pub names: Names,
    /// Whether whoever signed it is not to be trusted any more.
    pub tainted: bool,
}

/// The names in a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    /// The common name; empty when there is none.
    pub common_name: String,
    /// The DNS names.
    pub dns_names: BTreeSet<String>,
    /// The URIs.
    pub uris: BTreeSet<String>,
    /// Whether there are addresses, mailboxes or names of other kinds beside them.
    pub others: bool,
}

impl Names {
    /// The one SPIFFE ID among them.
    pub fn id(&self) -> Option<SpiffeId> {
        let mut uris = self.uris.iter();
        uris.next().filter(|_| uris.next().is_none())?.parse().ok()
    }
}
