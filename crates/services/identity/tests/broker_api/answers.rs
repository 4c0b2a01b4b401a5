//! What is kept of who asked for what (one line for each thing that is granted, refused, or ended).

use crate::client::{Broker, end, next, pid, pod};
use crate::node::{Node, PATIENCE};
use crate::{A, PROXY, UID_A};
use lictor_pki::CertificateAuthority;

/// Caller, method, reference, pod and code of each answer; reasons have to be there where something was refused.
fn told(node: &Node) -> Vec<String> {
    let line = |answer: lictor_identity::broker_api::Answer| {
        assert_eq!(answer.reason.is_empty(), answer.code == "Ok", "{answer:?}");
        let caller = answer.caller.map_or_else(|| "-".to_owned(), |caller| caller.path().to_owned());
        let (method, reference) = (answer.method.unwrap_or("-"), answer.reference.as_deref().unwrap_or("-"));
        format!("{caller} {method} [{reference}] {} {}", answer.pod.as_deref().unwrap_or("-"), answer.code)
    };
    node.answers().into_iter().map(line).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_thing_that_is_granted_refused_or_ended_is_told_once() {
    let node = Node::start("answers").await;
    let place = node.pod("a", UID_A, A);
    let mut process = node.process(&place);
    let outside = node.process(&node.cgroup("outside"));
    let number = process.pid();
    let mut broker = Broker::connect(&node, PROXY).await;
    assert_eq!(told(&node), [""; 0], "a connection is nothing yet");

    let mut states = broker.watch(pid(number)).await.unwrap();
    next(&mut states).await;
    assert_eq!(told(&node), [format!("/proxy SubscribeToX509SVID [process {number}] shop/a Ok")]);
    process.kill();
    end(&mut states).await;
    assert_eq!(told(&node), [format!("/proxy SubscribeToX509SVID [process {number}] shop/a NotFound")]);

    broker.tokens(pod("shop/a", ""), &["bank"], "").await.unwrap();
    broker.tokens(pod("shop/a", ""), &[], "").await.unwrap_err();
    broker.tokens(pod("shop/a", ""), &["bank"], PROXY).await.unwrap_err();
    let token = |code: &str| format!("/proxy FetchJWTSVID [pods.core shop/a] shop/a {code}");
    assert_eq!(told(&node), [token("Ok"), token("InvalidArgument"), token("PermissionDenied")]);

    broker.refused(Some(pod("shop/b", ""))).await;
    let methods = ["SubscribeToX509SVID", "SubscribeToX509Bundles", "SubscribeToJWTBundles", "FetchJWTSVID"];
    let each = |what: &str| methods.map(|method| format!("/proxy {method} {what}"));
    assert_eq!(told(&node), each("[pods.core shop/b] - NotFound"));
    broker.refused(None).await;
    assert_eq!(told(&node), each("[-] - InvalidArgument"));

    Broker::connect(&node, A).await.refused(Some(pod("shop/a", ""))).await;
    assert_eq!(told(&node), ["/ns/shop/sa/a - [-] - PermissionDenied"; 4]);

    // What the caller is not told: why a process is no workload.
    let outside = outside.pid();
    broker.watch(pid(outside)).await.unwrap_err();
    let [answer] = &*node.answers() else { panic!("expected one answer") };
    assert!(answer.reason.contains("/outside"), "{answer:?}");
    let line = serde_json::to_value(answer).unwrap();
    assert_eq!((&line["code"], &line["reference"]), (&"PermissionDenied".into(), &format!("process {outside}").into()));

    let now = time::OffsetDateTime::now_utc();
    let impostor = CertificateAuthority::new("td.example".parse().unwrap(), now, time::Duration::DAY).unwrap();
    let forged = impostor.issue(&PROXY.parse().unwrap(), now, time::Duration::HOUR).unwrap();
    if let Ok(mut broker) = Broker::connect_as(&node, &forged).await {
        broker.watch(pod("shop/a", "")).await.unwrap_err();
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while !node.answers().iter().any(|answer| answer.reason.starts_with("no handshake")) {
        assert!(std::time::Instant::now() < deadline, "a handshake that fails is told of");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
