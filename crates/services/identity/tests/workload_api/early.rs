//! A process that asks before its pod is registered.

use crate::node::{MADE, Node};
use crate::{A, B};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_call_waits_for_the_pod_that_is_being_registered() {
    let node = Node::start("early").await;
    let place = format!("{MADE}/a");
    let mut process = node.process(&node.cgroup(&place));
    process.connect();
    process.watch();
    assert!(process.nothing_for(Duration::from_millis(300)));
    node.pod("b", B);
    assert!(process.nothing_for(Duration::from_millis(300)), "another pod is none of its business");
    node.pod(&place, A);
    assert_eq!(process.next_state().only_id(), A);

    let mut process = node.process(&node.cgroup(&format!("{MADE}/c")));
    process.connect();
    process.order("jwt shop ");
    assert!(process.nothing_for(Duration::from_millis(300)));
    node.pod(&format!("{MADE}/c"), B);
    process.answer("tokens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_never_comes_is_waited_for_as_long_and_no_longer() {
    let node = Node::start("never").await;
    let denied = ("PermissionDenied".to_owned(), "no identity issued".to_owned());
    let mut process = node.process(&node.cgroup(&format!("{MADE}/a")));
    process.connect();
    let began = Instant::now();
    assert_eq!(process.refused(), denied);
    assert!((5..10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());

    // Who is nowhere near a pod need not wait, and neither need one whose pod has no identity.
    let mut stranger = node.process(&node.cgroup("outside"));
    stranger.connect();
    node.pod_with(&format!("{MADE}/none"), Vec::new());
    let mut nobody = node.process(&node.cgroup(&format!("{MADE}/none")));
    nobody.connect();
    let began = Instant::now();
    assert_eq!((stranger.refused(), nobody.refused()), (denied.clone(), denied));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_does_not_wait_for_pods() {
    let mut node = Node::start("early-stop").await;
    let mut process = node.process(&node.cgroup(&format!("{MADE}/a")));
    process.connect();
    process.watch();
    assert!(process.nothing_for(Duration::from_millis(200)));
    node.stop().await;
    assert_eq!(process.stream_end().0, "Unavailable");
}
