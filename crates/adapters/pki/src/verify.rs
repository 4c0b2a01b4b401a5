//! What a peer's certificate proves.

use crate::bundle::Bundle;
use crate::signing::{SigningFault, check_signer, uri_names};
use lictor_model::{InvalidSpiffeId, SpiffeId, TrustDomain};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::ops::Deref;
use std::time::Duration;
use time::OffsetDateTime;
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::prelude::{FromDer, X509Certificate};

/// What the peer does with its certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// It opened the connection.
    Client,
    /// It accepted the connection.
    Server,
}

/// Why a peer's certificate proves nothing; [`tls`](crate::tls) maps each to the TLS alert that the peer sees.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// The peer showed no certificate. Alert: `certificate_required`.
    #[error("expected a certificate, the peer showed none")]
    NoCertificate,
    /// Not a certificate that can be read. Alert: `bad_certificate`.
    #[error("expected a DER certificate, saw bytes that are none")]
    Malformed,
    /// None or several URI names (X509-SVID, section 2). Alert: `bad_certificate`.
    #[error("expected exactly one URI name in the certificate, saw {seen}")]
    UriNames {
        /// How many there are.
        seen: usize,
    },
    /// The URI name is no SPIFFE ID. Alert: `bad_certificate`.
    #[error("expected a SPIFFE ID as the certificate's URI name: {0}")]
    NotASpiffeId(#[from] InvalidSpiffeId),
    /// The name of a whole trust domain, which no leaf may have (X509-SVID, section 3.1). Alert: `bad_certificate`.
    #[error("expected the identity of a workload, saw {seen}, which names a whole trust domain")]
    NoPath {
        /// The name.
        seen: SpiffeId,
    },
    /// A CA, or a certificate that may sign others, used as a leaf (X509-SVID, section 5.2). Alert: `bad_certificate`.
    #[error("expected a leaf certificate, saw one that may sign certificates or revocation lists")]
    SigningCertificate,
    /// The key usage is absent, lacks `digitalSignature` or is not critical (X509-SVID, section 4.3). Alert:
    /// `bad_certificate`.
    #[error("expected the critical key usage digitalSignature in the certificate")]
    KeyUsage,
    /// No subject, and names that are not critical (X509-SVID, section 3.1; RFC 5280, section 4.1.2.6). Alert:
    /// `bad_certificate`.
    #[error("expected critical names in a certificate without a subject")]
    NamesNotCritical,
    /// An extended key usage without one of `serverAuth` and `clientAuth` (X509-SVID, section 4.4). Alert:
    /// `unsupported_certificate`.
    #[error("expected an extended key usage for both ends of a connection, or none")]
    Purpose,
    /// A name of a trust domain that is not believed here. Alert: `unknown_ca`.
    #[error("expected an identity of the trust domain {wanted}, saw {seen}")]
    TrustDomain {
        /// The trust domain of the bundle.
        wanted: TrustDomain,
        /// Whom the certificate names.
        seen: SpiffeId,
    },
    /// No authority of the bundle has signed it. Alert: `unknown_ca`.
    #[error("expected a chain to an authority of the trust domain, saw none")]
    UnknownAuthority,
    /// A certificate between the leaf and the authority may not sign (X509-SVID, sections 2 to 4). Alert: `unknown_ca`.
    #[error("a certificate of the chain may not sign others: {0}")]
    Signer(#[from] SigningFault),
    /// A certificate of the chain has expired. Alert: `certificate_expired`.
    #[error("the certificate expired at {not_after}, {now} is later (Unix seconds)")]
    Expired {
        /// Its last second.
        not_after: u64,
        /// The time of the check.
        now: u64,
    },
    /// A certificate of the chain is not valid yet. Alert: `certificate_expired`, which TLS defines as "not currently valid".
    #[error("the certificate is valid from {not_before}, {now} is earlier (Unix seconds)")]
    NotYetValid {
        /// Its first second.
        not_before: u64,
        /// The time of the check.
        now: u64,
    },
    /// The chain breaks another rule of path validation (RFC 5280, section 6). Alert: `bad_certificate`.
    #[error("the certificate chain is not acceptable: {0}")]
    Path(webpki::Error),
    /// A proven identity, and not one that this connection is for. Alert: `access_denied`.
    #[error("expected the peer to be another workload, saw {seen}")]
    Unexpected {
        /// Whom it proved to be.
        seen: SpiffeId,
    },
}

/// The identity that `chain` (leaf first) proves at `now`, judged by the bundle of its trust domain.
///
/// Source: X509-SVID, section 5: RFC 5280 path validation, then the leaf's own rules; extended key usage if present.
///
/// # Errors
/// Names are judged before the path, so that a certificate with two URI names is told so whoever signed it.
pub fn verify(
    chain: &[CertificateDer<'_>],
    bundle: &Bundle,
    now: UnixTime,
    usage: Usage,
) -> Result<SpiffeId, PeerError> {
    let (leaf, intermediates) = chain.split_first().ok_or(PeerError::NoCertificate)?;
    verify_leaf(leaf, intermediates, |_| bundle, now, usage)
}

/// As [`verify`]; `bundle` says which bundle judges the identity that the leaf claims.
pub(crate) fn verify_leaf<B: Deref<Target = Bundle>>(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    bundle: impl FnOnce(&SpiffeId) -> B,
    now: UnixTime,
    usage: Usage,
) -> Result<SpiffeId, PeerError> {
    let parsed = parse(leaf)?;
    let id = uri_name(&parsed)?;
    if id.path().is_empty() {
        return Err(PeerError::NoPath { seen: id });
    }
    let bundle = bundle(&id);
    // Whoever chose it, a bundle speaks for its own trust domain only (SPIFFE Federation, section 7.3).
    if id.trust_domain_str() != bundle.trust_domain().as_str() {
        return Err(PeerError::TrustDomain { wanted: bundle.trust_domain().clone(), seen: id });
    }
    let end_entity = EndEntityCert::try_from(leaf).map_err(path_error)?;
    let anchors = bundle.anchors_at(now);
    let purpose = match usage {
        Usage::Client => KeyUsage::client_auth(),
        Usage::Server => KeyUsage::server_auth(),
    };
    let path = end_entity
        .verify_for_usage(webpki::ALL_VERIFICATION_ALGS, &anchors, intermediates, now, purpose, None, None)
        .map_err(path_error)?;
    check_leaf(&parsed)?;
    for certificate in path.intermediate_certificates() {
        check_signer(&parse(&certificate.der())?)?;
    }
    Ok(id)
}

/// The SPIFFE ID that a certificate names. It proves nothing: use it on a certificate that [`verify()`] has accepted.
///
/// # Errors
/// The certificate does not parse, or has not exactly one URI name, or that is no SPIFFE ID.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Result<SpiffeId, PeerError> {
    uri_name(&parse(certificate)?)
}

/// A point in time as path validation takes it; times before 1970 become 1970.
pub fn unix_time(at: OffsetDateTime) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.unix_timestamp()).unwrap_or(0)))
}

pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, PeerError> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(PeerError::Malformed),
    }
}

/// The one URI name; names of other kinds may stand beside it (X509-SVID, section 2).
pub(crate) fn uri_name(certificate: &X509Certificate<'_>) -> Result<SpiffeId, PeerError> {
    match uri_names(certificate).ok_or(PeerError::Malformed)?.as_slice() {
        [uri] => Ok(uri.parse()?),
        others => Err(PeerError::UriNames { seen: others.len() }),
    }
}

pub(crate) fn check_leaf(certificate: &X509Certificate<'_>) -> Result<(), PeerError> {
    let malformed = |_| PeerError::Malformed;
    let usage = certificate.key_usage().map_err(malformed)?.ok_or(PeerError::KeyUsage)?;
    if certificate.is_ca() || usage.value.key_cert_sign() || usage.value.crl_sign() {
        return Err(PeerError::SigningCertificate);
    }
    if !usage.value.digital_signature() || !usage.critical {
        return Err(PeerError::KeyUsage);
    }
    let purposes = certificate.extended_key_usage().map_err(malformed)?;
    if purposes.is_some_and(|purposes| !(purposes.value.server_auth && purposes.value.client_auth)) {
        return Err(PeerError::Purpose);
    }
    let names = certificate.subject_alternative_name().map_err(malformed)?;
    if certificate.subject().iter().next().is_none() && !names.is_some_and(|names| names.critical) {
        return Err(PeerError::NamesNotCritical);
    }
    Ok(())
}

fn path_error(error: webpki::Error) -> PeerError {
    use webpki::Error as E;
    match error {
        E::CertExpired { time, not_after } => {
            PeerError::Expired { not_after: not_after.as_secs(), now: time.as_secs() }
        }
        E::CertNotValidYet { time, not_before } => {
            PeerError::NotYetValid { not_before: not_before.as_secs(), now: time.as_secs() }
        }
        // Another authority of the same name has signed it; for us that is as unknown as any other.
        E::UnknownIssuer | E::InvalidSignatureForPublicKey => PeerError::UnknownAuthority,
        E::CaUsedAsEndEntity => PeerError::SigningCertificate,
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => PeerError::Purpose,
        E::BadDer | E::BadDerTime | E::TrailingData(_) => PeerError::Malformed,
        other => PeerError::Path(other),
    }
}

#[cfg(test)]
mod tests;
