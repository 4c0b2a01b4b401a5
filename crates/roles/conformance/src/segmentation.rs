//! The suites about segmentation: `netpol-e2e`, the NetworkPolicy cases of Kubernetes' own end-to-end tests,
//! `cnp-conformance`, the ClusterNetworkPolicy cases of their working group, and `cilium-policy`, those of Cilium.

use crate::report::SuiteReport;
use crate::steps::{Case, Check, End, InvalidCase, SaidThere, Step, Wanted};
use lictor_cluster::{AddressPool, Pod, Settings, Snapshot, UnknownNodes};
use lictor_model::{Direction, Flow, Http, Peer, Revision, Verdict};
use lictor_network::{Asked, Compiler, Program, compile, judge_asked};
use std::path::Path;
use std::sync::Arc;

/// The suites, by the names of their folders.
pub const SUITES: [&str; 3] = ["cilium-policy", "cnp-conformance", "netpol-e2e"];

/// The cases of a suite, by folder.
pub fn cases(suite: &Path) -> Vec<(String, Result<Case, InvalidCase>)> {
    crate::steps::cases(suite)
}

/// Judges every cell of every step three times: by the policies, by the program compiled from this step alone, and
/// by the program of one compiler that has seen every step before.
pub fn run(name: &'static str, suite: &Path) -> SuiteReport {
    let mut report = SuiteReport::new(name);
    let mut compiler = Compiler::default();
    for (folder, case) in cases(suite) {
        match case {
            Ok(case) => {
                let excludes = blocks_exclude_pods(name);
                case.steps.iter().for_each(|step| judge_step(&case.name, step, excludes, &mut compiler, &mut report));
            }
            Err(error) => report.broken(format!("{name}/{folder}"), error),
        }
    }
    report
}

/// Whether a suite's address blocks leave pods and nodes out: Cilium's do.
pub fn blocks_exclude_pods(suite: &str) -> bool {
    suite == "cilium-policy"
}

fn judge_step(case: &str, step: &Step, excludes: bool, compiler: &mut Compiler, report: &mut SuiteReport) {
    let snapshot = snapshot(step, excludes);
    let (alone, after_others) = (compile(&snapshot), compiler.compile(&snapshot));
    for check in &step.checks {
        let what = format!("{case} [{}] {check}", step.name);
        let Some(flow) = flow(&snapshot, check) else {
            report.broken(what, "an end that the step does not have");
            continue;
        };
        let by_policies = |asked: &Asked<'_>| {
            both(Direction::BOTH.map(|direction| {
                let step = judge_asked(&snapshot, &flow, direction, asked);
                step.verdict.under(step.mode)
            }))
        };
        let said = [
            ("policies", outcome(check, &by_policies)),
            ("program", outcome(check, &|asked| compiled(&alone, &flow, asked))),
            ("incremental program", outcome(check, &|asked| compiled(&after_others, &flow, asked))),
        ];
        let got = match said {
            [(_, first), (_, second), (_, third)] if first == second && first == third => first.to_string(),
            said => said.map(|(who, verdict)| format!("{verdict} by the {who}")).join(", "),
        };
        report.check(what, check.wanted, got);
    }
}

/// What comes of a check, given what is said of the connection and of what is said on it.
fn outcome(check: &Check, judge: &dyn Fn(&Asked<'_>) -> Verdict) -> Wanted {
    let headers;
    let asked = match &check.said {
        _ if !judge(&Asked::Connection).is_allow() => return Wanted::Deny,
        None => return Wanted::Allow,
        Some(SaidThere::Dns(name)) => Asked::Dns(name),
        Some(SaidThere::ServerName(name)) => Asked::ServerName(name),
        Some(SaidThere::Http(http)) => {
            let lower = |(name, value): (&String, &String)| (name.to_ascii_lowercase(), value.clone());
            let sent: Vec<(String, String)> = http.headers.iter().map(lower).collect();
            headers = sent;
            let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
            let http = Http { method: &http.method, path: &http.path, host: &http.host, headers: &headers };
            return if judge(&Asked::Http(http)).is_allow() { Wanted::Allow } else { Wanted::Refuse };
        }
    };
    if judge(&asked).is_allow() { Wanted::Allow } else { Wanted::Refuse }
}

/// The snapshot of a step.
pub fn snapshot(step: &Step, cidr_excludes_pods: bool) -> Snapshot {
    let settings = Settings {
        trust_domain: "cluster.local".parse().expect("a constant trust domain"),
        root_namespace: Arc::from("istio-system"),
        default_namespace: Arc::from("default"),
        nodes: step.nodes.clone(),
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods,
        registration: lictor_cluster::RegistrationSettings::default(),
    };
    let mut snapshot = Snapshot::build(&step.objects, &settings, &mut AddressPool::default(), Revision(1)).0;
    for (name, addresses) in &step.names {
        snapshot.names.learn(name, addresses.iter().copied());
    }
    // What is labelled as the cluster's DNS is taken for its own, which judges names.
    let is_dns = |pod: &&Arc<Pod>| pod.labels.get("k8s-app") == Some("kube-dns");
    let resolvers = snapshot.pods.values().filter(is_dns).flat_map(|pod| &pod.addresses).copied().collect();
    snapshot.resolvers = resolvers;
    snapshot
}

/// The flow of a check; nothing when the step does not have one of its ends.
pub fn flow(snapshot: &Snapshot, check: &Check) -> Option<Flow> {
    let end = |end: &End| match end {
        End::Pod(name) => Some(Peer::pod(name.clone(), *snapshot.pods.get(name)?.addresses.first()?)),
        End::Address(address) => Some(Peer::address(*address)),
        End::Node(name) => Some(Peer::address(*snapshot.nodes.get(name.as_str())?.addresses.first()?)),
    };
    let (source, destination) = (end(&check.source)?, end(&check.destination)?);
    Some(Flow { source, destination, protocol: check.protocol, port: check.port })
}

/// What a program says of both sides; an end that is no endpoint lets everything pass.
fn compiled(program: &Program, flow: &Flow, asked: &Asked<'_>) -> Verdict {
    let sides = [
        (Direction::Ingress, &flow.destination, flow.source.address),
        (Direction::Egress, &flow.source, flow.destination.address),
    ];
    both(sides.map(|(direction, near, far)| match &near.pod {
        Some(name) if program.endpoints.contains_key(name) => {
            let judgement = program.judge_asked(name, direction, far, (flow.protocol, flow.port), asked);
            judgement.verdict.under(judgement.mode)
        }
        _ => Verdict::Allow,
    }))
}

fn both(sides: [Verdict; 2]) -> Verdict {
    if sides.iter().all(|side| side.is_allow()) { Verdict::Allow } else { Verdict::Deny }
}
