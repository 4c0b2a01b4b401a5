//! Control: lets nodes into the trust domain, and issues what their pods need.
//!
//! A node proves itself by a join token once, and then by the SVID that it was given. It is issued the identities of the
//! pods that run on it, as control's own snapshot says, and no others: what a node says of itself counts for nothing else
//! than the name of the pod that it asks for.
//!
//! ```text
//!  Members <--- join token --- JoinRequest        every request: the certificate of the connection,
//!     |                                           the Members, the Snapshot, then
//!     +---- node's SVID -----> Renew, Issue, IssueToken, FollowTrust ---> Ca
//! ```
//!
//! Source: `docs/node-control.md`; the shape is that of SPIRE's server APIs for agents, SVIDs and bundles.

mod connection;
mod desk;
mod entitled;
mod listen;
mod members;
mod node_name;
mod requests;
mod service;
mod trust;

pub use desk::Desk;
pub use members::{Denied, Members, MembersError, NodeStatus, TokenStatus};
pub use node_name::{InvalidNodeName, NodeName, control_id};

use crate::ca::Ca;
use crate::issuer::{Issuer, random_fraction};
use crate::registry::{Conflict, Registration, Registry};
use futures::StreamExt;
use lictor_cluster::Snapshot;
use lictor_model::{InvalidSpiffeId, Name};
use lictor_wire::node::node_control_server::NodeControlServer;
use std::collections::BTreeSet;
use std::sync::Arc;
use time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Streams that one connection may have open: a node has one of trust, and asks for some things at once.
const STREAMS_PER_CONNECTION: u32 = 64;

/// Some hundred requests for certificates, of half a kilobyte each.
const MAX_REQUEST: usize = 1024 * 1024;

/// How often the server asks whether the other end of a quiet connection still answers, and for how long it waits.
const KEEPALIVE: (std::time::Duration, std::time::Duration) =
    (std::time::Duration::from_secs(60), std::time::Duration::from_secs(20));

/// What control needs to serve nodes.
#[derive(Debug, Clone)]
pub struct ControlOptions {
    /// Who signs.
    pub ca: Ca,
    /// The join tokens and nodes.
    pub members: Members,
    /// The cluster: which pod runs on which node, and what each is entitled to.
    pub snapshots: watch::Receiver<Arc<Snapshot>>,
    /// How long the SVID of a pod lives at most.
    pub svid_lifetime: Duration,
    /// How long the SVIDs of nodes and of control itself live.
    pub node_lifetime: Duration,
}

/// Control cannot serve, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The trust domain's name is too long for an identity of control.
    #[error(transparent)]
    Id(#[from] InvalidSpiffeId),
    /// Never in practice: control has no cgroup.
    #[error(transparent)]
    Registration(#[from] Conflict),
    /// TLS cannot be configured.
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The server failed.
    #[error("control stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves nodes, and keeps the authorities' schedule, until `shutdown`; then open streams end with `Unavailable`.
///
/// # Errors
/// TLS cannot be configured, or the server fails for good; a connection that fails does not count.
pub async fn serve(
    listener: TcpListener,
    options: ControlOptions,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ControlError> {
    let own = control_id(options.ca.keyring().bundle().trust_domain())?;
    let registry = Registry::new();
    // Without a cgroup: it is renewed like a pod's, and no process can ask for it.
    registry.add(Registration {
        pod: Name::new("", "control"),
        uid: None,
        ids: vec![own.clone().into()],
        federates_with: BTreeSet::new(),
        cgroups: Vec::new(),
    })?;
    let mut issuer = Issuer::new(options.ca.clone(), registry, options.node_lifetime, random_fraction());
    issuer.step();
    let incoming = listen::incoming(listener, &options.ca, own)?;
    let (stop, stopped) = watch::channel(());
    let service = service::Service::new(options, stopped);
    let service = NodeControlServer::new(service).max_decoding_message_size(MAX_REQUEST);
    let serving = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming.boxed(), async {
            shutdown.await;
            drop(stop);
        });
    tokio::select! {
        served = serving => Ok(served?),
        () = issuer.run(std::future::pending()) => Ok(()),
    }
}
