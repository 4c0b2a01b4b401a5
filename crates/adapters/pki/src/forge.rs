//! For tests: a root that signs whatever it is told to, right or wrong.

use crate::{Bundle, PrivateKey, Svid};
use lictor_model::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, UnixTime};
use time::{Duration, OffsetDateTime};

pub(crate) const DOMAIN: &str = "td.example";

/// The moment around which forged certificates are valid, unless told otherwise.
pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time")
}

pub(crate) fn at(hours: i64) -> UnixTime {
    crate::unix_time(now() + Duration::hours(hours))
}

pub(crate) struct Forge {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Forge {
    /// A root that is valid for a hundred hours before and after `now`.
    pub(crate) fn new(now: OffsetDateTime) -> Self {
        let params = authority(now);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a root").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// Another authority, signed by this one.
    pub(crate) fn below(&self, params: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    /// A leaf and its key, signed by this authority.
    pub(crate) fn leaf(&self, params: &CertificateParams) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate").der().clone(), key)
    }

    /// A leaf as an SVID; its id is `claimed`, whatever the certificate says.
    pub(crate) fn svid(&self, params: &CertificateParams, claimed: &str) -> Svid {
        let (leaf, key) = self.leaf(params);
        Svid {
            id: claimed.parse().expect("an identity"),
            chain: vec![leaf],
            key: PrivateKey::from_pkcs8(key.serialize_der()),
            not_before: params.not_before,
            not_after: params.not_after,
        }
    }

    pub(crate) fn bundle(&self) -> Bundle {
        Bundle::new(domain(), vec![self.certificate.clone()], 1).expect("a bundle")
    }
}

pub(crate) fn domain() -> TrustDomain {
    DOMAIN.parse().expect("a trust domain")
}

/// A proper CA.
pub(crate) fn authority(now: OffsetDateTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, DOMAIN);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = now - Duration::hours(100);
    params.not_after = now + Duration::hours(100);
    params
}

/// A proper leaf with these URI names, valid from an hour before `now` until an hour after it.
pub(crate) fn leaf(now: OffsetDateTime, uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = uris.iter().map(|&uri| SanType::URI(uri.try_into().expect("an IA5 string"))).collect();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = now - Duration::HOUR;
    params.not_after = now + Duration::HOUR;
    params
}

/// The same certificate with one thing spoilt.
pub(crate) fn but(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}
