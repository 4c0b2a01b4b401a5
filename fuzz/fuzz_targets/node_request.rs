//! What a node may send to control is answered or refused, and nothing but the identity of the node's own pod is issued.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_cluster::{AddressPool, Node, Settings, Snapshot, UnknownNodes};
use lictor_identity::control::{ControlOptions, Desk, Members, NodeName};
use lictor_identity::{Ca, CaOptions, system_clock};
use lictor_model::{Labels, Revision};
use lictor_pki::SigningRequest;
use lictor_wire::node::answer::Answer;
use lictor_wire::node::{IssueRequest, IssueTokenRequest, JoinRequest, RenewRequest};
use prost::Message;
use std::sync::{Arc, LazyLock};
use time::Duration;

const PODS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: s}
spec: {nodeName: n1, containers: [{name: main, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: s}
spec: {nodeName: n2, containers: [{name: main, image: x}]}
";

struct World {
    desk: Desk,
    node: NodeName,
    csr: Vec<u8>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let trust_domain: lictor_model::TrustDomain = "td".parse().expect("a trust domain");
    let life = Duration::days(30);
    let options = CaOptions { trust_domain: trust_domain.clone(), life, upstream: None, store: None };
    let ca = Ca::start(options, system_clock()).expect("authorities");
    let members = Members::open(None, system_clock()).expect("members");
    members.generate(None, Duration::DAY).expect("a token that nobody knows");
    let node = |name: &str| Node { name: name.into(), labels: Labels::default(), addresses: Vec::new() };
    let settings = Settings {
        trust_domain,
        unknown_nodes: UnknownNodes::Absent,
        ..Settings::new(vec![node("n1"), node("n2")])
    };
    let mut pool = AddressPool::new(&["10.1.0.0/16".parse().expect("a block")], &[]);
    let objects = lictor_manifest::read("pods.yaml", PODS).objects;
    let snapshot = Arc::new(Snapshot::build(&objects, &settings, &mut pool, Revision(1)).0);
    let (_, snapshots) = tokio::sync::watch::channel(snapshot);
    let (svid_lifetime, node_lifetime) = (Duration::HOUR, Duration::DAY);
    let desk = Desk::new(ControlOptions { ca, members, snapshots, svid_lifetime, node_lifetime });
    let csr = SigningRequest::new().expect("a request").der().to_vec();
    World { desk, node: "n1".parse().expect("a name"), csr }
});

fuzz_target!(|bytes: &[u8]| {
    let World { desk, node, csr } = &*WORLD;
    if let Ok(request) = JoinRequest::decode(bytes) {
        assert!(desk.join(request).is_err());
    }
    if let Ok(request) = RenewRequest::decode(bytes) {
        assert!(desk.renew(node, "00", request).is_err());
    }
    if let Ok(mut request) = IssueRequest::decode(bytes) {
        // As it came, and with a request in it that can be signed.
        for signable in [false, true] {
            if signable {
                request.wanted.iter_mut().for_each(|wanted| wanted.csr.clone_from(csr));
            }
            let Ok(response) = desk.issue(node, &request) else { continue };
            assert_eq!(response.answers.len(), request.wanted.len());
            for (wanted, answer) in request.wanted.iter().zip(response.answers) {
                if let Some(Answer::Svid(_)) = answer.answer {
                    let pod = wanted.pod.as_ref().expect("a pod");
                    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("s", "a"));
                    assert_eq!(wanted.spiffe_id, "spiffe://td/ns/s/sa/default");
                }
            }
        }
    }
    if let Ok(request) = IssueTokenRequest::decode(bytes)
        && desk.issue_token(node, &request).is_ok()
    {
        assert_eq!(request.spiffe_id, "spiffe://td/ns/s/sa/default");
    }
});
