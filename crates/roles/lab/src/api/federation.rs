//! The relations to other trust domains, as they are configured and as they stand.

use super::bundles::endpoint;
use super::routes::{form, rendered};
use super::{Answer, Query};
use crate::lab::Lab;
use lictor_cluster::Snapshot;
use lictor_identity::federation::{Profile, RelationStatus};
use lictor_manifest::ClusterFederatedTrustDomain;
use lictor_model::TrustDomain;
use lictor_report::{FederationRelation, FederationReport};
use std::sync::Arc;

/// `GET` lists the relations, or gives that to `domain`; `POST` asks the endpoint of `domain` at once.
pub(super) fn answer(method: &str, query: &Query, lab: &Lab) -> Answer {
    let domain = match query.text("domain").map(str::parse::<TrustDomain>).transpose() {
        Ok(domain) => domain,
        Err(error) => return Answer::refused(format!("no trust domain: {error}")),
    };
    let (format, style) = form(query);
    match (method, domain) {
        ("GET", None) => rendered(lictor_report::federation(&report(lab), format, style), 0),
        ("GET", Some(domain)) => {
            match report(lab).relations.into_iter().find(|relation| relation.trust_domain == domain) {
                Some(relation) => rendered(lictor_report::federation_relation(&relation, format, style), 0),
                None => Answer::refused(no_relation(&domain)),
            }
        }
        ("POST", Some(domain)) => match lab.node.relations().refresh(&domain) {
            true => Answer::new(format!("the bundle endpoint of {domain} is asked now\n"), 0),
            false => Answer::refused(no_relation(&domain)),
        },
        _ => Answer::refused("expected a trust domain as `domain`"),
    }
}

fn no_relation(domain: &TrustDomain) -> String {
    format!("there is no relation to {domain}")
}

fn report(lab: &Lab) -> FederationReport {
    let snapshot = lab.snapshot();
    let statuses = lab.node.relations().statuses();
    let line = |(status, by)| relation(lab, &snapshot, status, by);
    let relations: Vec<FederationRelation> = statuses.into_iter().map(line).collect();
    // A bundle without a relation was set by hand, or came with the identities from another Workload API.
    let believed = lab.node.keyring().foreign();
    let related = |name: &TrustDomain| {
        relations.iter().any(|relation| relation.trust_domain == *name) || believed.contains_key(name)
    };
    let named = snapshot.pods.values().flat_map(|pod| pod.federates_with());
    let foreign = named.filter(|name| *name != snapshot.trust_domain);
    let unrelated = foreign.filter(|name| !related(name)).collect();
    FederationReport { relations, unrelated }
}

fn relation(
    lab: &Lab,
    snapshot: &Snapshot,
    status: RelationStatus,
    by: Option<Arc<ClusterFederatedTrustDomain>>,
) -> FederationRelation {
    let trust_domain = status.relation.trust_domain.clone();
    let bundle = lab.node.keyring().bundle_of(&trust_domain);
    let name = trust_domain.as_str();
    FederationRelation {
        endpoint_id: match &status.relation.profile {
            Profile::Spiffe(id) => Some(id.clone()),
            Profile::Web(_) => None,
        },
        declared_by: by.map(|resource| resource.meta.name.name.to_string()),
        pods: snapshot.pods.values().filter(|pod| pod.federates(name)).count(),
        authorities: bundle.as_ref().map_or(0, |bundle| bundle.authorities().len()),
        sequence: bundle.as_ref().map_or(0, |bundle| bundle.sequence()),
        refresh_hint: bundle.and_then(|bundle| bundle.refresh_hint()),
        endpoint: endpoint(status),
        trust_domain,
    }
}
