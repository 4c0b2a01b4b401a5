//! From a question to its answer.

use crate::answer::{Answer, Connection, Note, Pairs, Rung, Side};
use crate::engines::Engines;
use crate::fix::{self, Wish};
use crate::ladder::{ladder, pair_of, pod_of};
use crate::lookup::Pair;
use crate::notes;
use crate::question::{End, Question, RequestAsk};
use lictor_authz::{AppProtocol, mode_word};
use lictor_cluster::Snapshot;
use lictor_model::{Flow, Peer, Trace, Verdict};

/// Why a connection or request is allowed or denied, and the smallest change that would turn a denial.
///
/// Where the question is about several pairs of pods, the answer is about the first that is denied, or would be.
pub fn answer(snapshot: &Snapshot, question: &Question) -> Answer {
    // Verdicts about these flows need no pod but theirs.
    let ends = question.flows().flat_map(|flow| [&flow.source, &flow.destination]);
    let near = snapshot.with_pods(ends.filter_map(|end| pod_of(snapshot, end)).cloned());
    let engines = Engines::new(&near);
    let (request, mut remarks) = asked_request(&engines, question);
    let request = request.as_ref();
    let (flow, pairs) = most_telling(&engines, question, request);
    let pair = pair_of(engines.snapshot, flow);
    let encrypted = pair.encrypted(flow.protocol);
    let ladder = ladder(&near, flow, request);
    let [verdict, would] = [ladder.denied_at().is_none(), ladder.would_be_denied_at().is_none()].map(of_bool);
    let denied_at = ladder.denied_at().or_else(|| ladder.would_be_denied_at()).map(|step| step.layer);
    let wish = Wish { cluster: snapshot, flow, request, source: pair.source, destination: pair.destination, encrypted };
    let found = if would.is_allow() { Err(None) } else { fix::find(&near, &wish) };
    let (fix, reason) = found.map_or_else(|reason| (None, reason), |fix| (Some(fix), None));
    let mut notes: Vec<Note> = question.remarks.iter().map(Note::plain).collect();
    notes.append(&mut remarks);
    notes.extend(notes::about(&wish, &ladder, pairs, fix.as_ref().ok_or(reason)));
    let connection = Connection {
        source: side(&engines, &question.source, &flow.source),
        destination: side(&engines, &question.destination, &flow.destination),
        protocol: flow.protocol,
        port: question.port,
        target_port: flow.port,
        encrypted,
        mtls: pair
            .destination
            .filter(|pod| pod.enrolled)
            .map(|pod| mode_word(engines.authorization.transport(&pod.name, flow.port).mode)),
        request: request.cloned(),
    };
    let ladder = rungs(&engines, pair, ladder);
    let pairs = (pairs.total > 1).then_some(pairs);
    Answer { connection, verdict, would, denied_at, ladder, pairs, fix, notes, revision: snapshot.revision }
}

fn of_bool(allowed: bool) -> Verdict {
    if allowed { Verdict::Allow } else { Verdict::Deny }
}

/// The flow to explain: the first that is denied, else the first that would be, else the first.
fn most_telling<'q>(engines: &Engines<'_>, question: &'q Question, request: Option<&RequestAsk>) -> (&'q Flow, Pairs) {
    let mut pairs = Pairs { total: question.pairs, asked: 0, allowed: 0 };
    let (mut denied, mut would_be) = (None, None);
    for flow in question.flows() {
        let rulings = engines.rulings(pair_of(engines.snapshot, flow), flow.protocol, flow.port, request);
        pairs.asked += 1;
        if rulings.verdict().is_allow() {
            pairs.allowed += 1;
        } else {
            denied = denied.or(Some(flow));
        }
        if !rulings.would().is_allow() {
            would_be = would_be.or(Some(flow));
        }
    }
    (denied.or(would_be).unwrap_or(&question.flow), pairs)
}

/// The request to judge: the one that was asked about, or one that stands for it on a port where each request is judged.
fn asked_request(engines: &Engines<'_>, question: &Question) -> (Option<RequestAsk>, Vec<Note>) {
    let flow = &question.flow;
    let Some(pod) = pod_of(engines.snapshot, &flow.destination) else { return (question.request.clone(), Vec::new()) };
    match &question.request {
        Some(_) if AppProtocol::of(engines.snapshot, pod, flow.port) == AppProtocol::Other => {
            let text = format!(
                "port {} of {} is not HTTP by its name, so no rule looks at the request",
                flow.port, question.destination.text
            );
            (None, vec![Note::plain(text)])
        }
        Some(request) => (Some(request.clone()), Vec::new()),
        None if engines.judges_requests(pod, flow.protocol, flow.port) => {
            let request =
                RequestAsk { method: "GET".to_owned(), path: "/".to_owned(), host: None, headers: Vec::new() };
            let named = crate::samples::named(engines.snapshot, pod).into_iter().collect::<Vec<_>>().join(", ");
            let text = format!(
                "each request on this port is judged, and this is about GET /; ask with --method and --path. The rules name: {named}"
            );
            (Some(request), vec![Note::plain(text)])
        }
        None => (None, Vec::new()),
    }
}

fn side(engines: &Engines<'_>, end: &End, peer: &Peer) -> Side {
    let pod = pod_of(engines.snapshot, peer);
    Side {
        name: end.text.clone(),
        kind: end.kind,
        pod: pod.map(|pod| pod.name.clone()),
        address: peer.address,
        identity: pod.map(|pod| pod.identity.clone()),
        enrolled: pod.is_some_and(|pod| pod.enrolled),
    }
}

fn rungs(engines: &Engines<'_>, pair: Pair<'_>, ladder: Trace) -> Vec<Rung> {
    use lictor_model::Layer;
    let snapshot = engines.snapshot;
    let subject = |layer| if layer == Layer::Egress { pair.source } else { pair.destination };
    ladder.steps.into_iter().map(|step| Rung::of(snapshot, subject(step.layer).map(|pod| &**pod), step)).collect()
}
