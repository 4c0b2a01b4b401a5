//! Requests to workloads under policies, and what must come of each.

use crate::report::SuiteReport;
use lictor_authz::{Capabilities, Outcome, Program, Stage};
use lictor_cluster::{AddressPool, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Finding, Object, read_admitted, values};
use lictor_model::{By, Http, Name, Request, Revision, SpiffeId, Verdict};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// A case: policies, and requests to judge by them.
#[derive(Debug, Clone)]
pub struct Case {
    /// The suite, the part and the folder's name.
    pub name: String,
    /// The policies as a manifest.
    pub policies: String,
    /// Istio's root namespace.
    pub root_namespace: String,
    /// The requests.
    pub requests: Vec<Exchange>,
}

/// A request, and what must come of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Exchange {
    /// Its name within the case.
    pub name: String,
    /// The workload that it is for.
    pub destination: Destination,
    /// `http` or `tcp`.
    pub protocol: String,
    /// Where it comes from.
    pub source: Source,
    /// The HTTP request, unless the protocol is `tcp`.
    #[serde(default)]
    pub http: Option<HttpRequest>,
    /// The claims of a valid token.
    #[serde(default)]
    pub jwt: Option<Value>,
    /// The server name of the TLS connection.
    #[serde(default)]
    pub sni: Option<String>,
    /// What the external provider answers.
    #[serde(default)]
    pub custom: Option<Value>,
    /// What must come of it.
    pub expect: Expectation,
}

/// The workload that a request is for.
#[derive(Debug, Clone, Deserialize)]
pub struct Destination {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The address that is asked for.
    pub ip: IpAddr,
    /// The port that is asked for.
    pub port: u16,
}

/// Where a request comes from.
#[derive(Debug, Clone, Deserialize)]
pub struct Source {
    /// The identity without its scheme; nothing on plaintext.
    pub principal: Option<String>,
    /// The connection's address.
    pub ip: IpAddr,
    /// The original client's address, where a trusted hop has told it.
    #[serde(default)]
    pub remote_ip: Option<IpAddr>,
}

/// The HTTP part of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpRequest {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The host.
    pub host: String,
    /// The headers; a list is a repeated one.
    #[serde(default)]
    pub headers: BTreeMap<String, HeaderValue>,
}

/// A header's value or values.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum HeaderValue {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// What must come of a request.
#[derive(Debug, Clone, Deserialize)]
pub struct Expectation {
    /// `ALLOW` or `DENY`.
    pub verdict: String,
    /// The step that decides.
    pub stage: String,
    /// Every policy that matches at that step, as `namespace/name`.
    #[serde(default)]
    pub policies: BTreeSet<String>,
    /// Whether an AUDIT policy matches, where the case says so.
    #[serde(default)]
    pub audit: Option<bool>,
}

#[derive(Deserialize)]
struct CaseFile {
    case: String,
    root_namespace: String,
    requests: Vec<Exchange>,
}

/// The cases of the part, by folder; one that cannot be read stands there with its reason.
pub fn cases(folder: &Path) -> Vec<(String, Result<Case, String>)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), Case::load(&folder.join(name)))).collect()
}

/// Judges every request of every case.
pub(super) fn run(folder: &Path, report: &mut SuiteReport) {
    for (name, case) in cases(folder) {
        match case.and_then(|case| case.snapshot().map(|snapshot| (case, snapshot))) {
            Ok((case, snapshot)) => case.judge(&snapshot, report),
            Err(why) => report.broken(format!("istio-authz/semantic/{name}"), why),
        }
    }
}

impl Case {
    fn load(folder: &Path) -> Result<Self, String> {
        let text = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|error| format!("{name}: {error}"));
        let requests = values(&text("requests.yaml")?).map_err(|error| error.to_string())?;
        let file = requests.into_iter().next().ok_or("requests.yaml: expected a document, found none")?;
        let CaseFile { case, root_namespace, requests } =
            serde_json::from_value(file).map_err(|error| format!("requests.yaml: {error}"))?;
        Ok(Self { name: case, policies: text("policies.yaml")?, root_namespace, requests })
    }

    /// A cluster with the policies and a pod for each workload that is asked.
    pub fn snapshot(&self) -> Result<Snapshot, String> {
        let pods = self.requests.iter().map(|exchange| exchange.destination.pod());
        let manifests: String = pods.collect::<BTreeSet<String>>().into_iter().map(|pod| pod + "\n---\n").collect();
        let mut objects: Vec<Object> = Vec::new();
        for text in [&self.policies, &manifests] {
            // The question here is what a policy does, not whether the webhook would take it.
            let reading = read_admitted(&self.name, text);
            if let Some(error) = reading.findings.iter().find(|finding| finding.is_error()) {
                return Err(error.to_string());
            }
            objects.extend(reading.objects);
        }
        let settings = Settings {
            trust_domain: "cluster.local".parse().map_err(|error| format!("{error}"))?,
            root_namespace: Arc::from(&*self.root_namespace),
            default_namespace: Arc::from("default"),
            nodes: Vec::new(),
            unknown_nodes: UnknownNodes::Made,
            cidr_excludes_pods: false,
            registration: lictor_cluster::RegistrationSettings::default(),
        };
        let (snapshot, findings) = Snapshot::build(&objects, &settings, &mut AddressPool::default(), Revision(1));
        findings.iter().find(|finding| finding.is_error()).map_or(Ok(snapshot), |error| Err(Finding::to_string(error)))
    }

    fn judge(&self, snapshot: &Snapshot, report: &mut SuiteReport) {
        let (program, _) = Program::compile(snapshot, Capabilities::ALL);
        for exchange in &self.requests {
            let what = format!("{} {}", self.name, exchange.name);
            let pod = exchange.destination.name();
            let got = exchange.with_request(|request| told(&program, &pod, request, exchange));
            match got {
                Ok(got) => report.check(what, exchange.expect.told(), got),
                Err(why) => report.broken(what, why),
            }
        }
    }
}

fn told(program: &Program, pod: &Name, request: &Request<'_>, exchange: &Exchange) -> String {
    let outcome = program.decide(pod, request, &|provider| exchange.answer(provider));
    let matching = match (outcome.stage, program.workload(pod)) {
        (Stage::PeerAuthentication, _) | (_, None) => BTreeSet::new(),
        (stage, Some(workload)) => {
            workload.matching(request, stage).into_iter().map(|policy| policy.name.to_string()).collect()
        }
    };
    let consistent = |outcome: &Outcome| {
        let decided = matches!(outcome.by, By::Policy(_) | By::Isolation(_)) || outcome.stage == Stage::NoAllowPolicy;
        decided && outcome.by.policies().iter().all(|one| matching.contains(&one.name.to_string()))
    };
    if outcome.stage != Stage::PeerAuthentication && !consistent(&outcome) {
        return format!("{outcome:?}, which names other policies than {matching:?}");
    }
    let audit = exchange.expect.audit.map(|_| !outcome.audited.is_empty());
    line(outcome.verdict.under(outcome.mode), outcome.stage.as_str(), &matching, audit)
}

fn line(verdict: Verdict, stage: &str, policies: &BTreeSet<String>, audit: Option<bool>) -> String {
    let audit = match audit {
        Some(true) => ", audited",
        Some(false) => ", not audited",
        None => "",
    };
    format!("{verdict} at {stage} by {policies:?}{audit}")
}

impl Expectation {
    fn told(&self) -> String {
        let verdict = match self.verdict.as_str() {
            "ALLOW" => Verdict::Allow,
            "DENY" => Verdict::Deny,
            other => return format!("`{other}`, which is no verdict"),
        };
        line(verdict, &self.stage, &self.policies, self.audit)
    }
}

impl Destination {
    /// The name of the pod that stands for the workload: one for each namespace and label set.
    pub fn name(&self) -> Name {
        let labels: Vec<String> = self.labels.iter().map(|(key, value)| format!("{key}-{value}")).collect();
        let name = format!("w-{}", labels.join("-")).replace(['/', '_'], "-").to_ascii_lowercase();
        Name::new(self.namespace.as_str(), name.trim_end_matches('-'))
    }

    fn pod(&self) -> String {
        let name = self.name();
        let metadata = json!({"name": &*name.name, "namespace": self.namespace, "labels": self.labels});
        let spec = json!({"containers": [{"name": "server", "image": "stand-in"}]});
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}).to_string()
    }
}

impl Exchange {
    /// What the external provider answers; without an answer it denies.
    pub fn answer(&self, provider: &str) -> Verdict {
        let allows = |answer: &Value| match answer {
            Value::Bool(allows) => *allows,
            Value::String(word) => word.to_ascii_lowercase().starts_with("allow"),
            _ => false,
        };
        let answer = self.custom.as_ref().map(|answer| answer.get(provider).unwrap_or(answer));
        if answer.is_some_and(allows) { Verdict::Allow } else { Verdict::Deny }
    }

    /// Gives the request to `then`.
    pub fn with_request<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> Result<T, String> {
        let principal = self.source.principal.as_ref().map(|principal| format!("spiffe://{principal}"));
        let principal: Option<SpiffeId> =
            principal.map(|id| id.parse()).transpose().map_err(|error| format!("source.principal: {error}"))?;
        let mut headers: Vec<(String, &str)> = Vec::new();
        for (name, value) in self.http.iter().flat_map(|http| &http.headers) {
            let values = match value {
                HeaderValue::One(value) => std::slice::from_ref(value),
                HeaderValue::Several(values) => values.as_slice(),
            };
            headers.extend(values.iter().map(|value| (name.to_ascii_lowercase(), value.as_str())));
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let http = match (self.protocol.as_str(), &self.http) {
            ("http", Some(http)) => {
                Some(Http { method: &http.method, path: &http.path, host: &http.host, headers: &headers })
            }
            ("tcp", None) => None,
            (other, _) => return Err(format!("expected http with a request or tcp without one, found `{other}`")),
        };
        Ok(then(&Request {
            principal: principal.as_ref(),
            source_ip: self.source.ip,
            remote_ip: self.source.remote_ip.unwrap_or(self.source.ip),
            destination_ip: self.destination.ip,
            destination_port: self.destination.port,
            sni: self.sni.as_deref(),
            http,
            claims: self.jwt.as_ref(),
        }))
    }
}
