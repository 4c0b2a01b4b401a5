//! An authority of others that signs ours: certificates and a key in files, as cert-manager or an operator puts them.

use crate::authority::{CertificateAuthority, IssueError, Parts};
use crate::bundle::{Bundle, InvalidAuthority};
use crate::keys::{AuthorityKey, WipedKey};
use crate::signing::{SigningFault, check_signer};
use crate::svid::PrivateKey;
use crate::tokens::TokenAuthority;
use lictor_model::TrustDomain;
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use x509_parser::prelude::{FromDer, X509Certificate};

/// A certificate authority under a root that peers believe; it signs issuing authorities of this trust domain.
pub struct Upstream {
    key: PrivateKey,
    /// Its own certificate first, the root last.
    certificates: Vec<CertificateDer<'static>>,
    root: Bundle,
    not_before: OffsetDateTime,
    not_after: OffsetDateTime,
}

/// What an upstream is read from, as PEM.
#[derive(Clone, Copy)]
pub struct UpstreamPem<'a> {
    /// Its certificate, and what stands between it and the root.
    pub certificate: &'a str,
    /// Its private key: PKCS#8, SEC 1 or PKCS#1.
    pub key: &'a str,
    /// The roots that peers are to believe; if there are none, the last certificate is the root.
    pub roots: Option<&'a str>,
}

/// Which of the three texts is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamPart {
    /// The certificate and the chain.
    Certificate,
    /// The key.
    Key,
    /// The roots.
    Roots,
}

/// What is wrong with an upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUpstream {
    /// The PEM is broken.
    #[error("expected PEM blocks: {0}")]
    Pem(String),
    /// No certificate in it.
    #[error("expected a CA certificate, saw none")]
    NoCertificate,
    /// A certificate that does not parse or may not sign others.
    #[error("certificate {at}: {fault}")]
    Authority {
        /// Its place in the text, from 0.
        at: usize,
        /// What is wrong with it.
        fault: SigningFault,
    },
    /// The key does not parse, or is of a kind that cannot sign here.
    #[error("expected an unencrypted private key, RSA or on P-256, P-384 or P-521")]
    Key,
    /// Key and certificate do not belong together.
    #[error("expected the key of the first certificate, saw another one")]
    KeyMismatch,
    /// A certificate that the next one has not signed.
    #[error("certificate {at}: expected it to be signed by the one after it")]
    Chain {
        /// Its place in the text, from 0.
        at: usize,
    },
    /// No root has signed the last certificate.
    #[error("expected a root that has signed the last certificate of the chain, saw none")]
    Root,
    /// Its basic constraints do not let it sign an authority (RFC 5280, section 4.2.1.9).
    #[error("expected a path length of 1 or more or none, saw {seen}: it may sign leaves, and no issuing authority")]
    PathLength {
        /// The path length.
        seen: u32,
    },
}

type Fault = (UpstreamPart, InvalidUpstream);

impl Upstream {
    /// Reads an upstream and holds its parts against each other. Its certificates need no SPIFFE ID (X509-SVID, section
    /// 3.2); those that have one must have a trust domain's.
    ///
    /// # Errors
    /// With the text that is to blame.
    pub fn from_pem(trust_domain: &TrustDomain, pem: UpstreamPem<'_>) -> Result<Self, Fault> {
        use UpstreamPart as Part;
        let blame = |part| move |error| (part, error);
        let mut certificates = certificates(pem.certificate).map_err(blame(Part::Certificate))?;
        let mut roots = match pem.roots {
            Some(text) => self::certificates(text).map_err(blame(Part::Roots))?,
            None => Vec::new(),
        };
        let root = complete(&mut certificates, &roots);
        let root = root.map_err(blame(if pem.roots.is_some() { Part::Roots } else { Part::Certificate }))?;
        if roots.is_empty() {
            roots.push(root);
        }
        check_chain(&certificates).map_err(blame(Part::Certificate))?;
        let key = read_key(pem.key).map_err(blame(Part::Key))?;
        check_key(&key_pair(&key).ok_or(InvalidUpstream::Key).map_err(blame(Part::Key))?, &certificates)
            .map_err(blame(Part::Key))?;
        let root = Bundle::new(trust_domain.clone(), roots, 0)
            .map_err(|InvalidAuthority { at, fault }| (Part::Roots, InvalidUpstream::Authority { at, fault }))?;
        let (not_before, not_after) = validity(&certificates).map_err(blame(Part::Certificate))?;
        Ok(Self { key, certificates, root, not_before, not_after })
    }

    /// What peers believe.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        self.root.authorities()
    }

    /// Until when everything of the chain is valid.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// A new issuing authority under it with this key, for the trust domain of `tokens`.
    pub(crate) fn issuing(
        &self,
        tokens: Arc<TokenAuthority>,
        key: AuthorityKey,
        now: OffsetDateTime,
        life: Duration,
    ) -> Result<CertificateAuthority, IssueError> {
        let own = key_pair(&self.key).ok_or(rcgen::Error::CouldNotParseKeyPair)?;
        let parts = Parts {
            key: AuthorityKey::Own(WipedKey(own)),
            certificates: self.certificates.clone(),
            root: self.root.clone(),
            tokens,
            not_before: self.not_before,
            not_after: self.not_after,
        };
        CertificateAuthority::from_parts(parts)?.subordinate_with(key, now, life)
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream")
            .field("certificates", &self.certificates.len())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for UpstreamPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "the upstream's certificate",
            Self::Key => "the upstream's key",
            Self::Roots => "the upstream's roots",
        })
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, InvalidUpstream> {
    let read = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|error| InvalidUpstream::Pem(error.to_string()))?;
    for (at, der) in read.iter().enumerate() {
        let parsed = parse(der, at)?;
        check_signer(&parsed).map_err(|fault| InvalidUpstream::Authority { at, fault })?;
    }
    if read.is_empty() { Err(InvalidUpstream::NoCertificate) } else { Ok(read) }
}

fn parse<'a>(der: &'a CertificateDer<'_>, at: usize) -> Result<X509Certificate<'a>, InvalidUpstream> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        _ => Err(InvalidUpstream::Authority { at, fault: SigningFault::Malformed }),
    }
}

/// Puts the root at the end of the chain if it is not there, and returns it.
fn complete(
    chain: &mut Vec<CertificateDer<'static>>,
    roots: &[CertificateDer<'static>],
) -> Result<CertificateDer<'static>, InvalidUpstream> {
    let last = chain.last().ok_or(InvalidUpstream::NoCertificate)?.clone();
    if roots.contains(&last) {
        return Ok(last);
    }
    let at = chain.len() - 1;
    let parsed = parse(&last, at)?;
    for root in roots {
        if has_signed(&parse(root, 0)?, &parsed) {
            chain.push(root.clone());
            return Ok(root.clone());
        }
    }
    if roots.is_empty() && has_signed(&parsed, &parsed) { Ok(last) } else { Err(InvalidUpstream::Root) }
}

fn has_signed(above: &X509Certificate<'_>, below: &X509Certificate<'_>) -> bool {
    below.issuer() == above.subject() && below.verify_signature(Some(above.public_key())).is_ok()
}

/// Each certificate is signed by the next one, and has room for an issuing authority below.
fn check_chain(chain: &[CertificateDer<'static>]) -> Result<(), InvalidUpstream> {
    for (at, (below, above)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
        if !has_signed(&parse(above, at + 1)?, &parse(below, at)?) {
            return Err(InvalidUpstream::Chain { at });
        }
    }
    for (at, der) in chain.iter().enumerate() {
        let parsed = parse(der, at)?;
        let constraints = parsed.basic_constraints().ok().flatten();
        let limit = constraints.and_then(|constraints| constraints.value.path_len_constraint);
        // Below the one at `at` stand those before it, and then the issuing authority.
        if let Some(seen) = limit.filter(|&limit| usize::try_from(limit).is_ok_and(|limit| limit < at + 1)) {
            return Err(InvalidUpstream::PathLength { seen });
        }
    }
    Ok(())
}

fn read_key(text: &str) -> Result<PrivateKey, InvalidUpstream> {
    let der = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| InvalidUpstream::Key)?;
    let pair = KeyPair::try_from(&der).map_err(|_| InvalidUpstream::Key)?;
    Ok(PrivateKey::from_pkcs8(pair.serialized_der().to_vec()))
}

pub(crate) fn key_pair(key: &PrivateKey) -> Option<KeyPair> {
    KeyPair::try_from(&key.as_der()).ok()
}

pub(crate) fn check_key(key: &impl PublicKeyData, chain: &[CertificateDer<'static>]) -> Result<(), InvalidUpstream> {
    let own = chain.first().ok_or(InvalidUpstream::NoCertificate)?;
    let fits = parse(own, 0)?.public_key().raw == key.subject_public_key_info();
    if fits { Ok(()) } else { Err(InvalidUpstream::KeyMismatch) }
}

/// The time in which every certificate of the chain is valid.
pub(crate) fn validity(chain: &[CertificateDer<'static>]) -> Result<(OffsetDateTime, OffsetDateTime), InvalidUpstream> {
    let (mut starts, mut ends) = (i64::MIN, i64::MAX);
    for (at, der) in chain.iter().enumerate() {
        let validity = parse(der, at)?.validity().clone();
        starts = starts.max(validity.not_before.timestamp());
        ends = ends.min(validity.not_after.timestamp());
    }
    let malformed = |_| InvalidUpstream::Authority { at: 0, fault: SigningFault::Malformed };
    Ok((
        OffsetDateTime::from_unix_timestamp(starts).map_err(malformed)?,
        OffsetDateTime::from_unix_timestamp(ends).map_err(malformed)?,
    ))
}

#[cfg(test)]
mod tests;
