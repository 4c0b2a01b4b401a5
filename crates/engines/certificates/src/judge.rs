//! What a Certificate is to be issued, or why it is refused.

use crate::claim::{claim, may_have_name};
use crate::rules::Rules;
use crate::usages::{Usages, usages};
use lictor_cluster::Snapshot;
use lictor_manifest::{Certificate, CertificateUsage, IssuerRef, KeyAlgorithm};
use lictor_model::{Name, SpiffeId};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The sizes of RSA keys that are made here.
const RSA_SIZES: [u16; 3] = [2048, 3072, 4096];

/// What is to be issued for a Certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Whom it names.
    pub id: SpiffeId,
    /// Its common name; empty when it has none.
    pub common_name: Arc<str>,
    /// The DNS names beside the identity.
    pub dns_names: BTreeSet<Arc<str>>,
    /// The usages as they were asked for.
    pub asked_usages: BTreeSet<CertificateUsage>,
    /// The usages as they are granted.
    pub usages: Usages,
    /// How long it is to live.
    pub duration: Duration,
    /// Who signs it.
    pub issuer: IssuerRef,
}

impl Request {
    /// The fields in which another request differs, by their paths.
    ///
    /// Source: cert-manager, `RequestMatchesSpec`; there a duration that is not stated fits every other one.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let fields = [
            (self.id != other.id, "spec.uris"),
            (self.dns_names != other.dns_names, "spec.dnsNames"),
            (self.common_name != other.common_name, "spec.commonName"),
            (self.asked_usages != other.asked_usages || self.usages != other.usages, "spec.usages"),
            (self.duration != other.duration, "spec.duration"),
            (self.issuer != other.issuer, "spec.issuerRef"),
        ];
        fields.into_iter().filter(|(differs, _)| *differs).map(|(_, path)| path).collect()
    }
}

/// A Certificate that is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, in one word.
    pub reason: Reason,
    /// The field that is refused.
    pub path: String,
    /// Why, and what to do.
    pub message: String,
}

/// Why a Certificate is not served: the reason of its condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Its issuer is none of lictor's; somebody else may serve it.
    IssuerNotFound,
    /// Its issuer is lictor's, and there is nobody here to sign it.
    NoAuthority,
    /// Manifests declare its Secret.
    SecretDeclared,
    /// It is to sign others.
    CaNotAllowed,
    /// It has a field that lictor's authorities give nobody.
    FieldNotSupported,
    /// It names no identity, or more than one.
    NotOneUri,
    /// Its namespace may not have that identity.
    UriNotAllowed,
    /// Its namespace may not have that DNS name.
    DnsNameNotAllowed,
    /// Its common name is not among its DNS names.
    CommonNameNotAllowed,
    /// An SVID may not have that usage, or lacks one.
    UsageNotAllowed,
    /// Its key is of a size that is not made here.
    KeyNotSupported,
}

impl Reason {
    /// The word in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IssuerNotFound => "IssuerNotFound",
            Self::NoAuthority => "NoAuthority",
            Self::SecretDeclared => "SecretDeclared",
            Self::CaNotAllowed => "CANotAllowed",
            Self::FieldNotSupported => "FieldNotSupported",
            Self::NotOneUri => "NotOneURI",
            Self::UriNotAllowed => "URINotAllowed",
            Self::DnsNameNotAllowed => "DNSNameNotAllowed",
            Self::CommonNameNotAllowed => "CommonNameNotAllowed",
            Self::UsageNotAllowed => "UsageNotAllowed",
            Self::KeyNotSupported => "KeyNotSupported",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

fn refused(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal { reason, path: path.into(), message: message.into() }
}

/// What a Certificate of the snapshot is to be issued.
///
/// # Errors
/// Why it is not served. Its issuer is asked about first: about the Certificates of others nothing more is said.
pub fn judge(certificate: &Certificate, snapshot: &Snapshot, rules: &Rules) -> Result<Request, Refusal> {
    check_issuer(certificate, snapshot, rules)?;
    check_secret(certificate, snapshot)?;
    if certificate.is_ca {
        let message =
            "certificates that sign others are made by no Certificate: what they sign would be believed as anybody";
        return Err(refused(Reason::CaNotAllowed, "spec.isCA", format!("{message}; see `lictor identity ca`")));
    }
    if let Some(field) = certificate.beyond.first() {
        let message = "lictor's authorities give it to nobody, since nobody can tell whose it is; leave it out";
        return Err(refused(Reason::FieldNotSupported, field.path(), message));
    }
    let id = identity(certificate, snapshot)?;
    check_names(certificate, &id, snapshot, rules)?;
    let algorithm = certificate.private_key.algorithm;
    if let KeyAlgorithm::Rsa(bits) = algorithm
        && !RSA_SIZES.contains(&bits)
    {
        let message = format!("an RSA key of {bits} bits is not made here; expected 2048, 3072 or 4096");
        return Err(refused(Reason::KeyNotSupported, "spec.privateKey.size", message));
    }
    let granted = usages(&certificate.usages, algorithm).map_err(|(at, message)| {
        let path = at.map_or_else(|| "spec.usages".to_owned(), |at| format!("spec.usages[{at}]"));
        refused(Reason::UsageNotAllowed, path, message)
    })?;
    Ok(Request {
        id,
        common_name: Arc::clone(&certificate.common_name),
        dns_names: certificate.dns_names.iter().cloned().collect(),
        asked_usages: certificate.usages.iter().copied().collect(),
        usages: granted,
        duration: certificate.duration,
        issuer: certificate.issuer.clone(),
    })
}

fn check_issuer(certificate: &Certificate, snapshot: &Snapshot, rules: &Rules) -> Result<(), Refusal> {
    let issuer = &certificate.issuer;
    if !rules.issuers.all.contains(issuer) {
        let own: Vec<String> = rules.issuers.all.iter().map(|own| format!("{} {}", own.kind, own.name)).collect();
        let message = format!(
            "{issuer} is none of lictor's issuers, which are: {}; whoever serves it fills the Secret",
            own.join(", ")
        );
        return Err(refused(Reason::IssuerNotFound, "spec.issuerRef", message));
    }
    let declared = snapshot.certificates.declaration(issuer, &certificate.meta.name.namespace);
    match declared.filter(|_| !rules.issuers.named) {
        None if rules.has_authorities => Ok(()),
        None => {
            let message = format!(
                "{issuer} stands for lictor's authorities, and there are none here: the identities come from somebody else; have them issue it, and name another issuer"
            );
            Err(refused(Reason::NoAuthority, "spec.issuerRef", message))
        }
        Some(meta) => {
            let place = meta.origin.position("");
            let message = format!(
                "{issuer} is declared at {place}, so it is somebody else's; take the declaration away, or name the issuer as lictor's (lictor up --certificate-issuer {})",
                issuer.name
            );
            Err(refused(Reason::IssuerNotFound, "spec.issuerRef", message))
        }
    }
}

/// A Secret that manifests declare is not written over.
fn check_secret(certificate: &Certificate, snapshot: &Snapshot) -> Result<(), Refusal> {
    let secret = Name::new(Arc::clone(&certificate.meta.name.namespace), Arc::clone(&certificate.secret_name));
    match snapshot.certificates.secrets.get(&secret) {
        None => Ok(()),
        Some(meta) => {
            let message = format!(
                "Secret {secret} is declared at {}, and would be written over; name another one, or take the declaration away",
                meta.origin.position("")
            );
            Err(refused(Reason::SecretDeclared, "spec.secretName", message))
        }
    }
}

/// The one identity, if the namespace may have it (X509-SVID, section 2: exactly one URI).
fn identity(certificate: &Certificate, snapshot: &Snapshot) -> Result<SpiffeId, Refusal> {
    let namespace = &certificate.meta.name.namespace;
    let [uri] = &certificate.uris[..] else {
        let wanted =
            format!("expected one SPIFFE ID such as spiffe://{}/ns/{namespace}/sa/NAME", snapshot.trust_domain);
        let message =
            format!("{wanted}, found {}; an SVID has exactly one URI (X509-SVID, section 2)", certificate.uris.len());
        return Err(refused(Reason::NotOneUri, "spec.uris", message));
    };
    let id: SpiffeId = uri.parse().map_err(|error| {
        let message = format!("{error}, found `{uri}`; lictor's authorities sign SPIFFE IDs and no other URIs");
        refused(Reason::UriNotAllowed, "spec.uris[0]", message)
    })?;
    claim(&id, namespace, snapshot)
        .map_err(|error| refused(Reason::UriNotAllowed, "spec.uris[0]", error.to_string()))?;
    Ok(id)
}

fn check_names(certificate: &Certificate, id: &SpiffeId, snapshot: &Snapshot, rules: &Rules) -> Result<(), Refusal> {
    let namespace = &certificate.meta.name.namespace;
    let domain = &rules.cluster_domain;
    for (at, name) in certificate.dns_names.iter().enumerate() {
        if !may_have_name(name, id, namespace, snapshot, domain) {
            let message = format!(
                "`{name}` is no name of namespace {namespace}: name a Service of it (NAME.{namespace}.svc, NAME.{namespace}.svc.{domain}), or have a ClusterSPIFFEID give the name together with {id} (dnsNameTemplates)"
            );
            return Err(refused(Reason::DnsNameNotAllowed, format!("spec.dnsNames[{at}]"), message));
        }
    }
    let common = &certificate.common_name;
    if !common.is_empty() && !certificate.dns_names.contains(common) {
        let message = format!(
            "`{common}` is none of `dnsNames`; who reads common names takes them for names, so put it there too, or leave it out"
        );
        return Err(refused(Reason::CommonNameNotAllowed, "spec.commonName", message));
    }
    Ok(())
}

/// Which of the Certificates that name one Secret has it: the one that its annotation names, else the oldest, then the
/// first by name. `None` if there are none.
///
/// Source: cert-manager, `CertificateOwnsSecret`.
pub fn owner<'c>(certificates: impl IntoIterator<Item = &'c Certificate>, annotated: Option<&str>) -> Option<&'c Name> {
    let mut all: Vec<&Certificate> = certificates.into_iter().collect();
    all.sort_by_key(|one| (one.meta.created.is_none(), one.meta.created, &one.meta.name));
    let named = all.iter().find(|one| annotated == Some(&*one.meta.name.name));
    named.or(all.first()).map(|one| &one.meta.name)
}
