//! What each route answers; the renderers are those of the command line on files.

use super::{Answer, Query, bundles, federation};
use crate::lab::Lab;
use crate::probing;
use crate::process::Target;
use futures::{Stream, StreamExt, stream};
use http::{Method, StatusCode};
use lictor_model::{Name, Protocol, Record, Verdict};
use lictor_report::{Format, PodStatus, PolicyStatus, ProbeReport, Status, Style, WorkloadStatus};
use lictor_why::{Ask, RequestAsk, Scope, Show, TooMany, place, pods_named, workloads};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::broadcast::error::RecvError;

/// Answers a request that does not stream.
pub(super) async fn answer(method: &Method, path: &str, query: &Query, lab: &Lab) -> Answer {
    match (method.as_str(), path) {
        ("GET", "/v1/status") => status(lab, query).await,
        ("GET", "/v1/why") => why(lab, query),
        ("GET", "/v1/edges") => edges(lab, query),
        ("GET", "/v1/flows") => flows(lab, query),
        ("GET", "/v1/diff") => diff(lab, query),
        ("POST", "/v1/probe") => probe(lab, query).await,
        ("POST", "/v1/shutdown") => {
            lab.stop.send_replace(true);
            Answer::new("", 0)
        }
        ("GET", "/v1/identity/entries") => super::entries::answer(query, lab),
        (method, "/v1/bundles") => bundles::answer(method, query, lab),
        (method, "/v1/federation") => federation::answer(method, query, lab),
        ("GET", path) if path.starts_with("/v1/pods/") => {
            pod(lab, path.strip_prefix("/v1/pods/").unwrap_or_default(), query).await
        }
        _ => {
            let certificates = path.strip_prefix("/v1/identity/certificates");
            let answered = certificates.and_then(|step| super::certificates::answer(method, step, query, lab));
            let identity = path.strip_prefix("/v1/identity/");
            let answered = answered.or_else(|| super::identity::answer(method, identity?, query, lab));
            let text = || format!("there is no {method} {path}");
            answered.unwrap_or_else(|| Answer { status: StatusCode::NOT_FOUND, text: text(), exit_code: 2 })
        }
    }
}

/// The form that a caller asks for.
pub fn form(query: &Query) -> (Format, Style) {
    let format: Format = query.text("output").and_then(|text| text.parse().ok()).unwrap_or_default();
    let style = Style { colour: query.flag("color"), width: query.number("width"), wide: format == Format::Wide };
    (format, style)
}

/// A text that was rendered, or why it could not be.
pub fn rendered(text: Result<String, serde_json::Error>, exit_code: u8) -> Answer {
    text.map_or_else(|error| Answer::refused(error.to_string()), |text| Answer::new(text, exit_code))
}

async fn status(lab: &Lab, query: &Query) -> Answer {
    let snapshot = lab.snapshot();
    let namespace = query.text("namespace");
    let unready = lab.unready();
    let pods = lab.pods.lock().await;
    let state = |name: &Name| {
        let pod = snapshot.pods.get(name)?;
        let live = pods.get(name);
        let (phase, restarts) = live.map_or(("Running", 0), crate::pods::LivePod::phase);
        Some(PodStatus {
            pod: name.clone(),
            addresses: pod.addresses.clone(),
            phase: phase.to_owned(),
            ready: phase == "Running" && !unready.contains(name),
            pid: live.and_then(|live| Some(live.running(None)?.0.pid)),
            restarts,
            identities: pod.identities().cloned().collect(),
            svid_expires: lab.node.keyring().svid(&pod.identity).map(|(svid, _)| svid.not_after),
        })
    };
    let wanted = workloads(&snapshot).into_iter().filter(|view| {
        namespace.is_none_or(|namespace| &*view.workload.namespace == namespace)
            && (query.flag("all") || !view.built_in)
    });
    let workloads = wanted
        .map(|view| {
            let states: Vec<PodStatus> = view.pods.iter().filter_map(state).collect();
            WorkloadStatus { ready: states.iter().filter(|pod| pod.ready).count(), states, view }
        })
        .collect();
    drop(pods);
    let said = lab.said();
    let policies = said.policies().into_iter().map(|(policy, state, pods)| {
        let at = place(&snapshot, &policy);
        PolicyStatus { policy, state, pods, at }
    });
    let status = Status {
        lab: lab.options.name.clone(),
        pid: std::process::id(),
        since: lab.started,
        revision: snapshot.revision,
        trust_domain: snapshot.trust_domain.clone(),
        sources: lab.options.sources.clone(),
        workloads,
        policies: policies.collect(),
        registration: (&snapshot.registrations).into(),
        findings: said.findings.clone(),
        refused: said.refused.clone(),
        records_dropped: lab.journal.dropped(),
    };
    let (format, style) = form(query);
    rendered(lictor_report::status(&status, format, style), 0)
}

fn why(lab: &Lab, query: &Query) -> Answer {
    let snapshot = lab.snapshot();
    let header = |text: &str| {
        let (name, value) = text.split_once(':')?;
        Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = query.all("header").filter_map(header).collect();
    let asks_http = ["method", "path", "host"].iter().any(|key| query.text(key).is_some()) || !headers.is_empty();
    let request = asks_http.then(|| RequestAsk {
        method: query.text("method").unwrap_or("GET").to_owned(),
        path: query.text("path").unwrap_or("/").to_owned(),
        host: query.text("host").map(ToOwned::to_owned),
        headers,
    });
    let ask = Ask {
        from: query.text("from").unwrap_or_default().to_owned(),
        to: query.text("to").unwrap_or_default().to_owned(),
        namespace: query.text("namespace").unwrap_or("default").to_owned(),
        protocol: query.text("protocol").and_then(|text| text.parse::<Protocol>().ok()),
        request,
    };
    match ask.resolve(&snapshot) {
        Err(unclear) => refusal(&unclear),
        Ok(question) => {
            let answer = lictor_why::answer(&snapshot, &question);
            let (format, style) = form(query);
            rendered(lictor_report::answer(&answer, format, style), answer.exit_code())
        }
    }
}

fn refusal(unclear: &lictor_why::Unclear) -> Answer {
    match unclear.hint() {
        Some(hint) => Answer::refused(format!("{unclear}\n  help: {hint}")),
        None => Answer::refused(unclear.to_string()),
    }
}

fn scope(lab: &Lab, query: &Query) -> Result<Scope, Answer> {
    let snapshot = lab.snapshot();
    let namespace = query.text("namespace");
    let named = |key: &str| match query.text(key) {
        None => Ok(None),
        Some(text) => {
            pods_named(&snapshot, text, namespace.unwrap_or("default")).map(Some).map_err(|unclear| refusal(&unclear))
        }
    };
    Ok(Scope {
        sources: named("from")?,
        destinations: named("to")?,
        focus: named("focus")?,
        explain: query.flag("explain"),
        namespace: namespace.map(Arc::from),
        built_in: query.flag("all"),
    })
}

fn edges(lab: &Lab, query: &Query) -> Answer {
    let scope = match scope(lab, query) {
        Ok(scope) => scope,
        Err(answer) => return answer,
    };
    if query.flag("exposure") {
        let chosen = |pod: &lictor_cluster::Pod| {
            scope.namespace.as_ref().is_none_or(|own| pod.name.namespace == *own)
                && scope.focus.as_ref().is_none_or(|names| names.contains(&pod.name))
        };
        let (format, style) = form(query);
        return rendered(lictor_report::exposure(&lictor_why::exposure(&lab.snapshot(), &chosen), format, style), 0);
    }
    let show = match query.text("show") {
        Some("denied") => Show::Denied,
        Some("all") => Show::All,
        _ => Show::Allowed,
    };
    let (format, style) = form(query);
    match lictor_why::edges(&lab.snapshot(), &scope, show) {
        Ok(edges) => rendered(lictor_report::edges(&edges, format, style), 0),
        Err(error) => too_many(error),
    }
}

/// What would change if the manifests of a folder were put in force.
fn diff(lab: &Lab, query: &Query) -> Answer {
    let new = match query.text("new").map(|folder| lab.would_be(std::path::Path::new(folder))) {
        Some(Ok(new)) => new,
        Some(Err(error)) => return Answer::refused(format!("{error:#}")),
        None => return Answer::refused("expected a folder as `new`".to_owned()),
    };
    let old = lab.snapshot();
    let scope = Scope { namespace: query.text("namespace").map(Arc::from), ..Scope::default() };
    let records = match query.text("observed").map(records).transpose() {
        Ok(records) => records,
        Err(error) => return Answer::refused(error),
    };
    let difference = match lictor_why::diff(&old, &new, &scope, records.as_deref()) {
        Ok(difference) => difference,
        Err(error) => return too_many(error),
    };
    let (format, style) = form(query);
    rendered(lictor_report::diff(&difference, format, style), u8::from(!difference.changes.is_empty()))
}

/// The decisions of a file.
fn records(file: &str) -> Result<Vec<Record>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    lictor_sources::records(file, &text).map_err(|error| error.to_string())
}

fn too_many(error: TooMany) -> Answer {
    Answer::refused(format!("{error}\n  help: {}", TooMany::HINT))
}

async fn probe(lab: &Lab, query: &Query) -> Answer {
    let scope = match scope(lab, query) {
        Ok(scope) => scope,
        Err(answer) => return answer,
    };
    let began = Instant::now();
    match probing::probe(lab, &scope).await {
        Err(error) => Answer::refused(format!("{error:#}")),
        Ok(probed) => {
            let report = ProbeReport::new(probed, began.elapsed().as_secs_f64());
            let (format, style) = form(query);
            let exit_code = report.exit_code();
            rendered(lictor_report::probe(&report, format, style), exit_code)
        }
    }
}

async fn pod(lab: &Lab, path: &str, query: &Query) -> Answer {
    let name = Name::parse(path, "default");
    let pods = lab.pods.lock().await;
    let Some(live) = pods.get(&name) else { return Answer::refused(format!("there is no pod {name}")) };
    let container = query.text("container");
    if let Some(unknown) = container.filter(|wanted| live.containers().all(|known| known != *wanted)) {
        let known: Vec<&str> = live.containers().collect();
        return Answer::refused(match known.is_empty() {
            true => format!("{name} has no containers with commands of their own; leave `{unknown}` out"),
            false => format!("{name} has no container `{unknown}`, only {}", known.join(", ")),
        });
    }
    let Some((process, cgroup)) = live.running(container) else {
        return Answer::refused(format!("{name} runs no process"));
    };
    let environment = lab.workshop.environment(&live.pod);
    let target = Target { pid: process.pid, cgroup: cgroup.path().to_owned(), environment };
    rendered(serde_json::to_string(&target), 0)
}

/// Which records a caller wants.
struct Wanted {
    pod: Option<String>,
    namespace: Option<String>,
    verdict: Option<String>,
    port: Option<u16>,
}

impl Wanted {
    fn of(query: &Query) -> Self {
        let text = |key: &str| query.text(key).map(ToOwned::to_owned);
        Self { pod: text("pod"), namespace: text("namespace"), verdict: text("verdict"), port: query.number("port") }
    }

    /// The end of a connection is wanted by those who want everything.
    fn takes(&self, record: &Record) -> bool {
        let Record::Decision(decision) = record else {
            return self.pod.is_none() && self.namespace.is_none() && self.verdict.is_none() && self.port.is_none();
        };
        let pods = || [&decision.source.pod, &decision.destination.pod].into_iter().flatten();
        let is_pod = |wanted: &String| pods().any(|pod| pod.to_string() == *wanted || *pod.name == **wanted);
        let verdict = match (decision.verdict, decision.would) {
            (Verdict::Deny, _) => "denied",
            (Verdict::Allow, Verdict::Deny) => "audited",
            (Verdict::Allow, Verdict::Allow) => "allowed",
        };
        self.pod.as_ref().is_none_or(is_pod)
            && self.namespace.as_ref().is_none_or(|wanted| pods().any(|pod| *pod.namespace == **wanted))
            && self.verdict.as_ref().is_none_or(|wanted| wanted == verdict)
            && self.port.is_none_or(|port| decision.destination.port == port)
    }
}

fn flows(lab: &Lab, query: &Query) -> Answer {
    let wanted = Wanted::of(query);
    let (format, style) = form(query);
    let records: Vec<Arc<Record>> = lab.journal.recent().into_iter().filter(|record| wanted.takes(record)).collect();
    let last = query.number("last").unwrap_or(100);
    let skipped = records.len().saturating_sub(last);
    let lines = records.iter().skip(skipped).map(|record| lictor_report::flow(record, format, style));
    rendered(lines.map(|line| line.map(ended)).collect(), 0)
}

fn ended(mut line: String) -> String {
    if !line.is_empty() && !line.ends_with('\n') {
        line.push('\n');
    }
    line
}

/// The records from now on, a line each.
pub(super) fn follow(lab: &Lab, query: &Query) -> impl Stream<Item = String> + Send + 'static {
    let wanted = Wanted::of(query);
    let (format, style) = form(query);
    let live = lab.journal.follow();
    stream::unfold(live, |mut live| async move {
        match live.recv().await {
            Ok(record) => Some((Ok(record), live)),
            Err(RecvError::Lagged(missed)) => Some((Err(missed), live)),
            Err(RecvError::Closed) => None,
        }
    })
    .filter_map(move |next| {
        let line = match next {
            Ok(record) if wanted.takes(&record) => lictor_report::flow(&record, format, style).ok().map(ended),
            Ok(_) => None,
            Err(missed) => Some(format!("# {missed} records came too fast to be shown\n")),
        };
        std::future::ready(line.filter(|line| !line.is_empty()))
    })
}
