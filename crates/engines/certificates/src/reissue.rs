//! Whether a certificate is issued again, and why.

use crate::held::{CertificateFacts, Held, KeyFacts};
use crate::judge::Request;
use crate::renewal::renewal_time;
use lictor_manifest::Certificate;
use std::fmt;
use time::OffsetDateTime;

/// Everything that is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Examined<'e> {
    /// The Certificate.
    pub certificate: &'e Certificate,
    /// What it asks for now.
    pub request: &'e Request,
    /// Its Secret, if it is there.
    pub secret: Option<&'e Held>,
    /// What was asked for when the Secret was filled, and the public key that was signed; nothing if nobody remembers.
    pub last: Option<(&'e Request, &'e [u8])>,
    /// The time.
    pub now: OffsetDateTime,
}

/// A certificate that is to be issued again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reissue {
    /// Why, in one word.
    pub cause: Cause,
    /// Why, in a sentence.
    pub message: String,
}

/// Why a certificate is issued again, or is not what was asked for: the reason of a condition.
///
/// Source: cert-manager, `policies/constants.go`; the last two are lictor's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The words are cert-manager's.
pub enum Cause {
    DoesNotExist,
    MissingData,
    InvalidKeyPair,
    InvalidCertificate,
    IncorrectIssuer,
    IncorrectCertificate,
    SecretMismatch,
    RequestChanged,
    Renewing,
    Expired,
    /// Whoever signed it is not to be trusted any more.
    AuthorityTainted,
    /// Somebody asked for it.
    ManuallyTriggered,
}

impl Cause {
    /// The word in the condition.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DoesNotExist => "DoesNotExist",
            Self::MissingData => "MissingData",
            Self::InvalidKeyPair => "InvalidKeyPair",
            Self::InvalidCertificate => "InvalidCertificate",
            Self::IncorrectIssuer => "IncorrectIssuer",
            Self::IncorrectCertificate => "IncorrectCertificate",
            Self::SecretMismatch => "SecretMismatch",
            Self::RequestChanged => "RequestChanged",
            Self::Renewing => "Renewing",
            Self::Expired => "Expired",
            Self::AuthorityTainted => "AuthorityTainted",
            Self::ManuallyTriggered => "ManuallyTriggered",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Reissue {
    pub(crate) fn new(cause: Cause, message: impl Into<String>) -> Self {
        Self { cause, message: message.into() }
    }
}

/// Why a certificate is issued again now; nothing if it is not.
///
/// Source: cert-manager, `NewTriggerPolicyChain`.
pub fn reissue(examined: &Examined<'_>) -> Option<Reissue> {
    match mismatch(examined) {
        Err(reissue) => Some(reissue),
        Ok((_, certificate)) => tainted(certificate).or_else(|| nearing_its_end(examined, certificate)),
    }
}

/// What the Secret holds, if it is what was asked for, its age left aside.
///
/// Source: the checks that cert-manager's trigger and readiness have in common, in their order.
pub(crate) fn mismatch<'e>(examined: &Examined<'e>) -> Result<(&'e KeyFacts, &'e CertificateFacts), Reissue> {
    let Some(secret) = examined.secret else {
        return Err(Reissue::new(Cause::DoesNotExist, "Issuing certificate as Secret does not exist"));
    };
    let (key, certificate) = pair(secret)?;
    annotations(examined, secret)?;
    let wanted = examined.certificate.private_key.algorithm;
    if key.algorithm != wanted {
        let message =
            format!("Existing private key is not up to date for spec: {wanted} is asked for, it is {}", key.algorithm);
        return Err(Reissue::new(Cause::SecretMismatch, message));
    }
    let Some((last, public)) = examined.last else {
        names(examined.request, certificate)?;
        return Ok((key, certificate));
    };
    if public != key.public {
        let message = "Secret contains a private key that does not match the current request";
        return Err(Reissue::new(Cause::SecretMismatch, message));
    }
    match &last.differences(examined.request)[..] {
        [] => Ok((key, certificate)),
        fields => {
            let message = format!("Fields on existing request not up to date: [{}]", fields.join(" "));
            Err(Reissue::new(Cause::RequestChanged, message))
        }
    }
}

/// Key and certificate, if they are there and of each other.
fn pair(secret: &Held) -> Result<(&KeyFacts, &CertificateFacts), Reissue> {
    let missing = |what: &str| {
        Reissue::new(Cause::MissingData, format!("Issuing certificate as Secret does not contain a {what}"))
    };
    let key = secret.key.as_ref().ok_or_else(|| missing("private key"))?;
    let certificate = secret.certificate.as_ref().ok_or_else(|| missing("certificate"))?;
    let key = key.as_ref().map_err(|error| {
        let message = format!("Issuing certificate as Secret contains invalid private key data: {error}");
        Reissue::new(Cause::InvalidKeyPair, message)
    })?;
    let certificate = certificate.as_ref().map_err(|error| {
        let message = format!("Issuing certificate as Secret contains an invalid certificate: {error}");
        Reissue::new(Cause::InvalidCertificate, message)
    })?;
    if key.public != certificate.public {
        let message = "Issuing certificate as Secret contains a private key that does not match the certificate";
        return Err(Reissue::new(Cause::InvalidKeyPair, message));
    }
    Ok((key, certificate))
}

fn annotations(examined: &Examined<'_>, secret: &Held) -> Result<(), Reissue> {
    if let Some(issuer) = secret.issuer.as_ref().filter(|issuer| **issuer != examined.certificate.issuer) {
        let message = format!("Issuing certificate as Secret was previously issued by \"{issuer}\"");
        return Err(Reissue::new(Cause::IncorrectIssuer, message));
    }
    let own = &examined.certificate.meta.name.name;
    if let Some(name) = secret.certificate_name.as_ref().filter(|name| *name != own) {
        let message = format!(
            "Secret was issued for \"{name}\". If this message is not transient, two Certificates name the same Secret; give one of them another secretName"
        );
        return Err(Reissue::new(Cause::IncorrectCertificate, message));
    }
    Ok(())
}

/// Holds the names of a certificate to a request, where nobody remembers the one that it was issued for.
fn names(request: &Request, certificate: &CertificateFacts) -> Result<(), Reissue> {
    let names = &certificate.names;
    let same = names.id().as_ref() == Some(&request.id)
        && names.dns_names.iter().map(String::as_str).eq(request.dns_names.iter().map(|name| &**name))
        && *names.common_name == *request.common_name
        && !names.others;
    if same {
        return Ok(());
    }
    let message = "Issuing certificate as Existing issued Secret is not up to date for spec: its names are others";
    Err(Reissue::new(Cause::SecretMismatch, message))
}

fn tainted(certificate: &CertificateFacts) -> Option<Reissue> {
    let message = "Issuing certificate as the authority that signed it is tainted";
    certificate.tainted.then(|| Reissue::new(Cause::AuthorityTainted, message))
}

fn nearing_its_end(examined: &Examined<'_>, certificate: &CertificateFacts) -> Option<Reissue> {
    let at = renewal_time(certificate.issued, certificate.not_after, examined.certificate.renewal);
    let message = format!("Renewing certificate as renewal was scheduled at {at}");
    (at <= examined.now).then(|| Reissue::new(Cause::Renewing, message))
}
