//! From nodes to the typed kinds, with the API server's defaults and checks.
//!
//! Each function reads one object or a part of one; what is wrong is reported to the [`Context`](crate::fields::Context)
//! and the caller drops an object that has an error. Absent and null mean the same, as in the API.

mod authorization_policy;
mod certificate;
mod cilium;
mod cluster_network_policy;
mod container;
mod endpoints;
mod entrance;
mod labels;
mod metadata;
mod network_policy;
mod peer_authentication;
mod pod;
mod registration;
mod service;
mod stance;
mod stored;
mod syntax;
mod workload;

pub(crate) use authorization_policy::authorization_policy;
pub(crate) use certificate::certificate;
pub(crate) use cilium::{cidr_group, cilium_network_policy};
pub(crate) use cluster_network_policy::cluster_network_policy;
pub(crate) use endpoints::{endpoint_slice, endpoints};
pub(crate) use entrance::{ingress, route};
pub(crate) use metadata::{Scope, metadata};
pub(crate) use network_policy::network_policy;
pub(crate) use peer_authentication::peer_authentication;
pub(crate) use registration::{cluster_federated_trust_domain, cluster_spiffe_id, cluster_static_entry};
pub(crate) use service::service;
pub(crate) use stance::stance;
pub(crate) use stored::stored;
pub(crate) use syntax::is_dns_label;
pub(crate) use workload::workload;

use crate::fields::Record;

/// The fields that every object has and that are read apart.
fn accept_type(record: &mut Record<'_>) {
    record.accept(&["apiVersion", "kind", "metadata", "status"]);
}
