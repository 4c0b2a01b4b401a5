//! Identities with DNS names.

use crate::A;
use crate::node::Node;
use lictor_identity::Identity;
use lictor_model::{DnsName, SpiffeId};
use std::sync::Arc;
use std::time::Duration;

fn names(names: &[&str]) -> Arc<[DnsName]> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn named(dns_names: &Arc<[DnsName]>) -> Identity {
    Identity { dns_names: Arc::clone(dns_names), ..A.parse::<SpiffeId>().unwrap().into() }
}

fn told(names: &[&str]) -> [(String, Vec<String>); 1] {
    let first = names.first().copied().unwrap_or_default();
    [(first.to_owned(), names.iter().map(|&name| name.to_owned()).collect())]
}

/// Source: SPIRE, `pkg/server/credtemplate/builder.go`: an SVID has the names of its entry.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_given_the_svid_with_the_names_of_its_entry_and_no_other() {
    let node = Node::start("named").await;
    let (front, back) = (names(&["front.test", "*.front.test"]), names(&["back.test"]));
    let place = node.pod_with("front", vec![named(&front)]);
    let plain = node.pod_with("plain", vec![named(&Arc::default())]);
    let (mut process, mut other) = (node.process(&place), node.process(&plain));
    for process in [&mut process, &mut other] {
        process.connect();
        process.watch();
    }
    node.renew(A);
    assert_eq!(other.next_state().names(), told(&[]));
    node.renew_named(A, &back);
    assert!(
        process.nothing_for(Duration::from_millis(200)),
        "neither the plain one nor that of another entry is its own"
    );
    node.renew_named(A, &front);
    let state = process.next_state();
    assert_eq!(state.names(), told(&["front.test", "*.front.test"]));
    assert_eq!(state.proves(&node.bundle()), A);
    node.renew_named(A, &front);
    assert_ne!(process.next_state().leaf(), state.leaf(), "its renewal is pushed");
    node.renew(A);
    assert_eq!(other.next_state().names(), told(&[]));
    assert!(process.nothing_for(Duration::from_millis(200)) && other.nothing_for(Duration::from_millis(10)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_stream_follows_the_names_of_its_entry() {
    let node = Node::start("renamed").await;
    let (before, after) = (names(&["before.test"]), names(&["after.test"]));
    let place = node.pod_with("a", vec![named(&before)]);
    node.renew_named(A, &before);
    let mut process = node.process(&place);
    process.connect();
    process.watch();
    assert_eq!(process.next_state().names(), told(&["before.test"]));
    node.give("a", vec![named(&after)]);
    assert!(process.nothing_for(Duration::from_millis(200)), "until it is issued, the one before goes on");
    node.renew_named(A, &before);
    assert!(process.nothing_for(Duration::from_millis(200)), "the one before is none of it any more");
    node.renew_named(A, &after);
    assert_eq!(process.next_state().names(), told(&["after.test"]));

    // It is the pod's right that ends a stream.
    node.give("a", vec![]);
    assert_eq!(process.stream_end().0, "PermissionDenied");
    assert_eq!(process.refused().0, "PermissionDenied");
}
