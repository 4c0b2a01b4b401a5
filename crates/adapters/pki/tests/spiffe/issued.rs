//! `issued.json`: what our own authority signs, described as the certificates of the other files are, and believed.

use crate::certificate::KEY_USAGES;
use crate::{DOMAIN, NOW, Vectors, at, compare, now};
use lictor_model::{DnsName, SpiffeId};
use lictor_pki::{CertificateAuthority, Subject, Usage, verify};
use rcgen::{CertificateParams, CertificateSigningRequest, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// What is looked at: `root`, `issuing`, or the leaf that `root` or `issuing` signs for `id`.
    of: String,
    id: Option<String>,
    /// The DNS names that the leaf is to have.
    #[serde(default)]
    dns_names: Vec<String>,
    /// Seconds that the leaf is to live.
    #[serde(default = "an_hour")]
    lifetime: i64,
    /// The workload made its key, of this kind, and asks for the certificate with a request that wants other things.
    request: Option<String>,
    /// How many certificates the chain has.
    chain: Option<usize>,
    /// Members of its description.
    is: Option<Map<String, Value>>,
    refused: Option<String>,
}

fn an_hour() -> i64 {
    3600
}

#[test]
fn what_our_authority_signs_is_what_the_specification_asks_for() {
    let root = CertificateAuthority::new(DOMAIN.parse().expect("a trust domain"), now(), Duration::days(30));
    let root = root.expect("a root");
    let issuing = root.subordinate(now(), Duration::days(1)).expect("an issuing authority");
    Vectors::read("issued.json").run(|case: &Case| {
        let authority = if case.of == "root" { &root } else { &issuing };
        let Some(id) = &case.id else {
            return compare_members(&describe(&authority.certificates()[0]), case.is.as_ref());
        };
        let id: SpiffeId = id.parse().expect("an identity");
        let lifetime = Duration::seconds(case.lifetime);
        let dns_names: Arc<[DnsName]> = case.dns_names.iter().map(|name| name.parse().expect("a name")).collect();
        let subject = Subject { id: id.clone(), dns_names };
        let chain = match &case.request {
            None if subject.dns_names.is_empty() => authority.issue(&id, now(), lifetime).map(|svid| svid.chain),
            None => authority.issue_to(&subject, now(), lifetime).map(|svid| svid.chain),
            Some(kind) => authority.sign(request(kind).der(), &subject, now(), lifetime).map(|made| made.chain),
        };
        let chain = match chain {
            Ok(chain) => chain,
            Err(error) => return compare(Err::<(), _>(error), None, case.refused.as_deref()),
        };
        for usage in [Usage::Client, Usage::Server] {
            let seen = verify(&chain, &root.bundle(1), at(0), usage);
            compare(seen, Some(id.clone()), None)?;
        }
        if case.chain.is_some_and(|length| length != chain.len()) {
            return Err(format!("a chain of {}", chain.len()));
        }
        compare_members(&describe(&chain[0]), case.is.as_ref())
    });
}

/// A request for another one's name, two more names, a CA and another purpose.
fn request(kind: &str) -> CertificateSigningRequest {
    let algorithm = match kind {
        "P-256" => &rcgen::PKCS_ECDSA_P256_SHA256,
        "P-384" => &rcgen::PKCS_ECDSA_P384_SHA384,
        "P-521" => &rcgen::PKCS_ECDSA_P521_SHA512,
        "Ed25519" => &rcgen::PKCS_ED25519,
        _ => panic!("expected a kind of key, saw {kind}"),
    };
    let key = KeyPair::generate_for(algorithm).expect("a key");
    let mut wanted = CertificateParams::new(["victim.svc".to_owned()]).expect("parameters");
    wanted.subject_alt_names.push(SanType::URI("spiffe://td.example/victim".try_into().expect("a name")));
    wanted.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    wanted.serialize_request(&key).expect("a request")
}

fn compare_members(seen: &Value, wanted: Option<&Map<String, Value>>) -> Result<(), String> {
    let wanted = wanted.ok_or("expected the case to say what it is")?;
    let differ = |(name, value): &(&String, &Value)| seen.get(*name) != Some(*value);
    match wanted.iter().find(differ) {
        None => Ok(()),
        Some((name, value)) => Err(format!("expected {name} to be {value}, saw {:?}", seen.get(name))),
    }
}

fn describe(der: &CertificateDer<'_>) -> Value {
    let (rest, certificate) = X509Certificate::from_der(der).expect("a certificate");
    assert!(rest.is_empty());
    let names = certificate.subject_alternative_name().expect("readable");
    let constraints = certificate.basic_constraints().expect("readable");
    let usage = certificate.key_usage().expect("readable");
    let purposes = certificate.extended_key_usage().expect("readable");
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::URI(uri) => format!("uri:{uri}"),
        GeneralName::DNSName(name) => format!("dns:{name}"),
        other => other.to_string(),
    };
    let bits = |flags: u16| (0..9).filter(|bit| flags >> bit & 1 == 1).map(|bit| KEY_USAGES[bit]).collect::<Vec<_>>();
    let seconds = |time: x509_parser::time::ASN1Time| time.timestamp() - NOW;
    json!({
        "subject": certificate.subject().to_string(),
        "empty_subject": certificate.subject().iter().next().is_none(),
        "names": names.as_ref().map(|names| names.value.general_names.iter().map(name).collect::<Vec<_>>()),
        "names_critical": names.is_some_and(|names| names.critical),
        "ca": constraints.as_ref().map(|constraints| constraints.value.ca),
        "path_length": constraints.as_ref().and_then(|constraints| constraints.value.path_len_constraint),
        "constraints_critical": constraints.as_ref().is_some_and(|constraints| constraints.critical),
        "key_usage": usage.as_ref().map(|usage| bits(usage.value.flags)),
        "key_usage_critical": usage.is_some_and(|usage| usage.critical),
        "server_auth": purposes.as_ref().map(|purposes| purposes.value.server_auth),
        "client_auth": purposes.as_ref().map(|purposes| purposes.value.client_auth),
        "name_constraints": certificate.name_constraints().expect("readable").is_some(),
        "key": certificate.public_key().subject_public_key.data.len(),
        "serial_bits": certificate.serial.bits(),
        "version": certificate.version().0,
        "starts": seconds(certificate.validity().not_before),
        "ends": seconds(certificate.validity().not_after),
    })
}
