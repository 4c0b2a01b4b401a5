//! Envoy's secret discovery on the Workload API's socket.

use crate::client::hex;
use crate::node::{Node, Process, bytes, now};
use crate::{A, B};
use lictor_identity::Identity;
use lictor_model::{DnsName, SpiffeId};
use lictor_pki::{Bundle, CertificateAuthority, LeafNames};
use lictor_wire::envoy::config::core::v3 as core;
use lictor_wire::envoy::config::core::v3::data_source::Specifier;
use lictor_wire::envoy::config::core::v3::node::UserAgentVersionType;
use lictor_wire::envoy::extensions::transport_sockets::tls::v3 as tls;
use lictor_wire::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use lictor_wire::envoy::r#type::v3::SemanticVersion;
use lictor_wire::google::rpc;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;

const DOMAIN: &str = "spiffe://td.example";
const TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
const QUIET: Duration = Duration::from_millis(200);

impl Process {
    fn open(&mut self) {
        self.order("sds open");
    }

    fn ask(&mut self, request: &DiscoveryRequest) {
        self.order(&format!("sds ask {}", hex(&request.encode_to_vec())));
    }

    fn ask_delta(&mut self, request: &DeltaDiscoveryRequest) {
        self.order(&format!("sds ask-delta {}", hex(&request.encode_to_vec())));
    }

    fn secrets(&mut self) -> DiscoveryResponse {
        DiscoveryResponse::decode(&*bytes(&self.answer("sds"))).unwrap()
    }

    fn changes(&mut self) -> DeltaDiscoveryResponse {
        DeltaDiscoveryResponse::decode(&*bytes(&self.answer("sds"))).unwrap()
    }

    fn fetch_secrets(&mut self, names: &[&str]) -> DiscoveryResponse {
        self.order(&format!("sds fetch {}", hex(&request(names).encode_to_vec())));
        self.secrets()
    }

    fn end(&mut self) -> (String, String) {
        let text = self.answer("end");
        let (code, message) = text.split_once(' ').unwrap();
        (code.to_owned(), message.to_owned())
    }
}

/// An Envoy of today.
fn envoy() -> core::Node {
    let version = SemanticVersion { major_number: 1, minor_number: 40, patch: 0 };
    let build = core::BuildVersion { version: Some(version) };
    core::Node {
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
        ..core::Node::default()
    }
}

fn request(names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        node: Some(envoy()),
        resource_names: names.iter().map(|&name| name.to_owned()).collect(),
        type_url: TYPE.to_owned(),
        ..DiscoveryRequest::default()
    }
}

/// An acknowledgement of a response, for these names.
fn ack(response: &DiscoveryResponse, names: &[&str]) -> DiscoveryRequest {
    DiscoveryRequest {
        version_info: response.version_info.clone(),
        response_nonce: response.nonce.clone(),
        ..request(names)
    }
}

fn delta(subscribe: &[&str], unsubscribe: &[&str]) -> DeltaDiscoveryRequest {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    DeltaDiscoveryRequest {
        node: Some(envoy()),
        resource_names_subscribe: owned(subscribe),
        resource_names_unsubscribe: owned(unsubscribe),
        ..DeltaDiscoveryRequest::default()
    }
}

fn opened(resource: &prost_types::Any) -> tls::Secret {
    assert_eq!(resource.type_url, TYPE);
    tls::Secret::decode(&*resource.value).unwrap()
}

fn text(data: Option<&core::DataSource>) -> String {
    match data.and_then(|data| data.specifier.clone()) {
        Some(Specifier::InlineBytes(bytes)) => String::from_utf8(bytes).unwrap(),
        other => panic!("expected bytes, saw {other:?}"),
    }
}

/// The SVID that a secret holds: its identity, checked with its key against the bundle, and its PEM.
fn certificate(secret: &tls::Secret, bundle: &Bundle) -> (String, String) {
    let Some(tls::secret::Type::TlsCertificate(held)) = &secret.r#type else { panic!("expected a certificate") };
    let (chain, key) = (text(held.certificate_chain.as_ref()), text(held.private_key.as_ref()));
    (crate::node::proves_pem(&chain, &key, bundle), chain)
}

/// The trust domains and authorities that a secret has its peers judged by.
fn context(secret: &tls::Secret) -> Vec<(String, String)> {
    let Some(tls::secret::Type::ValidationContext(held)) = &secret.r#type else { panic!("expected a context") };
    let Some(extension) = &held.custom_validator_config else {
        return vec![("any".to_owned(), text(held.trusted_ca.as_ref()))];
    };
    assert_eq!(extension.name, "envoy.tls.cert_validator.spiffe");
    let config = extension.typed_config.as_ref().unwrap();
    let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig";
    assert_eq!(config.type_url, kind);
    let config = tls::SpiffeCertValidatorConfig::decode(&*config.value).unwrap();
    config.trust_domains.iter().map(|domain| (domain.name.clone(), text(domain.trust_bundle.as_ref()))).collect()
}

fn pem(bundle: &Bundle) -> String {
    bundle.to_pem()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_is_given_the_svid_with_the_dns_names_of_its_entry() {
    let node = Node::start("sds-dns").await;
    let dns_names: Arc<[DnsName]> = ["front.test".parse().unwrap()].into();
    let named = Identity { dns_names: Arc::clone(&dns_names), ..A.parse::<SpiffeId>().unwrap().into() };
    let place = node.pod_with("a", vec![named]);
    node.renew(A);
    node.renew_named(A, &dns_names);
    let mut process = node.process(&place);
    process.connect();
    for name in ["default", A] {
        let response = process.fetch_secrets(&[name]);
        let (id, chain) = certificate(&opened(&response.resources[0]), &node.bundle());
        let names = LeafNames::from_pem(chain.as_bytes()).unwrap();
        assert_eq!((id.as_str(), names.dns_names, &*names.common_name), (A, vec!["front.test".into()], "front.test"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_name_stands_for_what_a_spire_agent_gives_by_it() {
    let node = Node::start("sds-names").await;
    let identity = |id: &str| Identity::from(id.parse::<SpiffeId>().unwrap());
    let place = node.pod_with("a", vec![identity(B), identity(A)]);
    node.renew(A);
    node.renew(B);
    let mut process = node.process(&place);
    process.connect();
    let bundle = node.bundle();
    let own = vec![("td.example".to_owned(), pem(&bundle))];
    for (name, id) in [("default", B), (A, A), (B, B)] {
        let response = process.fetch_secrets(&[name]);
        let [resource] = &*response.resources else { panic!("expected one secret, saw {}", response.resources.len()) };
        let secret = opened(resource);
        assert_eq!(secret.name, name, "a secret has the name that it was asked for by");
        assert_eq!(certificate(&secret, &bundle).0, id);
    }
    for name in ["ROOTCA", "ALL", DOMAIN] {
        let response = process.fetch_secrets(&[name]);
        let [resource] = &*response.resources else { panic!("expected one secret, saw {}", response.resources.len()) };
        let secret = opened(resource);
        assert_eq!((secret.name.as_str(), context(&secret)), (name, own.clone()));
    }
    let names = |response: &DiscoveryResponse| -> Vec<String> {
        response.resources.iter().map(|resource| opened(resource).name).collect()
    };
    assert_eq!(names(&process.fetch_secrets(&[])), [DOMAIN, A, B], "no name: everything, none of it twice");
    assert_eq!(names(&process.fetch_secrets(&[""])), [DOMAIN, A, B]);
    assert_eq!(names(&process.fetch_secrets(&["default", "ROOTCA", DOMAIN])), ["ROOTCA", "default", DOMAIN]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_given_what_is_not_his() {
    let node = Node::start("sds-others").await;
    let (a, _b) = (node.pod("a", A), node.pod("b", B));
    let mut process = node.process(&a);
    process.connect();
    for names in [&[B][..], &["default", B], &["spiffe://other.example"], &["ROOTca"], &["spiffe://td.example/"]] {
        process.open();
        process.ask(&request(names));
        let (code, message) = process.end();
        let unknown = names.last().unwrap();
        let expected = format!("workload is not authorized for the requested identities [\"{unknown}\"]");
        assert_eq!((code.as_str(), message), ("InvalidArgument", expected));
    }
    process.open();
    process.ask(&DiscoveryRequest {
        type_url: "type.googleapis.com/envoy.config.cluster.v3.Cluster".into(),
        ..request(&[])
    });
    assert_eq!(process.end().0, "InvalidArgument");
    let many: Vec<String> = (0..300).map(|at| format!("spiffe://td.example/{at}")).collect();
    process.open();
    process.ask(&request(&many.iter().map(String::as_str).collect::<Vec<_>>()));
    assert_eq!(process.end(), ("InvalidArgument".to_owned(), "expected at most 256 names, saw 300".to_owned()));

    let mut stranger = node.process(&node.cgroup("outside"));
    stranger.connect();
    for order in ["sds open", "sds open-delta", "sds fetch"] {
        assert_eq!(stranger.refusal_of(order), ("PermissionDenied".to_owned(), "no identity issued".to_owned()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotation_is_pushed_and_answers_are_not_answered() {
    let node = Node::start("sds-push").await;
    let (a, _b) = (node.pod("a", A), node.pod("b", B));
    let mut process = node.process(&a);
    process.connect();
    process.open();
    process.ask(&request(&["default"]));
    let first = process.secrets();
    assert!(!first.nonce.is_empty() && !first.version_info.is_empty());
    process.ask(&ack(&first, &["default"]));
    // Another pod's SVID, and the same bundle by another number, are no news.
    node.renew(B);
    node.renumber_bundle();
    assert!(process.nothing_for(QUIET), "an acknowledgement is not answered");
    node.renew(A);
    let second = process.secrets();
    assert_ne!((&first.nonce, &first.version_info), (&second.nonce, &second.version_info));
    let leaf = |response: &DiscoveryResponse| certificate(&opened(&response.resources[0]), &node.bundle()).1;
    assert_ne!(leaf(&first), leaf(&second));
    // A rejection names what is in force, and why: it is not answered until there is something else to say.
    let error = Some(rpc::Status { code: 13, message: "no such key".into(), ..rpc::Status::default() });
    let mut rejection = ack(&second, &["default"]);
    (rejection.version_info, rejection.error_detail) = (first.version_info.clone(), error);
    process.ask(&rejection);
    assert!(process.nothing_for(QUIET));
    node.renew(A);
    let third = process.secrets();
    // What answers an older response than the last is passed over, whatever it asks for.
    process.ask(&ack(&second, &["ROOTCA"]));
    assert!(process.nothing_for(QUIET));
    process.ask(&ack(&third, &["ROOTCA"]));
    let fourth = process.secrets();
    assert_eq!(opened(&fourth.resources[0]).name, "ROOTCA", "other names are answered at once");
    process.ask(&ack(&fourth, &["ROOTCA"]));
    node.renew(A);
    assert!(process.nothing_for(QUIET), "nobody asks for the SVID any more");
    node.add_authority();
    let fifth = process.secrets();
    assert_eq!(context(&opened(&fifth.resources[0])), [("td.example".to_owned(), pem(&node.bundle()))]);
    node.remove("a");
    assert_eq!(process.end().0, "PermissionDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bundle_of_a_federated_domain_stands_beside_the_own_one() {
    let node = Node::start("sds-foreign").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    let all = |process: &mut Process| context(&opened(&process.fetch_secrets(&["ALL"]).resources[0]));
    assert_eq!(all(&mut process).len(), 1);
    process.open();
    process.ask(&request(&["ALL"]));
    assert_eq!(context(&opened(&process.secrets().resources[0])).len(), 1);
    node.federate_pod("a", &["other.example"]);
    let foreign = node.federate("other.example").bundle(1);
    let pushed = context(&opened(&process.secrets().resources[0]));
    let domains: Vec<&str> = pushed.iter().map(|(domain, _)| domain.as_str()).collect();
    assert_eq!(domains, ["td.example", "other.example"], "each by its own authorities");
    let named = process.fetch_secrets(&["spiffe://other.example"]);
    assert_eq!(context(&opened(&named.resources[0])), [("other.example".to_owned(), pem(&foreign))]);
    let own = process.fetch_secrets(&["ROOTCA"]);
    assert_eq!(context(&opened(&own.resources[0])), [("td.example".to_owned(), pem(&node.bundle()))]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_svid_is_waited_for() {
    let node = Node::start("sds-first").await;
    let a = node.pod_without_svid("a", A);
    let mut process = node.process(&a);
    process.connect();
    process.open();
    assert!(process.nothing_for(QUIET), "nothing is said before the first request");
    process.ask(&request(&["default"]));
    assert!(process.nothing_for(QUIET));
    node.renew(A);
    assert_eq!(certificate(&opened(&process.secrets().resources[0]), &node.bundle()).0, A);

    let c = node.pod_without_svid("c", "spiffe://td.example/ns/shop/sa/c");
    let mut process = node.process(&c);
    process.connect();
    assert_eq!(opened(&process.fetch_secrets(&["ROOTCA"]).resources[0]).name, "ROOTCA", "a bundle needs no SVID");
    process.open();
    process.ask(&request(&["default"]));
    assert_eq!(process.end(), ("Unavailable".to_owned(), "no SVID has been issued yet".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_envoy_without_the_spiffe_validator_gets_the_authorities_of_one_domain() {
    let node = Node::start("sds-validator").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    for name in ["ROOTCA", DOMAIN] {
        process.open();
        process.ask(&DiscoveryRequest { node: None, ..request(&[name]) });
        let first = process.secrets();
        assert_eq!(context(&opened(&first.resources[0])), [("any".to_owned(), pem(&node.bundle()))]);
        // Who asks is said once; a request without it changes nothing.
        process.ask(&ack(&first, &[name]));
        assert_eq!(context(&opened(&process.secrets().resources[0]))[0].0, "td.example", "by what the node says now");
    }
    process.open();
    process.ask(&DiscoveryRequest { node: None, ..request(&["ALL"]) });
    assert_eq!(process.end().0, "FailedPrecondition");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_incremental_variant_sends_what_has_changed() {
    let node = Node::start("sds-delta").await;
    let (a, _b) = (node.pod("a", A), node.pod("b", B));
    let mut process = node.process(&a);
    process.connect();
    process.order("sds open-delta");
    process.ask_delta(&delta(&["default", "ROOTCA", B], &[]));
    let first = process.changes();
    let names = |changes: &DeltaDiscoveryResponse| -> Vec<String> {
        changes.resources.iter().map(|resource| resource.name.clone()).collect()
    };
    assert_eq!(
        (names(&first), &*first.removed_resources),
        (vec!["ROOTCA".into(), "default".into()], &[B.to_owned()][..])
    );
    process.ask_delta(&DeltaDiscoveryRequest { response_nonce: first.nonce.clone(), ..delta(&[], &[]) });
    node.renew(B);
    node.renumber_bundle();
    assert!(process.nothing_for(QUIET));
    node.renew(A);
    let second = process.changes();
    assert_eq!(
        (names(&second), second.removed_resources.len()),
        (vec!["default".to_owned()], 0),
        "it alone has changed"
    );
    // What is asked for again is sent again, whatever the client may still have.
    process.ask_delta(&delta(&["ROOTCA"], &["default"]));
    let third = process.changes();
    assert_eq!((names(&third), &third.resources[0].version), (vec!["ROOTCA".to_owned()], &first.resources[0].version));
    node.renew(A);
    assert!(process.nothing_for(QUIET), "nobody asks for the SVID any more");

    // A client that comes again says what it has.
    let mut again = node.process(&a);
    again.connect();
    again.order("sds open-delta");
    let held = [("ROOTCA", third.resources[0].version.clone()), ("default", second.resources[0].version.clone())];
    let held = held.map(|(name, version)| (name.to_owned(), version)).into();
    again.ask_delta(&DeltaDiscoveryRequest { initial_resource_versions: held, ..delta(&["ROOTCA", "default"], &[]) });
    assert_eq!(names(&again.changes()), ["default"], "renewed in between; the other one it has");
    node.remove("a");
    assert_eq!(again.end().0, "PermissionDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wildcard_follows_everything() {
    let node = Node::start("sds-wildcard").await;
    let a = node.pod("a", A);
    let mut process = node.process(&a);
    process.connect();
    process.order("sds open-delta");
    process.ask_delta(&delta(&[], &[]));
    let names = |changes: &DeltaDiscoveryResponse| -> Vec<String> {
        changes.resources.iter().map(|resource| resource.name.clone()).collect()
    };
    assert_eq!(names(&process.changes()), [DOMAIN, A]);
    let other = CertificateAuthority::new("td.example".parse().unwrap(), now(), time::Duration::DAY).unwrap();
    node.set_bundle(other.bundle(7));
    assert_eq!(names(&process.changes()), [DOMAIN]);
    process.ask_delta(&delta(&["ROOTCA"], &["*"]));
    assert_eq!(names(&process.changes()), ["ROOTCA"]);
    node.renew(A);
    assert!(process.nothing_for(QUIET));
}
