//! `lictor up`: from folders to a running lab that follows them.

use crate::lab::{Lab, Options};
use anyhow::Result;
use lictor_manifest::{Finding, render};
use lictor_sources::{Loaded, Sources};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How often the folders are looked at; the contents are only read when something changed.
const LOOK: Duration = Duration::from_millis(250);

/// The manifests cannot be brought up as they are; each finding is rendered with its lines.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// Whoever watches a lab come up and change.
pub trait Audience: Send + Sync {
    /// Something that a person wants to read, such as findings.
    fn tell(&self, text: &str);
    /// Every pod has been started.
    fn ready(&self, lab: &Lab);
}

/// Brings the manifests up and follows them until the lab is told to stop or interrupted.
///
/// Errors: [`Refused`] when the manifests have errors; nothing has been started then.
pub async fn up(options: Options, sources: Sources, colour: bool, audience: &dyn Audience) -> Result<()> {
    let loaded = sources.load();
    let rendered = rendered(&loaded.findings, &loaded, colour);
    if loaded.has_errors() {
        return Err(Refused(rendered).into());
    }
    audience.tell(&rendered);
    let lab = Lab::start(options).await?;
    let change = lab.apply(&loaded.objects, loaded.findings.clone()).await?;
    audience.tell(&self::rendered(&change.findings, &loaded, colour));
    lab.all_started().await;
    audience.ready(&lab);

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = lab.stopped() => {}
        () = follow(Arc::clone(&lab), sources, loaded, colour, audience) => {}
    }
    lab.end().await
}

/// Applies what changes below the folders. What does not parse changes nothing and is told.
async fn follow(lab: Arc<Lab>, sources: Sources, mut loaded: Loaded, colour: bool, audience: &dyn Audience) {
    let mut tick = tokio::time::interval(LOOK);
    loop {
        tick.tick().await;
        if sources.fingerprint() == loaded.fingerprint {
            continue;
        }
        loaded = sources.load();
        let rendered = rendered(&loaded.findings, &loaded, colour);
        if loaded.has_errors() {
            audience.tell(&rendered);
            audience.tell("nothing was changed; what ran before still runs");
            lab.refuse(rendered);
            continue;
        }
        match lab.apply(&loaded.objects, loaded.findings.clone()).await {
            Ok(change) => {
                audience.tell(&self::rendered(&change.findings, &loaded, colour));
                if !change.delta.is_empty() {
                    audience.tell(&sentence(&change.delta, lab.snapshot().revision));
                }
            }
            Err(error) => {
                let text = format!("not applied: {error:#}");
                audience.tell(&text);
                lab.said().refused = Some(text);
            }
        }
    }
}

fn rendered(findings: &[Finding], loaded: &Loaded, colour: bool) -> String {
    let text = |finding: &Finding| loaded.texts.get(&finding.position.file).map(String::as_str);
    findings.iter().map(|finding| render(finding, text(finding), colour)).collect::<Vec<_>>().join("\n")
}

/// `revision 4: 1 pod added, policies changed`.
fn sentence(delta: &lictor_cluster::Delta, revision: lictor_model::Revision) -> String {
    let mut parts = Vec::new();
    let count = |number: usize, what: &str| match number {
        0 => None,
        1 => Some(format!("1 pod {what}")),
        number => Some(format!("{number} pods {what}")),
    };
    parts.extend(count(delta.pods_added.len(), "added"));
    parts.extend(count(delta.pods_removed.len(), "removed"));
    parts.extend(count(delta.pods_changed.len(), "changed"));
    match &*delta.policies.iter().collect::<Vec<_>>() {
        [] => {}
        [one] => parts.push(format!("{one} changed")),
        more => parts.push(format!("{} policies changed", more.len())),
    }
    for (changed, what) in [
        (delta.cidr_groups, "groups of address blocks changed"),
        (delta.services, "services changed"),
        (delta.namespaces, "namespaces changed"),
        (delta.certificates, "certificates changed"),
    ] {
        if changed {
            parts.push(what.to_owned());
        }
    }
    format!("revision {revision}: {}", parts.join(", "))
}
