//! Streams: complete states, and what ends them (Broker API, sections 4.2 to 4.4, 4.7, 4.9, 5.2).

use crate::client::{Broker, end, next, not_entitled, not_found, nothing, pid, pod, with_header};
use crate::node::{Node, identity, now};
use crate::{A, B, PROXY, UID_A, UID_B};
use lictor_identity::Identity;
use lictor_pki::{Bundle, CertificateAuthority, PrivateKey, Svid, Usage, tls, unix_time, verify};
use lictor_wire::broker::{
    SubscribeToJwtBundlesRequest, SubscribeToX509BundlesRequest, SubscribeToX509svidResponse, X509svid,
};
use tonic::Code;

/// The identity that an SVID proves against its bundle; its key must be the chain's.
fn proves(svid: &X509svid, bundle: &Bundle) -> String {
    assert_eq!(svid.bundle, bundle.concatenated_der());
    let chain = vec![svid.x509_svid.clone().into()];
    let id = verify(&chain, bundle, unix_time(now()), Usage::Client).unwrap();
    let key = PrivateKey::from_pkcs8(svid.x509_svid_key.clone());
    let svid = Svid { id: id.clone(), chain, key, not_before: now(), not_after: now() };
    tls::server_config(&lictor_pki::Keyring::new(bundle.clone()), &svid).expect("a key that fits the chain");
    id.to_string()
}

fn leaf(state: &SubscribeToX509svidResponse) -> &[u8] {
    &state.svids[0].x509_svid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_state_is_whole_and_none_is_sent_twice() {
    let node = Node::start("states").await;
    let process = node.process(&node.pod("a", UID_A, A));
    node.pod("b", UID_B, B);
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = [pid(process.pid()), pod("shop/a", UID_A)].map(|reference| (reference, None));
    for (reference, stream) in &mut states {
        *stream = Some(broker.watch(reference.clone()).await.unwrap());
    }
    for stream in states.iter_mut().map(|(_, stream)| stream.as_mut().unwrap()) {
        let first = next(stream).await;
        assert_eq!(first.svids.iter().map(|svid| proves(svid, &node.bundle())).collect::<Vec<_>>(), [A]);
        assert_eq!((first.svids[0].spiffe_id.as_str(), first.federated_bundles.len()), (A, 0));
    }
    // Section 4.2: another workload's SVID is no news.
    node.renew(B);
    for stream in states.iter_mut().map(|(_, stream)| stream.as_mut().unwrap()) {
        assert!(nothing(stream).await);
    }
    node.renew(A);
    for stream in states.iter_mut().map(|(_, stream)| stream.as_mut().unwrap()) {
        let second = next(stream).await;
        assert_eq!(proves(&second.svids[0], &node.bundle()), A);
        assert!(nothing(stream).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_identities_come_at_once_the_default_one_first() {
    let node = Node::start("several").await;
    let hinted = Identity { hint: "main".into(), ..identity(B) };
    let same = Identity { hint: "main".into(), ..identity("spiffe://td.example/same-hint") };
    node.pod_of_containers("a", Some(UID_A), &[""], vec![hinted, identity(A), same]);
    node.renew(A);
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = broker.watch(pod("shop/a", UID_A)).await.unwrap();
    assert!(nothing(&mut states).await, "a state is complete");
    node.renew(B);
    let state = next(&mut states).await;
    let told: Vec<_> = state.svids.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect();
    assert_eq!(told, [(B, "main"), (A, "")], "no hint twice (section 5.2.1)");
}

/// Sections 4.7, 5.2.2 and 6.2.2: the bundles of the workload, not of the broker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bundles_are_those_that_the_workload_believes() {
    let node = Node::start("bundles").await;
    node.pod("a", UID_A, A);
    node.pod("b", UID_B, B);
    let other = CertificateAuthority::new("other.example".parse().unwrap(), now(), time::Duration::DAY).unwrap();
    node.keyring.set_foreign(other.bundle(1)).unwrap();
    node.federate_pod("a", &["other.example"]);
    let mut broker = Broker::connect(&node, PROXY).await;
    let (own_name, other_name) = ("spiffe://td.example".to_owned(), "spiffe://other.example".to_owned());
    let own = (own_name.clone(), node.bundle().concatenated_der());
    let foreign = (other_name.clone(), other.bundle(1).concatenated_der());

    let mut states = broker.watch(pod("shop/a", UID_A)).await.unwrap();
    assert_eq!(next(&mut states).await.federated_bundles, [foreign.clone()].into());
    assert_eq!(broker.ids(pod("shop/b", UID_B)).await, [B]);
    let request = |key| with_header(SubscribeToX509BundlesRequest { reference: Some(pod(key, "")) });
    let mut of_a = broker.api.subscribe_to_x509_bundles(request("shop/a")).await.unwrap().into_inner();
    assert_eq!(of_a.message().await.unwrap().unwrap().bundles, [own.clone(), foreign].into());
    let mut of_b = broker.api.subscribe_to_x509_bundles(request("shop/b")).await.unwrap().into_inner();
    assert_eq!(of_b.message().await.unwrap().unwrap().bundles, [own.clone()].into());
    let request = with_header(SubscribeToJwtBundlesRequest { reference: Some(pod("shop/a", "")) });
    let mut jwt = broker.api.subscribe_to_jwt_bundles(request).await.unwrap().into_inner();
    let expected =
        [(own_name, node.bundle().jwt_jwks().into_bytes()), (other_name, other.bundle(1).jwt_jwks().into_bytes())];
    assert_eq!(jwt.message().await.unwrap().unwrap().bundles, expected.into());

    node.federate_pod("a", &[]);
    assert_eq!(next(&mut states).await.federated_bundles.len(), 0, "what is taken back is redacted");
    assert_eq!(of_a.message().await.unwrap().unwrap().bundles, [own].into());
}

/// Section 4.9: for a process, its end; for an object, its removal. Section 4.3: the connection stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_its_workload_and_no_other_with_it() {
    let node = Node::start("ends").await;
    let (a, b) = (node.pod("a", UID_A, A), node.pod("b", UID_B, B));
    let (mut first, second, other) = (node.process(&a), node.process(&a), node.process(&b));
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut of = Vec::new();
    for reference in [pid(first.pid()), pid(second.pid()), pod("shop/a", UID_A), pod("shop/a", ""), pid(other.pid())] {
        let mut states = broker.watch(reference).await.unwrap();
        next(&mut states).await;
        of.push(states);
    }
    first.kill();
    assert_eq!(end(&mut of[0]).await, not_found());
    assert!(nothing(&mut of[1]).await && nothing(&mut of[2]).await, "the pod goes on without it");
    node.remove("a");
    assert_eq!(end(&mut of[1]).await, not_entitled(), "it runs, and in no pod");
    assert_eq!(end(&mut of[2]).await, not_found());
    assert_eq!(end(&mut of[3]).await, not_found());
    node.renew(B);
    next(&mut of[4]).await;
    assert_eq!(broker.ids(pod("shop/b", UID_B)).await, [B], "the same connection");
}

/// Section 4.9: a name that leads to another object is another workload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_in_the_place_of_another_inherits_no_stream() {
    let node = Node::start("replaced").await;
    node.pod("a", UID_A, A);
    let mut broker = Broker::connect(&node, PROXY).await;
    let (mut pinned, mut named) =
        (broker.watch(pod("shop/a", UID_A)).await.unwrap(), broker.watch(pod("shop/a", "")).await.unwrap());
    let before = leaf(&next(&mut pinned).await).to_vec();
    assert_eq!(leaf(&next(&mut named).await), before);
    node.pod("a", UID_B, B);
    assert_eq!((end(&mut pinned).await, end(&mut named).await), (not_found(), not_found()));
    assert_eq!(broker.refused(Some(pod("shop/a", UID_A))).await, not_found());
    assert_eq!(broker.refused(Some(pod("", UID_A))).await, not_found());
    assert_eq!(broker.ids(pod("shop/a", "")).await, [B]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_leaves_its_pod_loses_its_right() {
    let node = Node::start("moves").await;
    let (a, b) = (node.pod("a", UID_A, A), node.pod("b", UID_B, B));
    let process = node.process(&a);
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = broker.watch(pid(process.pid())).await.unwrap();
    next(&mut states).await;
    process.enter(&b);
    node.renew(A);
    assert_eq!(end(&mut states).await, not_entitled(), "neither the old identity nor the new one on the old stream");
    assert_eq!(broker.ids(pid(process.pid())).await, [B], "a new request is judged by where it is now");
}

/// Section 5.2.1: one SVID or more, so nothing is told before it is issued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_state_waits_for_the_svid() {
    let node = Node::start("first").await;
    node.pod_of_containers("a", Some(UID_A), &[""], vec![identity(A)]);
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = broker.watch(pod("shop/a", UID_A)).await.unwrap();
    assert!(nothing(&mut states).await);
    node.renew(A);
    next(&mut states).await;
    node.pod_of_containers("b", Some(UID_B), &[""], vec![identity(B)]);
    let mut states = broker.watch(pod("shop/b", UID_B)).await.unwrap();
    assert_eq!(end(&mut states).await, (Code::Unavailable, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_says_so_and_leaves_nothing_hanging() {
    let mut node = Node::start("stops").await;
    node.pod("a", UID_A, A);
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = broker.watch(pod("shop/a", UID_A)).await.unwrap();
    next(&mut states).await;
    node.stop().await;
    assert_eq!(end(&mut states).await, (Code::Unavailable, None));
}
