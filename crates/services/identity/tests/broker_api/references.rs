//! What a reference may be, and what is found under it (Broker API, sections 3.1 and 4.8).

use crate::client::{Broker, invalid, not_entitled, not_found, object, packed, pid, pod};
use crate::node::{Node, identity};
use crate::{A, B, BY_OBJECT, BY_PID, PROXY, UID_A, UID_B};
use lictor_identity::{Identity, Processes};
use lictor_wire::broker::WorkloadReference;
use prost_types::Any;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_reference_leads_to_its_own_workload() {
    let node = Node::start("own").await;
    let (a, b) = (node.pod("a", UID_A, A), node.pod("b", UID_B, B));
    let (in_a, in_b) = (node.process(&a), node.process(&node.cgroup(&format!("b{}", a.path))));
    let mut broker = Broker::connect(&node, PROXY).await;
    for (reference, id) in [
        (pid(in_a.pid()), A),
        (pid(in_b.pid()), B),
        (pod("shop/a", ""), A),
        (pod("shop/b", UID_B), B),
        (pod("", UID_A), A),
        (pod("", UID_B), B),
    ] {
        assert_eq!(broker.ids(reference.clone()).await, [id], "{reference:?}");
    }
    drop(b);
}

/// Section 4.8, first row: missing, malformed, invalid; of an unknown type.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_that_is_none_is_invalid() {
    let node = Node::start("invalid").await;
    node.pod("a", UID_A, A);
    let mut broker = Broker::connect(&node, PROXY).await;
    let any = |type_url: &str, value: &[u8]| WorkloadReference {
        reference: Some(Any { type_url: type_url.to_owned(), value: value.to_vec() }),
    };
    for reference in [
        None,
        Some(WorkloadReference { reference: None }),
        Some(any("", &[8, 1])),
        Some(any("type.googleapis.com/example.v1.VmReference", &[8, 1])),
        Some(any("example.com/spiffe.broker.WorkloadPIDReference", &[8, 1])),
        Some(any("type.googleapis.com/spiffe.broker.WorkloadPIDReference", &[0x0a, 9])),
        Some(pid(0)),
        Some(pid(-1)),
        Some(pod("", "")),
        Some(pod("shop/", "")),
        Some(pod("/a", "")),
        Some(pod("shop/a", "no-uuid")),
        Some(object("pods", "", "shop/a", "")),
        Some(object("", "core", "shop/a", "")),
    ] {
        assert_eq!(broker.refused(reference.clone()).await, invalid(), "{reference:?}");
    }
}

/// Section 4.8, second row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_there_is_not_found() {
    let node = Node::start("missing").await;
    let a = node.pod("a", UID_A, A);
    node.pod("b", UID_B, B);
    let mut gone = node.process(&a);
    gone.kill();
    // Without a cgroup: an identity of the node's own services, which is no pod's.
    node.renew("spiffe://td.example/lictor/own");
    node.register("own", None, vec![identity("spiffe://td.example/lictor/own")], Vec::new());
    let elsewhere = "c1b2c3d4-e5f6-7890-abcd-ef1234567890";
    node.register("elsewhere", Some(elsewhere), vec![identity(B)], Vec::new());
    let mut broker = Broker::connect(&node, PROXY).await;
    for reference in [
        pid(gone.pid()),
        pid(i32::MAX),
        pod("shop/c", ""),
        pod("bank/a", ""),
        pod("", "d1b2c3d4-e5f6-7890-abcd-ef1234567890"),
        // Section 3.1.3: a key whose object has another uid.
        pod("shop/a", UID_B),
        pod("shop/b", UID_A),
        pod("shop/own", ""),
        // A pod that is known and does not run on this node.
        pod("shop/elsewhere", ""),
        pod("", elsewhere),
    ] {
        assert_eq!(broker.refused(Some(reference.clone())).await, not_found(), "{reference:?}");
    }
    drop(gone);
    // Two pods with one uid: neither is meant.
    node.pod("d", UID_A, B);
    assert_eq!(broker.refused(Some(pod("", UID_A))).await, not_found());
    assert_eq!(broker.ids(pod("shop/a", UID_A)).await, [A]);
    // The pod's cgroup is another one by now: what was registered runs no more.
    node.recreate(&a);
    assert_eq!(broker.refused(Some(pod("shop/a", UID_A))).await, not_found());
}

/// Section 4.8, third row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_no_right_is_not_entitled() {
    let node = Node::start("entitled").await;
    let a = node.pod("a", UID_A, A);
    let b = node.pod_of_containers("b", Some(UID_B), &[""], Vec::new()).remove(0);
    let outside = node.process(&node.cgroup("outside"));
    let beside = node.process(&node.cgroup("a-b"));
    let without = node.process(&b);
    let replaced = node.process(&node.cgroup("a/below"));
    let mut broker = Broker::connect(&node, PROXY).await;
    let own = i32::try_from(std::process::id()).unwrap();
    for reference in [
        pid(outside.pid()),
        pid(beside.pid()),
        pid(without.pid()),
        pid(1),
        pid(own),
        pod("shop/b", UID_B),
        // Identities are issued to pods alone.
        object("serviceaccounts", "core", "shop/a", ""),
        object("deployments", "apps", "shop/a", ""),
        object("nodes", "core", "/node", ""),
        object("pods", "metrics.k8s.io", "shop/a", ""),
        object("kustomizations", "kustomize.toolkit.fluxcd.io", "", UID_A),
    ] {
        assert_eq!(broker.refused(Some(reference.clone())).await, not_entitled(), "{reference:?}");
    }
    assert_eq!(broker.ids(pid(replaced.pid())).await, [A]);
    drop(a);
}

/// Section 4.1: what a caller may do is the list's to say, and that is no reason of the workload's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_uses_the_types_that_the_list_gives_it() {
    let node = Node::start("types").await;
    let process = node.process(&node.pod("a", UID_A, A));
    let by_pid = || pid(process.pid());
    let by_object = || pod("shop/a", UID_A);
    for (broker, allowed, denied) in [(BY_PID, by_pid(), by_object()), (BY_OBJECT, by_object(), by_pid())] {
        let mut broker = Broker::connect(&node, broker).await;
        assert_eq!(broker.ids(allowed).await, [A]);
        assert_eq!(broker.refused(Some(denied)).await, (Code::PermissionDenied, None));
        assert_eq!(broker.refused(None).await, invalid());
    }
    // It is not told either whether what it may not refer to is there.
    let mut broker = Broker::connect(&node, BY_OBJECT).await;
    assert_eq!(broker.refused(Some(pid(i32::MAX))).await, (Code::PermissionDenied, None));
    let vendor = packed("SelectorReference", &WorkloadReference::default());
    assert_eq!(broker.refused(Some(vendor)).await, invalid());
}

/// The same rules as for a direct caller: a process gets its container's and its user's, a pod what all of it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_gets_what_it_would_get_itself() {
    let node = Node::start("rules").await;
    let of = |id: &str, containers: &[&str], selectors: &[&str]| {
        let named = containers.iter().map(|name| (*name).into()).collect();
        let selectors = selectors.iter().map(|text| text.parse().unwrap()).collect();
        let processes = Processes { containers: (!containers.is_empty()).then_some(named), selectors };
        Identity { processes, ..identity(id) }
    };
    let [root, nobody, one] = ["root", "nobody", "one"].map(|name| format!("spiffe://td.example/{name}"));
    let ids = vec![
        of(A, &[], &[]),
        of(&one, &["one"], &[]),
        of(&root, &[], &["unix:uid:0"]),
        of(&nobody, &[], &["unix:uid:65534"]),
    ];
    ids.iter().for_each(|identity| node.renew(identity.id.as_str()));
    let places = node.pod_of_containers("a", Some(UID_A), &["one", "two"], ids);
    let (in_one, in_two) = (node.process(&places[0]), node.process(&places[1]));
    let mut broker = Broker::connect(&node, PROXY).await;
    assert_eq!(broker.ids(pid(in_one.pid())).await, [A, &one, &root]);
    assert_eq!(broker.ids(pid(in_two.pid())).await, [A, &root]);
    assert_eq!(broker.ids(pod("shop/a", UID_A)).await, [A], "what depends on the process is no pod's");
    // A place of the pod that is no container of its, and one container's process in the other's cgroup.
    let lost = node.process(&node.cgroup("a/three"));
    assert_eq!(broker.refused(Some(pid(lost.pid()))).await, not_entitled());

    let only = vec![of(B, &["one"], &[])];
    node.renew(B);
    node.pod_of_containers("b", Some(UID_B), &["one"], only);
    assert_eq!(broker.refused(Some(pod("", UID_B))).await, not_entitled(), "nothing is the whole pod's");
}

/// As a direct caller does, a process waits for its pod to be registered, where pods are made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_early_is_waited_for() {
    let node = Node::start("waits").await;
    let process = node.process(&node.cgroup("made/a"));
    let mut broker = Broker::connect(&node, PROXY).await;
    let asked = async {
        let began = std::time::Instant::now();
        (broker.ids(pid(process.pid())).await, began.elapsed())
    };
    let registered = async {
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        node.pod("made/a", UID_A, A);
    };
    let ((ids, took), ()) = tokio::join!(asked, registered);
    assert_eq!(ids, [A]);
    assert!(took >= std::time::Duration::from_millis(300), "{took:?}");
}
