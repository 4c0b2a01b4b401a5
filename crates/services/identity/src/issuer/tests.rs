use super::{Fraction, Issuer, random_fraction};
use crate::ca::{Ca, CaOptions, UpstreamFiles};
use crate::cgroup::Cgroup;
use crate::needs::Identity;
use crate::registry::{Registration, Registry};
use lictor_model::{Name, SpiffeId};
use lictor_pki::{CertificateAuthority, Keyring, Kind, Subject, authority_key_id};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};

const LIFETIME: Duration = Duration::seconds(100);

/// A node whose clock is turned by hand.
struct World {
    registry: Registry,
    keyring: Keyring,
    seconds: Arc<AtomicI64>,
    ca: Ca,
    issuer: Issuer,
}

fn start() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

impl World {
    fn new(life: Duration, fraction: Fraction) -> Self {
        Self::under(None, life, fraction)
    }

    fn under(upstream: Option<UpstreamFiles>, life: Duration, fraction: Fraction) -> Self {
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = {
            let seconds = Arc::clone(&seconds);
            Arc::new(move || start() + Duration::seconds(seconds.load(Ordering::Relaxed)))
        };
        let options = CaOptions { trust_domain: "td".parse().expect("a trust domain"), life, upstream, store: None };
        let ca = Ca::start(options, clock).expect("authorities");
        let (registry, keyring) = (Registry::new(), ca.keyring().clone());
        let issuer = Issuer::new(ca.clone(), registry.clone(), LIFETIME, fraction);
        Self { registry, keyring, seconds, ca, issuer }
    }

    /// Who signed the SVID of an account, and whether the bundle of now believes it.
    fn signer(&self, account: &str) -> (String, bool) {
        let (svid, _) = self.keyring.svid(&id(account)).expect("an SVID");
        let now = lictor_pki::unix_time(self.ca.now());
        let seen = lictor_pki::verify(&svid.chain, &self.keyring.bundle(), now, lictor_pki::Usage::Client);
        (authority_key_id(&svid.chain[0]).expect("its signer"), seen.is_ok())
    }

    fn add(&self, pod: &str, account: &str) {
        let cgroup = Cgroup { path: format!("/{pod}").parse().expect("a path"), id: 0 };
        let pod = Registration {
            pod: Name::new("shop", pod),
            uid: None,
            ids: vec![id(account).into()],
            federates_with: BTreeSet::new(),
            cgroups: vec![cgroup.into()],
        };
        self.registry.add(pod).expect("a place");
    }

    fn wait(&mut self, seconds: i64) -> Duration {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
        self.issuer.step()
    }

    fn generation(&self, account: &str) -> Option<u64> {
        self.keyring.svid(&id(account)).map(|(_, generation)| generation)
    }
}

fn id(account: &str) -> SpiffeId {
    format!("spiffe://td/ns/shop/sa/{account}").parse().expect("an identity")
}

#[test]
fn an_svid_is_renewed_at_half_of_its_life_give_or_take_a_twentieth() {
    for (fraction, early, due) in [(0.0, 44, 45), (0.5, 49, 50), (1.0, 54, 55), (7.0, 54, 55)] {
        let mut world = World::new(Duration::days(1), Box::new(move || fraction));
        world.add("a-0", "a");
        assert_eq!(world.wait(0), Duration::seconds(10), "it looks at the clock every ten seconds");
        let first = world.generation("a");
        assert!(first.is_some());
        world.wait(early);
        assert_eq!(world.generation("a"), first);
        assert_eq!(world.issuer.step(), Duration::seconds(1));
        world.wait(due - early);
        assert!(world.generation("a") > first, "fraction {fraction}");
    }
}

#[test]
fn pods_of_one_identity_share_it_until_the_last_one_goes() {
    let mut world = World::new(Duration::days(1), random_fraction());
    world.add("a-0", "a");
    world.add("a-1", "a");
    world.wait(0);
    let issued = world.generation("a");
    world.registry.remove(&Name::new("shop", "a-0"));
    world.wait(1);
    assert_eq!(world.generation("a"), issued);
    world.registry.remove(&Name::new("shop", "a-1"));
    world.wait(1);
    assert_eq!(world.generation("a"), None);
    world.add("a-0", "a");
    world.wait(1);
    assert!(world.generation("a") > issued, "it is a new one, not the old one again");
}

#[test]
fn an_identity_with_names_has_one_svid_more_which_is_renewed_and_dropped_like_any() {
    let mut world = World::new(Duration::days(1), Box::new(|| 0.5));
    let subject = |names: &[&str]| Subject {
        id: id("a"),
        dns_names: names.iter().map(|name| name.parse().expect("a name")).collect(),
    };
    let named = |names: &[&str]| vec![Identity { dns_names: subject(names).dns_names, ..id("a").into() }];
    world.add("a-0", "a");
    world.wait(0);
    assert_eq!(world.keyring.svids().len(), 1, "none has names");
    let plain = world.generation("a");
    let a = Name::new("shop", "a-0");
    world.registry.set_identities(&a, named(&["b.test", "a.test"]));
    world.wait(0);
    let generation = |world: &World, names: &[&str]| world.keyring.svid_of(&subject(names)).map(|(_, made)| made);
    let first = generation(&world, &["b.test", "a.test"]);
    assert!(first.is_some() && world.generation("a") == plain, "the other one goes on");
    world.wait(49);
    assert_eq!(generation(&world, &["b.test", "a.test"]), first);
    world.wait(1);
    assert!(generation(&world, &["b.test", "a.test"]) > first && world.generation("a") > plain);

    let (signer, _) = world.signer("a");
    world.ca.prepare(Kind::X509).expect("another one");
    world.ca.activate(Kind::X509, None).expect("its turn");
    world.ca.taint(Kind::X509, Some(&signer)).expect("an old one");
    let refused = world.ca.revoke(Kind::X509, None).expect_err("a refusal").to_string();
    assert!(refused.contains(": spiffe://td/ns/shop/sa/a still stand by it"), "named once: {refused}");
    world.wait(0);
    for svid in world.keyring.svids() {
        assert_ne!(authority_key_id(&svid.chain[0]), Some(signer.clone()), "each is of the new one");
    }
    world.ca.revoke(Kind::X509, None).expect("its end");

    world.registry.set_identities(&a, named(&["a.test"]));
    world.wait(0);
    assert_eq!(generation(&world, &["b.test", "a.test"]), None);
    assert!(generation(&world, &["a.test"]).is_some());
    world.registry.remove(&a);
    world.wait(0);
    assert_eq!(world.keyring.svids().len(), 0);
}

#[test]
fn an_identity_that_somebody_else_put_there_stays() {
    let mut world = World::new(Duration::days(1), random_fraction());
    let other = CertificateAuthority::new("td".parse().expect("a trust domain"), start(), LIFETIME).expect("a root");
    world.keyring.insert(other.issue(&id("node"), start(), LIFETIME).expect("an SVID"));
    world.add("a-0", "a");
    world.wait(0);
    world.registry.remove(&Name::new("shop", "a-0"));
    world.wait(0);
    assert_eq!(world.keyring.subjects(), [id("node").into()]);
}

#[test]
fn what_was_issued_stays_when_nothing_more_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("upstream.pem");
    let root = |at: OffsetDateTime, life| {
        let root = CertificateAuthority::new("td".parse().expect("a trust domain"), at, life).expect("a root");
        std::fs::write(&file, root.to_pem().expect("a text").as_bytes()).expect("a file");
    };
    root(start(), Duration::seconds(70));
    let files = UpstreamFiles { certificate: file.clone(), key: file.clone(), roots: None };
    let mut world = World::under(Some(files), Duration::days(1), random_fraction());
    world.add("a-0", "a");
    world.wait(0);
    let (svid, _) = world.keyring.svid(&id("a")).expect("an SVID");
    assert_eq!(svid.not_after, world.ca.now() + Duration::seconds(70), "it does not outlive its authority");
    world.wait(65);
    let last = world.generation("a");
    world.wait(10);
    assert_eq!(world.wait(0), Duration::seconds(1), "it tries again soon");
    assert_eq!(world.generation("a"), last);

    // Renewed, as cert-manager does it: what is read then is used.
    std::fs::write(&file, "no certificate").expect("a file");
    world.wait(1);
    assert_eq!(world.generation("a"), last, "what cannot be read changes nothing");
    let said = format!("upstream not read again: {}: expected a CA certificate, saw none", file.display());
    assert!(world.ca.status().faults.contains(&said), "{:?}", world.ca.status().faults);
    root(start() + Duration::seconds(76), Duration::days(9));
    world.wait(1);
    world.wait(1);
    assert!(world.generation("a") > last && world.signer("a").1);
    assert_eq!(world.ca.status().faults, Vec::<String>::new());
}

#[test]
fn the_next_authority_signs_what_is_renewed_and_the_old_one_goes_with_its_last_svid() {
    let mut world = World::new(Duration::seconds(600), Box::new(|| 0.5));
    world.add("a-0", "a");
    let mut seen: Vec<(i64, String, usize)> = Vec::new();
    for second in 0..=600 {
        world.wait(i64::from(second > 0));
        let (signer, believed) = world.signer("a");
        assert!(believed, "second {second}");
        let roots = world.keyring.bundle().authorities().len();
        if seen.last().is_none_or(|(_, last, count)| (last, *count) != (&signer, roots)) {
            seen.push((second, signer, roots));
        }
    }
    let changes: Vec<(i64, bool, usize)> =
        seen.iter().map(|(second, signer, roots)| (*second, *signer == seen[0].1, *roots)).collect();
    // Prepared at 300; activated at 500, when an SVID is due as well; the last one of the first was made at 450.
    assert_eq!(changes, [(0, true, 1), (300, true, 2), (500, false, 2), (560, false, 1), (600, false, 2)]);
}

#[test]
fn what_a_tainted_authority_signed_is_replaced_at_once_and_only_then_is_it_revoked() {
    let mut world = World::new(Duration::days(1), random_fraction());
    for n in 0..70 {
        world.add(&format!("p-{n}"), &format!("a{n}"));
    }
    while world.wait(0).is_zero() {}
    let (first, _) = world.signer("a0");
    let tokens = world.keyring.tokens().expect("tokens").public().id.clone();
    for kind in Kind::ALL {
        world.ca.prepare(kind).expect("another one");
        world.ca.activate(kind, None).expect("its turn");
    }
    assert_ne!(world.keyring.tokens().expect("tokens").public().id, tokens, "tokens are signed by the new one at once");
    assert!(!world.wait(1).is_zero());
    assert_eq!(world.signer("a0"), (first.clone(), true), "nothing is replaced because of another authority alone");

    world.ca.taint(Kind::X509, Some(&first)).expect("an old one");
    let refused = world.ca.revoke(Kind::X509, None).expect_err("a refusal").to_string();
    assert!(
        refused.ends_with("sa/a10 and 67 more still stand by it; they are given new SVIDs, try again in a moment"),
        "{refused}"
    );
    assert!(world.wait(0).is_zero() && world.wait(0).is_zero() && !world.wait(0).is_zero(), "three batches");
    for n in 0..70 {
        let (signer, believed) = world.signer(&format!("a{n}"));
        assert!(signer != first && believed, "a{n}");
    }
    world.ca.revoke(Kind::X509, None).expect("its end");
    let status = world.ca.status();
    assert_eq!((world.keyring.bundle().authorities().len(), status.holders), (1, vec![70, 0, 0]));
    let made = world.generation("a0");
    world.wait(1);
    assert_eq!(world.generation("a0"), made, "once");
    assert_eq!(world.ca.issued(1000).len(), 140);
}

#[test]
fn many_at_once_are_made_in_batches() {
    let mut world = World::new(Duration::days(1), random_fraction());
    for n in 0..70 {
        world.add(&format!("p-{n}"), &format!("a{n}"));
    }
    assert!(world.wait(0).is_zero() && world.keyring.subjects().len() == 32);
    assert!(world.wait(0).is_zero() && world.keyring.subjects().len() == 64);
    assert!(!world.wait(0).is_zero() && world.keyring.subjects().len() == 70);
}

#[test]
fn fractions_are_between_0_and_1_and_differ() {
    let mut draw = random_fraction();
    let drawn: Vec<f64> = (0..1000).map(|_| draw()).collect();
    assert!(drawn.iter().all(|fraction| (0.0..1.0).contains(fraction)));
    let mean = drawn.iter().sum::<f64>() / 1000.0;
    assert!((0.4..0.6).contains(&mean), "{mean}");
}

#[tokio::test]
async fn a_pod_that_is_added_has_its_svid_at_once() {
    let world = World::new(Duration::days(1), random_fraction());
    let (registry, keyring) = (world.registry.clone(), world.keyring.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (told, mut news) = tokio::sync::mpsc::unbounded_channel();
    let _subscription = keyring.subscribe(move |change| drop(told.send(change.clone())));
    let running = tokio::spawn(world.issuer.run(async move { drop(stopped.await) }));
    for account in ["a", "b"] {
        let cgroup = Cgroup { path: format!("/{account}").parse().expect("a path"), id: 0 };
        let pod = Registration {
            pod: Name::new("shop", account),
            uid: None,
            ids: vec![id(account).into()],
            federates_with: BTreeSet::new(),
            cgroups: vec![cgroup.into()],
        };
        registry.add(pod).expect("a place");
        let change = tokio::time::timeout(std::time::Duration::from_secs(5), news.recv()).await.expect("news in time");
        assert_eq!(change, Some(lictor_pki::Change::Inserted(id(account).into())));
    }
    registry.remove(&Name::new("shop", "a"));
    let change = tokio::time::timeout(std::time::Duration::from_secs(5), news.recv()).await.expect("news in time");
    assert_eq!(change, Some(lictor_pki::Change::Removed(id("a").into())));
    drop(stop);
    running.await.expect("an end");
}
