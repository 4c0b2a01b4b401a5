use super::{Relations, Unchangeable};
use lictor_identity::federation::{Profile, Relation, Roots};
use lictor_manifest::Object;
use lictor_model::TrustDomain;
use lictor_pki::{CertificateAuthority, Keyring};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

fn authority(domain: &str) -> CertificateAuthority {
    let now = OffsetDateTime::now_utc();
    CertificateAuthority::new(domain.parse().expect("a trust domain"), now, time::Duration::DAY).expect("a root")
}

fn domain(name: &str) -> TrustDomain {
    name.parse().expect("a trust domain")
}

/// A node of `td.example` whose settings federate with `set.example`. Nobody answers there.
fn relations() -> (Relations, Keyring) {
    let keyring = Keyring::new(authority("td.example").bundle(1));
    let set = Relation {
        trust_domain: domain("set.example"),
        url: "https://127.0.0.1:1/".parse().expect("a URL"),
        profile: Profile::Web(Roots::System),
        first: Some(authority("set.example").bundle(1)),
    };
    (Relations::start(&keyring, vec![set], Roots::File("/roots".into())).expect("relations"), keyring)
}

/// What objects declare, each with what stands below `spec`.
fn declared(specs: &[(&str, String)]) -> super::Declared {
    let object = |(name, spec): &(&str, String)| {
        let text = format!(
            "apiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterFederatedTrustDomain\nmetadata: {{name: {name}}}\n\
             spec: {{trustDomain: {name}.example, {spec}}}\n"
        );
        let reading = lictor_manifest::read("test.yaml", &text);
        assert!(!reading.has_errors(), "{:#?}", reading.findings);
        reading.objects.into_iter().find_map(|object| match object {
            Object::ClusterFederatedTrustDomain(resource) => Some((resource.trust_domain.clone(), resource)),
            _ => None,
        })
    };
    specs.iter().map(|one| object(one).expect("an object")).collect::<BTreeMap<_, _>>()
}

fn web(path: &str) -> String {
    format!("bundleEndpointURL: 'https://127.0.0.1:1/{path}', bundleEndpointProfile: {{type: https_web}}")
}

fn spiffe(id: &str, bundle: &str) -> String {
    format!(
        "bundleEndpointURL: 'https://127.0.0.1:1/', trustDomainBundle: '{bundle}', \
         bundleEndpointProfile: {{type: https_spiffe, endpointSPIFFEID: '{id}'}}"
    )
}

fn with_whom(relations: &Relations) -> Vec<(String, bool)> {
    let statuses = relations.statuses().into_iter();
    statuses.map(|(status, by)| (status.relation.trust_domain.to_string(), by.is_some())).collect()
}

#[tokio::test]
async fn relations_come_change_and_go_with_their_objects() {
    let (relations, keyring) = relations();
    let other = authority("a.example").bundle(1);
    let id = "spiffe://a.example/bundle";
    let jwks = other.to_jwks().expect("a JWK set");
    let both = declared(&[("a", spiffe(id, &jwks)), ("b", web(""))]);
    assert_eq!(relations.follow(&both), []);
    let set = ("set.example".to_owned(), false);
    let [a, b] = ["a.example", "b.example"].map(|name| (name.to_owned(), true));
    assert_eq!(with_whom(&relations), [a.clone(), b.clone(), set.clone()]);
    let known = keyring.bundle_of(&domain("a.example")).expect("the object's bundle");
    assert_eq!(known.authorities(), other.authorities());
    let statuses = relations.statuses();
    assert_eq!(statuses[0].0.relation.profile, Profile::Spiffe(id.parse().expect("an identity")));
    assert_eq!(statuses[1].0.relation.profile, Profile::Web(Roots::File("/roots".into())), "the node's roots");

    // What somebody set by hand goes on while the object says the same.
    let by_hand = authority("a.example").bundle(2);
    relations.set_bundle(by_hand.clone()).expect("a foreign bundle");
    assert_eq!(relations.follow(&both), []);
    assert_eq!(keyring.bundle_of(&domain("a.example")).as_deref(), Some(&by_hand));
    let name: Arc<str> = "a".into();
    let refused = Unchangeable::Declared { trust_domain: domain("a.example"), name };
    assert_eq!(relations.remove(&domain("a.example")), Err(refused));

    let moved = declared(&[("b", web("moved"))]);
    assert_eq!(relations.follow(&moved), []);
    assert_eq!(with_whom(&relations), [b, set.clone()]);
    assert_eq!(relations.statuses()[0].0.relation.url.to_string(), "https://127.0.0.1:1/moved");
    assert_eq!(keyring.bundle_of(&domain("a.example")), None, "the trust ends with the object");

    assert_eq!(relations.follow(&declared(&[])), []);
    assert_eq!(with_whom(&relations), [set]);
    assert_eq!(relations.remove(&domain("set.example")), Ok(true));
    assert!(relations.statuses().is_empty() && keyring.foreign().is_empty());
}

#[tokio::test]
async fn an_object_that_cannot_be_acted_on_says_why_and_changes_nobody_else() {
    let (relations, keyring) = relations();
    let own = keyring.bundle();
    let no_bundle = r#"{"keys": [], "spiffe_sequence": "x"}"#;
    let broken = declared(&[
        ("fine", web("")),
        ("td", web("")),
        ("set", web("elsewhere")),
        ("host", "bundleEndpointURL: 'https://_-.-_/', bundleEndpointProfile: {type: https_web}".to_owned()),
        ("whole", spiffe("spiffe://whole.example", r#"{"keys": []}"#)),
        ("bundle", spiffe("spiffe://bundle.example/b", no_bundle)),
    ]);
    let findings = relations.follow(&broken);
    let said: Vec<String> = findings.iter().map(|finding| finding.message.clone()).collect();
    for (name, why) in [
        ("td", "the own trust domain"),
        ("set", "federate with set.example already"),
        ("host", "a host name or address"),
        ("whole", "a whole trust domain's"),
        ("bundle", "spiffe_sequence"),
    ] {
        let about = format!("ClusterFederatedTrustDomain {name} is not acted on: ");
        assert!(said.iter().any(|text| text.starts_with(&about) && text.contains(why)), "{name}: {said:#?}");
    }
    assert!(said.len() == 5 && findings.iter().all(|finding| finding.position.line > 0), "{findings:#?}");
    assert_eq!(with_whom(&relations), [("fine.example".to_owned(), true), ("set.example".to_owned(), false)]);
    assert_eq!(keyring.bundle(), own);
    let url = &relations.statuses()[1].0.relation.url;
    assert_eq!(url.to_string(), "https://127.0.0.1:1/", "the settings count");

    // One that was right before and is wrong now is gone: it is never another one than it says.
    assert_eq!(relations.follow(&declared(&[("whole", spiffe("spiffe://whole.example/b", r#"{"keys": []}"#))])), []);
    assert_eq!(relations.follow(&broken).len(), 5);
    assert!(!with_whom(&relations).iter().any(|(name, _)| name == "whole.example"));
}

#[test]
fn whoever_gives_the_identities_says_whom_to_believe() {
    let keyring = Keyring::new(authority("td.example").bundle(1));
    let relations = Relations::given_by(&keyring, "the Workload API at unix:/api".to_owned());
    let findings = relations.follow(&declared(&[("a", web("")), ("b", web(""))]));
    let told: Vec<String> = findings.iter().map(|finding| finding.message.clone()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    let expected = "the Workload API at unix:/api says whom to believe here; have it federate with a.example";
    assert!(told[0].contains(expected), "{told:?}");
    assert!(findings.iter().all(lictor_manifest::Finding::is_error) && with_whom(&relations).is_empty());
    let given = Unchangeable::Given("the Workload API at unix:/api".to_owned());
    assert_eq!(relations.set_bundle(authority("a.example").bundle(1)), Err(given.clone()));
    assert_eq!(relations.remove(&domain("a.example")), Err(given));
    assert!(keyring.foreign().is_empty() && !relations.refresh(&domain("a.example")));
}
