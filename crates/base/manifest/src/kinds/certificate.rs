//! `cert-manager.io/v1`: a certificate that is to be in a Secret.

use crate::Meta;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A Certificate: a key and a certificate, kept fresh in a Secret.
///
/// Source: cert-manager v1.19, `pkg/apis/certmanager/v1/types_certificate.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// The Secret, in the same namespace.
    pub secret_name: Arc<str>,
    /// What the Secret carries beside what the controller gives it.
    pub secret_template: SecretTemplate,
    /// Who is to sign it.
    pub issuer: IssuerRef,
    /// `commonName`; empty when there is none.
    pub common_name: Arc<str>,
    /// `dnsNames`, as they are written.
    pub dns_names: Vec<Arc<str>>,
    /// `uris`, as they are written.
    pub uris: Vec<Arc<str>>,
    /// How long it is to live; 90 days when nothing is said.
    pub duration: Duration,
    /// When it is renewed.
    pub renewal: Renewal,
    /// How its key is made.
    pub private_key: CertificateKey,
    /// `usages`; none when nothing is said.
    pub usages: Vec<CertificateUsage>,
    /// Whether it is to sign others.
    pub is_ca: bool,
    /// Further forms of key and certificate in the Secret.
    pub output_formats: BTreeSet<OutputFormat>,
    /// What it asks for that lictor's authorities give nobody.
    pub beyond: BTreeSet<Beyond>,
}

/// Labels and annotations of the Secret (`secretTemplate`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecretTemplate {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations; none of `cert-manager.io/` but `allow-direct-injection`.
    pub annotations: BTreeMap<String, String>,
}

/// Who is to sign a Certificate (`issuerRef`), defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IssuerRef {
    /// The API group; `cert-manager.io` when nothing is said.
    pub group: Arc<str>,
    /// The kind; `Issuer` when nothing is said.
    pub kind: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

impl IssuerRef {
    /// The group of cert-manager's own issuers.
    pub const GROUP: &str = "cert-manager.io";
    /// The kind of an issuer of one namespace.
    pub const ISSUER: &str = "Issuer";
    /// The kind of an issuer of the whole cluster.
    pub const CLUSTER_ISSUER: &str = "ClusterIssuer";

    /// The ClusterIssuer of this name.
    pub fn cluster(name: impl Into<Arc<str>>) -> Self {
        Self { group: Arc::from(Self::GROUP), kind: Arc::from(Self::CLUSTER_ISSUER), name: name.into() }
    }
}

impl fmt::Display for IssuerRef {
    /// `ClusterIssuer.cert-manager.io/spiffe-issuer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}/{}", self.kind, self.group, self.name)
    }
}

/// When a certificate is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Renewal {
    /// When a third of its life is left.
    #[default]
    Third,
    /// So long before its end (`renewBefore`), at least five minutes.
    Before(Duration),
    /// When so many hundredths of its life are left (`renewBeforePercentage`), 1 to 99.
    Percentage(u8),
}

/// How the key is made (`privateKey`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CertificateKey {
    /// Its kind and size.
    pub algorithm: KeyAlgorithm,
    /// How it is written.
    pub encoding: KeyEncoding,
    /// Whether a new certificate has a new key.
    pub rotation: KeyRotation,
}

/// The kind and size of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA with so many bits, 2048 to 8192; 2048 when nothing is said.
    Rsa(u16),
    /// ECDSA on the NIST curve of so many bits: 256, 384 or 521; 256 when nothing is said.
    Ecdsa(u16),
    /// Ed25519.
    Ed25519,
}

impl Default for KeyAlgorithm {
    fn default() -> Self {
        Self::Rsa(2048)
    }
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyEncoding {
    /// `RSA PRIVATE KEY` or `EC PRIVATE KEY`; Ed25519 has no such form and is written as PKCS#8.
    #[default]
    Pkcs1,
    /// `PRIVATE KEY`.
    Pkcs8,
}

/// Whether a new certificate has a new key (`rotationPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum KeyRotation {
    /// Each has; cert-manager's default since 1.18.
    #[default]
    Always,
    /// The key of the Secret is kept as long as it is of the kind that is asked for.
    Never,
}

/// What a certificate is for: a key usage, or an extended one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CertificateUsage {
    /// `digital signature`, which `signing` says as well.
    DigitalSignature,
    /// `key encipherment`.
    KeyEncipherment,
    /// `key agreement`.
    KeyAgreement,
    /// `server auth`.
    ServerAuth,
    /// `client auth`.
    ClientAuth,
    /// Another key usage, by its word.
    OtherKey(&'static str),
    /// Another extended key usage, by its word.
    OtherExtended(&'static str),
}

/// A further form in which the Secret has the key (`additionalOutputFormats`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputFormat {
    /// `key.der`: the key alone, in DER.
    Der,
    /// `tls-combined.pem`: the key, then the certificates.
    CombinedPem,
}

/// A part of a Certificate that says something, and that lictor's authorities give nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // Each variant is its field.
pub enum Beyond {
    Subject,
    LiteralSubject,
    OtherNames,
    EmailAddresses,
    IpAddresses,
    NameConstraints,
    JksKeystore,
    Pkcs12Keystore,
}

impl Beyond {
    /// The path of its field.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Subject => "spec.subject",
            Self::LiteralSubject => "spec.literalSubject",
            Self::OtherNames => "spec.otherNames",
            Self::EmailAddresses => "spec.emailAddresses",
            Self::IpAddresses => "spec.ipAddresses",
            Self::NameConstraints => "spec.nameConstraints",
            Self::JksKeystore => "spec.keystores.jks",
            Self::Pkcs12Keystore => "spec.keystores.pkcs12",
        }
    }
}

impl CertificateUsage {
    /// The word for it in `usages`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DigitalSignature => "digital signature",
            Self::KeyEncipherment => "key encipherment",
            Self::KeyAgreement => "key agreement",
            Self::ServerAuth => "server auth",
            Self::ClientAuth => "client auth",
            Self::OtherKey(word) | Self::OtherExtended(word) => word,
        }
    }

    /// Whether it is an extended key usage (RFC 5280, section 4.2.1.12).
    pub const fn is_extended(self) -> bool {
        matches!(self, Self::ServerAuth | Self::ClientAuth | Self::OtherExtended(_))
    }
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ecdsa(bits) => write!(f, "ECDSA {bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}
