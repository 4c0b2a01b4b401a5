//! A node and control, each as it is: one joins, asks and goes on; the other comes and goes.

use crate::world::{World, clock, id, name};
use lictor_identity::membership::{Bootstrap, Membership, MembershipError, MembershipOptions};
use lictor_identity::{Registration, Registry};
use lictor_model::{Name, SpiffeId};
use lictor_pki::tls::node::Fingerprint;
use lictor_pki::{Svid, Usage, authority_key_id, unix_time, verify, verify_token};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use time::Duration;
use tokio::task::JoinHandle;

/// A node whose membership runs until it is dropped.
struct Node {
    membership: Membership,
    registry: Registry,
    running: JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Where a node keeps what it has, and finds its token.
struct Files(tempfile::TempDir);

impl Files {
    fn new(token: &str) -> Self {
        let files = Self(tempfile::tempdir().unwrap());
        files.set_token(token);
        files
    }

    fn set_token(&self, token: &str) {
        fs::write(self.token(), format!("{token}\n")).unwrap();
    }

    fn token(&self) -> PathBuf {
        self.0.path().join("token")
    }

    fn kept(&self) -> PathBuf {
        self.0.path().join("node")
    }
}

fn options(world: &World, files: &Files, ahead: Duration) -> MembershipOptions {
    MembershipOptions {
        address: world.address.to_string(),
        node: name("n1"),
        trust_domain: world.domain.clone(),
        bootstrap: Bootstrap::Bundle(Box::new((*world.bundle()).clone())),
        token_file: Some(files.token()),
        kept: Some(files.kept()),
        clock: clock(&world.seconds, ahead),
    }
}

impl Node {
    fn start(options: MembershipOptions) -> Result<Self, MembershipError> {
        let (membership, registry) = (Membership::new(options)?, Registry::new());
        let running = tokio::spawn(membership.clone().run(registry.clone(), std::future::pending()));
        Ok(Self { membership, registry, running })
    }

    fn add(&self, pod: &str, path: &str) {
        let registration = Registration {
            pod: Name::new("shop", pod),
            uid: None,
            ids: vec![id(path).into()],
            federates_with: BTreeSet::new(),
            cgroups: Vec::new(),
        };
        self.registry.add(registration).unwrap();
    }

    fn svid(&self, path: &str) -> Option<Arc<Svid>> {
        self.membership.keyring().svid(&id(path)).map(|(svid, _)| svid)
    }

    /// An SVID that is another one than `before`.
    async fn next(&self, path: &str, before: Option<&Svid>) -> Arc<Svid> {
        let mut found = None;
        soon(|| {
            found = self.svid(path).filter(|svid| before.is_none_or(|before| before.chain != svid.chain));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    async fn fault(&self, part: &str) -> String {
        let mut told = String::new();
        let has = |told: &mut String| {
            *told = self.membership.status().faults.join("; ");
            told.contains(part)
        };
        for _ in 0..1000 {
            if has(&mut told) {
                return told;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{part}: {told}")
    }
}

async fn soon(mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it does not come to hold");
}

fn proves(world: &World, svid: &Svid) -> Option<SpiffeId> {
    verify(&svid.chain, &world.bundle(), unix_time(world.ca.now()), Usage::Server).ok()
}

#[tokio::test]
async fn a_node_joins_and_has_what_its_pods_need() {
    let world = World::new().await;
    let files = Files::new(&world.token(None));
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    node.add("web", "front");
    let first = node.next("front", None).await;
    assert_eq!(proves(&world, &first), Some(id("front")));
    node.add("db", "ns/shop/sa/db");
    let why = node.fault("ns/shop/sa/db").await;
    assert!(why.contains("expected a pod that runs on node n1, shop/db does not"), "{why}");
    assert!(node.svid("ns/shop/sa/db").is_none());

    // At half of its life; a pod that comes has it look at the clock.
    world.wait(Duration::minutes(6));
    node.registry.remove(&Name::new("shop", "db"));
    let second = node.next("front", Some(&first)).await;
    assert_ne!(first.key.pkcs8(), second.key.pkcs8());
    soon(|| node.membership.status().faults.is_empty()).await;
    node.registry.remove(&Name::new("shop", "web"));
    soon(|| node.svid("front").is_none()).await;

    let identity = id("front").into();
    let token = node.membership.issue_token(&Name::new("shop", "web"), &identity, &["vault".to_owned()]).await.unwrap();
    assert_eq!(verify_token(&token, &world.bundle(), "vault", unix_time(world.ca.now())).unwrap().id, id("front"));
}

#[tokio::test]
async fn while_control_is_away_what_was_issued_goes_on_until_it_expires() {
    let mut world = World::new().await;
    let files = Files::new(&world.token(None));
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    node.add("web", "front");
    let first = node.next("front", None).await;
    world.stop().await;
    node.fault("control").await;
    assert!(!node.membership.status().connected);
    // Past half of its life: it cannot be renewed, and stays.
    world.wait(Duration::minutes(9));
    node.add("other", "ns/shop/sa/other");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(node.svid("front").unwrap().chain, first.chain);
    assert_eq!(proves(&world, &first), Some(id("front")));
    let refused = node.membership.issue_token(&Name::new("shop", "web"), &id("front").into(), &["v".to_owned()]).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unavailable);
    // It expires.
    world.wait(Duration::minutes(2));
    node.registry.remove(&Name::new("shop", "other"));
    soon(|| node.svid("front").is_none()).await;
    // Control is back, and nobody starts the node again.
    world.start().await;
    let second = node.next("front", None).await;
    assert_eq!(proves(&world, &second), Some(id("front")));
    soon(|| node.membership.status().faults.is_empty()).await;
}

#[tokio::test]
async fn a_node_that_starts_again_proves_itself_by_what_it_kept() {
    let world = World::new().await;
    let files = Files::new(&world.token(Some("n1")));
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    node.membership.joined().await;
    let nodes = world.members.nodes();
    drop(node);
    let issued = world.ca.issued(100).len();
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    node.membership.joined().await;
    assert_eq!(world.ca.issued(100).len(), issued + 1, "it renews before anything else");
    assert_eq!((nodes[0].joined, world.members.nodes().len()), (world.members.nodes()[0].joined, 1));
    node.add("web", "front");
    node.next("front", None).await;
    // One that has lost it needs a token, and the one that it had is used up.
    drop(node);
    fs::remove_file(files.kept()).unwrap();
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    let why = node.fault("join token").await;
    assert!(why.contains("it was used, revoked, or never made"), "{why}");
    files.set_token(&world.token(Some("n1")));
    node.membership.joined().await;
}

#[tokio::test]
async fn a_node_that_was_evicted_joins_by_a_new_token_without_a_restart() {
    let world = World::new().await;
    let files = Files::new(&world.token(None));
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    node.membership.joined().await;
    world.members.evict(&name("n1")).unwrap();
    let why = node.fault("it was evicted").await;
    assert!(why.contains("it needs a new join token"), "{why}");
    node.add("web", "front");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(node.svid("front").is_none());
    files.set_token(&world.token(None));
    node.next("front", None).await;
}

#[tokio::test]
async fn a_fingerprint_is_enough_to_know_control_by() {
    let world = World::new().await;
    let files = Files::new(&world.token(None));
    let pinned = |fingerprint| MembershipOptions {
        bootstrap: Bootstrap::Fingerprint(fingerprint),
        ..options(&world, &files, Duration::ZERO)
    };
    let node = Node::start(pinned("00".repeat(32).parse().unwrap())).unwrap();
    node.fault("UnknownIssuer").await;
    assert_eq!(world.members.tokens().len(), 1, "no token is shown to a stranger");
    drop(node);
    let node = Node::start(pinned(Fingerprint::of(&world.bundle().authorities()[0]))).unwrap();
    node.membership.joined().await;
    assert_eq!(*node.membership.keyring().bundle(), *world.bundle());
}

#[tokio::test]
async fn what_a_tainted_authority_signed_is_replaced_at_once() {
    let world = World::new().await;
    let files = Files::new(&world.token(None));
    let node = Node::start(options(&world, &files, Duration::ZERO)).unwrap();
    node.add("web", "front");
    let first = node.next("front", None).await;
    for step in [lictor_identity::Ca::prepare, |ca: &_, kind| lictor_identity::Ca::activate(ca, kind, None)] {
        step(&world.ca, lictor_pki::Kind::X509).unwrap();
    }
    world.ca.taint(lictor_pki::Kind::X509, None).unwrap();
    let second = node.next("front", Some(&first)).await;
    assert_ne!(authority_key_id(&first.chain[0]), authority_key_id(&second.chain[0]));
    // Nobody stands by it any more, the node itself included.
    soon(|| world.ca.revoke(lictor_pki::Kind::X509, None).is_ok()).await;
    soon(|| node.membership.keyring().bundle().authorities().len() == 1).await;
    assert_eq!(proves(&world, &second), Some(id("front")));
}

#[tokio::test]
async fn a_clock_that_is_five_minutes_off_is_told_of() {
    let world = World::new().await;
    let files = Files::new(&world.token(None));
    let node = Node::start(options(&world, &files, Duration::minutes(5))).unwrap();
    node.add("web", "front");
    node.next("front", None).await;
    let why = node.fault("the clock of this machine").await;
    assert!(why.contains("s ahead of control's"), "{why}");

    let behind = World::new().await;
    let files = Files::new(&behind.token(None));
    let node = Node::start(options(&behind, &files, -Duration::minutes(5))).unwrap();
    let why = node.fault("certificate is not valid before").await;
    assert!(why.contains("seconds in future"), "{why}");
    assert_eq!(behind.members.tokens().len(), 1, "nothing is shown before control has proven itself");
    // When control's own certificate has aged, the node's would still begin in the future.
    behind.wait(Duration::minutes(5));
    let why = node.fault("s behind control's").await;
    assert!(why.contains("no certificate would be valid there"), "{why}");
    assert_eq!(behind.members.tokens().len(), 1, "and the token waits on");
}
