//! Identities that only some processes of a pod get.

use crate::node::Node;
use crate::{A, B};
use lictor_identity::{Identity, Processes};
use lictor_model::{ProcessSelector, SpiffeId};

const C: &str = "spiffe://td.example/c";
const D: &str = "spiffe://td.example/d";

fn of(id: &str, containers: &[&str], selectors: &[&str]) -> Identity {
    let named = containers.iter().map(|name| (*name).into()).collect();
    let selectors = selectors.iter().map(|text| text.parse::<ProcessSelector>().unwrap()).collect();
    let processes = Processes { containers: (!containers.is_empty()).then_some(named), selectors };
    Identity { processes, ..id.parse::<SpiffeId>().unwrap().into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_container_gets_its_own_beside_the_pods() {
    let node = Node::start("containers").await;
    let ids = vec![of(A, &[], &[]), of(B, &["one"], &[]), of(C, &["two", "three"], &[])];
    let places = node.pod_of_containers("a", &["one", "two"], ids);
    for (name, place, expected) in [("one", &places[0], [A, B]), ("two", &places[1], [A, C])] {
        let mut process = node.process(place);
        process.connect();
        let mut told = || process.fetch().hinted().iter().map(|(id, _)| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(told(), expected);
        // What it makes below its own is its own, whatever the name.
        let mut below = node.process(&node.cgroup(&format!("a/{name}/two")));
        below.connect();
        let told = below.fetch();
        assert_eq!(told.hinted().iter().map(|(id, _)| *id).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_of_the_pod_that_is_no_known_container_gets_nothing() {
    let node = Node::start("unknown-container").await;
    let places = node.pod_of_containers("a", &["one", "two"], vec![of(A, &[], &[]), of(B, &["one"], &[])]);
    for place in ["a", "a/three", "a/onetwo"] {
        let mut process = node.process(&node.cgroup(place));
        process.connect();
        assert_eq!(process.refused().0, "PermissionDenied", "{place}");
    }
    // A process of one container in the other's cgroup has the right of neither.
    let mut process = node.process(&places[0]);
    process.connect();
    process.watch();
    process.next_state();
    process.enter(&places[1]);
    assert_eq!(process.refused().0, "PermissionDenied");
    node.renew(A);
    assert_eq!(process.stream_end().0, "PermissionDenied", "and its stream ends when there is something to tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_gets_what_its_facts_entitle_it_to() {
    let node = Node::start("facts").await;
    let program = std::env::current_exe().unwrap();
    let path = format!("unix:path:{}", program.display());
    let sum = std::process::Command::new("sha256sum").arg(&program).output().unwrap();
    let digest = String::from_utf8(sum.stdout).unwrap().split(' ').next().unwrap().to_owned();
    let right = format!("unix:sha256:{digest}");
    let wrong = format!("unix:sha256:{}", "0".repeat(64));
    // What a test of root holds, and then what it does not.
    let held = [&["unix:uid:0"][..], &["unix:user:root", "unix:gid:0"], &["unix:group:root", &path], &[&right]];
    let not = [
        &["unix:uid:1"][..],
        &["unix:uid:0", "unix:user:nobody"],
        &["unix:path:/bin/sh"],
        &[&wrong],
        &["unix:supplementary_gid:65533"],
    ];
    for (at, selectors) in held.into_iter().enumerate() {
        let ids = vec![of(B, &[], selectors)];
        let place = node.pod_of_containers(&format!("held-{at}"), &["c"], ids).remove(0);
        let mut process = node.process(&place);
        process.connect();
        assert_eq!(process.fetch().only_id(), B, "{selectors:?}");
    }
    for (at, selectors) in not.into_iter().enumerate() {
        let name = format!("not-{at}");
        let place = node.pod_of_containers(&name, &["c"], vec![of(B, &[], selectors)]).remove(0);
        let mut process = node.process(&place);
        process.connect();
        let denied = ("PermissionDenied".to_owned(), "no identity issued".to_owned());
        assert_eq!(process.refused(), denied, "{selectors:?}");
        assert_eq!(process.refusal_of("jwt shop ").0, "PermissionDenied", "{selectors:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_becomes_another_user_loses_what_was_the_first_ones() {
    let node = Node::start("becomes").await;
    let ids = vec![
        of(A, &[], &[]),
        of(B, &[], &["unix:uid:0"]),
        of(C, &[], &["unix:uid:65534"]),
        of(D, &[], &["unix:supplementary_gid:7"]),
    ];
    let place = node.pod_of_containers("a", &["c"], ids).remove(0);
    let mut process = node.process(&place);
    process.connect();
    process.watch();
    let told = |state: crate::node::State| state.hinted().into_iter().map(|(id, _)| id.to_owned()).collect::<Vec<_>>();
    assert_eq!(told(process.next_state()), [A, B]);
    process.order("become 65534 7");
    process.answer("done");
    assert_eq!(told(process.fetch()), [A, C, D]);
    node.renew(A);
    assert_eq!(process.stream_end().0, "PermissionDenied", "it asks again and is told of what it is now");
}
