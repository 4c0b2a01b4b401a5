use super::{InvalidUpstream as E, Upstream, UpstreamPart as Part, UpstreamPem};
use crate::forge::{domain, now};
use crate::{Authorities, Kind, Usage, unix_time, verify};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::sync::Arc;
use time::Duration;

/// An authority as cert-manager makes one: without a SPIFFE ID.
struct Made {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key: String,
}

fn params(name: &str, depth: BasicConstraints) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(depth);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (now() - Duration::HOUR, now() + Duration::days(100));
    params
}

fn made(name: &str, depth: BasicConstraints, above: Option<&Made>) -> Made {
    let (params, key) = (params(name, depth), KeyPair::generate().expect("a key"));
    let certificate = match above {
        Some(above) => params.signed_by(&key, &above.issuer),
        None => params.self_signed(&key),
    };
    let (certificate, text) = (certificate.expect("a certificate").pem(), key.serialize_pem());
    Made { issuer: Issuer::new(params, key), certificate, key: text }
}

fn read(certificate: &str, key: &str, roots: Option<&str>) -> Result<Upstream, (Part, E)> {
    Upstream::from_pem(&domain(), UpstreamPem { certificate, key, roots })
}

const ANY: BasicConstraints = BasicConstraints::Unconstrained;

#[test]
fn svids_carry_the_chain_below_the_upstreams_root() {
    let root = made("root", ANY, None);
    let middle = made("middle", BasicConstraints::Constrained(1), Some(&root));
    let joined = format!("{}{}", middle.certificate, root.certificate);
    for (certificate, roots) in [(&middle.certificate, Some(root.certificate.as_str())), (&joined, None)] {
        let upstream = Arc::new(read(certificate, &middle.key, roots).expect("an upstream"));
        let mut own =
            Authorities::new(domain(), Some(Arc::clone(&upstream)), Duration::HOUR, now()).expect("authorities");
        let id = "spiffe://td.example/a".parse().expect("an identity");
        let svid = own.signer().0.issue(&id, now(), Duration::MINUTE).expect("an SVID");
        let bundle = own.bundle().expect("a bundle");
        assert_eq!((svid.chain.len(), bundle.authorities()), (3, upstream.roots()), "leaf, ours, the upstream's");
        assert_eq!(verify(&svid.chain, &bundle, unix_time(now()), Usage::Server), Ok(id));
        own.prepare(Kind::X509, now()).expect("another one");
        own.activate(Kind::X509, None, now()).expect("its turn");
        assert_eq!(own.bundle().expect("a bundle"), bundle, "peers believe the root, whoever signs below it");
        let refused = own.taint(Kind::X509, None).expect_err("a refusal").to_string();
        assert_eq!(refused, "the x509 authorities are signed by an upstream; replace the upstream's files instead");
        own.prepare(Kind::Jwt, now()).expect("another one");
        own.activate(Kind::Jwt, None, now()).expect("its turn");
        own.taint(Kind::Jwt, None).expect("tokens have no upstream");
    }
}

#[test]
fn another_root_is_believed_before_it_signs_and_the_first_one_goes_on() {
    let (one, two) = (made("one", ANY, None), made("two", ANY, None));
    let upstream = |made: &Made| Arc::new(read(&made.certificate, &made.key, None).expect("an upstream"));
    let mut own = Authorities::new(domain(), Some(upstream(&one)), Duration::HOUR, now()).expect("authorities");
    let id = "spiffe://td.example/a".parse().expect("an identity");
    let issue = |own: &Authorities| own.signer().0.issue(&id, now(), Duration::MINUTE).expect("an SVID");
    let before = issue(&own);
    own.set_upstream(upstream(&two), now()).expect("the files of another root");
    let between = own.bundle().expect("a bundle");
    assert_eq!((between.authorities().len(), between.sequence()), (2, 2));
    own.activate(Kind::X509, None, now()).expect("its turn");
    let after = issue(&own);
    for svid in [&before, &after] {
        for bundle in [&between, &own.bundle().expect("a bundle")] {
            assert!(verify(&svid.chain, bundle, unix_time(now()), Usage::Client).is_ok());
        }
    }
    own.step(now() + Duration::minutes(2)).expect("a step");
    let later = own.bundle().expect("a bundle");
    assert_eq!(later.authorities(), upstream(&two).roots(), "nothing of the first one is left");

    own.set_upstream(upstream(&two), now()).expect("the same again");
    assert_eq!(own.bundle().expect("a bundle"), later);
}

#[test]
fn one_that_waits_is_signed_again_by_a_renewed_intermediate() {
    let root = made("root", ANY, None);
    let (first, renewed) = (made("first", ANY, Some(&root)), made("renewed", ANY, Some(&root)));
    let upstream =
        |made: &Made| Arc::new(read(&made.certificate, &made.key, Some(&root.certificate)).expect("an upstream"));
    let mut own = Authorities::new(domain(), Some(upstream(&first)), Duration::HOUR, now()).expect("authorities");
    let waits = own.prepare(Kind::X509, now()).expect("another one");
    let bundle = own.bundle().expect("a bundle");
    own.set_upstream(upstream(&renewed), now()).expect("its renewal");
    assert_eq!((own.x509_state(&waits), own.bundle().expect("a bundle")), (None, bundle), "the root is the same");
    own.activate(Kind::X509, None, now()).expect("its turn");
    let id = "spiffe://td.example/a".parse().expect("an identity");
    let svid = own.signer().0.issue(&id, now(), Duration::MINUTE).expect("an SVID");
    let above = CertificateDer::from_pem_slice(renewed.certificate.as_bytes()).expect("a certificate");
    assert_eq!(svid.chain.last(), Some(&above));
}

#[test]
fn what_is_wrong_is_told_with_the_text_that_is_to_blame() {
    let (root, other) = (made("root", ANY, None), made("root", ANY, None));
    let middle = made("middle", ANY, Some(&root));
    let narrow = made("narrow", BasicConstraints::Constrained(0), Some(&root));
    let leaf = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a leaf").cert.pem();
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let with_root = format!("{}{}", middle.certificate, other.certificate);
    type Case<'a> = (&'a str, &'a str, Option<&'a str>, (Part, &'static str));
    let cases: [Case<'_>; 9] = [
        ("", &root.key, None, (Part::Certificate, "expected a CA certificate, saw none")),
        (broken, &root.key, None, (Part::Certificate, "certificate 0: expected one DER certificate")),
        (&leaf, &root.key, None, (Part::Certificate, "certificate 0: expected a CA certificate, saw a leaf")),
        (
            &middle.certificate,
            &middle.key,
            None,
            (Part::Certificate, "expected a root that has signed the last certificate of the chain, saw none"),
        ),
        (
            &middle.certificate,
            &middle.key,
            Some(&other.certificate),
            (Part::Roots, "expected a root that has signed the last certificate of the chain, saw none"),
        ),
        (
            &with_root,
            &middle.key,
            None,
            (Part::Certificate, "certificate 0: expected it to be signed by the one after it"),
        ),
        (
            &root.certificate,
            &other.key,
            None,
            (Part::Key, "expected the key of the first certificate, saw another one"),
        ),
        (
            &root.certificate,
            "no key",
            None,
            (Part::Key, "expected an unencrypted private key, RSA or on P-256, P-384 or P-521"),
        ),
        (
            &narrow.certificate,
            &narrow.key,
            Some(&root.certificate),
            (
                Part::Certificate,
                "expected a path length of 1 or more or none, saw 0: it may sign leaves, and no issuing authority",
            ),
        ),
    ];
    for (certificate, key, roots, (part, message)) in cases {
        let (seen, error) = read(certificate, key, roots).expect_err("a refusal");
        assert_eq!((seen, error.to_string().as_str()), (part, message));
    }
}
