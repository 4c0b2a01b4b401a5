//! How a node gets in, and how it stays in.

use crate::world::{World, id, name, svid};
use lictor_pki::{SigningRequest, Usage, unix_time, verify};
use lictor_wire::node::join_request::Evidence;
use lictor_wire::node::{IssueRequest, JoinRequest, JoinToken, RenewRequest, Wanted};
use time::Duration;
use tonic::Code;

#[tokio::test]
async fn a_token_lets_a_node_in_once() {
    let world = World::new().await;
    let token = world.token(None);
    let (joined, _) = world.join("n1", &token).await.unwrap();
    let trust = joined.trust.unwrap();
    let bundle = lictor_pki::Bundle::from_jwks(world.domain.clone(), &trust.bundle).unwrap().bundle;
    let chain = crate::world::chain(&joined.svid.unwrap());
    let seen = verify(&chain, &bundle, unix_time(world.ca.now()), Usage::Client).unwrap();
    assert_eq!(seen, id("lictor/node/n1"));
    assert!((joined.now - world.ca.now().unix_timestamp()).abs() <= 5);

    for (node, token) in [("n1", token.as_str()), ("n2", &token), ("n2", ""), ("n2", "made up")] {
        let refused = world.join(node, token).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert!(refused.message().contains("it was used, revoked, or never made"), "{refused}");
    }
    let bound = world.token(Some("n2"));
    let refused = world.join("n3", &bound).await.unwrap_err();
    assert_eq!(refused.message(), "expected a join token for node n3, this one is for another node");
    assert!(world.join("n2", &bound).await.is_ok());
    let any = world.token(None);
    assert!(world.join("n2", &any).await.unwrap_err().message().contains("has joined already"));
    world.wait(Duration::minutes(11));
    assert!(world.join("n3", &any).await.unwrap_err().message().starts_with("the join token expired at "));
}

#[tokio::test]
async fn of_two_that_join_at_once_by_one_token_one_gets_in() {
    let world = World::new().await;
    for round in 0..10 {
        let token = world.token(None);
        let (one, other) = (format!("a{round}"), format!("b{round}"));
        let (one, other) = tokio::join!(world.join(&one, &token), world.join(&other, &token));
        assert!(one.is_ok() != other.is_ok(), "round {round}");
    }
    assert_eq!(world.members.nodes().len(), 10);
}

#[tokio::test]
async fn what_is_no_request_uses_up_nothing() {
    let world = World::new().await;
    let token = world.token(None);
    let evidence = || Some(Evidence::JoinToken(JoinToken { token: token.clone() }));
    let csr = SigningRequest::new().unwrap().der().to_vec();
    let mut broken = csr.clone();
    let last = broken.last_mut().unwrap();
    *last ^= 1;
    let long = "a".repeat(300);
    for (node, csr, evidence) in [
        ("n1", csr.clone(), None),
        ("N1", csr.clone(), evidence()),
        ("", csr.clone(), evidence()),
        (&long, csr.clone(), evidence()),
        ("n1", Vec::new(), evidence()),
        ("n1", vec![0x30; 5000], evidence()),
        ("n1", b"no request".to_vec(), evidence()),
        ("n1", broken.clone(), evidence()),
        ("n1", csr.clone(), Some(Evidence::JoinToken(JoinToken { token: "x".repeat(2000) }))),
    ] {
        let request = JoinRequest { node: node.to_owned(), csr, now: 0, evidence };
        let refused = world.connect(None).await.join(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    }
    assert_eq!(world.members.tokens().len(), 1);

    let mut api = world.connect(Some(world.node("n1").await)).await;
    assert_eq!(api.renew(RenewRequest { csr: broken }).await.unwrap_err().code(), Code::InvalidArgument);
    let many = IssueRequest { wanted: vec![Wanted::default(); 513] };
    assert_eq!(api.issue(many).await.unwrap_err().code(), Code::InvalidArgument);
    let nothing = api.issue(IssueRequest { wanted: vec![Wanted::default()] }).await.unwrap().into_inner();
    assert!(format!("{nothing:?}").contains("expected a certificate request of 1 to 4096 bytes, saw 0"));
}

#[tokio::test]
async fn a_node_goes_on_by_the_certificate_that_it_had() {
    let world = World::new().await;
    let first = world.node("n1").await;
    let renew = async |shown: &lictor_pki::Svid| {
        let request = SigningRequest::new().unwrap();
        let asked = RenewRequest { csr: request.der().to_vec() };
        let renewed = world.connect(Some(shown.clone())).await.renew(asked).await?.into_inner();
        Ok::<_, tonic::Status>(svid(id("lictor/node/n1"), &renewed.svid.unwrap(), request.key(), world.ca.now()))
    };
    let second = renew(&first).await.unwrap();
    let third = renew(&second).await.unwrap();
    assert_eq!(renew(&first).await.unwrap_err().code(), Code::PermissionDenied, "it has shown a newer one since");
    // Whoever joins in its place ends what it had.
    let again = world.join("n1", &world.token(Some("n1"))).await;
    assert!(again.is_ok() && renew(&third).await.is_err());
    assert!(world.members.evict(&name("n1")).unwrap());
}
