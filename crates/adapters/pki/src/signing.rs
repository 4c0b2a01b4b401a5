//! Which certificates may sign SVIDs.

use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// Why a certificate may not sign SVIDs, wherever it stands: in a bundle, in a peer's chain, or in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SigningFault {
    /// Not a certificate, or an extension of it does not parse.
    #[error("expected one DER certificate")]
    Malformed,
    /// The basic constraints do not say that it may sign certificates (X509-SVID, section 4.1).
    #[error("expected a CA certificate, saw a leaf")]
    NotAnAuthority,
    /// Its key may not sign certificates (X509-SVID, section 4.3; RFC 5280, section 4.2.1.3).
    #[error("expected the key usage keyCertSign")]
    KeyUsage,
    /// It has a SPIFFE ID, and its key usage is not critical (X509-SVID, section 4.3).
    #[error("expected a critical key usage in a certificate that has a SPIFFE ID")]
    KeyUsageNotCritical,
    /// More than one URI name (X509-SVID, section 2).
    #[error("expected one URI name at most in a CA certificate, saw {seen}")]
    UriNames {
        /// How many there are.
        seen: usize,
    },
    /// Its SPIFFE ID is none, or has a path (X509-SVID, section 3.2).
    #[error("expected a CA certificate without a SPIFFE ID, or with that of a trust domain")]
    Name,
}

/// Holds a certificate to what X509-SVID asks of the one that signs.
///
/// It need not be an SVID itself (section 3.2), so it may have no URI name, or one that is no SPIFFE ID. A SPIFFE ID
/// must be that of a trust domain, of any one: an authority may sign for another. The slash at the end of
/// `spiffe://example.com/` is passed over, as the example of SPIFFE Trust Domain and Bundle, appendix A, has it.
pub(crate) fn check_signer(certificate: &X509Certificate<'_>) -> Result<(), SigningFault> {
    let constraints = certificate.basic_constraints().map_err(|_| SigningFault::Malformed)?;
    if !constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(SigningFault::NotAnAuthority);
    }
    let usage = certificate.key_usage().map_err(|_| SigningFault::Malformed)?;
    let usage = usage.filter(|usage| usage.value.key_cert_sign()).ok_or(SigningFault::KeyUsage)?;
    if names_a_trust_domain(certificate)? && !usage.critical {
        return Err(SigningFault::KeyUsageNotCritical);
    }
    Ok(())
}

/// Whether it has a SPIFFE ID; one that it may not have is an error.
fn names_a_trust_domain(certificate: &X509Certificate<'_>) -> Result<bool, SigningFault> {
    let uris = uri_names(certificate).ok_or(SigningFault::Malformed)?;
    let name = match uris.as_slice() {
        [] => return Ok(false),
        [one] => *one,
        several => return Err(SigningFault::UriNames { seen: several.len() }),
    };
    if !name.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("spiffe:")) {
        return Ok(false);
    }
    let id = name.strip_suffix('/').unwrap_or(name).parse::<lictor_model::SpiffeId>();
    if id.is_ok_and(|id| id.path().is_empty()) { Ok(true) } else { Err(SigningFault::Name) }
}

/// The URI names of a certificate; `None` if its names do not parse or stand there twice.
///
/// One name that does not parse spoils them all: the library hands it out as an invalid name of whatever kind, and a
/// second URI that is no text must not be passed over.
pub(crate) fn uri_names<'a>(certificate: &'a X509Certificate<'_>) -> Option<Vec<&'a str>> {
    let names = certificate.subject_alternative_name().ok()?;
    let mut uris = Vec::new();
    for name in names.map_or(&[][..], |names| &names.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return None,
            _ => {}
        }
    }
    Some(uris)
}
