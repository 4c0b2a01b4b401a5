//! The status of resources, as their kinds have it.

use lictor_manifest::ClusterFederatedTrustDomain;
use lictor_model::TrustDomain;
use std::collections::BTreeMap;
use std::sync::Arc;

/// `status.stats` of a ClusterSPIFFEID.
///
/// Source: spire-controller-manager, `ClusterSPIFFEIDStats`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// `namespacesSelected`: the namespaces that its selector selects.
    pub namespaces_selected: usize,
    /// `namespacesIgnored`: those of them that are ignored by configuration.
    pub namespaces_ignored: usize,
    /// `podsSelected`: the pods that it selects in the others.
    pub pods_selected: usize,
    /// `podEntryRenderFailures`: the pods for which its templates give no entry.
    pub pod_entry_render_failures: usize,
    /// `entriesMasked`: the entries that another resource's stand in for.
    pub entries_masked: usize,
    /// `entriesToSet`: the entries that are to be there.
    pub entries_to_set: usize,
    /// `entryFailures`: those of them that are not taken.
    pub entry_failures: usize,
}

/// `status` of a ClusterStaticEntry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StaticStatus {
    /// Whether it is an entry; one that is read is.
    pub rendered: bool,
    /// Whether another one stands in for it.
    pub masked: bool,
    /// Whether it is taken.
    pub set: bool,
}

/// What a snapshot knows of registration, beside the entries of its pods.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Registrations {
    /// The status of each ClusterSPIFFEID that is acted on, by name.
    pub ids: BTreeMap<Arc<str>, Stats>,
    /// The status of each ClusterStaticEntry that is acted on, by name.
    pub static_entries: BTreeMap<Arc<str>, StaticStatus>,
    /// The other trust domains; of two resources for one, the older, then the first by name.
    pub federated: BTreeMap<TrustDomain, Arc<ClusterFederatedTrustDomain>>,
}
