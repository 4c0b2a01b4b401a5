//! Who gets in (SPIFFE Broker Endpoint, sections 2, 3, 5 and 6; Broker API, section 4.1).

use crate::client::{Broker, States, channel, connector, end, explained, next, over, pod, with_header};
use crate::node::{ENDPOINT, Node, PATIENCE, now};
use crate::{A, PROXY, UID_A};
use lictor_identity::broker_api::{Answer, Brokers};
use lictor_pki::tls::endpoint::spiffe_client_config;
use lictor_pki::{Bundle, CertificateAuthority, Keyring};
use lictor_wire::broker::SubscribeToX509svidRequest;
use lictor_wire::broker::api_client::ApiClient;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Asked;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Told;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_proves_itself_and_so_does_the_endpoint() {
    let node = Node::start("handshake").await;
    node.pod("a", UID_A, A);
    assert_eq!(Broker::connect(&node, PROXY).await.ids(pod("shop/a", UID_A)).await, [A]);
    let mode = std::fs::metadata(node.socket()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o660, "others of this machine do not see it");

    // Section 5: a broker wants a server of one identity.
    let svid = node.issue(PROXY, time::Duration::HOUR);
    let other = channel(node.socket(), node.bundle(), &svid, "spiffe://td.example/other").await;
    assert!(other.is_err(), "another server than was meant");

    // Without TLS, and without a certificate.
    let socket = node.socket();
    let plain = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(hyper_util::rt::TokioIo::new) }
    });
    let plain = tonic::transport::Endpoint::from_static("http://broker").connect_with_connector_lazy(plain);
    node.answers();
    assert_no_handshake(&node, Ok(plain), "").await;
    let keyring = Keyring::new(node.bundle());
    let anonymous = spiffe_client_config(&keyring, &ENDPOINT.parse().unwrap()).unwrap();
    assert_no_handshake(&node, over(node.socket(), connector(anonymous)).await, "peer sent no certificates").await;
}

/// How a client sees the end of a connection depends on how far it was; the node says why it ended it.
async fn assert_no_handshake(node: &Node, connected: Result<Channel, tonic::transport::Error>, why: &str) {
    if let Ok(channel) = connected {
        let request = with_header(SubscribeToX509svidRequest { reference: Some(pod("shop/a", UID_A)) });
        let mut api = ApiClient::new(channel);
        let answer = tokio::time::timeout(PATIENCE, api.subscribe_to_x509svid(request));
        answer.await.expect("an end in time").expect_err("no answer");
    }
    // The client may have tried more than once, and may know of the end before the node has told of it.
    let is_why = |answer: &Answer| answer.reason.starts_with("no handshake") && answer.reason.contains(why);
    let mut told = Vec::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !told.iter().any(is_why) {
        assert!(std::time::Instant::now() < deadline, "{told:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
        told.extend(node.answers());
    }
    assert!(told.iter().all(|answer| answer.caller.is_none()), "nobody has proven anything: {told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_svid_that_the_node_does_not_believe_opens_nothing() {
    let node = Node::start("believed").await;
    node.pod("a", UID_A, A);
    // An authority of the same name, and an SVID that is over.
    let impostor = CertificateAuthority::new("td.example".parse().unwrap(), now(), time::Duration::DAY).unwrap();
    let forged = impostor.issue(&PROXY.parse().unwrap(), now(), time::Duration::HOUR).unwrap();
    let short = node.issue(PROXY, time::Duration::seconds(2));
    for (svid, why) in [(&forged, "UnknownIssuer"), (&short, "certificate is not valid after")] {
        if std::ptr::eq(svid, &raw const short) {
            tokio::time::sleep(Duration::from_secs(4)).await;
        }
        let connected = channel(node.socket(), node.bundle(), svid, ENDPOINT).await;
        assert_no_handshake(&node, connected, why).await;
    }
    assert_eq!(Broker::connect(&node, PROXY).await.ids(pod("shop/a", UID_A)).await, [A]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_not_on_the_list_is_told_nothing() {
    let node = Node::start("list").await;
    node.pod("a", UID_A, A);
    let denied = (Code::PermissionDenied, None);
    for stranger in [A, ENDPOINT, "spiffe://td.example/proxy/x", "spiffe://td.example/Proxy"] {
        let mut stranger = Broker::connect(&node, stranger).await;
        assert_eq!(stranger.refused(Some(pod("shop/a", UID_A))).await, denied);
        assert_eq!(stranger.refused(None).await, denied, "nor what is wrong with the request");
    }
    // A trust domain that the node believes has a workload of the broker's path.
    let other = CertificateAuthority::new("other.example".parse().unwrap(), now(), time::Duration::DAY).unwrap();
    node.keyring.set_foreign(other.bundle(1)).unwrap();
    let svid = other.issue(&"spiffe://other.example/proxy".parse().unwrap(), now(), time::Duration::HOUR).unwrap();
    let mut foreign = Broker::connect_as(&node, &svid).await.expect("a connection");
    assert_eq!(foreign.refused(Some(pod("shop/a", UID_A))).await, denied);

    let nobody = Node::start_with("nobody", Brokers::default()).await;
    nobody.pod("a", UID_A, A);
    let mut proxy = Broker::connect(&nobody, PROXY).await;
    assert_eq!(proxy.refused(Some(pod("shop/a", UID_A))).await, denied, "nobody is one by default");
}

/// Section 3: case sensitive, on every request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_says_that_it_is_meant_for_here() {
    let node = Node::start("header").await;
    node.pod("a", UID_A, A);
    let mut broker = Broker::connect(&node, PROXY).await;
    for (name, values) in [
        ("broker.spiffe.io", &[][..]),
        ("broker.spiffe.io", &["TRUE"]),
        ("broker.spiffe.io", &["1"]),
        ("broker.spiffe.io", &["true", "true"]),
        ("broker.spiffe.io", &["false", "true"]),
        ("workload.spiffe.io", &["true"]),
    ] {
        let mut request = Request::new(SubscribeToX509svidRequest { reference: Some(pod("shop/a", UID_A)) });
        for value in values {
            request.metadata_mut().append(name, value.parse().unwrap());
        }
        let status = broker.api.subscribe_to_x509svid(request).await.expect_err("a refusal");
        let told = (status.code(), status.message());
        assert_eq!(told, (Code::InvalidArgument, "security header missing from request"), "{name} {values:?}");
        assert_eq!(explained(&status).1, None, "it says nothing of the workload");
    }
}

/// Section 7: reflection, for brokers alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_tells_brokers_of_the_service() {
    let node = Node::start("reflection").await;
    let services = async |id: &str, header: bool| {
        let svid = node.issue(id, time::Duration::HOUR);
        let channel = channel(node.socket(), node.bundle(), &svid, ENDPOINT).await.unwrap();
        let asked = Some(Asked::ListServices(String::new()));
        let asked = futures::stream::iter([ServerReflectionRequest { host: String::new(), message_request: asked }]);
        let request = if header { with_header(asked) } else { Request::new(asked) };
        let answer = ServerReflectionClient::new(channel).server_reflection_info(request).await?;
        match answer.into_inner().message().await?.unwrap().message_response.unwrap() {
            Told::ListServicesResponse(list) => Ok(list.service.into_iter().map(|one| one.name).collect::<Vec<_>>()),
            other => panic!("expected services, saw {other:?}"),
        }
    };
    let told: Result<_, tonic::Status> = services(PROXY, true).await;
    assert!(told.unwrap().contains(&"spiffe.broker.API".to_owned()));
    assert_eq!(services(PROXY, false).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(services(A, true).await.unwrap_err().code(), Code::PermissionDenied);
}

/// Section 6: the broker is to refresh its credentials. What it opened ends with them, and no other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_good_for_as_long_as_the_certificate_that_opened_it() {
    let node = Node::start("expiry").await;
    node.pod("a", UID_A, A);
    let mut short =
        Broker::connect_as(&node, &node.issue(PROXY, time::Duration::seconds(3))).await.expect("a connection");
    let mut long = Broker::connect(&node, PROXY).await;
    let (mut ending, mut going) = (watch(&mut short).await, watch(&mut long).await);
    assert_eq!(end(&mut ending).await, (Code::Unauthenticated, None));
    assert_eq!(short.refused(Some(pod("shop/a", UID_A))).await, (Code::Unauthenticated, None));
    node.renew(A);
    next(&mut going).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_whose_authority_is_believed_no_more_loses_what_it_had() {
    let node = Node::start("authority").await;
    node.pod("a", UID_A, A);
    let mut broker = Broker::connect(&node, PROXY).await;
    let mut states = watch(&mut broker).await;
    let domain: lictor_model::TrustDomain = "td.example".parse().unwrap();
    let other = CertificateAuthority::new(domain.clone(), now(), time::Duration::DAY).unwrap();
    node.keyring.set_bundle(Bundle::new(domain, other.certificates().to_vec(), 2).unwrap());
    assert_eq!(end(&mut states).await, (Code::Unauthenticated, None));
    assert_eq!(broker.refused(Some(pod("shop/a", UID_A))).await, (Code::Unauthenticated, None));
}

/// Section 6: a client that reaches nobody tries again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_without_an_svid_proves_nothing_and_takes_none() {
    let node = Node::start("early").await;
    node.pod("a", UID_A, A);
    assert!(node.keyring.remove(&ENDPOINT.parse().unwrap()));
    let svid = node.issue(PROXY, time::Duration::HOUR);
    assert!(Broker::connect_as(&node, &svid).await.is_err());
    node.renew(ENDPOINT);
    assert_eq!(Broker::connect(&node, PROXY).await.ids(pod("shop/a", UID_A)).await, [A]);
}

/// A slow client keeps nobody out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_hangs_holds_up_no_other() {
    let node = Node::start("slow").await;
    node.pod("a", UID_A, A);
    let mut held = Vec::new();
    for _ in 0..40 {
        held.push(tokio::net::UnixStream::connect(node.socket()).await.unwrap());
    }
    let began = std::time::Instant::now();
    assert_eq!(Broker::connect(&node, PROXY).await.ids(pod("shop/a", UID_A)).await, [A]);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

async fn watch(broker: &mut Broker) -> States {
    let mut states = broker.watch(pod("shop/a", UID_A)).await.expect("states");
    assert_eq!(next(&mut states).await.svids.len(), 1);
    states
}
