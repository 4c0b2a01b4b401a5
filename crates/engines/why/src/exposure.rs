//! What is open beyond the pods that are there: to a pod of any label, to the outside, to all.

use crate::answer::place;
use crate::sites::one_of_each;
use lictor_cluster::{BUILT_IN_ANNOTATION, Pod, Snapshot};
use lictor_manifest::{PortMatch, PortTerm, Position};
use lictor_model::{Direction, PolicyRef, PortRange, Selector};
use lictor_network::{Effect, PeerFact, RuleFact, compile, rule_facts};
use serde::Serialize;
use std::sync::Arc;

/// What a rule, or that there is none, opens or closes for a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exposed {
    /// The workload.
    pub workload: Arc<str>,
    /// Whether it is about what comes in or what goes out.
    pub direction: Direction,
    /// Whether it is open.
    pub open: bool,
    /// To whom.
    pub to: To,
    /// Who that is, in words.
    pub peer: String,
    /// The ports, in words.
    pub ports: String,
    /// How many pods of the cluster are among them now.
    pub pods: usize,
    /// The rule; none where no policy isolates.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<PolicyRef>,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Position>,
}

/// To whom something is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum To {
    /// Everyone, inside the cluster and outside.
    All,
    /// Every pod of the cluster, whatever its labels.
    Cluster,
    /// Addresses and names outside.
    Outside,
    /// Pods with these labels, of which some may be yet to come.
    Labels,
}

impl To {
    /// The word that outputs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Cluster => "cluster",
            Self::Outside => "outside",
            Self::Labels => "labels",
        }
    }
}

/// What each workload is exposed to, the widest first. Rules whose tier or denial another one overrides stand with the
/// others: it is what is written, by policy, not the outcome for one peer.
pub fn exposure(snapshot: &Snapshot, chosen: &dyn Fn(&Pod) -> bool) -> Vec<Exposed> {
    let (facts, program) = (rule_facts(snapshot), compile(snapshot));
    let own = |pod: &&Arc<Pod>| !pod.host_network && !pod.annotations.contains_key(BUILT_IN_ANNOTATION) && chosen(pod);
    let mut exposed = Vec::new();
    for (workload, pod) in one_of_each(snapshot.pods.values().filter(own)) {
        let workload: Arc<str> = workload.name.to_string().into();
        for direction in Direction::BOTH {
            let isolates =
                program.endpoints.get(&pod.name).is_some_and(|known| !known.gate(direction).isolated_by.is_empty());
            if !isolates {
                exposed.push(Exposed {
                    workload: Arc::clone(&workload),
                    direction,
                    open: true,
                    to: To::All,
                    peer: "anyone".to_owned(),
                    ports: "all ports".to_owned(),
                    pods: snapshot.pods.len().saturating_sub(1),
                    rule: None,
                    at: None,
                });
            }
            let speaking = facts.iter().filter(|fact| fact.direction == direction && fact.selects(snapshot, pod));
            for fact in speaking.filter(|fact| fact.effect != Effect::Pass) {
                exposed.extend(of_rule(snapshot, fact, pod, &workload));
            }
        }
    }
    exposed.sort_by(|a, b| (&a.workload, a.direction, a.to, &a.rule).cmp(&(&b.workload, b.direction, b.to, &b.rule)));
    exposed
}

fn of_rule(snapshot: &Snapshot, fact: &RuleFact<'_>, pod: &Arc<Pod>, workload: &Arc<str>) -> Vec<Exposed> {
    let ports = fact.ports().map_or_else(|| "all ports".to_owned(), |ports| port_words(&ports));
    let ports = match fact.said {
        Some(said) => format!("{ports}: {said}"),
        None => ports,
    };
    let one = |to, peer, pods| Exposed {
        workload: Arc::clone(workload),
        direction: fact.direction,
        open: fact.effect == Effect::Allow,
        to,
        peer,
        ports: ports.clone(),
        pods,
        at: place(snapshot, &fact.rule),
        rule: Some(fact.rule.clone()),
    };
    let Some(peers) = fact.peers() else {
        return vec![one(To::All, "anyone".to_owned(), snapshot.pods.len().saturating_sub(1))];
    };
    let among = |peer: &PeerFact<'_>| {
        let is_peer = |other: &&Arc<Pod>| {
            other.name != pod.name && other.addresses.iter().any(|at| fact.is_peer(snapshot, peer, pod, *at))
        };
        snapshot.pods.values().filter(is_peer).count()
    };
    peers.iter().map(|peer| one(reach(peer), words(peer, &fact.meta.name.namespace), among(peer))).collect()
}

fn reach(peer: &PeerFact<'_>) -> To {
    match peer.selectors() {
        Some((namespaces, pods)) => {
            let any = |selector: Option<&Selector>| selector.is_some_and(Selector::is_empty);
            if any(namespaces) && pods.is_none_or(Selector::is_empty) { To::Cluster } else { To::Labels }
        }
        None => match peer.block() {
            Some(block) if block.cidr.prefix() == 0 && block.except.is_empty() => To::All,
            _ => To::Outside,
        },
    }
}

fn words(peer: &PeerFact<'_>, own: &str) -> String {
    let Some((namespaces, pods)) = peer.selectors() else { return peer.to_string() };
    let of = match namespaces {
        None if own.is_empty() => String::new(),
        None => format!(" of namespace {own}"),
        Some(selector) if selector.is_empty() => String::new(),
        Some(selector) => format!(" of namespaces {selector}"),
    };
    match pods.filter(|selector| !selector.is_empty()) {
        None => format!("every pod{of}"),
        Some(selector) => format!("pods {selector}{of}"),
    }
}

fn port_words(ports: &[PortTerm]) -> String {
    let word = |term: &PortTerm| match &term.port {
        PortMatch::Any => term.protocol.to_string(),
        PortMatch::Range(range) if *range == PortRange::ALL => term.protocol.to_string(),
        PortMatch::Range(range) => format!("{range}/{}", term.protocol),
        PortMatch::Named(name) => format!("{name}/{}", term.protocol),
    };
    ports.iter().map(word).collect::<Vec<_>>().join(", ")
}
