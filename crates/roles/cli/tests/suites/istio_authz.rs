//! The AuthorizationPolicy cases of Istio that need no token, on real requests.
//!
//! Requests that share their ends are made in one state of the lab: the source is a pod with the identity that the
//! case names (outside the mesh where it names none), the destination a pod with the labels, both at the case's addresses.

use crate::stage::Stage;
use lictor_conformance::istio_authz::semantic::{Case, Exchange, HeaderValue, cases};
use lictor_conformance::{SuiteReport, root};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const SOURCE: &str = "suite-source";
const DESTINATION: &str = "suite-destination";

#[test]
fn requests_are_answered_as_the_suite_says() {
    let folder = root().map(|root| root.join("istio-authz/semantic")).filter(|folder| folder.is_dir());
    let Some(folder) = folder else {
        println!("istio-authz: not run, LICTOR_CONFORMANCE names no folder that has it");
        return;
    };
    let mut report = SuiteReport::new("istio-authz, real requests");
    let mut stage = Stage::new("e2e-istio", &["--pod-cidr", "10.0.0.0/16", "--service-cidr", "10.96.0.0/16"]);
    let mut left_out: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, case) in cases(&folder) {
        let Ok(case) = case else {
            report.broken(name, "the case cannot be read");
            continue;
        };
        let mut states: BTreeMap<String, Vec<&Exchange>> = BTreeMap::new();
        for exchange in &case.requests {
            match why_not(&case, exchange) {
                Some(why) => left_out.entry(why).or_default().push(format!("{name} {}", exchange.name)),
                None => states.entry(state(&case, exchange)).or_default().push(exchange),
            }
        }
        for (manifest, exchanges) in states {
            match stage.show(&manifest) {
                Ok(()) => exchanges.iter().for_each(|exchange| try_request(&stage, &case, exchange, &mut report)),
                Err(refused) => report.broken(name.clone(), refused),
            }
        }
    }
    for (why, requests) in &left_out {
        println!("not made, {why}: {} ({})", requests.len(), requests.join(", "));
    }
    println!("{report}");
    assert!(report.failed.is_empty() && report.passed > 0, "{} failures", report.failed.len());
}

/// Why a request cannot be made in a lab.
fn why_not(case: &Case, exchange: &Exchange) -> Option<&'static str> {
    let foreign = |principal: &String| !principal.starts_with("cluster.local/");
    let unlike = |address| address != exchange.source.ip;
    if exchange.jwt.is_some() || ["requestPrincipals", "request.auth"].iter().any(|word| case.policies.contains(word)) {
        Some("a policy or the request needs a token")
    } else if exchange.custom.is_some() || case.policies.contains("CUSTOM") {
        Some("a policy asks a provider")
    } else if exchange.source.principal.as_ref().is_some_and(foreign) {
        Some("the source is of another trust domain")
    } else if exchange.source.remote_ip.is_some_and(unlike) {
        Some("the original client's address comes from a trusted hop")
    } else if exchange.sni.is_some() && exchange.http.is_some() {
        Some("a request within TLS of its own cannot be read")
    } else {
        None
    }
}

/// Whether a policy of the case has a field of requests: only then is a connection read as HTTP.
fn reads_requests(case: &Case) -> bool {
    let fields = ["ethods", "aths", "osts", "request."];
    fields.iter().any(|field| case.policies.contains(field))
}

/// The manifest of a lab that can make a request: the policies, the source and the destination.
fn state(case: &Case, exchange: &Exchange) -> String {
    let (namespace, account) = source(exchange);
    let enrolled = exchange.source.principal.is_some();
    let source = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": SOURCE, "namespace": namespace, "annotations": {"lictor.dev/enroll": enrolled.to_string()}},
        "spec": {"serviceAccountName": account, "containers": [{"name": "main", "image": "x"}]},
        "status": {"podIP": exchange.source.ip.to_string()},
    });
    let to = &exchange.destination;
    let port = json!({"name": exchange.protocol, "containerPort": to.port});
    let destination = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": DESTINATION, "namespace": to.namespace, "labels": to.labels},
        "spec": {"containers": [{"name": "main", "image": "x", "ports": [port]}]},
        "status": {"podIP": to.ip.to_string()},
    });
    format!("{}\n---\n{source}\n---\n{destination}\n", case.policies)
}

/// Namespace and service account of the source.
fn source(exchange: &Exchange) -> (&str, &str) {
    let named = exchange.source.principal.as_deref().and_then(|principal| {
        let mut words = principal.split('/').skip(2);
        Some((words.next()?, words.nth(1)?))
    });
    named.unwrap_or(("outside", "default"))
}

fn try_request(stage: &Stage, case: &Case, exchange: &Exchange, report: &mut SuiteReport) {
    let ask = match &exchange.http {
        None => json!("echo"),
        Some(http) => {
            let headers = http.headers.iter().flat_map(|(name, value)| {
                let values = match value {
                    HeaderValue::One(value) => std::slice::from_ref(value),
                    HeaderValue::Several(values) => values,
                };
                values.iter().map(move |value| json!([name, value]))
            });
            let headers: Vec<Value> = headers.collect();
            json!({"http": {"method": http.method, "path": http.path, "host": http.host, "headers": headers}})
        }
    };
    let address = std::net::SocketAddr::new(exchange.destination.ip, exchange.destination.port);
    let attempt = json!([{"id": 0, "address": address, "protocol": "TCP", "ask": ask, "patience_ms": 2000}]);
    let pod = format!("{}/{SOURCE}", source(exchange).0);
    let words = [env!("CARGO_BIN_EXE_lictor"), "probe-client", &attempt.to_string()];
    let output = stage.exec(&pod, &words);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let got =
        said["outcome"].as_str().map_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned(), str::to_owned);
    let answered = exchange.http.is_some() && exchange.expect.stage != "peer-authentication" && reads_requests(case);
    let wanted: &[&str] = match (exchange.expect.verdict.as_str(), answered) {
        ("ALLOW", _) => &["reached"],
        (_, true) => &["forbidden"],
        // Where nothing reads requests, a denial is a connection that ends or never opens.
        (_, false) => &["ended", "dropped"],
    };
    let got = if wanted.contains(&got.as_str()) { wanted.join(" or ") } else { got };
    report.check(format!("{} {}", case.name, exchange.name), wanted.join(" or "), got);
}
