//! The bundle endpoint: the own trust domain's bundle over HTTPS.
//!
//! Source: SPIFFE Federation, sections 4, 5.2.1.3 and 5.2.2.3.

use super::oidc::Issuer;
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use lictor_pki::Keyring;
use lictor_pki::tls::endpoint::{EndpointCertificate, server_config};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// Where the bundle is.
const BUNDLE: &str = "/";

/// Connections at a time; each is for one request.
const CONNECTIONS: usize = 256;

/// For a connection, from its handshake to the end of its answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// After the listener fails for want of memory or descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// What an endpoint answers with.
#[derive(Debug)]
pub struct Endpoint {
    /// How it proves itself: an SVID (`https_spiffe`), or a certificate of the web (`https_web`).
    pub certificate: Arc<dyn EndpointCertificate>,
    /// Whose own bundle is served.
    pub keyring: Keyring,
    /// How often the bundle says that it should be asked for (section 4.1).
    pub refresh_hint: Duration,
    /// Who issues tokens; with it, verifiers of OpenID Connect find the keys here.
    pub issuer: Option<Issuer>,
}

/// Serves until `shutdown`.
///
/// # Errors
/// TLS cannot be configured.
pub async fn serve(
    listener: TcpListener,
    endpoint: Endpoint,
    shutdown: impl Future<Output = ()>,
) -> Result<(), rustls::Error> {
    let tls = TlsAcceptor::from(Arc::new(server_config(Arc::clone(&endpoint.certificate))?));
    let (endpoint, seats) = (Arc::new(endpoint), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut shutdown = std::pin::pin!(shutdown);
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => return Ok(()),
            // Keeps the set small; when it is empty there is nothing to wait for.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &seats) => accepted,
        };
        let Some((client, seat)) = accepted else { continue };
        let (tls, endpoint) = (tls.clone(), Arc::clone(&endpoint));
        connections.spawn(async move {
            if tokio::time::timeout(PATIENCE, answer(tls, client, endpoint)).await.is_err() {
                tracing::debug!("a client of the bundle endpoint was too slow");
            }
            drop(seat);
        });
    }
}

async fn accept(
    listener: &TcpListener,
    seats: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // It is never closed.
    let seat = Arc::clone(seats).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((client, _)) => Some((client, seat)),
        Err(error) => {
            tracing::warn!(%error, "the bundle endpoint cannot accept");
            tokio::time::sleep(BREATH).await;
            None
        }
    }
}

async fn answer(tls: TlsAcceptor, client: TcpStream, endpoint: Arc<Endpoint>) {
    let stream = match tls.accept(client).await {
        Ok(stream) => stream,
        Err(error) => {
            tracing::debug!(%error, "no handshake at the bundle endpoint");
            return;
        }
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let response = endpoint.respond(request.method(), request.uri().path());
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.keep_alive(false).timer(TokioTimer::new()).max_buf_size(16 * 1024);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a client of the bundle endpoint went away");
    }
}

impl Endpoint {
    fn respond(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let Some(text) = self.resource(path) else { return refusal(StatusCode::NOT_FOUND) };
        if method != Method::GET {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return response;
        }
        match text {
            Ok(text) => {
                let mut response = Response::new(Full::new(Bytes::from(text)));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                response
            }
            Err(error) => {
                tracing::error!(%error, "the bundle cannot be served");
                refusal(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    }

    /// What is at a path, of this moment; nothing where nothing is.
    fn resource(&self, path: &str) -> Option<Result<String, lictor_pki::NoJwk>> {
        let bundle = self.keyring.bundle();
        if path == BUNDLE {
            let hint = self.refresh_hint.as_secs();
            return Some((*bundle).clone().with_refresh_hint(Some(hint)).to_jwks());
        }
        let issuer = self.issuer.as_ref()?;
        if path == issuer.document_path() {
            Some(Ok(issuer.document(&bundle)))
        } else {
            (path == issuer.keys_path()).then(|| Ok(bundle.oidc_jwks()))
        }
    }
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}
