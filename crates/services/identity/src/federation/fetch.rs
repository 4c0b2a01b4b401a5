//! One GET of a bundle, through redirects.

use super::url::{EndpointUrl, InvalidEndpointUrl};
use bytes::Bytes;
use http::header::{ACCEPT, HOST, LOCATION, USER_AGENT};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use lictor_model::TrustDomain;
use lictor_pki::InvalidBundle;
use rustls::ClientConfig;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Redirects that are followed; browsers take 20, most clients 10.
const REDIRECTS: usize = 10;

/// The largest answer: a bundle of a hundred authorities has about 200 KiB.
const LARGEST: usize = 1 << 20;

/// For all of it, redirects included.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no newer bundle; the last one stays.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The endpoint proves itself by a trust domain that nothing is believed about.
    #[error("expected a bundle of {trust_domain} to verify the endpoint with, there is none")]
    NoBundle {
        /// The endpoint's trust domain.
        trust_domain: TrustDomain,
    },
    /// The roots of the web's PKI cannot be read.
    #[error("cannot read the web's authorities: {0}")]
    Roots(io::Error),
    /// The TLS library does not take the configuration.
    #[error("cannot speak TLS: {0}")]
    Configuration(rustls::Error),
    /// No connection.
    #[error("cannot reach {host}: {error}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// The endpoint has not proven itself, or does not speak TLS.
    #[error("no handshake with {host}: {error}")]
    Handshake {
        /// Host and port.
        host: String,
        /// What TLS says.
        error: io::Error,
    },
    /// It does not speak HTTP.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// Any other answer than a bundle or a redirect.
    #[error("expected the status 200, saw {0}")]
    Status(StatusCode),
    /// A redirect to where no bundle endpoint can be.
    #[error("redirected to what is no bundle endpoint: {0}")]
    Redirect(#[from] InvalidEndpointUrl),
    /// A redirect without a target.
    #[error("expected a redirect to say where to")]
    NoLocation,
    /// One redirect after another.
    #[error("expected at most {REDIRECTS} redirects, saw more")]
    Redirects,
    /// An answer without an end, or cut short.
    #[error("expected a whole answer of at most {LARGEST} bytes: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    /// It takes too long.
    #[error("expected an answer within {} s", PATIENCE.as_secs())]
    Slow,
    /// The answer is no bundle.
    #[error("the answer is no bundle: {0}")]
    Bundle(#[from] InvalidBundle),
    /// An older bundle than the one that is known (section 4.2).
    #[error("expected a bundle with the sequence number {known} or a larger one, saw {seen}")]
    Older {
        /// What is known.
        known: u64,
        /// What came.
        seen: u64,
    },
}

/// What is at `url`. Every server on the way proves itself as `tls` says: that the first one did vouches for no other
/// (section 7.5.1). No redirect is remembered.
pub(super) async fn fetch(url: &EndpointUrl, tls: &Arc<ClientConfig>) -> Result<Bytes, FetchError> {
    tokio::time::timeout(PATIENCE, follow(url, tls)).await.map_err(|_| FetchError::Slow)?
}

async fn follow(first: &EndpointUrl, tls: &Arc<ClientConfig>) -> Result<Bytes, FetchError> {
    let mut url = first.clone();
    for _ in 0..=REDIRECTS {
        let response = get(&url, tls).await?;
        let status = response.status();
        if status == StatusCode::OK {
            let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(FetchError::Body)?;
            return Ok(body.to_bytes());
        }
        if !is_redirect(status) {
            return Err(FetchError::Status(status));
        }
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let next = url.redirected(location.ok_or(FetchError::NoLocation)?)?;
        tracing::info!(from = %url, to = %next, "a bundle endpoint redirects");
        url = next;
    }
    Err(FetchError::Redirects)
}

/// RFC 9110, section 15.4: those that name the place of what was asked for; permanent ones are as temporary as the others.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

async fn get(url: &EndpointUrl, tls: &Arc<ClientConfig>) -> Result<Response<Incoming>, FetchError> {
    let (host, port) = url.host_and_port();
    let tcp = TcpStream::connect((host.as_str(), port)).await;
    let tcp = tcp.map_err(|error| FetchError::Unreachable { host: format!("{host}:{port}"), error })?;
    let stream = TlsConnector::from(Arc::clone(tls)).connect(url.server_name(), tcp).await;
    let stream = stream.map_err(|error| FetchError::Handshake { host: format!("{host}:{port}"), error })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // What breaks it breaks the answer too, which tells it; it ends with its sender and the answer's body.
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to a bundle endpoint ended");
        }
    });
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = url.path_and_query().parse().unwrap_or_default();
    let headers = request.headers_mut();
    if let Ok(authority) = url.authority().parse() {
        headers.insert(HOST, authority);
    }
    headers.insert(ACCEPT, http::HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, http::HeaderValue::from_static("lictor"));
    Ok(sender.send_request(request).await?)
}
