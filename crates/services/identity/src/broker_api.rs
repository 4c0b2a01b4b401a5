//! The SPIFFE Broker API: a broker, such as a proxy of the whole node, gets the SVIDs and bundles of workloads that it
//! refers to.
//!
//! It has an endpoint of its own, a unix socket with mutual TLS on it, and nobody may ask there but the brokers that the
//! node's list names, each for the types of reference that the list gives it. What a reference stands for is found out here
//! and judged as a direct caller of the Workload API would be. Each stream carries complete states and ends with the
//! workload, with its right, or with the broker's certificate.
//!
//! Source: SPIFFE Broker API (incubating) and SPIFFE Broker Endpoint.

mod audit;
mod brokers;
mod connection;
mod gate;
mod reference;
mod refusal;
mod right;
mod service;

pub use audit::{Answer, AnswerSink};
pub use brokers::{Brokers, InvalidBrokers, ReferenceType, ReferenceTypes};
pub use reference::{InvalidReference, KubernetesObject, Reference};

use crate::attestation::Attestor;
use crate::unix_server::{self, KEEPALIVE};
use audit::Audit;
use futures::StreamExt;
use gate::Gate;
use lictor_model::SpiffeId;
use lictor_pki::Keyring;
use lictor_pki::tls::ConfigCache;
use lictor_wire::broker::api_server::ApiServer;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::service::InterceptorLayer;

/// Streams that one connection may have open: a broker needs a few for each workload of the node.
const STREAMS_PER_CONNECTION: u32 = 4096;

/// Requests are a reference, and for a token its audiences.
const MAX_REQUEST: usize = 64 * 1024;

/// What an endpoint serves with.
pub struct Settings {
    /// Who finds the processes and pods that requests refer to.
    pub attestor: Attestor,
    /// Where SVIDs and bundles come from.
    pub keyring: Keyring,
    /// As whom the endpoint proves itself to brokers; the keyring has its SVID.
    pub endpoint: SpiffeId,
    /// Who may ask.
    pub brokers: Brokers,
    /// Where it is told what brokers asked for and were answered.
    pub sink: AnswerSink,
}

/// The Broker API could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server failed.
    #[error("the Broker API stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// What reflection has to tell of is no description of services.
    #[error("the services cannot be described: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Listens at `path`, for processes of the node's own user and group: workloads are not to see it (SPIFFE Broker Endpoint,
/// section 2).
///
/// The folder is made if it is missing (mode 0750), a socket that is left over from an earlier run is removed, and the new
/// one gets mode 0660.
///
/// # Errors
/// The folder or the socket cannot be made, or something that is no socket is in its place.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    unix_server::bind(path, 0o750, 0o660)
}

/// Serves until `shutdown`; then open streams end with `Unavailable`, so that brokers try again.
///
/// # Errors
/// The server fails for good; a connection that fails does not count.
pub async fn serve(
    listener: UnixListener,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let Settings { attestor, keyring, endpoint, brokers, sink } = settings;
    let audit = Audit::new(sink);
    let (stop, stopped) = watch::channel(());
    let gate = Gate::new(keyring.clone(), brokers, audit.clone());
    let incoming = connection::incoming(listener, ConfigCache::new(keyring.clone()), endpoint, audit.clone());
    let api = service::BrokerApi::new(Arc::new(attestor), keyring, stopped, audit);
    let described = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(lictor_wire::broker::DESCRIPTORS)
    };
    tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        // Around everything: reflection tells nothing either to whoever is no broker (sections 3 and 5).
        .layer(InterceptorLayer::new(gate))
        .add_service(ApiServer::new(api).max_decoding_message_size(MAX_REQUEST))
        .add_service(described().build_v1()?.max_decoding_message_size(MAX_REQUEST))
        .add_service(described().build_v1alpha()?.max_decoding_message_size(MAX_REQUEST))
        .serve_with_incoming_shutdown(incoming.boxed(), async {
            shutdown.await;
            drop(stop);
        })
        .await?;
    Ok(())
}
