//! Small clusters from a text, and a second opinion on every connection in them.

#![allow(dead_code)] // Each test uses its part.

use lictor_cluster::{AddressPool, Node, Pod, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Object, read};
use lictor_model::{
    Cidr, Direction, Flow, Http, Labels, Layer, Mode, Name, Peer, Protocol, Request, Revision, Step, Verdict,
};
use lictor_why::{Answer, Ask, Question, RequestAsk, answer};
use std::net::IpAddr;
use std::sync::Arc;

/// Objects of a text without errors.
pub(crate) fn objects(text: &str) -> Vec<Object> {
    let reading = read("test.yaml", text);
    let errors: Vec<String> =
        reading.findings.iter().filter(|found| found.is_error()).map(ToString::to_string).collect();
    assert_eq!(errors, Vec::<String>::new(), "{text}");
    reading.objects
}

/// The cluster of these objects.
pub(crate) fn snapshot_of(objects: &[Object]) -> Snapshot {
    let block = |net: [u8; 4]| Cidr::new(IpAddr::from(net), 16).expect("a block");
    let settings = Settings {
        trust_domain: "cluster.local".parse().expect("a trust domain"),
        root_namespace: "istio-system".into(),
        default_namespace: "default".into(),
        nodes: vec![Node { name: "lab".into(), labels: Labels::default(), addresses: vec![[10, 244, 0, 1].into()] }],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
        registration: lictor_cluster::RegistrationSettings::default(),
    };
    let mut pool = AddressPool::new(&[block([10, 244, 0, 0])], &[block([10, 96, 0, 0])]);
    Snapshot::build(objects, &settings, &mut pool, Revision(1)).0
}

/// The cluster of a text.
pub(crate) fn snapshot(text: &str) -> Snapshot {
    snapshot_of(&objects(text))
}

/// A pod of this name, labels, and one line of its spec's ports.
pub(crate) fn pod(namespace: &str, name: &str, labels: &str, ports: &str) -> String {
    pod_with(namespace, name, labels, ports, "")
}

/// A pod outside the mesh.
pub(crate) fn outsider(namespace: &str, name: &str, labels: &str, ports: &str) -> String {
    pod_with(namespace, name, labels, ports, "annotations: {lictor.dev/enroll: 'false'}, ")
}

fn pod_with(namespace: &str, name: &str, labels: &str, ports: &str, more: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, {more}labels: {{{labels}}}}}\n\
         spec: {{serviceAccountName: {name}, containers: [{{name: c, image: i, ports: [{ports}]}}]}}\n"
    )
}

/// What a question comes to.
pub(crate) fn question(snapshot: &Snapshot, from: &str, to: &str) -> Question {
    ask(from, to, None).resolve(snapshot).unwrap_or_else(|error| panic!("{from} -> {to}: {error}"))
}

/// The answer about a connection.
pub(crate) fn why(snapshot: &Snapshot, from: &str, to: &str) -> Answer {
    answer(snapshot, &question(snapshot, from, to))
}

/// The answer about a request.
pub(crate) fn why_request(snapshot: &Snapshot, from: &str, to: &str, method: &str, path: &str) -> Answer {
    let request = RequestAsk { method: method.to_owned(), path: path.to_owned(), host: None, headers: Vec::new() };
    let question = ask(from, to, Some(request)).resolve(snapshot).expect("a question");
    answer(snapshot, &question)
}

pub(crate) fn ask(from: &str, to: &str, request: Option<RequestAsk>) -> Ask {
    Ask { from: from.to_owned(), to: to.to_owned(), namespace: "default".to_owned(), protocol: None, request }
}

/// A second opinion: every layer asked of its engine, by a way that shares nothing with the crate.
pub(crate) fn ladder(snapshot: &Snapshot, from: &Pod, to: &Pod, protocol: Protocol, port: u16) -> Vec<Step> {
    let (source, destination) = (from.addresses[0], to.addresses[0]);
    let flow = Flow {
        source: Peer::pod(from.name.clone(), source),
        destination: Peer::pod(to.name.clone(), destination),
        protocol,
        port,
    };
    let mut steps = vec![
        lictor_network::judge(snapshot, &flow, Direction::Egress),
        lictor_network::judge(snapshot, &flow, Direction::Ingress),
    ];
    if protocol == Protocol::Tcp && to.enrolled && from.name != to.name {
        steps.push(lictor_authz::explain_transport(snapshot, Some(from), to, port));
        let request = Request {
            principal: from.enrolled.then_some(&from.identity),
            source_ip: source,
            remote_ip: source,
            destination_ip: destination,
            destination_port: port,
            sni: None,
            http: None::<Http<'_>>,
            claims: None,
        };
        steps.push(lictor_authz::explain(snapshot, to, &request));
    }
    steps
}

/// Whether all layers allow it.
pub(crate) fn allowed(steps: &[Step]) -> bool {
    steps.iter().all(|step| step.verdict.under(step.mode).is_allow())
}

/// Whether all layers would allow it if all enforced.
pub(crate) fn would_be_allowed(steps: &[Step]) -> bool {
    steps.iter().all(|step| step.verdict.is_allow())
}

/// The pods of a snapshot.
pub(crate) fn pods(snapshot: &Snapshot) -> impl Iterator<Item = &Arc<Pod>> {
    snapshot.pods.values()
}

/// A pod by its name.
pub(crate) fn named<'a>(snapshot: &'a Snapshot, name: &str) -> &'a Arc<Pod> {
    &snapshot.pods[&Name::parse(name, "default")]
}

/// The verdict and mode of a layer.
pub(crate) fn rung(answer: &Answer, layer: Layer) -> (Verdict, Mode) {
    let rung = answer.rung(layer).expect("four layers");
    (rung.step.verdict, rung.step.mode)
}
