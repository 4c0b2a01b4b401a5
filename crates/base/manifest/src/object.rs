//! The closed set of objects.

use crate::kinds::{
    AuthorizationPolicy, Certificate, CidrGroup, CiliumNetworkPolicy, ClusterFederatedTrustDomain,
    ClusterNetworkPolicy, ClusterSpiffeId, ClusterStaticEntry, Endpoints, Entrance, Namespace, NetworkPolicy,
    PeerAuthentication, Service, ServiceAccount, Stance, Stored, Workload,
};
use crate::meta::Meta;
use lictor_model::Name;
use std::sync::Arc;

/// An object that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // Each variant is its kind.
pub enum Object {
    Namespace(Arc<Namespace>),
    ServiceAccount(Arc<ServiceAccount>),
    Workload(Arc<Workload>),
    Service(Arc<Service>),
    Entrance(Arc<Entrance>),
    Endpoints(Arc<Endpoints>),
    Stored(Arc<Stored>),
    NetworkPolicy(Arc<NetworkPolicy>),
    ClusterNetworkPolicy(Arc<ClusterNetworkPolicy>),
    CiliumNetworkPolicy(Arc<CiliumNetworkPolicy>),
    CidrGroup(Arc<CidrGroup>),
    PeerAuthentication(Arc<PeerAuthentication>),
    AuthorizationPolicy(Arc<AuthorizationPolicy>),
    Stance(Arc<Stance>),
    ClusterSpiffeId(Arc<ClusterSpiffeId>),
    ClusterStaticEntry(Arc<ClusterStaticEntry>),
    ClusterFederatedTrustDomain(Arc<ClusterFederatedTrustDomain>),
    Certificate(Arc<Certificate>),
    /// A kind that is read, not acted on.
    Other(Arc<str>, Meta),
}

/// What makes an object the same one in two readings: its kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The kind's name (for another group's kind, `Kind.group`).
    pub kind: Arc<str>,
    /// Namespace and name.
    pub name: Name,
}

impl Object {
    /// Name, labels and origin.
    pub fn meta(&self) -> &Meta {
        match self {
            Self::Namespace(object) => &object.meta,
            Self::ServiceAccount(object) => &object.meta,
            Self::Workload(object) => &object.meta,
            Self::Service(object) => &object.meta,
            Self::Entrance(object) => &object.meta,
            Self::Endpoints(object) => &object.meta,
            Self::Stored(object) => &object.meta,
            Self::NetworkPolicy(object) => &object.meta,
            Self::ClusterNetworkPolicy(object) => &object.meta,
            Self::CiliumNetworkPolicy(object) => &object.meta,
            Self::CidrGroup(object) => &object.meta,
            Self::PeerAuthentication(object) => &object.meta,
            Self::AuthorizationPolicy(object) => &object.meta,
            Self::Stance(object) => &object.meta,
            Self::ClusterSpiffeId(object) => &object.meta,
            Self::ClusterStaticEntry(object) => &object.meta,
            Self::ClusterFederatedTrustDomain(object) => &object.meta,
            Self::Certificate(object) => &object.meta,
            Self::Other(_, meta) => meta,
        }
    }
}
