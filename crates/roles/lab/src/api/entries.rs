//! The route about who has which identity.

use super::routes::{form, rendered};
use super::{Answer, Query};
use crate::lab::Lab;
use lictor_cluster::Pod;
use lictor_cluster::registration::{By, Entry, Scope};
use lictor_model::SpiffeId;
use lictor_pki::Subject;
use lictor_report::IdentityLine;
use std::collections::BTreeSet;

/// Answers what is asked of `/v1/identity/entries`.
pub(super) fn answer(query: &Query, lab: &Lab) -> Answer {
    let (pod, namespace) = (query.text("pod"), query.text("namespace"));
    let wanted = |candidate: &&Pod| {
        let name = &candidate.name;
        pod.is_none_or(|wanted| *name.name == *wanted || name.to_string() == wanted)
            && namespace.is_none_or(|wanted| &*name.namespace == wanted)
    };
    let snapshot = lab.snapshot();
    let lines: Vec<IdentityLine> =
        snapshot.pods.values().map(|pod| &**pod).filter(wanted).flat_map(|pod| of_pod(pod, lab)).collect();
    if let Some(pod) = pod.filter(|_| lines.is_empty()) {
        return Answer::refused(format!("there is no pod {pod}; `lictor status` lists them"));
    }
    let (format, style) = form(query);
    rendered(lictor_report::identities(&lines, format, style), 0)
}

fn of_pod(pod: &Pod, lab: &Lab) -> Vec<IdentityLine> {
    let account = pod.entries.is_empty().then(|| line(pod, &pod.identity, None, None, lab));
    let whole = pod.entries.iter().map(|entry| line(pod, &entry.id, Some(entry), None, lab));
    let parts = pod.parts.iter().map(|part| line(pod, &part.entry.id, Some(&part.entry), Some(&part.scope), lab));
    account.into_iter().chain(whole).chain(parts).collect()
}

fn line(pod: &Pod, id: &SpiffeId, entry: Option<&Entry>, scope: Option<&Scope>, lab: &Lab) -> IdentityLine {
    let by = |entry: &Entry| match &entry.by {
        By::SpiffeId(name) => format!("ClusterSPIFFEID/{name}"),
        By::Static(name) => format!("ClusterStaticEntry/{name}"),
    };
    let containers = scope.and_then(|scope| scope.containers.as_ref()).into_iter().flatten();
    let process = scope.map(|scope| &scope.process).into_iter().flatten();
    let issuance = entry.map(|entry| &entry.issuance);
    let dns_names = entry.map(|entry| entry.dns_names.as_slice()).unwrap_or_default();
    let subject = Subject { id: id.clone(), dns_names: dns_names.into() };
    let selectors: BTreeSet<String> =
        entry.into_iter().flat_map(|entry| &entry.selectors).map(ToString::to_string).collect();
    IdentityLine {
        pod: pod.name.clone(),
        id: id.clone(),
        by: entry.map(by),
        selectors: selectors.into_iter().collect(),
        containers: containers.map(ToString::to_string).collect(),
        process: process.map(ToString::to_string).collect(),
        dns_names: dns_names.iter().map(ToString::to_string).collect(),
        hint: issuance.map(|issuance| issuance.hint.to_string()).unwrap_or_default(),
        ttl: issuance.and_then(|issuance| Some(issuance.x509_lifetime?.as_secs())),
        expires: lab.node.keyring().svid_of(&subject).map(|(svid, _)| svid.not_after),
    }
}
