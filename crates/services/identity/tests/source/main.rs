//! A node whose identities come from another Workload API, which says what the tests tell it to.
#![allow(clippy::unwrap_used, missing_docs)]

mod server;

use lictor_identity::{Identity, Registration, Registry, Source, system_clock};
use lictor_model::{Name, SpiffeId};
use lictor_pki::Subject;
use lictor_wire::workload::{X509svid, X509svidResponse};
use server::{Server, now};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tonic::Status;

const A: &str = "spiffe://td/a";
const B: &str = "spiffe://td/b";

struct Node {
    source: Source,
    registry: Registry,
    running: JoinHandle<()>,
}

impl Node {
    /// A node with a pod for each of these identities.
    fn start(server: &Server, ids: &[&str]) -> Self {
        let endpoint = format!("unix:{}", server.socket().display()).parse().unwrap();
        let source = Source::new(endpoint, "td".parse().unwrap(), system_clock()).unwrap();
        let registry = Registry::new();
        let node = Self {
            running: tokio::spawn(source.clone().run(registry.clone(), std::future::pending())),
            source,
            registry,
        };
        ids.iter().for_each(|id| node.add(id));
        node
    }

    fn add(&self, id: &str) {
        self.add_named(id, &[]);
    }

    /// A pod whose identity has DNS names by its entry here.
    fn add_named(&self, id: &str, dns_names: &[&str]) {
        let pod = Name::new("shop", id.rsplit('/').next().unwrap());
        let dns_names = dns_names.iter().map(|name| name.parse().unwrap()).collect();
        let identity = Identity { dns_names, ..id.parse::<SpiffeId>().unwrap().into() };
        self.registry
            .add(Registration {
                pod,
                uid: None,
                ids: vec![identity],
                federates_with: BTreeSet::new(),
                cgroups: Vec::new(),
            })
            .unwrap();
    }

    /// The leaf that the keyring has for an identity.
    fn leaf(&self, id: &str) -> Option<Vec<u8>> {
        let (svid, _) = self.source.keyring().svid(&id.parse().unwrap())?;
        Some(svid.chain[0].to_vec())
    }

    fn holds(&self) -> Vec<String> {
        let subjects = self.source.keyring().subjects();
        let mut ids: Vec<String> = subjects.iter().map(|subject| subject.id.to_string()).collect();
        ids.sort();
        ids
    }

    fn missing(&self) -> Vec<String> {
        self.source.status().missing.iter().map(ToString::to_string).collect()
    }

    fn faults(&self) -> String {
        self.source.status().faults.join("; ")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Waits until something holds; a test that waits twenty seconds has failed.
async fn soon(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(20), "{what} does not come to hold");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_keyring_is_what_the_last_state_says_for_the_pods_that_are_here() {
    let server = Server::start();
    server.say(Ok(server.state(&[A, B])));
    let node = Node::start(&server, &[A]);
    tokio::time::timeout(Duration::from_secs(20), node.source.received()).await.unwrap();
    soon("the pod's SVID", || node.holds() == [A]).await;
    assert_eq!(node.source.keyring().bundle().authorities(), server.authority().bundle(1).authorities());
    assert_eq!(node.source.status().offered.len(), 2);

    node.add("spiffe://td/c");
    soon("a pod without an SVID is named", || node.missing() == ["spiffe://td/c"]).await;
    node.add(B);
    soon("a pod that comes later", || node.holds() == [A, B]).await;

    let (first, sequence) = (node.leaf(A), node.source.keyring().bundle().sequence());
    server.say(Ok(server.state(&[A])));
    soon("the next SVID, and what was left out is given up", || node.holds() == [A] && node.leaf(A) != first).await;
    assert_eq!(node.source.keyring().bundle().sequence(), sequence, "the same authorities keep their number");
    assert!(node.registry.remove(&Name::new("shop", "a")));
    soon("an SVID that no pod needs", || node.holds().is_empty()).await;
}

#[tokio::test]
async fn an_identity_with_dns_names_has_the_svid_that_is_offered_whichever_names_that_has() {
    let server = Server::start();
    server.say(Ok(server.state(&[A])));
    let node = Node::start(&server, &[]);
    node.add_named(A, &["a.test"]);
    node.add_named(B, &["b.test"]);
    let subject = Subject { id: A.parse().unwrap(), dns_names: ["a.test".parse().unwrap()].into() };
    soon("it has it by itself and with its names", || node.holds() == [A, A]).await;
    let (with, _) = node.source.keyring().svid_of(&subject).unwrap();
    assert_eq!(Some(with.chain[0].to_vec()), node.leaf(A));
    assert_eq!(node.missing(), [B], "each is named once");
    server.say(Ok(server.state(&[B])));
    soon("it is given up with both", || node.holds() == [B, B] && node.missing() == [A]).await;
}

#[tokio::test]
async fn a_refusal_takes_everything_back_and_a_later_state_gives_it_again() {
    let server = Server::start();
    server.say(Ok(server.state(&[A])));
    let node = Node::start(&server, &[A]);
    soon("an SVID", || node.holds() == [A]).await;
    server.say(Err(Status::permission_denied("no identity issued")));
    soon("nothing is held or believed", || {
        node.holds().is_empty() && node.source.keyring().bundle().authorities().is_empty()
    })
    .await;
    assert!(node.faults().contains("PermissionDenied: no identity issued"), "{}", node.faults());
    server.say(Ok(server.state(&[A])));
    soon("it is asked again", || node.holds() == [A] && node.faults().is_empty()).await;
}

#[tokio::test]
async fn what_was_received_goes_on_while_the_server_is_away() {
    let mut server = Server::start();
    server.say(Ok(server.state(&[A])));
    let node = Node::start(&server, &[A]);
    soon("an SVID", || node.holds() == [A]).await;
    let first = node.leaf(A);
    server.stop().await;
    soon("the fault", || node.faults().contains("X.509-SVIDs: ")).await;
    assert_eq!(node.leaf(A), first, "it is valid still");
    server.say(Ok(server.state(&[A])));
    server.restart();
    soon("the state of the server that came back", || node.leaf(A).is_some_and(|leaf| Some(leaf) != first)).await;
    soon("no fault any more", || node.faults().is_empty()).await;
}

#[tokio::test]
async fn a_broken_state_is_discarded_as_a_whole() {
    let server = Server::start();
    server.say(Ok(server.state(&[A])));
    let node = Node::start(&server, &[A]);
    soon("an SVID", || node.holds() == [A]).await;
    let first = node.leaf(A);
    let mut broken = server.state(&[A, B]);
    broken.svids[1].bundle.clear();
    for (state, why) in [
        (broken, "spiffe://td/b lacks one of them"),
        (X509svidResponse::default(), "expected SVIDs, saw none"),
        (server.other_domain(), "expected an SVID of the trust domain td"),
    ] {
        server.say(Ok(state));
        soon(why, || node.faults().contains(why)).await;
        assert_eq!(node.leaf(A), first, "{why}: what came before stays");
    }
    // One SVID that proves nothing is none, the others are as good as ever.
    let mut stolen = server.state(&[A, B]);
    stolen.svids[1] = X509svid { spiffe_id: B.to_owned(), ..stolen.svids[0].clone() };
    server.say(Ok(stolen));
    node.add(B);
    soon("the identity without an SVID is named", || node.missing() == [B]).await;
    assert!(node.leaf(A).is_some_and(|leaf| Some(leaf) != first));
    assert!(
        node.faults().contains("expected a certificate of spiffe://td/b, saw one of spiffe://td/a"),
        "{}",
        node.faults()
    );
}

#[tokio::test]
async fn keys_for_tokens_are_believed_until_they_are_taken_back() {
    let server = Server::start();
    server.say(Ok(server.state(&[A])));
    server.say_keys(Ok(server.keys()));
    let node = Node::start(&server, &[A]);
    let token = server.authority().tokens();
    let token = token.issue(&A.parse().unwrap(), &["bank".to_owned()], now(), time::Duration::HOUR).unwrap();
    let valid = || {
        let now = lictor_pki::unix_time(now());
        lictor_pki::verify_token(&token, &node.source.keyring().bundle(), "bank", now).is_ok()
    };
    soon("the token is valid", valid).await;
    server.say_keys(Err(Status::permission_denied("no identity issued")));
    soon("it is no more", || !valid()).await;
    assert_eq!(node.holds(), [A], "SVIDs have a stream of their own");
    assert!(node.faults().contains("JWT bundles: PermissionDenied"), "{}", node.faults());
}

#[tokio::test]
async fn a_federated_trust_domain_is_believed_as_long_as_a_state_says_so() {
    let server = Server::start();
    let (name, other) = ("spiffe://other".to_owned(), server.other_domain().svids.remove(0).bundle);
    let mut federated = server.state(&[A]);
    federated.federated_bundles.insert(name, other);
    server.say(Ok(federated));
    let node = Node::start(&server, &[A]);
    let believed = || node.source.keyring().foreign().keys().map(ToString::to_string).collect::<Vec<_>>();
    soon("the other trust domain", || believed() == ["other"]).await;
    server.say(Ok(server.state(&[A])));
    soon("it is believed no more", || believed().is_empty()).await;
    assert_eq!(node.holds(), [A]);
}

#[tokio::test]
async fn a_server_without_tokens_is_asked_for_them_once() {
    let server = Server::start();
    server.say(Ok(server.state(&[A])));
    server.say_keys(Err(Status::unimplemented("JWT-SVIDs are not issued here")));
    let node = Node::start(&server, &[A]);
    soon("the fault", || node.faults().contains("JWT bundles: Unimplemented")).await;
    soon("an SVID", || node.holds() == [A]).await;
    // Two of the first waits.
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(server.asked_for_keys(), 1);
}
