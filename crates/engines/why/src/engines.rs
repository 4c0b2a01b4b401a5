//! The engines over one snapshot, compiled once and asked often.

use crate::lookup::http_ports;
use lictor_authz::Capabilities;
use lictor_cluster::Snapshot;
use lictor_manifest::Finding;
use lictor_model::PortRange;

/// A snapshot with the programs that enforcement points run.
pub(crate) struct Engines<'a> {
    pub snapshot: &'a Snapshot,
    pub network: lictor_network::Program,
    pub authorization: lictor_authz::Program,
    /// The ports on which segmentation speaks of HTTP requests.
    pub http_ports: Vec<PortRange>,
}

/// What the engines find in the policies of a snapshot: those that are refused, select nothing, or have parts without
/// effect. An error here refuses one policy, which then fails closed; it makes no answer wrong.
pub fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    let (_, about_authorization) = lictor_authz::Program::compile(snapshot, Capabilities::default());
    lictor_network::findings(snapshot).into_iter().chain(about_authorization).collect()
}

impl<'a> Engines<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let network = lictor_network::compile(snapshot);
        Self {
            snapshot,
            http_ports: http_ports(&network),
            network,
            authorization: lictor_authz::Program::compile(snapshot, Capabilities::default()).0,
        }
    }
}
