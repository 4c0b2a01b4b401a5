//! The SPIFFE Workload API on a unix socket, with gRPC's health and reflection and Envoy's secret discovery beside it.
//!
//! Each stream carries complete states: the first at once, another one whenever it differs from the last one sent. A
//! caller that is in no pod gets `PermissionDenied`, and so does a stream whose pod is removed or whose process ends. A
//! first call waits up to five seconds for its pod to be registered.
//!
//! Source: SPIFFE Workload API, sections 4 and 5; SPIFFE Workload Endpoint, sections 3 to 7.

mod callers;
pub(crate) mod connection;
pub(crate) mod feed;
mod health;
pub(crate) mod jwt;
mod sds;
pub(crate) mod service;
pub(crate) mod states;
mod tokens;

use crate::attestation::Attestor;
use crate::unix_server::{self, KEEPALIVE, accept};
use callers::Callers;
pub use callers::caller_of;
use futures::StreamExt;
pub(crate) use jwt::LIFETIME as TOKEN_LIFETIME;
use lictor_pki::Keyring;
use lictor_wire::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryServiceServer;
use lictor_wire::workload::spiffe_workload_api_server::{SERVICE_NAME, SpiffeWorkloadApiServer};
use std::io;
use std::path::Path;
use std::sync::Arc;
pub use tokens::Tokens;
use tokio::net::UnixListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic_health::pb::health_server::HealthServer;

/// The services whose health is asked for by name.
const SERVICES: [&str; 1] = [SERVICE_NAME];

/// Streams that one connection may have open: a client needs one per method.
const STREAMS_PER_CONNECTION: u32 = 64;

/// Requests are empty or a token with its audience.
const MAX_REQUEST: usize = 64 * 1024;

/// The Workload API could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The server failed.
    #[error("the Workload API stopped: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// What reflection has to tell of is no description of services.
    #[error("the services cannot be described: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Listens at `path`: any process that sees the socket may connect, only the owner may replace it.
///
/// The folder is made if it is missing (mode 0755), a socket that is left over from an earlier run is removed, and the
/// new one gets mode 0777: who a caller is, the kernel says, not the file's mode.
///
/// # Errors
/// The folder or the socket cannot be made, or something that is no socket is in its place.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    unix_server::bind(path, 0o755, 0o777)
}

/// Serves, beside `others` for the same callers, with tokens that `tokens` signs, until `shutdown`; then open streams end with `Unavailable`, so that clients try again.
///
/// # Errors
/// The server fails for good; a connection that fails does not count.
pub async fn serve(
    listener: UnixListener,
    attestor: Attestor,
    keyring: Keyring,
    tokens: Tokens,
    others: Routes,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let attestor = Arc::new(attestor);
    let (stop, stopped) = watch::channel(());
    let callers = Arc::new(Callers::new(Arc::clone(&attestor), keyring, stopped));
    let api = service::WorkloadApi::new(Arc::clone(&callers), tokens);
    let api = SpiffeWorkloadApiServer::new(api).max_decoding_message_size(MAX_REQUEST);
    let secrets = sds::Secrets::new(Arc::clone(&callers));
    let secrets = SecretDiscoveryServiceServer::new(secrets).max_decoding_message_size(sds::MAX_REQUEST);
    let health = health::Health::new(callers, &SERVICES);
    let health = HealthServer::new(health).max_decoding_message_size(MAX_REQUEST);
    let incoming = futures::stream::unfold((listener, attestor), |(listener, attestor)| async {
        let stream = accept(&listener, "Workload API").await;
        Some((Ok::<_, io::Error>(connection::attested(stream, &attestor)), (listener, attestor)))
    });
    tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_routes(others)
        .add_service(api)
        .add_service(secrets)
        .add_service(health)
        .add_service(described().build_v1()?.max_decoding_message_size(MAX_REQUEST))
        .add_service(described().build_v1alpha()?.max_decoding_message_size(MAX_REQUEST))
        .serve_with_incoming_shutdown(incoming.boxed(), async {
            shutdown.await;
            drop(stop);
        })
        .await?;
    Ok(())
}

/// What reflection tells of: the services of this socket. As with health, the Workload API's header is not asked for,
/// as in SPIRE's agent: the services are the same for everyone.
///
/// Source: SPIFFE Workload Endpoint, section 7; gRPC Server Reflection Protocol.
fn described() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(lictor_wire::workload::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}

#[cfg(test)]
mod tests {
    use super::bind;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    #[tokio::test]
    async fn a_socket_replaces_a_left_over_one_and_nothing_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("run/lictor/workload.sock");
        let mode = |path: &std::path::Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        let inode = || fs::metadata(&path).expect("a socket").ino();
        let first = bind(&path).expect("a socket");
        assert_eq!((mode(&path), mode(path.parent().expect("a folder"))), (0o777, 0o755));
        let before = inode();
        let second = bind(&path).expect("the same socket again, as after a kill");
        assert_ne!(before, inode());
        drop((first, second));

        fs::remove_file(&path).expect("no socket");
        fs::write(&path, "precious").expect("a file");
        let refused = bind(&path).expect_err("a refusal");
        assert_eq!(refused.kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read_to_string(&path).expect("the file"), "precious");
        fs::remove_file(&path).expect("no file");
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), &path).expect("a link");
        assert!(bind(&path).is_err(), "a link is not followed");
    }
}
