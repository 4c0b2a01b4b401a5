//! Checks, their responses and their records.

use super::{ExtAuthz, Settings, View};
use crate::evaluators::Evaluators;
use lictor_cluster::{AddressPool, Node as ClusterNode, Settings as Cluster, Snapshot, UnknownNodes};
use lictor_model::{By, Decision, DecisionIds, Labels, Mode, Name, Point, Record, Revision, TrustDomain, Verdict};
use lictor_rego::Program;
use lictor_wire::envoy::config::core::v3 as core;
use lictor_wire::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request as Attributes};
use lictor_wire::envoy::service::auth::v3::authorization_server::Authorization;
use lictor_wire::envoy::service::auth::v3::check_response::HttpResponse;
use lictor_wire::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tonic::{Code, Request, Status};

const PODS: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: api, namespace: shop}\nspec: {containers: [{name: main, image: x}]}\n\
    ---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: main, image: x}]}\n---\n";

fn policy(rego: &str) -> String {
    let rego: String = format!("package envoy.authz\n{rego}").lines().map(|line| format!("    {line}\n")).collect();
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: checks, namespace: shop, labels: {{lictor.dev/rego: authz}}}}\ndata:\n  \
         authz.rego: |\n{rego}---\n"
    )
}

fn cluster() -> Cluster {
    let node = ClusterNode { name: "node".into(), labels: Labels::default(), addresses: vec![[172, 18, 0, 2].into()] };
    Cluster {
        trust_domain: TrustDomain::default(),
        root_namespace: "istio-system".into(),
        default_namespace: "default".into(),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Absent,
        cidr_excludes_pods: false,
        registration: lictor_cluster::RegistrationSettings::default(),
    }
}

/// A node with the objects of a manifest, whose every caller is the pod `shop/api`, or nobody.
struct Node {
    checks: ExtAuthz,
    records: Arc<Mutex<Vec<Record>>>,
    snapshot: Arc<Snapshot>,
}

impl Node {
    fn of(manifest: &str, caller: Option<&str>) -> Self {
        let reading = lictor_manifest::read("shop.yaml", manifest);
        assert!(reading.findings.iter().all(|finding| !finding.is_error()), "{:?}", reading.findings);
        let mut pool = AddressPool::default();
        let (snapshot, _) = Snapshot::build(&reading.objects, &cluster(), &mut pool, Revision(3));
        let policies = Program::compile(snapshot.policies.rego.values(), &Program::default()).expect("policies");
        let snapshot = Arc::new(snapshot);
        let view = View { snapshot: Arc::clone(&snapshot), policies: Arc::new(policies) };
        let records = Arc::new(Mutex::new(Vec::new()));
        let caller = caller.map(|name| Name::parse(name, "shop"));
        let settings = Settings {
            caller: Arc::new(move |_| caller.clone().ok_or_else(|| Status::permission_denied("no identity issued"))),
            views: watch::channel(Arc::new(view)).1,
            sink: Arc::new({
                let records = Arc::clone(&records);
                move |record| records.lock().expect("records").push(record)
            }),
            ids: Arc::new(DecisionIds::default()),
        };
        Self { checks: ExtAuthz { settings, evaluators: Evaluators::start().expect("threads") }, records, snapshot }
    }

    async fn check(&self, path: &str) -> (CheckResponse, Vec<Decision>) {
        let web = self.snapshot.pods.get(&Name::new("shop", "web")).expect("the pod").addresses[0];
        let address = core::SocketAddress {
            address: web.to_string(),
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(40_000)),
            ..core::SocketAddress::default()
        };
        let source = Peer {
            address: Some(core::Address { address: Some(core::address::Address::SocketAddress(address)) }),
            principal: "spiffe://cluster.local/ns/shop/sa/default".into(),
            ..Peer::default()
        };
        let http =
            HttpRequest { method: "GET".into(), path: path.into(), host: "api".into(), ..HttpRequest::default() };
        let attributes = AttributeContext {
            source: Some(source),
            request: Some(Attributes { time: None, http: Some(http) }),
            ..AttributeContext::default()
        };
        let response = self.checks.check(Request::new(CheckRequest { attributes: Some(attributes) })).await;
        let records = std::mem::take(&mut *self.records.lock().expect("records"));
        let decisions = records.into_iter().map(|record| match record {
            Record::Decision(decision) => decision,
            Record::Close(close) => panic!("{close:?}"),
        });
        (response.expect("a response, whatever it says").into_inner(), decisions.collect())
    }
}

fn code(response: &CheckResponse) -> i32 {
    response.status.as_ref().expect("a status").code
}

fn denial(response: &CheckResponse) -> (i32, &str) {
    match &response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => (denied.status.expect("a status").code, &denied.body),
        other => panic!("expected a denial, saw {other:?}"),
    }
}

#[tokio::test]
async fn a_policy_answers_and_each_check_has_a_record() {
    let rego = "default allow := false\nallow if input.parsed_path[0] == \"open\"\n\
                allow := {\"allowed\": false, \"http_status\": 401, \"body\": \"who?\", \"headers\": {\"x\": \"y\"}} if input.parsed_path[0] == \"who\"\n\
                allow := {\"allowed\": true, \"headers\": {\"x\": \"y\"}, \"request_headers_to_remove\": [\"z\"], \"dynamic_metadata\": {\"a\": 1}} if input.parsed_path[0] == \"add\"\n";
    let node = Node::of(&format!("{PODS}{}", policy(rego)), Some("shop/api"));
    let (response, decisions) = node.check("/open?x=1").await;
    assert_eq!((code(&response), &response.http_response), (0, &None), "a boolean says nothing more");
    let [decision] = &*decisions else { panic!("expected a record, saw {decisions:?}") };
    assert_eq!((decision.verdict, decision.would, decision.mode), (Verdict::Allow, Verdict::Allow, Mode::Enforce));
    assert_eq!((decision.point, decision.revision.0, decision.encrypted), (Point::Envoy, 3, true));
    assert_eq!(decision.by.to_string(), "ConfigMap shop/checks data[authz.rego]");
    assert_eq!((decision.method.as_deref(), decision.path.as_deref()), (Some("GET"), Some("/open")));
    let pods = [&decision.source, &decision.destination].map(|end| end.pod.as_ref().map(ToString::to_string));
    assert_eq!(pods, [Some("shop/web".to_owned()), Some("shop/api".to_owned())]);
    assert_eq!(decision.source.identity.as_ref().map(|id| id.path()), Some("/ns/shop/sa/default"));
    let metadata = response.dynamic_metadata.expect("metadata");
    let number = metadata.fields["decision_id"].kind.clone();
    assert_eq!(number, Some(prost_types::value::Kind::StringValue(decision.id.to_string())));

    let (response, decisions) = node.check("/closed").await;
    assert_eq!((code(&response), &response.http_response), (Code::PermissionDenied as i32, &None));
    assert_eq!((decisions[0].verdict, decisions[0].by.policy().is_some()), (Verdict::Deny, true));
    let (response, _) = node.check("/who").await;
    assert_eq!((code(&response), denial(&response)), (Code::PermissionDenied as i32, (401, "who?")));
    let (response, _) = node.check("/add").await;
    let Some(HttpResponse::OkResponse(ok)) = response.http_response else { panic!("expected an allowance") };
    let header = ok.headers[0].header.as_ref().expect("a header");
    assert_eq!((&*header.key, &*header.value, &*ok.headers_to_remove), ("x", "y", &["z".to_owned()][..]));
    assert_eq!(response.dynamic_metadata.expect("metadata").fields.len(), 2);
}

#[tokio::test]
async fn whatever_is_not_an_answer_denies_and_says_why_to_the_log_alone() {
    for (manifest, path, status, why) in [
        (PODS.to_owned(), "/", 403, "no ConfigMap of namespace shop has Rego for external authorization"),
        (format!("{PODS}{}", policy("allow if input.x\n")), "/", 403, "data.envoy.authz.allow has no value"),
        (
            format!("{PODS}{}", policy("allow := \"yes\"\n")),
            "/",
            403,
            "the value of data.envoy.authz.allow is no answer: expected a boolean or an object, found a text",
        ),
        (
            format!("{PODS}{}", policy("allow := {\"allow\": true}\n")),
            "/",
            403,
            "the value of data.envoy.authz.allow is no answer: expected an object with `allowed`",
        ),
        (
            format!("{PODS}{}", policy("allow := {\"allowed\": true, \"headers\": 1}\n")),
            "/",
            403,
            "the value of data.envoy.authz.allow is no answer: expected `headers` to be an object of texts or of lists of texts, found the number 1",
        ),
        (
            format!("{PODS}{}", policy("allow := true\nallow := false\n")),
            "/",
            403,
            "rule conflicts with rule at 0:2:1, at line 3 of ConfigMap shop/checks data[authz.rego]",
        ),
        (
            format!("{PODS}{}", policy("allow := true\n")),
            "/%zz",
            400,
            "the request's path cannot be read: expected two hexadecimal digits after `%`, found `%zz`",
        ),
    ] {
        let node = Node::of(&manifest, Some("shop/api"));
        let (response, decisions) = node.check(path).await;
        assert_eq!(code(&response), Code::PermissionDenied as i32);
        let (seen, body) = denial(&response);
        assert_eq!((seen, body.is_empty()), (status, status == 403), "{why}");
        assert_eq!(decisions[0].by, By::Unknown(why.to_owned()));
        assert_eq!((decisions[0].verdict, decisions[0].would), (Verdict::Deny, Verdict::Deny));
    }
}

#[tokio::test]
async fn a_stance_lets_pass_what_would_be_denied() {
    for (mode, would) in [("Audit", Verdict::Deny), ("Observe", Verdict::Allow), ("Enforce", Verdict::Deny)] {
        let stance = format!(
            "apiVersion: lictor.dev/v1alpha1\nkind: Stance\nmetadata: {{name: s, namespace: shop}}\nspec: {{layers: [authorization], mode: {mode}}}\n---\n"
        );
        let denying = policy("allow := {\"allowed\": false, \"http_status\": 401}\n");
        let node = Node::of(&format!("{PODS}{stance}{denying}"), Some("shop/api"));
        let (response, decisions) = node.check("/").await;
        assert_eq!((code(&response) == 0, decisions[0].would), (mode != "Enforce", would), "{mode}");
        assert_eq!(decisions[0].verdict.is_allow(), mode != "Enforce");
        assert_eq!(matches!(response.http_response, Some(HttpResponse::OkResponse(_))), mode != "Enforce");
    }
}

#[tokio::test]
async fn a_stranger_is_denied_by_a_response() {
    let node = Node::of(&format!("{PODS}{}", policy("allow := true\n")), None);
    let (response, decisions) = node.check("/").await;
    assert_eq!((code(&response), denial(&response).0), (Code::PermissionDenied as i32, 403));
    assert!(decisions.is_empty(), "nobody's request was judged");
}
