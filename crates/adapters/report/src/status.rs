//! What a lab is doing: workloads, identities, transport, policies, findings.

use crate::answer::placed;
use crate::authorities::moment;
use crate::format::Format;
use crate::registration::RegistrationStatus;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_manifest::{Finding, Level, Position};
use lictor_model::{Name, PolicyRef, Revision, SpiffeId, TrustDomain};
use lictor_why::WorkloadView;
use serde::Serialize;
use std::fmt::Write;
use std::net::IpAddr;
use time::OffsetDateTime;

/// Policies of a workload that the short table names.
const NAMED_POLICIES: usize = 3;

/// A lab at one moment.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub lab: String,
    /// Its process.
    pub pid: u32,
    /// When it came up.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The snapshot in force.
    pub revision: Revision,
    /// The trust domain of its identities.
    pub trust_domain: TrustDomain,
    /// Where its manifests are read from.
    pub sources: Vec<String>,
    /// The workloads.
    pub workloads: Vec<WorkloadStatus>,
    /// The policies.
    pub policies: Vec<PolicyStatus>,
    /// The resources of registration.
    pub registration: RegistrationStatus,
    /// What is wrong with the manifests, or worth knowing.
    pub findings: Vec<Finding>,
    /// Why the manifests as they are now are not in force, when they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// Decisions that could not be written down.
    pub records_dropped: u64,
}

/// A workload and how its pods are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadStatus {
    /// What it is, and what speaks for it.
    #[serde(flatten)]
    pub view: WorkloadView,
    /// How many of its pods are ready.
    pub ready: usize,
    /// Its pods.
    pub states: Vec<PodStatus>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Namespace and name.
    pub pod: Name,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// What it is doing, in a word, such as `running`.
    pub phase: String,
    /// Whether it is ready.
    pub ready: bool,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often its process was started again.
    pub restarts: u32,
    /// Its identities, the default one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identities: Vec<SpiffeId>,
    /// When the SVID of the default one ends.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub svid_expires: Option<OffsetDateTime>,
}

/// A policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// Which.
    pub policy: PolicyRef,
    /// What became of it, such as `enforced`, `dry run`, `refused: needs a token`.
    pub state: String,
    /// How many pods it speaks for.
    pub pods: usize,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// A status in the form that was asked for; wide text has the pods and the policies too.
///
/// # Errors
/// When JSON or YAML cannot be written; a status always can.
pub fn status(status: &Status, format: Format, style: Style) -> Result<String, serde_json::Error> {
    Ok(match format.document(status)? {
        Some(document) => document,
        None => text(status, Style { wide: style.wide || format == Format::Wide, ..style }),
    })
}

fn text(status: &Status, style: Style) -> String {
    let mut out = workloads(status, style);
    if style.wide {
        out.push('\n');
        out.push_str(&pods(status, style));
        if !status.policies.is_empty() {
            out.push('\n');
            out.push_str(&policies(status, style));
        }
        if let Some(table) = status.registration.table(style) {
            out.push('\n');
            out.push_str(&table);
        }
    }
    let count = |level: Level| status.findings.iter().filter(|finding| finding.level == level).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (pods, ready) = (
        status.workloads.iter().map(|one| one.view.pods.len()).sum(),
        status.workloads.iter().map(|one| one.ready).sum::<usize>(),
    );
    let _ = write!(
        out,
        "\n{} (revision {}): {ready} of {} ready, {}",
        status.lab,
        status.revision,
        plural(pods, "pod"),
        plural(status.policies.len(), "policy").replace("policys", "policies")
    );
    let (errors, warnings) = (count(Level::Error), count(Level::Warning));
    if errors > 0 {
        let _ = write!(out, ", {}", style.paint(Tone::Bad, &plural(errors, "error")));
    }
    if warnings > 0 {
        let _ = write!(out, ", {}", style.paint(Tone::Doubtful, &plural(warnings, "warning")));
    }
    if status.records_dropped > 0 {
        let _ = write!(
            out,
            ", {} not written down",
            plural(usize::try_from(status.records_dropped).unwrap_or(usize::MAX), "decision")
        );
    }
    out.push('\n');
    if let Some(line) = status.registration.line(style) {
        let _ = writeln!(out, "{line}");
    }
    if let Some(refused) = &status.refused {
        let title = style.paint(Tone::Bad, "the manifests as they are now are not in force:");
        let _ = writeln!(out, "\n{title}\n{}", refused.trim_end());
    }
    out
}

fn workloads(status: &Status, style: Style) -> String {
    let mut table = Table::new(["WORKLOAD", "READY", "IDENTITY", "TRANSPORT", "POLICIES"]);
    for workload in &status.workloads {
        let view = &workload.view;
        let ready = format!("{}/{}", workload.ready, view.pods.len());
        let tone = if workload.ready == view.pods.len() { Tone::Good } else { Tone::Bad };
        table.row(vec![
            view.workload.to_string().into(),
            Cell::toned(tone, ready),
            identity(view).into(),
            transport(view).into(),
            named(&view.policies, &view.workload, style.wide).into(),
        ]);
    }
    table.render(style)
}

/// The identity, and how many others there are by registration.
fn identity(view: &WorkloadView) -> String {
    match view.other_identities.len() {
        0 => view.identity.to_string(),
        others => format!("{} +{others}", view.identity),
    }
}

fn transport(view: &WorkloadView) -> String {
    let Some(mode) = view.transport else { return "outside the mesh".to_owned() };
    let ports = view.port_transports.iter().map(|(port, mode)| format!(", {port} {mode}")).collect::<String>();
    format!("{mode}{ports}")
}

/// The policies by name; without their namespace where it is the workload's own.
fn named(policies: &[PolicyRef], workload: &Name, all: bool) -> String {
    if policies.is_empty() {
        return "-".to_owned();
    }
    let shown = if all { policies.len() } else { NAMED_POLICIES };
    let name = |policy: &PolicyRef| match policy.name.namespace == workload.namespace {
        true => policy.name.name.to_string(),
        false => policy.name.to_string(),
    };
    let names: Vec<String> = policies.iter().take(shown).map(name).collect();
    match policies.len().saturating_sub(shown) {
        0 => names.join(", "),
        more => format!("{}, +{more}", names.join(", ")),
    }
}

fn pods(status: &Status, style: Style) -> String {
    let mut table = Table::new(["POD", "PHASE", "READY", "ADDRESS", "PID", "RESTARTS", "SVID ENDS"]);
    for pod in status.workloads.iter().flat_map(|workload| &workload.states) {
        let expires = pod.svid_expires.map(moment);
        table.row(vec![
            pod.pod.to_string().into(),
            pod.phase.clone().into(),
            if pod.ready { Cell::toned(Tone::Good, "yes") } else { Cell::toned(Tone::Bad, "no") },
            pod.addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(",").into(),
            pod.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()).into(),
            pod.restarts.to_string().into(),
            expires.unwrap_or_else(|| "-".to_owned()).into(),
        ]);
    }
    table.render(style)
}

fn policies(status: &Status, style: Style) -> String {
    let mut table = Table::new(["POLICY", "NAME", "PODS", "STATE", "WHERE"]);
    for policy in &status.policies {
        table.row(vec![
            policy.policy.kind.as_str().into(),
            policy.policy.name.to_string().into(),
            policy.pods.to_string().into(),
            policy.state.clone().into(),
            policy.at.as_ref().map_or_else(|| "-".to_owned(), |at| placed(at, "")).into(),
        ]);
    }
    table.render(style)
}
