//! From objects to a snapshot.

use crate::addresses::AddressPool;
use crate::snapshot::Snapshot;
use crate::pod::Node;
use lictor_manifest::{Finding, Object};
use lictor_model::{Revision, TrustDomain};
use std::sync::Arc;

/// `"false"` on a pod or namespace leaves it outside the mesh.
pub const ENROLL_ANNOTATION: &str = "lictor.dev/enroll";
/// `host` on a pod runs its container's command instead of the stand-in server.
pub const RUN_ANNOTATION: &str = "lictor.dev/run";

/// What a snapshot needs to know beside its objects.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The trust domain of every identity.
    pub trust_domain: TrustDomain,
    /// Istio's root namespace.
    pub root_namespace: Arc<str>,
    /// The namespace of objects that name none.
    pub default_namespace: Arc<str>,
    /// The nodes; at least one. Pods that name none are on the first.
    pub nodes: Vec<Node>,
}

impl Snapshot {
    /// Makes a snapshot of objects.
    ///
    /// Workloads become pods (`deployment-0`, `deployment-1`, …: a lab's pods have stable names), pods and
    /// services get addresses from `pool`, selectors are resolved to backends, and a namespace that is used
    /// but not declared is made. Findings: two objects of one name, a service account that does not exist,
    /// a Service that selects nothing, no address left.
    pub fn build(
        objects: &[Object],
        settings: &Settings,
        pool: &mut AddressPool,
        revision: Revision,
    ) -> (Self, Vec<Finding>) {
        let _ = (objects, settings, pool, revision);
        todo!("helper")
    }
}
