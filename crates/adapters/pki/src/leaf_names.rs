//! What a certificate in a file says, whoever signed it.

use crate::authority::BACKDATE;
use crate::key_id::authority_key_id;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The first certificate of a PEM text. It proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafNames {
    /// Its public key, as SubjectPublicKeyInfo in DER.
    pub public: Vec<u8>,
    /// When it was signed, if lictor signed it: a minute after it begins.
    pub issued: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
    /// Its common name; empty when it has none.
    pub common_name: String,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// Its URIs.
    pub uris: Vec<String>,
    /// Whether it has names of other kinds.
    pub others: bool,
    /// The name of the key that signed it, if it says so.
    pub authority: Option<String>,
}

/// A text that holds no certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLeaf {
    /// It is no PEM text with a certificate in it.
    #[error("expected a certificate in PEM: {0}")]
    Pem(String),
    /// What is in it is no certificate, or its names are not.
    #[error("expected a certificate")]
    Malformed,
}

impl LeafNames {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// There is none.
    pub fn from_pem(text: &[u8]) -> Result<Self, InvalidLeaf> {
        let der = CertificateDer::from_pem_slice(text).map_err(|error| InvalidLeaf::Pem(error.to_string()))?;
        let Ok(([], parsed)) = X509Certificate::from_der(&der) else { return Err(InvalidLeaf::Malformed) };
        let malformed = |_| InvalidLeaf::Malformed;
        let (mut dns_names, mut uris, mut others) = (Vec::new(), Vec::new(), false);
        let names = parsed.subject_alternative_name().map_err(malformed)?;
        for name in names.map_or(&[][..], |names| &names.value.general_names) {
            match name {
                GeneralName::DNSName(name) => dns_names.push((*name).to_owned()),
                GeneralName::URI(uri) => uris.push((*uri).to_owned()),
                _ => others = true,
            }
        }
        let time = |seconds| OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| InvalidLeaf::Malformed);
        let common_name = parsed.subject().iter_common_name().next().and_then(|name| name.as_str().ok());
        Ok(Self {
            public: parsed.public_key().raw.to_vec(),
            issued: time(parsed.validity().not_before.timestamp())? + BACKDATE,
            not_after: time(parsed.validity().not_after.timestamp())?,
            common_name: common_name.unwrap_or_default().to_owned(),
            dns_names,
            uris,
            others,
            authority: authority_key_id(&der),
        })
    }
}
