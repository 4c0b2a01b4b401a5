//! Small clusters for tests: manifests to a snapshot, and a request that says only what matters.

#![allow(dead_code)] // Each test file uses a part of it.

use lictor_authz::{Capabilities, Outcome, Program, Stage};
use lictor_cluster::{AddressPool, Node, Pod, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Finding, read};
use lictor_model::{Http, Labels, Name, Request, Revision, SpiffeId, Verdict};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// A pod `app` of namespace `foo` with a port for HTTP, one for something else, and one that says nothing.
pub(crate) const POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: app, namespace: foo, labels: {app: httpbin}}
spec:
  containers:
  - name: app
    image: stand-in
    ports:
    - {name: http-web, containerPort: 8080}
    - {name: tcp-db, containerPort: 5432}
    - {name: any, containerPort: 7000}
---
";

pub(crate) fn snapshot_in(trust_domain: &str, manifests: &str) -> Snapshot {
    let reading = read("test.yaml", manifests);
    assert!(!reading.has_errors(), "{:#?}", reading.findings);
    let node =
        Node { name: Arc::from("node"), labels: Labels::default(), addresses: vec![IpAddr::from([172, 18, 0, 2])] };
    let settings = Settings {
        trust_domain: trust_domain.parse().expect("a trust domain"),
        root_namespace: Arc::from("istio-system"),
        default_namespace: Arc::from("default"),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
        registration: lictor_cluster::RegistrationSettings::default(),
    };
    Snapshot::build(&reading.objects, &settings, &mut AddressPool::default(), Revision(1)).0
}

pub(crate) fn snapshot(manifests: &str) -> Snapshot {
    snapshot_in("cluster.local", manifests)
}

/// The pod and policies; each policy is `name: spec` as a YAML flow, in namespace `foo`.
pub(crate) fn with_policies(policies: &[(&str, &str)]) -> Snapshot {
    snapshot(&(POD.to_owned() + &manifests(policies)))
}

pub(crate) fn manifests(policies: &[(&str, &str)]) -> String {
    let manifest = |(name, spec): &(&str, &str)| {
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: {name}, namespace: foo}}\nspec: {spec}\n---\n"
        )
    };
    policies.iter().map(manifest).collect()
}

pub(crate) fn app() -> Name {
    Name::new("foo", "app")
}

pub(crate) fn pod<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Pod {
    snapshot.pods.get(&Name::parse(name, "foo")).expect("the pod is there")
}

/// A request; its fields are what tests change.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) principal: Option<&'static str>,
    pub(crate) source_ip: &'static str,
    pub(crate) remote_ip: &'static str,
    pub(crate) port: u16,
    pub(crate) sni: Option<&'static str>,
    pub(crate) http: bool,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) host: &'static str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) claims: Option<Value>,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            principal: Some("cluster.local/ns/default/sa/sleep"),
            source_ip: "10.0.0.7",
            remote_ip: "203.0.113.9",
            port: 8080,
            sni: None,
            http: true,
            method: "GET",
            path: "/",
            host: "httpbin.foo",
            headers: Vec::new(),
            claims: None,
        }
    }
}

impl Ask {
    pub(crate) fn tcp(port: u16) -> Self {
        Self { http: false, port, ..Self::default() }
    }

    pub(crate) fn with<T>(&self, then: impl FnOnce(&Request<'_>) -> T) -> T {
        let id: Option<SpiffeId> =
            self.principal.map(|principal| format!("spiffe://{principal}").parse().expect("an identity"));
        let http = Http { method: self.method, path: self.path, host: self.host, headers: &self.headers };
        then(&Request {
            principal: id.as_ref(),
            source_ip: self.source_ip.parse().expect("an address"),
            remote_ip: self.remote_ip.parse().expect("an address"),
            destination_ip: IpAddr::from([10, 0, 1, 5]),
            destination_port: self.port,
            sni: self.sni,
            http: self.http.then_some(http),
            claims: self.claims.as_ref(),
        })
    }

    pub(crate) fn of(&self, snapshot: &Snapshot, capabilities: Capabilities) -> Outcome {
        let (program, _) = Program::compile(snapshot, capabilities);
        self.with(|request| program.decide(&app(), request, &|_| Verdict::Deny))
    }
}

/// Whether the one rule of an ALLOW policy, written as a YAML flow, matches a request.
pub(crate) fn rule_matches(rule: &str, ask: &Ask) -> bool {
    let snapshot = with_policies(&[("p", &format!("{{rules: [{rule}]}}"))]);
    let allowed = ask.of(&snapshot, Capabilities::ALL).stage == Stage::Allow;
    // A DENY policy with the same rule must see it the same way, on HTTP.
    let snapshot = with_policies(&[("p", &format!("{{action: DENY, rules: [{rule}]}}"))]);
    let denied = ask.of(&snapshot, Capabilities::ALL).stage == Stage::Deny;
    assert_eq!(allowed, denied, "{rule}: ALLOW and DENY read it alike");
    allowed
}

pub(crate) fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    Program::compile(snapshot, Capabilities::default()).1
}
