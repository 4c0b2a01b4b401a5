//! Bundles fetched from real endpoints over TLS: ours, and others that misbehave.
#![allow(clippy::unwrap_used)]

mod endpoints;
mod failures;
mod lives;
mod oidc;
mod redirects;
mod world;

use lictor_identity::federation::{Profile, Roots};
use lictor_pki::Bundle;
use std::time::Duration;
use world::{ENDPOINT, Here, There, until};

#[tokio::test]
async fn a_self_serving_endpoint_is_asked_again_as_its_keys_rotate() {
    let there = There::new("other.example");
    let at = there.serve_by_svid().await;
    let here = Here::new();
    let first = there.bundle();
    here.federation.add(here.relation(&at, Profile::Spiffe(ENDPOINT.parse().unwrap()), Some(first.clone()))).unwrap();
    assert_eq!(here.foreign("other.example"), Some(first), "it is believed before the first answer");
    until(|| here.foreign("other.example")?.refresh_hint()).await;
    assert_eq!(here.foreign("other.example").unwrap().authorities(), there.bundle().authorities());

    // The next authority is announced, then signs the endpoint's SVID, then the first one goes.
    let next = there.announce_next();
    until(|| (here.foreign("other.example")?.authorities().len() == 2).then_some(())).await;
    there.switch_to(&next);
    until(|| (here.foreign("other.example")?.authorities() == next.bundle(1).authorities()).then_some(())).await;
    let [status] = <[_; 1]>::try_from(here.federation.statuses()).unwrap();
    assert!(status.error.is_none() && status.fetched.is_some() && status.ignored.is_empty(), "{status:?}");
}

#[tokio::test]
async fn an_endpoint_of_the_web_is_asked_without_anything_beforehand() {
    let there = There::new("other.example");
    let web = world::Web::new();
    let at = there.serve_by_web(&web).await;
    let here = Here::new();
    here.federation.add(here.relation(&at, Profile::Web(Roots::File(web.roots())), None)).unwrap();
    let seen = until(|| here.foreign("other.example")).await;
    assert_eq!((seen.authorities(), seen.jwt_keys()), (there.bundle().authorities(), there.bundle().jwt_keys()));
    assert_eq!(here.keyring.bundle().trust_domain().as_str(), "td.example");
}

/// Section 5.2.2.4: the endpoint's own trust domain is another one, whose bundle comes by another relation.
#[tokio::test]
async fn an_endpoint_may_serve_for_another_trust_domain() {
    let (other, third) = (There::new("other.example"), There::new("third.example"));
    let web = world::Web::new();
    let at_other = other.serve_by_web(&web).await;
    // What third.example serves, with an SVID of other.example.
    let at_third = third.serve_with(other.certificate()).await;
    let here = Here::new();
    let relation = here.relation_to("third.example", &at_third, Profile::Spiffe(ENDPOINT.parse().unwrap()), None);
    here.federation.add(relation).unwrap();
    let why = until(|| here.error("third.example")).await;
    assert!(why.contains("a bundle of other.example"), "{why}");
    here.federation.add(here.relation(&at_other, Profile::Web(Roots::File(web.roots())), None)).unwrap();
    let seen = until(|| here.foreign("third.example")).await;
    assert_eq!(seen.authorities(), third.bundle().authorities());
    assert_ne!(here.foreign("other.example").unwrap().authorities(), third.bundle().authorities());
}

#[tokio::test]
async fn removing_a_relation_ends_the_trust_and_the_polling() {
    let there = There::new("other.example");
    let at = there.serve_by_svid().await;
    let here = Here::new();
    let relation = here.relation(&at, Profile::Spiffe(ENDPOINT.parse().unwrap()), Some(there.bundle()));
    here.federation.add(relation.clone()).unwrap();
    until(|| here.foreign("other.example")?.refresh_hint()).await;
    let domain = "other.example".parse().unwrap();
    assert!(here.federation.remove(&domain) && !here.federation.remove(&domain));
    assert!(here.federation.statuses().is_empty());
    for _ in 0..20 {
        assert_eq!(here.foreign("other.example"), None);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The lifecycle starts over (section 6.3).
    here.federation.add(relation).unwrap();
    until(|| here.foreign("other.example")?.refresh_hint()).await;
}

#[tokio::test]
async fn an_endpoint_is_asked_at_once_when_somebody_is_in_a_hurry() {
    let there = There::new("other.example");
    let at = there.serve_by_svid().await;
    let here = Here::every(Duration::from_secs(3600));
    let relation = here.relation(&at, Profile::Spiffe(ENDPOINT.parse().unwrap()), Some(there.bundle()));
    here.federation.add(relation).unwrap();
    until(|| here.foreign("other.example")?.refresh_hint()).await;
    there.keyring.set_bundle(there.bundle().numbered(7));
    assert!(here.federation.refresh(&"other.example".parse().unwrap()));
    until(|| (here.foreign("other.example")?.sequence() == 7).then_some(())).await;
    assert!(!here.federation.refresh(&"third.example".parse().unwrap()));
}

#[tokio::test]
async fn nobody_is_asked_about_the_own_trust_domain() {
    let here = Here::new();
    let there = There::new("td.example");
    let at = there.serve_by_svid().await;
    let own = here.keyring.bundle();
    let id = "spiffe://td.example/lictor/bundle-endpoint".parse().unwrap();
    let relation = here.relation_to("td.example", &at, Profile::Spiffe(id), Some(there.bundle()));
    assert!(here.federation.add(relation).is_err());
    assert!(here.federation.set_bundle(there.bundle()).is_err());
    assert!(here.federation.statuses().is_empty() && *here.keyring.bundle() == *own);
}

#[tokio::test]
async fn what_an_operator_sets_stands_until_the_next_answer() {
    let here = Here::new();
    let there = There::new("other.example");
    assert_eq!(here.federation.set_bundle(there.bundle()), Ok(true));
    assert_eq!(here.foreign("other.example"), Some(there.bundle()));
    let nobody = Bundle::new("other.example".parse().unwrap(), Vec::new(), 1).unwrap();
    assert_eq!(here.federation.set_bundle(nobody), Ok(true));
    assert!(here.foreign("other.example").unwrap().authorities().is_empty());
    assert!(here.federation.remove(&"other.example".parse().unwrap()), "without a relation, too");
}
