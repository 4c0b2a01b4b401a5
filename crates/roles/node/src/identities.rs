//! From a pod's entries to the identities that it is registered with.

use lictor_cluster::Pod;
use lictor_identity::Identity;
use std::time::Duration;

/// The identities of a pod, its default one first: its entries', or that of its service account when it has none.
pub(crate) fn of(pod: &Pod) -> Vec<Identity> {
    if pod.entries.is_empty() {
        return vec![pod.identity.clone().into()];
    }
    let identity = |entry: &std::sync::Arc<lictor_cluster::registration::Entry>| {
        let issuance = &entry.issuance;
        Identity {
            hint: issuance.hint.clone(),
            x509_lifetime: lifetime(issuance.x509_lifetime),
            jwt_lifetime: lifetime(issuance.jwt_lifetime),
            ..entry.id.clone().into()
        }
    };
    pod.entries.iter().map(identity).collect()
}

/// A lifetime in whole seconds; manifests have none beyond what fits.
fn lifetime(given: Option<Duration>) -> Option<time::Duration> {
    given.map(|life| time::Duration::seconds(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)))
}
