//! What else the socket has: health and reflection.

use crate::A;
use crate::node::{Node, Process, bytes};
use lictor_pki::Bundle;
use prost::Message;
use tonic_health::pb::HealthCheckResponse;
use tonic_health::pb::health_check_response::ServingStatus;

impl Process {
    fn health(&mut self, service: &str) -> ServingStatus {
        self.order(&format!("health {service}"));
        self.next_health()
    }

    fn next_health(&mut self) -> ServingStatus {
        HealthCheckResponse::decode(bytes(&self.answer("health")).as_slice()).unwrap().status()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_what_can_be_issued_now() {
    let mut node = Node::start("health").await;
    // Whoever asks need not be in a pod.
    let mut process = node.process(&node.cgroup("outside"));
    process.connect();
    for service in ["", "SpiffeWorkloadAPI"] {
        assert_eq!(process.health(service), ServingStatus::Serving, "nobody needs anything");
    }
    assert_eq!(process.refusal_of("health nonsense").0, "NotFound");

    node.pod_without_svid("a", A);
    assert_eq!(process.health(""), ServingStatus::NotServing, "the only pod has no SVID");
    process.order("watch-health");
    assert_eq!(process.next_health(), ServingStatus::NotServing);
    node.renew(A);
    assert_eq!(process.next_health(), ServingStatus::Serving);
    node.expire(A);
    assert_eq!(process.next_health(), ServingStatus::NotServing, "it has expired");
    node.renew(A);
    assert_eq!(process.next_health(), ServingStatus::Serving);
    let (bundle, domain) = (node.bundle(), "td.example".parse().unwrap());
    node.set_bundle(Bundle::new(domain, Vec::new(), 9).unwrap());
    assert_eq!(process.next_health(), ServingStatus::NotServing, "nobody is believed");
    node.set_bundle(bundle);
    assert_eq!(process.next_health(), ServingStatus::Serving);
    node.stop().await;
    assert_eq!(process.next_health(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_tells_the_services_and_their_methods() {
    let node = Node::start("reflection").await;
    let mut process = node.process(&node.cgroup("outside"));
    process.connect();
    process.order("services");
    let names = process.answer("services");
    let names: std::collections::BTreeSet<&str> = names.split(' ').collect();
    for expected in [
        "SpiffeWorkloadAPI",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "FetchX509SVID",
        "FetchX509Bundles",
        "FetchJWTSVID",
        "FetchJWTBundles",
        "ValidateJWTSVID",
    ] {
        assert!(names.contains(expected), "{expected} of {names:?}");
    }
}
