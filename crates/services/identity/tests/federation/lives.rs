//! What others learn of a trust domain's authorities through their lives.

use crate::world::{Here, There, Web, until};
use lictor_identity::federation::{Profile, Roots};
use lictor_identity::{Ca, CaOptions, system_clock};
use lictor_pki::{Bundle, Kind};
use time::Duration;

/// The next step that others are to see: how many authorities for certificates, and how many keys for tokens.
async fn seen(here: &Here, ca: &Ca, before: u64) -> (usize, usize, u64) {
    let bundle: Bundle = until(|| here.foreign("other.example").filter(|bundle| bundle.sequence() > before)).await;
    let own = ca.keyring().bundle();
    assert_eq!((bundle.authorities(), bundle.jwt_keys()), (own.authorities(), own.jwt_keys()));
    assert_eq!(bundle.refresh_hint(), Some(crate::world::HINT));
    (bundle.authorities().len(), bundle.jwt_keys().len(), bundle.sequence())
}

#[tokio::test]
async fn prepared_and_old_authorities_are_served_and_each_step_has_a_higher_number() {
    let trust_domain = "other.example".parse().unwrap();
    let options = CaOptions { trust_domain, life: Duration::hours(6), upstream: None, store: None };
    let ca = Ca::start(options, system_clock()).unwrap();
    let web = Web::new();
    let there = There::of(ca.keyring().clone());
    let at = there.serve_by_web(&web).await;
    let here = Here::new();
    here.federation.add(here.relation(&at, Profile::Web(Roots::File(web.roots())), None)).unwrap();
    let (x509, jwt, mut number) = seen(&here, &ca, 0).await;
    assert_eq!((x509, jwt), (1, 1));

    let mut counts = Vec::new();
    for kind in Kind::ALL {
        ca.prepare(kind).unwrap();
        let (x509, jwt, prepared) = seen(&here, &ca, number).await;
        // Who signs is no matter of the bundle: it had both before.
        ca.activate(kind, None).unwrap();
        ca.taint(kind, None).unwrap();
        ca.revoke(kind, None).unwrap();
        let (x509_after, jwt_after, revoked) = seen(&here, &ca, prepared).await;
        counts.push([(x509, jwt), (x509_after, jwt_after)]);
        number = revoked;
    }
    assert_eq!(counts, [[(2, 1), (1, 1)], [(1, 2), (1, 1)]]);
}
