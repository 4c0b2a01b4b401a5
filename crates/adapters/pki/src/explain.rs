//! What a certificate or token says, for a person who looks at it. Nothing here proves anything.

use crate::jws::Unverified;
use crate::jwt::{TokenError, subject};
use crate::signing::check_signer;
use crate::verify::{PeerError, check_leaf, parse, uri_name};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

/// What stands in a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// Whom it is for, in the form of RFC 4514; empty as most SVIDs' is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// Its number, hexadecimal.
    pub serial: String,
    /// Its names, each with its kind: `URI:spiffe://…`, `DNS:…`.
    pub names: Vec<String>,
    /// Its first second.
    pub not_before: OffsetDateTime,
    /// Its last second.
    pub not_after: OffsetDateTime,
    /// Whether it may sign others.
    pub is_authority: bool,
    /// The kind and size of its key.
    pub key: String,
    /// What the key is for.
    pub usages: Vec<&'static str>,
    /// The rule of X509-SVID that it breaks as what it is, a leaf or an authority, if it breaks one.
    pub fault: Option<String>,
}

/// What stands in a token.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenFacts {
    /// The algorithm of its signature.
    pub algorithm: &'static str,
    /// Which key is said to have made it.
    pub key_id: Option<String>,
    /// Every claim, as the token has it.
    pub claims: Map<String, Value>,
    /// The rule of JWT-SVID about its subject that it breaks, if it breaks one.
    pub fault: Option<String>,
}

impl CertificateFacts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`PeerError::Malformed`] for bytes that are none.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, PeerError> {
        let parsed = parse(certificate)?;
        let validity = parsed.validity();
        let is_authority = parsed.is_ca();
        let fault = if is_authority {
            check_signer(&parsed).err().map(|fault| fault.to_string())
        } else {
            leaf_fault(&parsed).err().map(|fault| fault.to_string())
        };
        Ok(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            serial: parsed.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect(),
            names: names(&parsed),
            not_before: validity.not_before.to_datetime(),
            not_after: validity.not_after.to_datetime(),
            is_authority,
            key: key(&parsed),
            usages: usages(&parsed),
            fault,
        })
    }
}

impl TokenFacts {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is no JWT-SVID by its form (JWT-SVID, section 2).
    pub fn of(token: &str) -> Result<Self, TokenError> {
        let token = Unverified::read(token)?;
        let fault = subject(&token.claims).err().map(|fault| fault.to_string());
        Ok(Self { algorithm: token.algorithm.as_str(), key_id: token.key_id, claims: token.claims, fault })
    }
}

/// The first rule that a leaf breaks (X509-SVID, sections 2 to 4).
fn leaf_fault(certificate: &X509Certificate<'_>) -> Result<(), PeerError> {
    let id = uri_name(certificate)?;
    if id.path().is_empty() {
        return Err(PeerError::NoPath { seen: id });
    }
    check_leaf(certificate)
}

fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => format!("URI:{uri}"),
        GeneralName::DNSName(dns) => format!("DNS:{dns}"),
        GeneralName::RFC822Name(mail) => format!("email:{mail}"),
        other => other.to_string(),
    };
    extension.value.general_names.iter().map(name).collect()
}

fn key(certificate: &X509Certificate<'_>) -> String {
    let info = certificate.public_key();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC P-{}", if point.key_size() > 384 { 521 } else { point.key_size() }),
        _ => info.algorithm.algorithm.to_id_string(),
    }
}

fn usages(certificate: &X509Certificate<'_>) -> Vec<&'static str> {
    let mut usages = Vec::new();
    if let Ok(Some(usage)) = certificate.key_usage() {
        let value = usage.value;
        let all = [
            (value.digital_signature(), "digitalSignature"),
            (value.key_encipherment(), "keyEncipherment"),
            (value.key_agreement(), "keyAgreement"),
            (value.key_cert_sign(), "keyCertSign"),
            (value.crl_sign(), "cRLSign"),
        ];
        usages.extend(all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word));
    }
    if let Ok(Some(purposes)) = certificate.extended_key_usage() {
        let all = [(purposes.value.server_auth, "serverAuth"), (purposes.value.client_auth, "clientAuth")];
        usages.extend(all.into_iter().filter(|(is, _)| *is).map(|(_, word)| word));
    }
    usages
}

#[cfg(test)]
mod tests {
    use super::{CertificateFacts, TokenFacts};
    use crate::CertificateAuthority;
    use crate::forge::{self, now};
    use rustls_pki_types::CertificateDer;
    use time::Duration;

    #[test]
    fn what_we_issue_is_told_and_breaks_no_rule() {
        let root = CertificateAuthority::new(forge::domain(), now(), Duration::DAY).expect("a root");
        let id = format!("spiffe://{}/a", forge::domain()).parse().expect("an identity");
        let svid = root.issue(&id, now(), Duration::HOUR).expect("an SVID");
        let leaf = CertificateFacts::of(&svid.chain[0]).expect("a certificate");
        assert_eq!((leaf.names, leaf.fault, leaf.is_authority), (vec![format!("URI:{id}")], None, false));
        assert_eq!(
            (leaf.key.as_str(), leaf.usages),
            ("EC P-256", vec!["digitalSignature", "serverAuth", "clientAuth"])
        );
        let authority = CertificateFacts::of(&root.bundle(1).authorities()[0]).expect("a certificate");
        assert_eq!((authority.fault, authority.is_authority), (None, true));
        assert!(authority.usages.contains(&"keyCertSign"));
        assert!(CertificateFacts::of(&CertificateDer::from(vec![0])).is_err());

        let token = root.tokens().issue(&id, &["shop".to_owned()], now(), Duration::MINUTE).expect("a token");
        let told = TokenFacts::of(&token).expect("a token");
        assert_eq!((told.algorithm, told.fault, told.claims["sub"].as_str()), ("ES256", None, Some(id.as_str())));
        assert!(TokenFacts::of("a.b.c").is_err());
    }
}
