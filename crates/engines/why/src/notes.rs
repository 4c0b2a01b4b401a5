//! What a reader should know beside the ladder.

use crate::answer::{Note, Pairs};
use crate::fix::{Change, Fix, Wish};
use crate::ladder::ladder;
use lictor_cluster::{BUILT_IN_ANNOTATION, ClusterService, ENROLL_ANNOTATION, Pod, Snapshot};
use lictor_manifest::Code;
use lictor_model::{By, Cidr, Direction, Flow, Layer, Peer, Protocol, Trace};
use std::sync::Arc;

pub(crate) fn about(wish: &Wish<'_>, ladder: &Trace, pairs: Pairs, fix: Result<&Fix, Option<String>>) -> Vec<Note> {
    let mut notes = Vec::new();
    if pairs.allowed > 0 && pairs.allowed < pairs.asked {
        let text = format!(
            "not all pods agree: {} of {} pairs are allowed; this is one that is not",
            pairs.allowed, pairs.asked
        );
        notes.push(Note::plain(text));
    }
    if pairs.total > pairs.asked {
        notes.push(Note::plain(format!("{} of {} pairs of pods were looked at", pairs.asked, pairs.total)));
    }
    notes.extend(enrolment(wish, ladder));
    match fix {
        Ok(fix) => notes.extend(passing_address(wish, fix)),
        Err(reason) if ladder.would_be_denied_at().is_some() => {
            let because = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            notes.push(Note::plain(format!("no change of policies was found that allows this{because}")));
        }
        Err(_) => {}
    }
    notes.extend(dns(wish, ladder));
    notes
}

/// What enrolling the source would do, where the transport refuses it for being outside the mesh.
fn enrolment(wish: &Wish<'_>, trace: &Trace) -> Option<Note> {
    let refused = trace.steps.iter().any(|step| step.layer == Layer::Transport && !step.verdict.is_allow());
    let source = wish.source.filter(|pod| refused && !pod.enrolled && !pod.host_network)?;
    let enrolled = Arc::new(Pod { enrolled: true, ..(**source).clone() });
    let others = wish.destination.filter(|pod| pod.name != source.name).cloned();
    let enrolled = ladder(&wish.cluster.with_pods(others.into_iter().chain([enrolled])), wish.flow, wish.request);
    let then = match enrolled.would_be_denied_at() {
        None => "then it is allowed as it is".to_owned(),
        Some(step) => format!("{} would still deny it, to {}", step.layer, source.identity),
    };
    let text = format!(
        "better than plaintext: take {} into the mesh (remove {ENROLL_ANNOTATION}: \"false\"); {then}",
        source.workload.name
    );
    Some(Note::plain(text))
}

/// That a fix names a pod by its address, which its successor will not have.
fn passing_address(wish: &Wish<'_>, fix: &Fix) -> Option<Note> {
    let ends = [(wish.source, wish.flow.source.address), (wish.destination, wish.flow.destination.address)];
    let named = |address: &str| {
        fix.changes.iter().any(|change| match change {
            Change::Apply { document, .. } => document.to_yaml().contains(address),
            Change::Edit { edit, .. } => edit.contains(address),
        })
    };
    let (pod, address) = ends.into_iter().find_map(|(pod, address)| {
        let block = Cidr::host(address).to_string();
        Some((pod.filter(|_| named(&block))?, address))
    })?;
    let text = match pod.host_network {
        true => format!("{address} is the address of the node that {} is on", pod.name),
        false => format!("{address} is the address of {} now; the pod that replaces it will have another", pod.name),
    };
    Some(Note::plain(text))
}

/// Whether the source, isolated for egress, reaches the cluster's DNS.
fn dns(wish: &Wish<'_>, ladder: &Trace) -> Option<Note> {
    let snapshot = wish.cluster;
    let egress = ladder.steps.iter().find(|step| step.layer == Layer::Egress)?;
    let source = wish.source.filter(|_| !egress.applied.is_empty())?;
    let (address, pod, port) = cluster_dns(snapshot)?;
    let from = source.address_like(address).or(source.addresses.first().copied())?;
    let flow = Flow {
        source: Peer::pod(source.name.clone(), from),
        destination: Peer { address, pod },
        protocol: Protocol::Udp,
        port,
    };
    let step = lictor_network::judge(snapshot, &flow, Direction::Egress);
    if step.verdict.is_allow() || !matches!(step.by, By::Isolation(_)) {
        return None;
    }
    let either = if egress.verdict.is_allow() { "" } else { " either" };
    let text = format!("{} has no egress to cluster DNS{either}; most clients need it", source.workload.name);
    Some(Note { code: Some(Code::NoEgressToDns), text })
}

/// A backend of the cluster's DNS service: its address, pod and UDP port.
fn cluster_dns(snapshot: &Snapshot) -> Option<(std::net::IpAddr, Option<lictor_model::Name>, u16)> {
    let in_system = |service: &&Arc<ClusterService>| &*service.service.meta.name.namespace == "kube-system";
    let services = snapshot.services.values().filter(in_system);
    let ports = services.flat_map(|service| &service.ports);
    let port = ports.filter(|port| port.port.protocol == Protocol::Udp).find(|port| port.port.port == 53)?;
    let backend = port.backends.first()?;
    Some((backend.address, backend.pod.clone(), backend.port))
}

/// Whether a pod is one that lictor made itself.
pub(crate) fn is_built_in(pod: &Pod) -> bool {
    pod.annotations.get(BUILT_IN_ANNOTATION).is_some_and(|value| value == "true")
}
