use super::{Fraction, Issuer, random_fraction};
use crate::cgroup::Cgroup;
use crate::registry::{Registration, Registry};
use lictor_model::{Name, SpiffeId, TrustDomain};
use lictor_pki::{CertificateAuthority, Keyring};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};

const LIFETIME: Duration = Duration::seconds(100);

/// A node whose clock is turned by hand.
struct World {
    registry: Registry,
    keyring: Keyring,
    seconds: Arc<AtomicI64>,
    issuer: Issuer,
}

impl World {
    fn new(life_of_root: Duration, fraction: Fraction) -> Self {
        let start = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let domain: TrustDomain = "td".parse().expect("a trust domain");
        let authority = Arc::new(CertificateAuthority::new(domain, start, life_of_root).expect("a root"));
        let (registry, keyring) = (Registry::new(), Keyring::new(authority.bundle(1)));
        let seconds = Arc::new(AtomicI64::new(0));
        let clock = {
            let seconds = Arc::clone(&seconds);
            Arc::new(move || start + Duration::seconds(seconds.load(Ordering::Relaxed)))
        };
        let issuer = Issuer::new(authority, registry.clone(), keyring.clone(), LIFETIME, clock, fraction);
        Self { registry, keyring, seconds, issuer }
    }

    fn add(&self, pod: &str, account: &str) {
        let cgroup = Cgroup { path: format!("/{pod}").parse().expect("a path"), id: 0 };
        let pod = Registration { pod: Name::new("shop", pod), ids: vec![id(account).into()], cgroups: vec![cgroup] };
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
fn an_identity_that_somebody_else_put_there_stays() {
    let mut world = World::new(Duration::days(1), random_fraction());
    let own = world.issuer.authority.issue(&id("node"), (world.issuer.clock)(), LIFETIME).expect("an SVID");
    world.keyring.insert(own);
    world.add("a-0", "a");
    world.wait(0);
    world.registry.remove(&Name::new("shop", "a-0"));
    world.wait(0);
    assert_eq!(world.keyring.identities(), [id("node")]);
}

#[test]
fn what_was_issued_stays_when_nothing_more_can_be() {
    let mut world = World::new(Duration::seconds(70), random_fraction());
    world.add("a-0", "a");
    world.wait(0);
    let (svid, _) = world.keyring.svid(&id("a")).expect("an SVID");
    assert_eq!(svid.not_after, (world.issuer.clock)() + Duration::seconds(70), "it does not outlive its authority");
    world.wait(65);
    let last = world.generation("a");
    assert_eq!(world.wait(10), Duration::seconds(1), "it tries again soon");
    assert_eq!(world.generation("a"), last);
}

#[test]
fn many_at_once_are_made_in_batches() {
    let mut world = World::new(Duration::days(1), random_fraction());
    for n in 0..70 {
        world.add(&format!("p-{n}"), &format!("a{n}"));
    }
    assert!(world.wait(0).is_zero() && world.keyring.identities().len() == 32);
    assert!(world.wait(0).is_zero() && world.keyring.identities().len() == 64);
    assert!(!world.wait(0).is_zero() && world.keyring.identities().len() == 70);
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
        let pod =
            Registration { pod: Name::new("shop", account), ids: vec![id(account).into()], cgroups: vec![cgroup] };
        registry.add(pod).expect("a place");
        let change = tokio::time::timeout(std::time::Duration::from_secs(5), news.recv()).await.expect("news in time");
        assert_eq!(change, Some(lictor_pki::Change::Inserted(id(account))));
    }
    registry.remove(&Name::new("shop", "a"));
    let change = tokio::time::timeout(std::time::Duration::from_secs(5), news.recv()).await.expect("news in time");
    assert_eq!(change, Some(lictor_pki::Change::Removed(id("a"))));
    drop(stop);
    running.await.expect("an end");
}
