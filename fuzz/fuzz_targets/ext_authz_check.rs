//! Any check is answered by a response, and only a request that the policy allows goes on.
#![no_main]

use http::{Request, header};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::fuzz_target;
use lictor_cluster::{AddressPool, Node, RegistrationSettings, Settings as Cluster, Snapshot, UnknownNodes};
use lictor_ext_authz::{Settings, View, service};
use lictor_model::{DecisionIds, Labels, Name, Revision, TrustDomain};
use lictor_rego::Program;
use lictor_wire::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request as Attributes};
use lictor_wire::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use lictor_wire::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use prost::Message;
use prost::bytes::Bytes;
use std::sync::{Arc, LazyLock};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tower::ServiceExt;

const SHOP: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: api, namespace: shop}
spec: {containers: [{name: main, image: x}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: checks, namespace: shop, labels: {lictor.dev/rego: authz}}
data:
  authz.rego: |
    package envoy.authz
    allow := {"allowed": input.parsed_path[0] == "open", "body": sprintf("%v", [input]), "headers": {"x": input.attributes.request.http.path}}
"#;

/// How long a message and its length may be in a frame of gRPC.
const HEAD: usize = 5;

fn served() -> AuthorizationServer<impl Authorization> {
    let reading = lictor_manifest::read("shop.yaml", SHOP);
    let node = Node { name: "node".into(), labels: Labels::default(), addresses: vec![[172, 18, 0, 2].into()] };
    let cluster = Cluster {
        trust_domain: TrustDomain::default(),
        root_namespace: "istio-system".into(),
        default_namespace: "default".into(),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Absent,
        cidr_excludes_pods: false,
        registration: RegistrationSettings::default(),
    };
    let (snapshot, _) = Snapshot::build(&reading.objects, &cluster, &mut AddressPool::default(), Revision(1));
    let policies = Program::compile(snapshot.policies.rego.values(), &Program::default()).expect("policies");
    let view = View { snapshot: Arc::new(snapshot), policies: Arc::new(policies) };
    let settings = Settings {
        caller: Arc::new(|_| Ok(Name::new("shop", "api"))),
        views: watch::channel(Arc::new(view)).1,
        sink: Arc::new(|_| {}),
        ids: Arc::new(DecisionIds::default()),
    };
    service(settings).expect("threads")
}

type Ask = Box<dyn Fn(Bytes) -> Option<CheckResponse> + Send + Sync>;

/// Sends a frame to the service, as a connection does.
static ASK: LazyLock<Ask> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let served = served();
    Box::new(move |frame| {
        let request = Request::post("/envoy.service.auth.v3.Authorization/Check")
            .header(header::CONTENT_TYPE, "application/grpc")
            .body(Full::new(frame))
            .expect("a request");
        runtime.block_on(async {
            let response = served.clone().oneshot(request).await.expect("a response");
            let body = response.into_body().collect().await.ok()?.to_bytes();
            CheckResponse::decode(body.get(HEAD..)?).ok()
        })
    })
});

/// What an Envoy says of a request, and bytes that go on after it: what stands twice in a message counts where it stands last.
type Input<'a> = (&'a str, &'a str, Vec<(&'a str, &'a str)>, &'a str, &'a [u8], &'a [u8]);

fuzz_target!(|input: Input<'_>| {
    let (path, principal, headers, body, raw_body, more) = input;
    let http = HttpRequest {
        method: "POST".to_owned(),
        path: path.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: body.to_owned(),
        raw_body: raw_body.to_vec(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        source: Some(Peer { principal: principal.to_owned(), ..Peer::default() }),
        request: Some(Attributes { time: None, http: Some(http) }),
        ..AttributeContext::default()
    };
    let message = [CheckRequest { attributes: Some(attributes) }.encode_to_vec(), more.to_vec()].concat();
    let length = u32::try_from(message.len()).expect("a short message");
    let frame = [&[0], length.to_be_bytes().as_slice(), &message].concat();
    let read = CheckRequest::decode(message.as_slice());
    let told = ASK(frame.into());
    let Ok(read) = read else { return assert!(told.is_none(), "what is no message is not answered") };
    let told = told.expect("every message is answered");
    let allowed = told.status.expect("a status").code == 0;
    let path = read.attributes.and_then(|attributes| Some(attributes.request?.http?.path)).unwrap_or_default();
    let plain = path.trim_start_matches('/').split(['?', '/']).next().unwrap_or_default();
    if !plain.contains('%') {
        assert!(!allowed || plain == "open", "{path} was allowed");
    }
});
