//! A bundle's authorities as PEM, for programs that know no JWK sets.

use crate::bundle::{Bundle, InvalidAuthority};
use crate::pem::certificates_to_pem;
use lictor_model::TrustDomain;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

/// Why a PEM text is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCertificates {
    /// The PEM itself is broken.
    #[error("expected PEM blocks: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// No certificate in it.
    #[error("expected a certificate, saw none")]
    NoCertificate,
    /// A certificate that is no authority.
    #[error(transparent)]
    Authority(#[from] InvalidAuthority),
}

impl Bundle {
    /// The authorities, one after another. Keys for tokens, number and hint have no place in it.
    pub fn to_pem(&self) -> String {
        certificates_to_pem(self.authorities())
    }

    /// Reads the authorities of a trust domain, which the text does not name. It says nothing about tokens: no key is
    /// believed for them. The bundle has no sequence number, so any that an endpoint gives replaces it.
    ///
    /// # Errors
    /// A broken text, one without certificates, or a certificate that may not sign SVIDs.
    pub fn from_pem(trust_domain: TrustDomain, text: &str) -> Result<Self, InvalidCertificates> {
        let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let authorities = found.map_err(InvalidCertificates::Pem)?;
        if authorities.is_empty() {
            return Err(InvalidCertificates::NoCertificate);
        }
        Ok(Self::new(trust_domain, authorities, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use super::InvalidCertificates as E;
    use crate::forge::{self, now};
    use crate::{Bundle, CertificateAuthority};
    use time::Duration;

    #[test]
    fn authorities_read_as_they_are_written_and_nothing_else_does() {
        let root = || CertificateAuthority::new(forge::domain(), now(), Duration::DAY).expect("a root");
        let (one, two) = (root(), root());
        let both = [one.bundle(1).authorities(), two.bundle(1).authorities()].concat();
        let bundle = Bundle::new(forge::domain(), both, 0).expect("a bundle");
        let read = Bundle::from_pem(forge::domain(), &bundle.to_pem()).expect("the same bundle");
        assert_eq!(read, bundle);
        assert!(matches!(Bundle::from_pem(forge::domain(), ""), Err(E::NoCertificate)));
        assert!(matches!(Bundle::from_pem(forge::domain(), "-----BEGIN CERTIFICATE-----\n!"), Err(E::Pem(_))));
        let leaf = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a leaf").cert.pem();
        assert!(matches!(Bundle::from_pem(forge::domain(), &leaf), Err(E::Authority(_))));
    }
}
