//! `networking.k8s.io/v1` Ingress and `route.openshift.io/v1` Route, as far as they say which Services the outside comes to.

use crate::{Meta, TargetPort};
use std::sync::Arc;

/// A way into the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entrance {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// `Ingress` or `Route`.
    pub kind: &'static str,
    /// The Services that it leads to, of its own namespace.
    pub backends: Vec<EntranceBackend>,
}

/// One Service behind an entrance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntranceBackend {
    /// Its name.
    pub service: Arc<str>,
    /// An Ingress names the Service's own port, a Route the port of its pods; nothing means all.
    pub port: Option<TargetPort>,
}
