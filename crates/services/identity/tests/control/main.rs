//! Control as nodes meet it: TLS over a socket, and nothing but the protocol.
#![allow(clippy::unwrap_used, missing_docs)]

mod clocks;
mod joining;
mod membership;
mod world;

use lictor_pki::{SigningRequest, Usage, authority_key_id, not_after, unix_time, verify, verify_token};
use lictor_wire::node::answer::Answer as Outcome;
use lictor_wire::node::{FollowTrustRequest, IssueRequest, IssueTokenRequest, RenewRequest};
use time::Duration;
use tonic::Code;
use world::{World, chain, id, name, pod, svid, wanted};

/// What came of each: the identity that a chain proves, or the code and reason of a refusal.
async fn issue(world: &World, api: &mut world::Api, asked: &[(&str, &str)]) -> Vec<Result<String, (Code, String)>> {
    let request = SigningRequest::new().unwrap();
    let wanted = asked.iter().map(|(pod, path)| wanted(pod, &id(path), &request)).collect();
    let response = api.issue(IssueRequest { wanted }).await.unwrap().into_inner();
    let (bundle, now) = (world.bundle(), unix_time(world.ca.now()));
    let outcome = |answer: lictor_wire::node::Answer| match answer.answer.unwrap() {
        Outcome::Svid(made) => Ok(verify(&chain(&made), &bundle, now, Usage::Server).unwrap().to_string()),
        Outcome::Refusal(refusal) => Err((Code::from(refusal.code), refusal.reason)),
    };
    response.answers.into_iter().map(outcome).collect()
}

#[tokio::test]
async fn a_node_gets_the_identities_of_its_own_pods_and_no_others() {
    let world = World::new().await;
    let mut first = world.connect(Some(world.node("n1").await)).await;
    let mut second = world.connect(Some(world.node("n2").await)).await;
    let denied = |reason: &str| Err((Code::PermissionDenied, reason.to_owned()));
    let given = |path: &str| Ok(id(path).to_string());

    let asked =
        [("web", "front"), ("db", "ns/shop/sa/db"), ("web", "ns/shop/sa/web"), ("gone", "front"), ("web", "front")];
    let seen = issue(&world, &mut first, &asked).await;
    let not_here =
        |pod: &str, node: &str| denied(&format!("expected a pod that runs on node {node}, shop/{pod} does not"));
    let unregistered =
        "expected an identity that pod shop/web is registered for, saw spiffe://td.example/ns/shop/sa/web";
    let expected = [given("front"), not_here("db", "n1"), denied(unregistered), not_here("gone", "n1"), given("front")];
    assert_eq!(seen, expected);
    let seen = issue(&world, &mut second, &[("db", "ns/shop/sa/db"), ("web", "front")]).await;
    assert_eq!(seen, [given("ns/shop/sa/db"), not_here("web", "n2")]);
    // Nobody is given what control and nodes prove themselves by.
    for own in ["lictor/control", "lictor/node/n2", "lictor/node/n1"] {
        let seen = issue(&world, &mut first, &[("web", own)]).await;
        assert!(matches!(&seen[0], Err((Code::PermissionDenied, _))), "{seen:?}");
    }
    let issued: Vec<String> = world.ca.issued(100).into_iter().map(|one| one.id.to_string()).collect();
    assert_eq!(issued.iter().filter(|one| *one == id("front").as_str()).count(), 2, "{issued:?}");
}

#[tokio::test]
async fn what_control_says_of_the_cluster_counts_at_once() {
    let world = World::new().await;
    let mut api = world.connect(Some(world.node("n1").await)).await;
    assert!(issue(&world, &mut api, &[("web", "front")]).await[0].is_ok());
    world.snapshots.send_replace(world::snapshot("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"));
    assert!(issue(&world, &mut api, &[("web", "front")]).await[0].is_err(), "the pod is gone");
}

#[tokio::test]
async fn lifetimes_are_those_of_the_entry_within_those_of_control() {
    let world = World::new().await;
    let request = SigningRequest::new().unwrap();
    let lived = async |node: &str, pod: &str, path: &str| {
        let mut api = world.connect(Some(world.node(node).await)).await;
        let wanted = vec![wanted(pod, &id(path), &request)];
        let answer = api.issue(IssueRequest { wanted }).await.unwrap().into_inner().answers.remove(0);
        let Some(Outcome::Svid(made)) = answer.answer else { panic!("{answer:?}") };
        (not_after(&chain(&made)[0]).unwrap() - world.ca.now()).whole_seconds()
    };
    let front = lived("n1", "web", "front").await;
    assert!((595..=600).contains(&front), "{front}");
    let db = lived("n2", "db", "ns/shop/sa/db").await;
    assert!((1795..=1800).contains(&db), "{db}");
}

#[tokio::test]
async fn tokens_are_issued_for_the_pods_of_the_node() {
    let world = World::new().await;
    let mut api = world.connect(Some(world.node("n1").await)).await;
    let ask = |pod_name: &str, path: &str, audience: &[&str]| IssueTokenRequest {
        pod: pod(pod_name),
        spiffe_id: id(path).to_string(),
        audience: audience.iter().map(ToString::to_string).collect(),
    };
    let token = api.issue_token(ask("web", "front", &["vault"])).await.unwrap().into_inner().token;
    let seen = verify_token(&token, &world.bundle(), "vault", unix_time(world.ca.now())).unwrap();
    assert_eq!(seen.id, id("front"));
    for (asked, code) in [
        (ask("db", "ns/shop/sa/db", &["vault"]), Code::PermissionDenied),
        (ask("web", "ns/shop/sa/db", &["vault"]), Code::PermissionDenied),
        (ask("web", "front", &[]), Code::InvalidArgument),
        (ask("web", "front", &[""]), Code::InvalidArgument),
        (ask("web", "front", &["a"; 65]), Code::InvalidArgument),
    ] {
        assert_eq!(api.issue_token(asked.clone()).await.unwrap_err().code(), code, "{asked:?}");
    }
}

#[tokio::test]
async fn only_a_node_is_served() {
    let world = World::new().await;
    let codes = async |api: &mut world::Api| {
        let mut codes = vec![api.issue(IssueRequest::default()).await.err().map(|status| status.code())];
        codes.push(api.issue_token(IssueTokenRequest::default()).await.err().map(|status| status.code()));
        codes.push(api.renew(RenewRequest::default()).await.err().map(|status| status.code()));
        codes.push(api.follow_trust(FollowTrustRequest {}).await.err().map(|status| status.code()));
        codes
    };
    let mut nobody = world.connect(None).await;
    assert_eq!(codes(&mut nobody).await, [Some(Code::Unauthenticated); 4]);

    // A pod that turns to control with the SVID that it was given.
    let mut api = world.connect(Some(world.node("n1").await)).await;
    let request = SigningRequest::new().unwrap();
    let asked = IssueRequest { wanted: vec![wanted("web", &id("front"), &request)] };
    let answer = api.issue(asked).await.unwrap().into_inner().answers.remove(0);
    let Some(Outcome::Svid(made)) = answer.answer else { panic!("{answer:?}") };
    let mut workload = world.connect(Some(svid(id("front"), &made, request.key(), world.ca.now()))).await;
    assert_eq!(codes(&mut workload).await, [Some(Code::PermissionDenied); 4]);

    // A node by an SVID that control has signed, and that nobody joined with.
    let mut stranger = world.connect(Some(world.node("n2").await)).await;
    world.members.evict(&name("n2")).unwrap();
    assert_eq!(codes(&mut stranger).await, [Some(Code::PermissionDenied); 4]);
}

#[tokio::test]
async fn whom_to_believe_is_streamed_as_it_changes() {
    let world = World::new().await;
    let node = world.node("n1").await;
    let signer = authority_key_id(&node.chain[0]).unwrap();
    let mut api = world.connect(Some(node)).await;
    let mut states = api.follow_trust(FollowTrustRequest {}).await.unwrap().into_inner();
    let read = |bundle: &[u8]| lictor_pki::Bundle::from_jwks(world.domain.clone(), bundle).unwrap().bundle;
    let first = states.message().await.unwrap().unwrap();
    assert_eq!((read(&first.bundle), first.tainted.len()), ((*world.bundle()).clone(), 0));

    world.ca.prepare(lictor_pki::Kind::X509).unwrap();
    let prepared = states.message().await.unwrap().unwrap();
    assert_eq!(read(&prepared.bundle).authorities().len(), 2);
    world.ca.activate(lictor_pki::Kind::X509, None).unwrap();
    world.ca.taint(lictor_pki::Kind::X509, None).unwrap();
    let tainted = loop {
        let state = states.message().await.unwrap().unwrap();
        if !state.tainted.is_empty() {
            break state.tainted;
        }
    };
    assert_eq!(tainted, [signer]);
    let refused = world.ca.revoke(lictor_pki::Kind::X509, None).unwrap_err().to_string();
    assert!(refused.contains("spiffe://td.example/lictor/node/n1"), "the node still stands by it: {refused}");

    world.members.evict(&name("n1")).unwrap();
    let ended = states.message().await.unwrap_err();
    assert_eq!(ended.code(), Code::PermissionDenied);
    assert!(ended.message().contains("it needs a new join token"), "{ended}");
}

#[tokio::test]
async fn a_stream_ends_with_the_certificate_that_it_was_opened_with() {
    let world = World::new().await;
    let mut api = world.connect(Some(world.node("n1").await)).await;
    let mut states = api.follow_trust(FollowTrustRequest {}).await.unwrap().into_inner();
    states.message().await.unwrap().unwrap();
    world.wait(world::NODE_LIFETIME + Duration::SECOND);
    // Any change has it look at the clock.
    world.token(None);
    assert_eq!(states.message().await.unwrap_err().code(), Code::Unauthenticated);
    let late = api.issue(IssueRequest::default()).await.unwrap_err();
    assert!(late.code() == Code::Unauthenticated && late.message().contains("the time at control is"), "{late}");
}
