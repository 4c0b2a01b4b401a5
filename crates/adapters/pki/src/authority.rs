//! A certificate authority that takes from a request nothing but its public key.

use crate::bundle::{Bundle, InvalidAuthority};
use crate::certify::Certified;
use crate::keys::{AuthorityKey, KeyStoreError, SavedKey, WipedKey};
use crate::svid::{PrivateKey, Svid};
use crate::tally::Tally;
use crate::tokens::{TokenAuthority, TokenIssueError};
use lictor_model::{InvalidSpiffeId, SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType,
    SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};
use std::fmt;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// How far before the moment of issue a certificate begins, for peers whose clock is behind.
pub(crate) const BACKDATE: Duration = Duration::MINUTE;

/// Length of the public keys that are signed, by curve, as uncompressed points.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The authority itself is no longer valid.
    #[error("expected a valid authority, this one expired at {not_after}")]
    AuthorityExpired {
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// An identity of another trust domain.
    #[error("expected an identity of the trust domain {wanted}, saw {seen}")]
    TrustDomain {
        /// The trust domain of the authority.
        wanted: TrustDomain,
        /// The identity that was asked for.
        seen: SpiffeId,
    },
    /// The name of the whole trust domain, which no leaf may have (X509-SVID, section 3.1).
    #[error("expected the identity of a workload, saw {seen}, which names a whole trust domain")]
    NoPath {
        /// The identity that was asked for.
        seen: SpiffeId,
    },
    /// A lifetime of zero or less.
    #[error("expected a lifetime of a second or more, saw {seen}")]
    Lifetime {
        /// The lifetime that was asked for.
        seen: Duration,
    },
    /// A request that does not parse or is not signed by its own key.
    #[error("expected a certificate request that is signed by its own key: {0}")]
    Request(rcgen::Error),
    /// A request for a key of another kind.
    #[error("expected a P-256 or P-384 key in the certificate request")]
    KeyKind,
    /// The trust domain's own name is no SPIFFE ID.
    #[error(transparent)]
    Id(#[from] InvalidSpiffeId),
    /// The certificate that was made for the root is no authority.
    #[error(transparent)]
    Root(#[from] InvalidAuthority),
    /// The system's random number generator does not work.
    #[error("the system's random number generator failed")]
    Random,
    /// The library could not encode or sign.
    #[error("the certificate could not be made: {0}")]
    Signing(#[from] rcgen::Error),
    /// A name that no certificate can hold.
    #[error("expected a name of ASCII characters, saw {seen}")]
    Name {
        /// The name.
        seen: String,
    },
    /// The key store does not do its part.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// The key for tokens could not be made.
    #[error(transparent)]
    Tokens(#[from] TokenIssueError),
}

/// The signing key and certificate of one trust domain: its root, or an issuing authority under it.
pub struct CertificateAuthority {
    pub(crate) issuer: Issuer<'static, AuthorityKey>,
    /// This authority's certificate first, the root last.
    certificates: Vec<CertificateDer<'static>>,
    /// The root as others are to believe it.
    root: Bundle,
    /// Signs the trust domain's tokens, whoever signs its certificates.
    tokens: Arc<TokenAuthority>,
    not_before: OffsetDateTime,
    /// The earliest end in `certificates`; nothing signed here outlives it.
    not_after: OffsetDateTime,
    pub(crate) tally: Tally,
}

/// What an authority is made of when it comes from a file.
pub(crate) struct Parts {
    pub(crate) key: AuthorityKey,
    pub(crate) certificates: Vec<CertificateDer<'static>>,
    pub(crate) root: Bundle,
    pub(crate) tokens: Arc<TokenAuthority>,
    pub(crate) not_before: OffsetDateTime,
    pub(crate) not_after: OffsetDateTime,
}

impl CertificateAuthority {
    /// A new root with a P-256 key, and another one for tokens, valid from a minute before `now` until `now + lifetime`.
    ///
    /// Source: X509-SVID, sections 3.2 and 4: the trust domain's own ID as its name, `keyCertSign` and `cRLSign`.
    ///
    /// # Errors
    /// The lifetime is not positive, or the system has no random numbers.
    pub fn new(trust_domain: TrustDomain, now: OffsetDateTime, lifetime: Duration) -> Result<Self, IssueError> {
        Self::root(Arc::new(TokenAuthority::new(trust_domain)?), AuthorityKey::generate()?, now, lifetime)
    }

    /// A new root as [`new`](Self::new) makes it, for the trust domain of `tokens`, whose key goes into its bundle.
    pub(crate) fn root(
        tokens: Arc<TokenAuthority>,
        key: AuthorityKey,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<Self, IssueError> {
        let trust_domain = tokens.trust_domain().clone();
        let params = ca_params(&trust_domain, "root", BasicConstraints::Unconstrained, now, whole(lifetime)?)?;
        let certificate = params.self_signed(&key)?.der().clone();
        let (not_before, not_after) = (params.not_before, params.not_after);
        let root = Bundle::new(trust_domain, vec![certificate.clone()], 0)?;
        let issuer = Issuer::new(params, key);
        Ok(Self {
            issuer,
            certificates: vec![certificate],
            root,
            tokens,
            not_before,
            not_after,
            tally: Tally::default(),
        })
    }

    /// A new issuing authority under this one; it can sign leaves only. It signs tokens with the key of this one.
    ///
    /// # Errors
    /// As [`new`](Self::new), and when this authority has expired.
    pub fn subordinate(&self, now: OffsetDateTime, lifetime: Duration) -> Result<Self, IssueError> {
        self.subordinate_with(AuthorityKey::generate()?, now, lifetime)
    }

    /// A new issuing authority as [`subordinate`](Self::subordinate) makes it, with this key.
    pub(crate) fn subordinate_with(
        &self,
        key: AuthorityKey,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<Self, IssueError> {
        let lifetime = self.within_own_life(now, lifetime)?;
        let params = ca_params(self.trust_domain(), "issuing", BasicConstraints::Constrained(0), now, lifetime)?;
        let certificate = params.signed_by(&key, &self.issuer)?.der().clone();
        let (not_before, not_after) = (params.not_before, params.not_after);
        let issuer = Issuer::new(params, key);
        let certificates = std::iter::once(certificate).chain(self.certificates.iter().cloned()).collect();
        let (root, tokens) = (self.root.clone(), Arc::clone(&self.tokens));
        Ok(Self { issuer, certificates, root, tokens, not_before, not_after, tally: Tally::default() })
    }

    /// An authority whose parts were read and checked against each other by [`pem`](crate::pem).
    pub(crate) fn from_parts(parts: Parts) -> Result<Self, rcgen::Error> {
        let Parts { key, certificates, root, tokens, not_before, not_after } = parts;
        let own = certificates.first().ok_or(rcgen::Error::CouldNotParseCertificate)?;
        let issuer = Issuer::from_ca_cert_der(own, key)?;
        Ok(Self { issuer, certificates, root, tokens, not_before, not_after, tally: Tally::default() })
    }

    /// Makes a P-256 key on this machine and signs it: a leaf with `id` as its one name, valid from a minute
    /// before `now` until `now + lifetime` or the authority's own end, whichever is earlier.
    ///
    /// # Errors
    /// The identity is not one that this authority may name, or the authority has expired.
    pub fn issue(&self, id: &SpiffeId, now: OffsetDateTime, lifetime: Duration) -> Result<Svid, IssueError> {
        self.sign_own_key(id, &self.leaf_params(id, now, lifetime)?)
    }

    /// Makes a P-256 key on this machine and signs it as the certificate of `id` that is described.
    pub(crate) fn sign_own_key(&self, id: &SpiffeId, params: &CertificateParams) -> Result<Svid, IssueError> {
        let key = WipedKey::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?.der().clone();
        self.tally.note(params.not_after.unix_timestamp());
        Ok(Svid {
            id: id.clone(),
            chain: self.below_root(leaf),
            key: PrivateKey::from_pkcs8(key.0.serialized_der().to_vec()),
            not_before: params.not_before,
            not_after: params.not_after,
        })
    }

    /// Signs the public key of a request as that of the certificate that is described.
    pub(crate) fn sign_request(
        &self,
        request: &CertificateSigningRequestDer<'_>,
        params: &CertificateParams,
    ) -> Result<Certified, IssueError> {
        let request = CertificateSigningRequestParams::from_der(request).map_err(IssueError::Request)?;
        // The library derives the curve from the request's signature algorithm, so the point must fit that curve.
        let wanted = match request.public_key.algorithm() {
            algorithm if algorithm == &PKCS_ECDSA_P256_SHA256 => P256_POINT,
            algorithm if algorithm == &rcgen::PKCS_ECDSA_P384_SHA384 => P384_POINT,
            _ => return Err(IssueError::KeyKind),
        };
        if request.public_key.der_bytes().len() != wanted {
            return Err(IssueError::KeyKind);
        }
        let leaf = params.signed_by(&request.public_key, &self.issuer)?.der().clone();
        self.tally.note(params.not_after.unix_timestamp());
        Ok(Certified { chain: self.below_root(leaf), not_before: params.not_before, not_after: params.not_after })
    }

    /// The trust domain that it signs for.
    pub fn trust_domain(&self) -> &TrustDomain {
        self.root.trust_domain()
    }

    /// This authority's certificate first, the root last; one certificate if it is the root.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// From when it is valid.
    pub fn not_before(&self) -> OffsetDateTime {
        self.not_before
    }

    /// Until when it is valid.
    pub fn not_after(&self) -> OffsetDateTime {
        self.not_after
    }

    /// What its trust domain is to be believed by: the root alone, and the key for tokens.
    pub fn bundle(&self, sequence: u64) -> Bundle {
        self.root.clone().with_jwt_keys(vec![self.tokens.public().clone()]).numbered(sequence)
    }

    /// What it has signed so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The roots that its certificates are believed by.
    pub(crate) fn roots(&self) -> &[CertificateDer<'static>] {
        self.root.authorities()
    }

    /// Who signs the trust domain's tokens.
    pub fn tokens(&self) -> &Arc<TokenAuthority> {
        &self.tokens
    }

    pub(crate) fn key(&self) -> SavedKey {
        match self.issuer.key() {
            AuthorityKey::Own(key) => SavedKey::Own(PrivateKey::from_pkcs8(key.0.serialized_der().to_vec())),
            AuthorityKey::Held(key) => SavedKey::Held(key.reference().to_owned()),
        }
    }

    /// What every leaf has: `id` as its one URI, both ends of TLS, and a life within the authority's own.
    pub(crate) fn leaf_params(
        &self,
        id: &SpiffeId,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<CertificateParams, IssueError> {
        if id.trust_domain_str() != self.trust_domain().as_str() {
            return Err(IssueError::TrustDomain { wanted: self.trust_domain().clone(), seen: id.clone() });
        }
        if id.path().is_empty() {
            return Err(IssueError::NoPath { seen: id.clone() });
        }
        let lifetime = self.within_own_life(now, lifetime)?;
        let mut params = params(id.as_str(), now, lifetime)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        Ok(params)
    }

    fn within_own_life(&self, now: OffsetDateTime, lifetime: Duration) -> Result<Duration, IssueError> {
        let left = self.not_after - now;
        if left < Duration::SECOND {
            return Err(IssueError::AuthorityExpired { not_after: self.not_after });
        }
        Ok(whole(lifetime)?.min(left))
    }

    pub(crate) fn below_root(&self, leaf: CertificateDer<'static>) -> Vec<CertificateDer<'static>> {
        let intermediates = self.certificates.len().saturating_sub(1);
        std::iter::once(leaf).chain(self.certificates.iter().take(intermediates).cloned()).collect()
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("trust_domain", &self.trust_domain().as_str())
            .field("certificates", &self.certificates.len())
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

fn whole(lifetime: Duration) -> Result<Duration, IssueError> {
    if lifetime < Duration::SECOND { Err(IssueError::Lifetime { seen: lifetime }) } else { Ok(lifetime) }
}

fn ca_params(
    trust_domain: &TrustDomain,
    role: &str,
    depth: BasicConstraints,
    now: OffsetDateTime,
    lifetime: Duration,
) -> Result<CertificateParams, IssueError> {
    let id: SpiffeId = format!("spiffe://{trust_domain}").parse()?;
    let mut params = params(id.as_str(), now, lifetime)?;
    // RFC 5280, section 4.1.2.6: the subject of a CA is not empty.
    params.distinguished_name.push(DnType::OrganizationName, trust_domain.as_str());
    params.distinguished_name.push(DnType::CommonName, role);
    params.is_ca = IsCa::Ca(depth);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// What leaves and authorities have in common; times are cut to whole seconds, as certificates hold them.
fn params(uri: &str, now: OffsetDateTime, lifetime: Duration) -> Result<CertificateParams, IssueError> {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri.try_into()?)];
    params.not_before = now - BACKDATE;
    params.not_after = now + Duration::seconds(lifetime.whole_seconds());
    params.serial_number = Some(random_serial()?);
    Ok(params)
}

/// 126 random bits with the next one set: positive, and of one length (RFC 5280, section 4.1.2.2).
fn random_serial() -> Result<SerialNumber, IssueError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| IssueError::Random)?;
    bytes[0] = bytes[0] & 0x3f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[cfg(test)]
mod tests;
