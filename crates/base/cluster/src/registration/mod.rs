//! Who gets which identity: the resources of `spire.spiffe.io`.

use lictor_manifest::{ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterStaticEntry};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The resources, by kind and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[allow(missing_docs)] // Each field is its kind.
pub struct Resources {
    pub ids: BTreeMap<Arc<str>, Arc<ClusterSpiffeId>>,
    pub static_entries: BTreeMap<Arc<str>, Arc<ClusterStaticEntry>>,
    pub federated: BTreeMap<Arc<str>, Arc<ClusterFederatedTrustDomain>>,
}
