//! What an Envoy asks in a pod of a running lab, by generated clients over the real socket. (`cargo xtask interop envoy` has
//! Envoy itself ask.)

use crate::lab::{Lab, echo_pod, soon};
use hyper_util::rt::TokioIo;
use lictor_wire::envoy::extensions::transport_sockets::tls::v3::Secret;
use lictor_wire::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use lictor_wire::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use lictor_wire::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use lictor_wire::envoy::service::discovery::v3::DiscoveryRequest;
use lictor_wire::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use prost::Message;
use std::fs;
use std::io::Write as _;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

/// Says that this process is one that is to ask, and for which paths.
const CHECKS: &str = "LICTOR_TEST_CHECKS";
const SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
const ANSWER: &str = "answer ";

/// What a process of a pod is told: the names of its secrets, then for each path whether a request passes.
fn answers(lab: &Lab, pod: &str, paths: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let script = format!("{CHECKS}='{paths}' exec '{}' --exact envoy::a_process", program.display());
    let output = lab.run(&["exec", pod, "--", "sh", "-c", &script]);
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter_map(|line| line.strip_prefix(ANSWER)).map(str::to_owned).collect()
}

/// The body of the processes that ask; in the test run itself it has nothing to do.
#[test]
fn a_process() {
    if let Ok(paths) = std::env::var(CHECKS) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for answer in runtime.block_on(ask(&paths)) {
            writeln!(std::io::stdout(), "\n{ANSWER}{answer}").unwrap();
        }
        std::process::exit(0);
    }
}

async fn ask(paths: &str) -> Vec<String> {
    let socket = std::env::var(SOCKET).unwrap().strip_prefix("unix://").unwrap().to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://agent").connect_with_connector(connector).await.unwrap();
    let secrets = SecretDiscoveryServiceClient::new(channel.clone()).fetch_secrets(DiscoveryRequest::default()).await;
    let mut answers = match secrets {
        Ok(secrets) => {
            let resources = secrets.into_inner().resources;
            resources.iter().map(|resource| Secret::decode(&*resource.value).unwrap().name).collect()
        }
        Err(status) => vec![format!("{:?}", status.code())],
    };
    for path in paths.split(' ') {
        answers.push(format!("{path} {}", check(channel.clone(), path).await));
    }
    answers
}

async fn check(channel: Channel, path: &str) -> String {
    let http = HttpRequest { method: "GET".into(), path: path.into(), ..HttpRequest::default() };
    let source = Peer { principal: "spiffe://cluster.local/ns/ext/sa/web".into(), ..Peer::default() };
    let request = Some(Request { time: None, http: Some(http) });
    let attributes = AttributeContext { source: Some(source), request, ..AttributeContext::default() };
    let check = CheckRequest { attributes: Some(attributes) };
    match AuthorizationClient::new(channel).check(check).await {
        Ok(response) => response.into_inner().status.map_or("nothing".to_owned(), |status| status.code.to_string()),
        Err(status) => format!("{:?}", status.code()),
    }
}

fn policy(rule: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: checks\n  namespace: ext\n  labels: {{lictor.dev/rego: authz}}\ndata:\n  \
         authz.rego: |\n    package envoy.authz\n    default allow := false\n    allow if {rule}\n"
    )
}

#[test]
fn an_envoy_gets_its_secrets_and_the_policys_answers() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("pods.yaml", &(echo_pod("ext", "api", true) + &echo_pod("other", "api", true)));
    write("policy.yaml", &policy("input.parsed_path[0] == \"open\""));
    let lab = Lab::up("e2e-ext-authz", &[folder.path()]);
    let own = "spiffe://cluster.local/ns/ext/sa/default";
    assert_eq!(answers(&lab, "ext/api", "/open /closed"), ["spiffe://cluster.local", own, "/open 0", "/closed 7"]);
    let other = answers(&lab, "other/api", "/open");
    assert_eq!(other[1..], ["spiffe://cluster.local/ns/other/sa/default", "/open 7"], "no policy is there");

    let flows = || String::from_utf8_lossy(&lab.run(&["flows"]).stdout).into_owned();
    soon(|| flows().contains("no ConfigMap of namespace other has Rego"));
    let said = flows();
    let line = |what: &str| said.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {said}"));
    assert!(line("GET /open").contains("ALLOWED") && line("GET /open").contains("checks"), "{said}");
    assert!(line("GET /closed").contains("DENIED") && line("GET /closed").contains("ext/api"), "{said}");
    let status = String::from_utf8_lossy(&lab.run(&["status"]).stdout).into_owned();
    assert!(status.contains("1 policy"), "{status}");

    // What does not compile is refused at its line, and the policy before it stays.
    write("policy.yaml", &policy("nosuch(input)"));
    soon(|| {
        let status = lab.status();
        let refused = status["refused"].as_str().unwrap_or_default().to_owned();
        refused.contains("policy.yaml:11:14") && refused.contains("expected a function that there is, found nosuch")
    });
    assert_eq!(answers(&lab, "ext/api", "/open /closed")[2..], ["/open 0", "/closed 7"]);
    write("policy.yaml", &policy("input.parsed_path[0] == \"closed\""));
    soon(|| answers(&lab, "ext/api", "/open /closed")[2..] == ["/open 7", "/closed 0"]);
}
