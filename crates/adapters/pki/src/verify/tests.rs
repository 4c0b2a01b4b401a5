use super::{PeerError as E, Usage, identity_of, verify};
use crate::forge::{self, Forge, at, now};
use crate::{Bundle, SigningFault};
use lictor_model::InvalidSpiffeId;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use std::slice::from_ref;

const A: &str = "spiffe://td.example/ns/shop/sa/a";

/// What `verify` says about a leaf that `root` signed after `change` has spoilt it.
fn check(usage: Usage, change: impl FnOnce(&mut CertificateParams)) -> Result<String, E> {
    let root = Forge::new(now());
    let mut params = forge::leaf(now(), &[A]);
    change(&mut params);
    let (leaf, _) = root.leaf(&params);
    verify(&[leaf], &root.bundle(), at(0), usage).map(|id| id.to_string())
}

fn uris(names: &[&str]) -> Result<String, E> {
    check(Usage::Client, |params| params.subject_alt_names = forge::leaf(now(), names).subject_alt_names)
}

#[test]
fn a_leaf_proves_its_one_uri_name() {
    for usage in [Usage::Client, Usage::Server] {
        assert_eq!(check(usage, |_| ()).as_deref(), Ok(A));
    }
    // X509-SVID, section 2: names of other kinds may stand beside it.
    let dns = |params: &mut CertificateParams| {
        params.subject_alt_names.push(SanType::DnsName("a.shop.svc".try_into().expect("a name")));
        params.distinguished_name.push(DnType::CommonName, "a");
    };
    assert_eq!(check(Usage::Server, dns).as_deref(), Ok(A));
}

#[test]
fn other_numbers_and_forms_of_names_are_refused() {
    assert_eq!(uris(&[]), Err(E::UriNames { seen: 0 }));
    assert_eq!(uris(&[A, A]), Err(E::UriNames { seen: 2 }));
    assert_eq!(uris(&[A, "spiffe://td.example/b", "https://c"]), Err(E::UriNames { seen: 3 }));
    assert_eq!(uris(&["https://td.example/a"]), Err(E::NotASpiffeId(InvalidSpiffeId::Scheme)));
    assert_eq!(uris(&["spiffe://td.example/a/"]), Err(E::NotASpiffeId(InvalidSpiffeId::PathSegment)));
    assert_eq!(uris(&["spiffe://TD.example/a"]), Err(E::NotASpiffeId(InvalidSpiffeId::TrustDomainCharacter)));
    assert!(matches!(uris(&["spiffe://td.example"]), Err(E::NoPath { .. })));
    assert!(matches!(uris(&["spiffe://other.example/a"]), Err(E::TrustDomain { .. })));
    let dns_only = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("a".try_into().expect("a name"))];
    };
    assert_eq!(check(Usage::Client, dns_only), Err(E::UriNames { seen: 0 }));
}

#[test]
fn a_leaf_may_not_sign_and_must_be_for_this_end() {
    use KeyUsagePurpose as K;
    let usages = |usages: &[K]| check(Usage::Client, |params| params.key_usages = usages.to_vec());
    assert_eq!(usages(&[K::DigitalSignature, K::KeyCertSign]), Err(E::SigningCertificate));
    assert_eq!(usages(&[K::DigitalSignature, K::CrlSign]), Err(E::SigningCertificate));
    assert_eq!(usages(&[K::KeyAgreement]), Err(E::KeyUsage));
    assert_eq!(usages(&[]), Err(E::KeyUsage));
    assert_eq!(usages(&[K::DigitalSignature, K::KeyEncipherment]).as_deref(), Ok(A));
    let ca = check(Usage::Client, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert_eq!(ca, Err(E::SigningCertificate));

    let only = |usage, purpose: &[ExtendedKeyUsagePurpose]| {
        check(usage, |params| params.extended_key_usages = purpose.to_vec())
    };
    use ExtendedKeyUsagePurpose::{ClientAuth, CodeSigning, ServerAuth};
    assert_eq!(only(Usage::Client, &[ServerAuth]), Err(E::Purpose));
    assert_eq!(only(Usage::Server, &[ClientAuth]), Err(E::Purpose));
    assert_eq!(only(Usage::Server, &[CodeSigning]), Err(E::Purpose));
    assert_eq!(only(Usage::Client, &[ClientAuth]), Err(E::Purpose), "X509-SVID, section 4.4: both or none");
    assert_eq!(only(Usage::Client, &[ClientAuth, ServerAuth, CodeSigning]).as_deref(), Ok(A));
    assert_eq!(only(Usage::Client, &[]).as_deref(), Ok(A));
}

#[test]
fn every_certificate_of_the_path_must_be_valid_now() {
    let root = Forge::new(now());
    let (leaf, _) = root.leaf(&forge::leaf(now(), &[A]));
    let check = |hours| verify(from_ref(&leaf), &root.bundle(), at(hours), Usage::Client);
    assert!(check(0).is_ok() && check(1).is_ok() && check(-1).is_ok());
    assert!(matches!(check(2), Err(E::Expired { .. })));
    assert!(matches!(check(-2), Err(E::NotYetValid { .. })));

    // A leaf that outlives its root: path validation as such never looks at an anchor's dates.
    let mut long = forge::leaf(now(), &[A]);
    long.not_after = now() + time::Duration::hours(1000);
    let (leaf, _) = root.leaf(&long);
    assert!(verify(from_ref(&leaf), &root.bundle(), at(99), Usage::Client).is_ok());
    assert_eq!(verify(&[leaf], &root.bundle(), at(101), Usage::Client), Err(E::UnknownAuthority));
}

#[test]
fn only_authorities_of_the_bundle_are_believed() {
    let (root, stranger) = (Forge::new(now()), Forge::new(now()));
    let (leaf, _) = root.leaf(&forge::leaf(now(), &[A]));
    let chain = [leaf.clone()];
    assert_eq!(verify(&chain, &stranger.bundle(), at(0), Usage::Client), Err(E::UnknownAuthority));
    // Its own root in the chain makes no difference.
    let with_root = [leaf.clone(), root.certificate.clone()];
    assert_eq!(verify(&with_root, &stranger.bundle(), at(0), Usage::Client), Err(E::UnknownAuthority));
    let nobody = Bundle::new(forge::domain(), Vec::new(), 1).expect("an empty bundle");
    assert_eq!(verify(&chain, &nobody, at(0), Usage::Client), Err(E::UnknownAuthority));
    let both = vec![stranger.certificate.clone(), root.certificate.clone()];
    let both = Bundle::new(forge::domain(), both, 2).expect("a bundle of two");
    assert!(verify(&chain, &both, at(0), Usage::Client).is_ok());
    let other = Bundle::new("other.example".parse().expect("a domain"), vec![root.certificate.clone()], 1);
    let other = other.expect("a bundle");
    assert!(matches!(verify(&chain, &other, at(0), Usage::Client), Err(E::TrustDomain { .. })));
    assert_eq!(verify(&[], &both, at(0), Usage::Client), Err(E::NoCertificate));
}

#[test]
fn an_intermediate_must_be_an_authority_that_may_sign() {
    let root = Forge::new(now());
    let check = |params: CertificateParams| {
        let middle = root.below(params);
        let (leaf, _) = middle.leaf(&forge::leaf(now(), &[A]));
        verify(&[leaf, middle.certificate], &root.bundle(), at(0), Usage::Server).map(|id| id.to_string())
    };
    let proper = forge::authority(now());
    assert_eq!(check(proper.clone()).as_deref(), Ok(A));
    let no_sign = forge::but(proper.clone(), |ca| ca.key_usages = vec![KeyUsagePurpose::CrlSign]);
    assert_eq!(check(no_sign), Err(E::Signer(SigningFault::KeyUsage)));
    // A workload's certificate that signs another one.
    assert_eq!(check(forge::leaf(now(), &["spiffe://td.example/b"])), Err(E::Path(webpki::Error::EndEntityUsedAsCa)));
    let expired = forge::but(proper, |ca| ca.not_after = now() - time::Duration::HOUR);
    assert!(matches!(check(expired), Err(E::Expired { .. })));

    // A path length of 0 below the root: the intermediate of an intermediate is too much.
    let named =
        |name: &str| forge::but(forge::authority(now()), |ca| ca.distinguished_name.push(DnType::CommonName, name));
    let middle = root.below(forge::but(named("one"), |ca| ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))));
    let second = middle.below(named("two"));
    let (leaf, _) = second.leaf(&forge::leaf(now(), &[A]));
    let chain = [leaf, second.certificate, middle.certificate];
    let seen = verify(&chain, &root.bundle(), at(0), Usage::Server);
    assert_eq!(seen, Err(E::Path(webpki::Error::PathLenConstraintViolated)));
}

#[test]
fn broken_bytes_are_malformed_and_never_a_panic() {
    let root = Forge::new(now());
    let (leaf, _) = root.leaf(&forge::leaf(now(), &[A]));
    for cut in 0..leaf.len() {
        let part = CertificateDer::from(leaf[..cut].to_vec());
        assert_eq!(verify(&[part], &root.bundle(), at(0), Usage::Client), Err(E::Malformed), "{cut} bytes");
    }
    let mut long = leaf.to_vec();
    long.push(0);
    assert_eq!(identity_of(&long.into()), Err(E::Malformed));
    // Any one flipped bit breaks the signature or the form; the identity is never accepted.
    for bit in 0..leaf.len() * 8 {
        let mut flipped = leaf.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let seen = verify(&[flipped.into()], &root.bundle(), at(0), Usage::Client);
        assert!(seen.is_err(), "bit {bit} of byte {} did not matter", bit / 8);
    }
}
