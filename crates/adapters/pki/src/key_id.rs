//! What certificates are told apart by: their serial number, the name of the key that signed them, and their end.

use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Octets of a key identifier that is made here.
const LENGTH: usize = 20;

/// The name of a CA certificate's key in lower-case hex: its subject key identifier, else what RFC 7093, section 2,
/// method 1, makes of the key: the first 160 bits of its SHA-256.
///
/// SPIRE calls its authorities by the same number. `None` for what is no certificate.
pub fn subject_key_id(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let named = parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(hex(id.0)),
        _ => None,
    });
    named.or_else(|| {
        let key = &parsed.public_key().subject_public_key.data;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key);
        digest.as_ref().get(..LENGTH).map(hex)
    })
}

/// The name of the key that signed a certificate, as the certificate says it (RFC 5280, section 4.2.1.1).
pub fn authority_key_id(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    parsed.iter_extensions().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| hex(id.0)),
        _ => None,
    })
}

/// The serial number of a certificate in lower-case hex, as its signer counts it.
pub fn serial_number(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(hex(parsed.raw_serial()))
}

/// The first second of a certificate.
pub fn not_before(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_before.to_datetime())
}

/// The last second of a certificate.
pub fn not_after(certificate: &CertificateDer<'_>) -> Option<OffsetDateTime> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    Some(parsed.validity().not_after.to_datetime())
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).flatten().collect()
}
