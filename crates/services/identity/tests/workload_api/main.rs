//! The Workload API with real processes in real cgroups.
//!
//! Each test plays a node: it makes cgroups, starts this very program again as the process of a pod (`a_process` below
//! is its body) and talks with it over its pipes. Needs root and a cgroup2 hierarchy, and fails without.
#![allow(clippy::unwrap_used)]

mod beside;
#[path = "../cgroups/mod.rs"]
mod cgroups;
mod client;
mod early;
mod jwt;
mod named;
mod node;
mod processes;
mod sds;
mod sds_client;
mod several;

use node::Node;
use std::time::Duration;

const A: &str = "spiffe://td.example/ns/shop/sa/a";
const B: &str = "spiffe://td.example/ns/shop/sa/b";

/// The body of the processes that the other tests start; without their orders it has nothing to do.
#[test]
fn a_process() {
    if let Some(orders) = client::Orders::from_environment() {
        orders.run();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_pods_get_their_own_svid_and_nothing_else() {
    let node = Node::start("own").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    for (place, id) in [(&a, A), (&b, B)] {
        let mut process = node.process(place);
        process.connect();
        let svid = process.fetch();
        assert_eq!(svid.only_id(), id);
        assert_eq!(svid.proves(&node.bundle()), id, "chain, key and bundle fit together");
        let bundles = [("spiffe://td.example".to_owned(), node.bundle().concatenated_der())];
        assert_eq!(process.fetch_bundles(), bundles);
    }
    // A cgroup of pod a's own making, called like pod b's.
    let nested = node.cgroup(&format!("a{}", b.path));
    let mut process = node.process(&nested);
    process.connect();
    assert_eq!(process.fetch().only_id(), A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_of_federated_trust_domains_come_beside_the_own_one_and_go() {
    let node = Node::start("federated").await;
    let a = node.pod("a", A);
    node.federate_pod("a", &["other.example", "third.example", "td.example", "unknown.example"]);
    let mut process = node.process(&a);
    process.connect();
    process.watch();
    assert_eq!(process.next_state().federated(), []);
    let named = |name: &str, bundle: &lictor_pki::Bundle| (format!("spiffe://{name}"), bundle.concatenated_der());
    let other = node.federate("other.example");
    let other = named("other.example", &other.bundle(1));
    let state = process.next_state();
    assert_eq!((state.federated(), state.proves(&node.bundle())), (vec![other.clone()], A.to_owned()));
    let third = named("third.example", &node.federate("third.example").bundle(1));
    assert_eq!(process.next_state().federated(), [other.clone(), third.clone()]);
    node.end_federation("third.example");
    assert_eq!(process.next_state().federated(), std::slice::from_ref(&other));

    let mut verifier = node.process(&a);
    verifier.connect();
    assert_eq!(verifier.fetch_bundles(), [other, named("td.example", &node.bundle())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_the_bundles_of_those_trust_domains_alone_that_it_federates_with() {
    let node = Node::start("federates-with").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    let [other, third] = ["other.example", "third.example"].map(|name| {
        let bundle = node.federate(name).bundle(1);
        (format!("spiffe://{name}"), bundle.concatenated_der())
    });
    node.federate_pod("b", &["third.example"]);
    let own = ("spiffe://td.example".to_owned(), node.bundle().concatenated_der());
    let mut process = node.process(&a);
    process.connect();
    process.watch();
    assert_eq!(process.next_state().federated(), [], "it federates with nobody");
    node.federate_pod("a", &["other.example"]);
    assert_eq!(process.next_state().federated(), [other], "the open stream is told");
    node.federate_pod("a", &["other.example"]);
    assert!(process.nothing_for(Duration::from_millis(200)), "the same again is no news");
    node.federate_pod("a", &[]);
    assert_eq!(process.next_state().federated(), []);

    let mut verifier = node.process(&a);
    verifier.connect();
    assert_eq!(verifier.fetch_bundles(), std::slice::from_ref(&own));
    let mut verifier = node.process(&b);
    verifier.connect();
    assert_eq!(verifier.fetch_bundles(), [own, third]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_outside_every_pod_gets_nothing() {
    let node = Node::start("outside").await;
    node.pod("a", A);
    for place in [node.cgroup("neighbour"), node.cgroup("a-b")] {
        let mut process = node.process(&place);
        process.connect();
        assert_eq!(process.refused(), ("PermissionDenied".to_owned(), "no identity issued".to_owned()));
        assert_eq!(process.refused_bundles().0, "PermissionDenied");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_after_the_connection_earns_nothing() {
    let node = Node::start("move").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    let outside = node.cgroup("outside");

    let mut process = node.process(&a);
    process.connect();
    assert_eq!(process.fetch().only_id(), A);
    process.enter(&b);
    assert_eq!(process.refused().0, "PermissionDenied", "neither the old identity nor the new one");
    process.enter(&a);
    assert_eq!(process.fetch().only_id(), A);

    let mut stranger = node.process(&outside);
    stranger.connect();
    assert_eq!(stranger.refused().0, "PermissionDenied");
    stranger.enter(&b);
    assert_eq!(stranger.refused().0, "PermissionDenied");

    // Within its own pod a process may go where it likes.
    let below = node.cgroup("a/below");
    process.enter(&below);
    assert_eq!(process.fetch().only_id(), A);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_has_ended_leaves_its_connection_to_nobody() {
    let node = Node::start("heir").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    assert_eq!(process.fetch().only_id(), A);
    // A copy of the process, in the same pod even, goes on with the same connection.
    process.fork_and_end();
    assert_eq!(process.refused().0, "PermissionDenied", "its number is still known");
    let pid = process.bury();
    assert_eq!(process.refused().0, "PermissionDenied", "its number is free");
    let mut taker = node.process_numbered(&a, pid);
    assert_eq!(process.refused().0, "PermissionDenied", "its number is another process of the same pod");
    taker.connect();
    assert_eq!(taker.fetch().only_id(), A, "which has a right of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_the_process_that_opened_it() {
    let node = Node::start("stream").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    process.watch();
    assert_eq!(process.next_state().only_id(), A);
    process.fork_and_end();
    assert_eq!(process.stream_end().0, "PermissionDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_is_pushed_and_the_same_state_is_not_sent_twice() {
    let node = Node::start("rotation").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    let mut process = node.process(&a);
    process.connect();
    process.watch();
    let first = process.next_state();
    node.renew(A);
    let second = process.next_state();
    assert_ne!(first.leaf(), second.leaf());
    assert_eq!(second.proves(&node.bundle()), A);

    // Another pod's SVID, and a bundle of the same content, are no news; a bundle of other content is.
    node.renew(B);
    node.renumber_bundle();
    let other = node.add_authority();
    let third = process.next_state();
    assert_eq!(third.leaf(), second.leaf());
    assert!(third.bundle().ends_with(&other) && third.bundle() != second.bundle());
    assert!(process.nothing_for(Duration::from_millis(200)));
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_stream_of_a_removed_pod_ends() {
    let node = Node::start("removal").await;
    let (a, b) = (node.pod("a", A), node.pod("b", B));
    let (mut first, mut second) = (node.process(&a), node.process(&b));
    for process in [&mut first, &mut second] {
        process.connect();
        process.watch();
        process.next_state();
    }
    node.remove("a");
    assert_eq!(first.stream_end(), ("PermissionDenied".to_owned(), "no identity issued".to_owned()));
    assert_eq!(first.refused().0, "PermissionDenied");
    assert!(second.nothing_for(Duration::from_millis(100)), "the other pod does not notice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cgroup_that_took_over_the_path_is_another_one() {
    let node = Node::start("replaced").await;
    let a = node.pod("a", A);
    let again = node.recreate(&a);
    let mut process = node.process(&again);
    process.connect();
    assert_eq!(process.refused().0, "PermissionDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_without_the_security_header_is_no_request() {
    let node = Node::start("header").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    assert_eq!(process.without_header().0, "InvalidArgument");
    for order in ["jwt-without-header", "jwt-bundles-without-header", "validate-without-header"] {
        let (code, message) = process.refusal_of(order);
        assert_eq!((code.as_str(), message.as_str()), ("InvalidArgument", "security header missing from request"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_waits_for_the_first_svid_and_is_told_when_there_is_none() {
    let node = Node::start("first").await;
    let a = node.pod_without_svid("a", A);
    let mut process = node.process(&a);
    process.connect();
    process.watch();
    assert!(process.nothing_for(Duration::from_millis(200)));
    node.renew(A);
    assert_eq!(process.next_state().only_id(), A);

    let c = node.pod_without_svid("c", "spiffe://td.example/ns/shop/sa/c");
    let mut process = node.process(&c);
    process.connect();
    assert_eq!(process.refused().0, "Unavailable");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_so_and_leaves_nothing_hanging() {
    let mut node = Node::start("stop").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    process.watch();
    process.next_state();
    node.stop().await;
    assert_eq!(process.stream_end().0, "Unavailable");
}
