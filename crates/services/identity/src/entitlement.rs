//! From a pod's entries to the identities that it is registered with, and that its node may ask for.

use crate::needs::{Identity, Processes};
use lictor_cluster::Pod;
use lictor_cluster::registration::{Entry, Part};
use std::time::Duration;

/// The identities of a pod, its default one first: its entries', or that of its service account when it has none; then
/// those that only some of its processes get.
pub fn identities_of(pod: &Pod) -> Vec<Identity> {
    let account = pod.entries.is_empty().then(|| pod.identity.clone().into());
    let whole = pod.entries.iter().map(|entry| identity(entry));
    account.into_iter().chain(whole).chain(pod.parts.iter().map(part)).collect()
}

fn identity(entry: &Entry) -> Identity {
    let issuance = &entry.issuance;
    Identity {
        dns_names: entry.dns_names.as_slice().into(),
        hint: issuance.hint.clone(),
        x509_lifetime: lifetime(issuance.x509_lifetime),
        jwt_lifetime: lifetime(issuance.jwt_lifetime),
        ..entry.id.clone().into()
    }
}

fn part(Part { entry, scope }: &Part) -> Identity {
    let processes = Processes { containers: scope.containers.clone(), selectors: scope.process.clone() };
    Identity { processes, ..identity(entry) }
}

/// A lifetime in whole seconds; manifests have none beyond what fits.
fn lifetime(given: Option<Duration>) -> Option<time::Duration> {
    given.map(|life| time::Duration::seconds(i64::try_from(life.as_secs()).unwrap_or(i64::MAX)))
}
