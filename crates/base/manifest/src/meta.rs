//! What every object has: a name, labels, and where it was read.

use crate::Origin;
use lictor_model::{Labels, Name};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;

/// Name, labels, annotations and origin of an object.
///
/// Two are equal when what they say is equal; where they were read does not count, so that moving a
/// document within a file is no change.
#[derive(Debug, Clone)]
pub struct Meta {
    /// Namespace and name; the namespace is empty for a cluster-scoped object.
    pub name: Name,
    /// Labels.
    pub labels: Labels,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was created, where the manifest says so; Istio prefers the oldest PeerAuthentication.
    pub created: Option<OffsetDateTime>,
    /// The API server's own name for it, where the manifest is a dump that has it.
    pub uid: Option<Arc<str>>,
    /// Where it was read.
    pub origin: Arc<Origin>,
}

impl PartialEq for Meta {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.labels, &self.annotations, self.created, &self.uid)
            == (&other.name, &other.labels, &other.annotations, other.created, &other.uid)
    }
}

impl Eq for Meta {}
