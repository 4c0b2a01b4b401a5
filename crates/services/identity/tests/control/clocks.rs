//! A node whose clock is five minutes off: it gets on, or is told so in words of time.

use crate::world::World;
use lictor_wire::node::IssueRequest;
use time::Duration;

const OFF: Duration = Duration::minutes(5);

#[tokio::test]
async fn a_clock_that_is_ahead_does_no_harm() {
    let world = World::new().await;
    let node = world.node("n1").await;
    let mut api = world.connect_at(Some(node), OFF).await.unwrap();
    assert!(api.issue(IssueRequest::default()).await.is_ok());
}

#[tokio::test]
async fn a_clock_that_is_behind_is_told_of_until_controls_certificate_has_aged() {
    let world = World::new().await;
    let node = world.node("n1").await;
    let why = world.connect_at(Some(node.clone()), -OFF).await.map(|_| ()).unwrap_err();
    assert!(why.contains("certificate is not valid before") && why.contains("seconds in future"), "{why}");
    world.wait(OFF);
    let mut api = world.connect_at(Some(node), -OFF).await.unwrap();
    assert!(api.issue(IssueRequest::default()).await.is_ok());
}

#[tokio::test]
async fn control_tells_a_node_that_its_certificate_has_ended_there() {
    let world = World::new().await;
    let node = world.node("n1").await;
    // To the node it is as good as new. The alert comes with the first request at the latest (RFC 8446, section 4.4.2.4).
    world.wait(crate::world::NODE_LIFETIME + OFF);
    let told = match world.connect_at(Some(node), -OFF - crate::world::NODE_LIFETIME).await {
        Err(why) => why,
        Ok(mut api) => format!("{:?}", api.issue(IssueRequest::default()).await.unwrap_err()),
    };
    assert!(told.contains("CertificateExpired") || told.contains("certificate is not valid before"), "{told}");
}
