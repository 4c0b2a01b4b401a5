//! Connections to control.

use super::Membership;
use hyper_util::rt::TokioIo;
use lictor_pki::Svid;
use lictor_pki::tls::no_name;
use lictor_pki::tls::node::{Trusted, client_config};
use lictor_wire::node::node_control_client::NodeControlClient;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

/// How long a connection may take to come about, its handshake included.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a quiet connection is asked whether the other end is there, and for how long: a machine that has gone says nothing.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Some hundred chains, or a bundle.
const MAX_ANSWER: usize = 8 * 1024 * 1024;

pub(super) type Api = NodeControlClient<Channel>;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("cannot speak TLS: {0}")]
    Tls(#[from] rustls::Error),
    #[error("no connection to control at {address}: {error}")]
    Connection { address: String, error: String },
}

impl Membership {
    /// A connection, as the node if it shows an SVID. It is used until it breaks, and never opened again by itself: what it
    /// would show then might be out of date.
    pub(super) async fn connect(&self, svid: Option<&Svid>) -> Result<Api, ConnectError> {
        let keyring = self.keyring();
        let trusted = match &self.0.pin {
            Some(pin) if keyring.bundle().authorities().is_empty() => Trusted::Pin(pin),
            _ => Trusted::Keyring(keyring),
        };
        let config = client_config(&trusted, &self.0.control, svid, Arc::clone(&self.0.clock))?;
        let tls = TlsConnector::from(Arc::new(config));
        let address = self.0.address.clone();
        let connector = tower::service_fn(move |_| {
            let (tls, address) = (tls.clone(), address.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                Ok::<_, io::Error>(TokioIo::new(tls.connect(no_name(), stream).await?))
            }
        });
        // The address is never looked at: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://control")
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEPALIVE.0)
            .keep_alive_timeout(KEEPALIVE.1)
            .keep_alive_while_idle(true);
        let channel = endpoint
            .connect_with_connector(connector)
            .await
            .map_err(|error| ConnectError::Connection { address: self.0.address.clone(), error: deepest(&error) })?;
        Ok(NodeControlClient::new(channel).max_decoding_message_size(MAX_ANSWER))
    }
}

/// The cause below all others: what is above it says no more than that there is one.
pub(super) fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    cause.to_string()
}
