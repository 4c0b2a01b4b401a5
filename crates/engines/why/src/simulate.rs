//! What was seen, under other policies.

use crate::answer::place;
use crate::ladder::ladder;
use crate::seen::{Seen, SeenEnd};
use lictor_cluster::Snapshot;
use lictor_manifest::Position;
use lictor_model::{By, Flow, Layer, Peer, Verdict};
use serde::Serialize;

/// One thing that was seen, and what would become of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// What was seen.
    #[serde(flatten)]
    pub seen: Seen,
    /// What would become of it.
    pub outcome: Outcome,
    /// The layer that decides now; none where an end is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<Layer>,
    /// What decides now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// What would become of something that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It was allowed, and would be denied.
    Breaks,
    /// It was denied, and would be allowed.
    Opens,
    /// One of its ends is not there.
    Gone,
    /// The same as before.
    Same,
}

impl Outcome {
    /// The word that outputs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaks => "breaks",
            Self::Opens => "opens",
            Self::Gone => "gone",
            Self::Same => "same",
        }
    }
}

/// Judges everything that was seen by the policies of a snapshot; what changes comes first.
pub fn simulate(snapshot: &Snapshot, seen: &[Seen]) -> Vec<Replay> {
    let mut replays: Vec<Replay> = seen.iter().map(|seen| replay(snapshot, seen)).collect();
    replays.sort_by_key(|replay| replay.outcome);
    replays
}

fn replay(snapshot: &Snapshot, seen: &Seen) -> Replay {
    let gone = Replay { seen: seen.clone(), outcome: Outcome::Gone, layer: None, by: None, at: None };
    let Some(flow) = flow(snapshot, seen) else { return gone };
    let ladder = ladder(snapshot, &flow, seen.request.as_ref());
    let by_policy = || ladder.steps.iter().rev().find(|step| step.by.policy().is_some());
    let ingress = || ladder.steps.iter().find(|step| step.layer == Layer::Ingress);
    let deciding = ladder.denied_at().or_else(by_policy).or_else(ingress);
    let allowed = ladder.denied_at().is_none();
    let outcome = match (seen.verdict, allowed) {
        (Verdict::Allow, false) => Outcome::Breaks,
        (Verdict::Deny, true) => Outcome::Opens,
        _ => Outcome::Same,
    };
    Replay {
        outcome,
        layer: deciding.map(|step| step.layer),
        by: deciding.map(|step| step.by.clone()),
        at: deciding.and_then(|step| place(snapshot, step.by.policies().first()?)),
        ..gone
    }
}

/// The flow between the same ends as they are now; nothing where one is gone, or where they share no address family.
pub(crate) fn flow(snapshot: &Snapshot, seen: &Seen) -> Option<Flow> {
    let end = |end: &SeenEnd| match &end.pod {
        None => Some(snapshot.peer(end.address)),
        Some(name) => {
            let pod = snapshot.pods.get(name)?;
            Some(Peer::pod(name.clone(), pod.address_like(end.address)?))
        }
    };
    let (source, destination) = (end(&seen.source)?, end(&seen.destination)?);
    Some(Flow { source, destination, protocol: seen.protocol, port: seen.port })
}
