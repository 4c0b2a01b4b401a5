use super::IssueError as E;
use crate::{CertificateAuthority, Usage, unix_time, verify};
use lictor_model::SpiffeId;
use rcgen::{CertificateParams, KeyPair, SanType};
use std::collections::HashSet;
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

fn now() -> OffsetDateTime {
    crate::forge::now()
}

fn root() -> CertificateAuthority {
    CertificateAuthority::new(crate::forge::domain(), now(), Duration::days(30)).expect("a root")
}

fn id() -> SpiffeId {
    "spiffe://td.example/ns/shop/sa/cart".parse().expect("an identity")
}

#[test]
fn a_root_is_the_trust_domains_own_identity_and_only_signs() {
    let root = root();
    let (_, parsed) = X509Certificate::from_der(&root.certificates()[0]).expect("a certificate");
    let constraints = parsed.basic_constraints().expect("readable").expect("basic constraints");
    assert!(constraints.critical && constraints.value.ca);
    let usage = parsed.key_usage().expect("readable").expect("a key usage");
    assert!(usage.critical && usage.value.key_cert_sign() && usage.value.crl_sign());
    assert!(!usage.value.digital_signature());
    let names = parsed.subject_alternative_name().expect("readable").expect("names");
    assert_eq!(names.value.general_names, [GeneralName::URI("spiffe://td.example")]);
    assert!(
        parsed.subject().iter_organization().next().is_some() && parsed.name_constraints().ok().flatten().is_none()
    );
    assert!(parsed.verify_signature(None).is_ok());
}

#[test]
fn a_leaf_is_an_svid_to_the_letter() {
    let root = root();
    let svid = root.issue(&id(), now(), Duration::HOUR).expect("an SVID");
    let (_, parsed) = X509Certificate::from_der(&svid.chain[0]).expect("a certificate");
    assert_eq!((parsed.subject().iter().count(), svid.chain.len()), (0, 1));
    let names = parsed.subject_alternative_name().expect("readable").expect("names");
    assert!(names.critical, "RFC 5280, section 4.1.2.6: no subject, so the names are critical");
    assert_eq!(names.value.general_names, [GeneralName::URI(id().as_str())]);
    let constraints = parsed.basic_constraints().expect("readable").expect("basic constraints");
    assert!(!constraints.value.ca);
    let usage = parsed.key_usage().expect("readable").expect("a key usage");
    assert!(usage.critical);
    assert_eq!(usage.value.flags, 1, "digitalSignature alone");
    let purposes = parsed.extended_key_usage().expect("readable").expect("purposes").value;
    assert!(purposes.server_auth && purposes.client_auth && !purposes.any);
    let (from, to) = (parsed.validity().not_before.to_datetime(), parsed.validity().not_after.to_datetime());
    assert_eq!((from, to), (svid.not_before, svid.not_after));
    assert_eq!((from, to), (now() - Duration::MINUTE, now() + Duration::HOUR));
    assert!(!format!("{svid:?}{root:?}").contains("key"), "keys are not printed");
    assert_eq!(format!("{:?}", svid.key), "PrivateKey(elided)");
}

#[test]
fn serials_are_random_positive_and_short_enough() {
    let root = root();
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let svid = root.issue(&id(), now(), Duration::HOUR).expect("an SVID");
        let (_, parsed) = X509Certificate::from_der(&svid.chain[0]).expect("a certificate");
        let serial = parsed.raw_serial().to_vec();
        assert!(serial[0] & 0x80 == 0 && serial[0] != 0 && serial.len() == 16, "{serial:x?}");
        assert!(seen.insert(serial), "a serial came twice");
    }
}

#[test]
fn nothing_outlives_its_authority() {
    let root = root();
    let issuing = root.subordinate(now(), Duration::hours(2)).expect("an issuing authority");
    assert_eq!(issuing.not_after(), now() + Duration::hours(2));
    let longer = root.subordinate(now(), Duration::days(365)).expect("an issuing authority");
    assert_eq!(longer.not_after(), root.not_after());
    let svid = issuing.issue(&id(), now() + Duration::HOUR, Duration::days(1)).expect("an SVID");
    assert_eq!(svid.not_after, issuing.not_after());
    let late = issuing.issue(&id(), now() + Duration::hours(2), Duration::HOUR);
    assert!(matches!(late, Err(E::AuthorityExpired { .. })), "{late:?}");
    assert!(matches!(root.issue(&id(), now(), Duration::ZERO), Err(E::Lifetime { .. })));
}

#[test]
fn an_issuing_authority_sends_itself_and_is_believed_through_the_root() {
    let root = root();
    let issuing = root.subordinate(now(), Duration::hours(2)).expect("an issuing authority");
    let svid = issuing.issue(&id(), now(), Duration::HOUR).expect("an SVID");
    assert_eq!(svid.chain[1..], issuing.certificates()[..1]);
    assert_eq!(issuing.bundle(3), root.bundle(3));
    assert_eq!(verify(&svid.chain, &root.bundle(1), unix_time(now()), Usage::Server), Ok(id()));
    assert!(verify(&svid.chain[..1], &root.bundle(1), unix_time(now()), Usage::Server).is_err());
    // It may not make authorities of its own.
    let third = issuing.subordinate(now(), Duration::HOUR).expect("a certificate, though not a valid one");
    let svid = third.issue(&id(), now(), Duration::MINUTE).expect("an SVID");
    assert!(verify(&svid.chain, &root.bundle(1), unix_time(now()), Usage::Server).is_err());
}

#[test]
fn only_workloads_of_the_own_trust_domain_are_named() {
    let root = root();
    let named = |text: &str| root.issue(&text.parse().expect("an identity"), now(), Duration::HOUR);
    assert!(matches!(named("spiffe://other.example/a"), Err(E::TrustDomain { .. })));
    assert!(matches!(named("spiffe://td.example"), Err(E::NoPath { .. })));
}

#[test]
fn a_request_gives_its_public_key_and_nothing_else() {
    let root = root();
    let request = |key: &KeyPair| {
        let mut params = CertificateParams::new(["evil.example".to_owned()]).expect("a name");
        params.subject_alt_names.push(SanType::URI("spiffe://td.example/admin".try_into().expect("a URI")));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
        params.serialize_request(key).expect("a request").der().clone()
    };
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let chain = root.sign(&request(&key), &id().into(), now(), Duration::HOUR).expect("a certificate").chain;
        assert_eq!(verify(&chain, &root.bundle(1), unix_time(now()), Usage::Client), Ok(id()));
        assert_eq!(root.tally().last_expiry(), Some(now() + Duration::HOUR), "it is counted");
        let (_, parsed) = X509Certificate::from_der(&chain[0]).expect("a certificate");
        let names = parsed.subject_alternative_name().expect("readable").expect("names");
        assert_eq!(names.value.general_names, [GeneralName::URI(id().as_str())]);
        assert_eq!(parsed.public_key().subject_public_key.data.as_ref(), key.public_key_raw());
        assert_eq!(parsed.subject().iter().count(), 0);
    }

    let key = KeyPair::generate().expect("a key");
    let mut tampered = request(&key).to_vec();
    let at = tampered.windows(4).position(|window| window == b"evil").expect("its name");
    tampered[at] = b'x';
    let refused = root.sign(&tampered.into(), &id().into(), now(), Duration::HOUR);
    assert!(matches!(refused, Err(E::Request(_))), "{refused:?}");
    for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P521_SHA512] {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let refused = root.sign(&request(&key), &id().into(), now(), Duration::HOUR);
        assert!(matches!(refused, Err(E::KeyKind | E::Request(_))), "{refused:?}");
    }
}
