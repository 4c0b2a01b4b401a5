use super::{InvalidState, read, read_token_keys};
use lictor_model::TrustDomain;
use lictor_pki::CertificateAuthority;
use lictor_wire::workload::{JwtBundlesResponse, X509svid, X509svidResponse};
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn domain() -> TrustDomain {
    "td".parse().expect("a trust domain")
}

fn authority(domain: &str) -> CertificateAuthority {
    CertificateAuthority::new(domain.parse().expect("a trust domain"), now(), Duration::DAY).expect("a root")
}

fn svid(authority: &CertificateAuthority, id: &str) -> X509svid {
    let svid = authority.issue(&id.parse().expect("an identity"), now(), Duration::HOUR).expect("an SVID");
    X509svid {
        spiffe_id: id.to_owned(),
        x509_svid: svid.chain.iter().flat_map(|der| der.iter().copied()).collect(),
        x509_svid_key: svid.key.pkcs8().to_vec(),
        bundle: authority.bundle(1).concatenated_der(),
        hint: String::new(),
    }
}

fn state(svids: Vec<X509svid>) -> X509svidResponse {
    X509svidResponse { svids, ..X509svidResponse::default() }
}

#[test]
fn a_state_is_read_and_what_is_of_no_use_in_it_is_named() {
    let (own, other) = (authority("td"), authority("other"));
    let good = svid(&own, "spiffe://td/a");
    let stolen = X509svid { spiffe_id: "spiffe://td/b".into(), ..good.clone() };
    let foreign = svid(&other, "spiffe://other/c");
    let no_id = X509svid { spiffe_id: "spiffe://td/UPPER%".into(), ..good.clone() };
    let mut response = state(vec![foreign, good.clone(), stolen, no_id, svid(&own, "spiffe://td/z")]);
    response.crl = vec![vec![1]];
    let offer = read(response, &domain(), now()).expect("an offer");
    assert_eq!(offer.svids.keys().map(|id| id.as_str()).collect::<Vec<_>>(), ["spiffe://td/a", "spiffe://td/z"]);
    assert_eq!(offer.bundle.authorities(), own.bundle(1).authorities());
    let said = offer.passed_over.join("\n");
    for words in ["revocation", "spiffe://other/c is of another", "spiffe://td/b: expected a certificate of", "UPPER%"]
    {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(offer.passed_over.len(), 4);
}

#[test]
fn an_svid_that_has_expired_is_not_offered() {
    let own = authority("td");
    let offer =
        read(state(vec![svid(&own, "spiffe://td/a")]), &domain(), now() + Duration::hours(2)).expect("an offer");
    assert!(offer.svids.is_empty() && offer.passed_over.len() == 1, "{:?}", offer.passed_over);
}

#[test]
fn of_two_svids_of_one_identity_the_first_counts() {
    let own = authority("td");
    let (first, second) = (svid(&own, "spiffe://td/a"), svid(&own, "spiffe://td/a"));
    let leaf = first.x509_svid.clone();
    let offer = read(state(vec![first, second]), &domain(), now()).expect("an offer");
    let seen = offer.svids.values().next().and_then(|svid| svid.chain.first()).expect("a leaf").to_vec();
    assert_eq!(seen, leaf);
}

#[test]
fn nothing_of_a_broken_state_is_used() {
    let (own, again) = (authority("td"), authority("td"));
    let good = || svid(&own, "spiffe://td/a");
    let read = |svids| read(state(svids), &domain(), now()).map(drop);
    assert!(matches!(read(vec![]), Err(InvalidState::Empty)));
    for broken in [
        X509svid { spiffe_id: String::new(), ..good() },
        X509svid { x509_svid: Vec::new(), ..good() },
        X509svid { x509_svid_key: Vec::new(), ..good() },
        X509svid { bundle: Vec::new(), ..good() },
    ] {
        assert!(matches!(read(vec![good(), broken]), Err(InvalidState::Incomplete(_))));
    }
    let no_bundle = X509svid { bundle: vec![1, 2], ..good() };
    assert!(matches!(read(vec![no_bundle]), Err(InvalidState::Bundle(..))));
    assert!(matches!(read(vec![good(), svid(&again, "spiffe://td/b")]), Err(InvalidState::Bundles(_))));
    let elsewhere = svid(&authority("other"), "spiffe://other/a");
    assert!(matches!(read(vec![elsewhere]), Err(InvalidState::TrustDomain { .. })));
}

#[test]
fn keys_for_tokens_are_the_own_trust_domains() {
    let (own, other) = (authority("td"), authority("other"));
    let bundles = |names: &[(&str, &CertificateAuthority)]| JwtBundlesResponse {
        bundles: names.iter().map(|(name, of)| ((*name).to_owned(), of.bundle(1).jwt_jwks().into_bytes())).collect(),
    };
    let both = bundles(&[("spiffe://td", &own), ("spiffe://other", &other)]);
    let read = |bundles: &JwtBundlesResponse| read_token_keys(bundles, &domain());
    let keys = read(&both).expect("keys");
    assert_eq!(keys.by_domain[&domain()], own.bundle(1).jwt_keys());
    assert_eq!(keys.by_domain[other.trust_domain()], other.bundle(1).jwt_keys());
    assert!(keys.passed_over.is_empty());
    assert!(read(&bundles(&[("spiffe://other", &other)])).is_err());
    let broken = |text: &str| JwtBundlesResponse { bundles: [("spiffe://td".to_owned(), text.into())].into() };
    assert!(read(&broken("{")).is_err());
    // A key or a foreign set is passed over by itself, and named.
    let mut set: serde_json::Value = serde_json::from_str(&own.bundle(1).jwt_jwks()).expect("a JWK set");
    let mut bad = set["keys"][0].clone();
    bad["use"] = "enc".into();
    set["keys"].as_array_mut().expect("keys").push(bad);
    let mut response = broken(&set.to_string());
    response.bundles.insert("spiffe://other".to_owned(), b"{".to_vec());
    response.bundles.insert("spiffe://other/path".to_owned(), b"{}".to_vec());
    let keys = read(&response).expect("keys");
    assert_eq!((keys.by_domain.len(), keys.by_domain[&domain()].len()), (1, 1));
    assert_eq!(keys.passed_over.len(), 3, "{:?}", keys.passed_over);
    // SPIRE's standard sets have no `use`.
    set["keys"][0].as_object_mut().expect("a key").remove("use");
    let keys = read(&broken(&set.to_string())).expect("keys");
    assert_eq!(keys.by_domain[&domain()], own.bundle(1).jwt_keys());
}

#[test]
fn a_foreign_bundle_is_believed_about_its_own_trust_domain_only() {
    let (own, other) = (authority("td"), authority("other"));
    let mut response = state(vec![svid(&own, "spiffe://td/a")]);
    let authorities = other.bundle(1).concatenated_der();
    for name in ["spiffe://other", "spiffe://td", "spiffe://third/path", "fourth"] {
        response.federated_bundles.insert(name.to_owned(), authorities.clone());
    }
    response.federated_bundles.insert("spiffe://fifth".to_owned(), vec![1]);
    let offer = read(response, &domain(), now()).expect("an offer");
    assert_eq!(offer.foreign.keys().map(TrustDomain::as_str).collect::<Vec<_>>(), ["other"]);
    assert_eq!(offer.bundle.authorities(), own.bundle(1).authorities());
    assert_eq!(offer.passed_over.len(), 4, "{:?}", offer.passed_over);
}
