//! Asking a container how it is: over HTTP, TCP and gRPC.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, header};
use http_body_util::{BodyExt as _, Empty, Full, Limited};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lictor_manifest::{Container, Probe, ProbeAction};
use lictor_model::Protocol;
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

const USER_AGENT: &str = concat!("lictor-probe/", env!("CARGO_PKG_VERSION"));
/// The longest answer to a health check that is read.
const LONGEST_ANSWER: usize = 64 * 1024;
/// `HealthCheckResponse { status: SERVING }` (grpc/grpc `doc/health-checking.md`).
const SERVING: u8 = 1;

/// Asks containers from one place.
#[derive(Debug, Clone)]
pub struct Asker {
    /// The addresses to ask from, at most one a family; the kernel's choice where there is none.
    sources: Vec<IpAddr>,
    tls: Arc<rustls::ClientConfig>,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No answer came in time.
    #[error("no answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The port has a name that no port of the container has.
    #[error("no port of the container is named `{0}`")]
    UnknownPort(Arc<str>),
    /// No connection could be made.
    #[error("cannot connect to {address}: {error}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the kernel said.
        #[source]
        error: std::io::Error,
    },
    /// Path or headers make no request.
    #[error("the request cannot be made: {0}")]
    Request(#[from] http::Error),
    /// What was spoken was not HTTP.
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    /// TLS could not be agreed on.
    #[error("no TLS: {0}")]
    Tls(#[source] std::io::Error),
    /// The answer says that it is not well.
    #[error("expected a status from 200 to 399, found {0}")]
    Status(u16),
    /// The health service says that it is not well.
    #[error("expected SERVING, found {0}")]
    NotServing(String),
    /// The command ended otherwise than with 0, or did not start.
    #[error("the command {0}")]
    Command(String),
}

impl Asker {
    /// Asks from these addresses.
    ///
    /// Errors: this build's cryptography has no TLS 1.3.
    pub fn new(sources: &[IpAddr]) -> Result<Self, rustls::Error> {
        Ok(Self { sources: sources.to_vec(), tls: Arc::new(unverified::client_config()?) })
    }

    /// Runs a probe that needs nothing but the network; an exec probe passes.
    pub async fn ask(&self, probe: &Probe, container: &Container, address: IpAddr) -> Result<(), Problem> {
        let asked = async {
            match &probe.action {
                ProbeAction::Exec(_) => Ok(()),
                ProbeAction::Tcp(port) => self.connect(address, number(port, container)?).await.map(drop),
                ProbeAction::Http { path, port, headers, tls } => {
                    let port = number(port, container)?;
                    self.http(SocketAddr::new(address, port), path, headers, *tls).await
                }
                ProbeAction::Grpc(port, service) => self.grpc(SocketAddr::new(address, *port), service).await,
            }
        };
        timeout(probe.timeout, asked).await.unwrap_or(Err(Problem::TimedOut(probe.timeout)))
    }

    async fn connect(&self, address: IpAddr, port: u16) -> Result<TcpStream, Problem> {
        let address = SocketAddr::new(address, port);
        let connected = async {
            let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
            if let Some(source) = self.sources.iter().find(|source| source.is_ipv4() == address.is_ipv4()) {
                socket.bind(SocketAddr::new(*source, 0))?;
            }
            socket.connect(address).await
        };
        connected.await.map_err(|error| Problem::Connect { address, error })
    }

    async fn http(
        &self,
        address: SocketAddr,
        path: &str,
        headers: &[(String, String)],
        tls: bool,
    ) -> Result<(), Problem> {
        let request = http_request(address, path, headers)?;
        let stream = self.connect(address.ip(), address.port()).await?;
        let status = if tls {
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls));
            let name = ServerName::IpAddress(address.ip().into());
            status(connector.connect(name, stream).await.map_err(Problem::Tls)?, request).await?
        } else {
            status(stream, request).await?
        };
        if (200..400).contains(&status) { Ok(()) } else { Err(Problem::Status(status)) }
    }

    async fn grpc(&self, address: SocketAddr, service: &str) -> Result<(), Problem> {
        let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::TE, "trailers")
            .body(Full::new(health_request(service)))?;
        let stream = TokioIo::new(self.connect(address.ip(), address.port()).await?);
        let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
        let _connection = Connection(tokio::spawn(connection));
        let response = sender.send_request(request).await?;
        let headers = response.headers().clone();
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| Problem::NotServing(error.to_string()))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let status = |from: &HeaderMap| {
            from.get("grpc-status").map(|status| String::from_utf8_lossy(status.as_bytes()).into_owned())
        };
        match status(&trailers).or_else(|| status(&headers)).as_deref() {
            Some("0") => {}
            other => return Err(Problem::NotServing(format!("gRPC status {}", other.unwrap_or("none")))),
        }
        match health_status(&body.to_bytes()) {
            Some(SERVING) => Ok(()),
            other => {
                Err(Problem::NotServing(other.map_or("no status".to_owned(), |status| format!("status {status}"))))
            }
        }
    }
}

fn number(port: &Result<u16, Arc<str>>, container: &Container) -> Result<u16, Problem> {
    let name = match port {
        Ok(number) => return Ok(*number),
        Err(name) => name,
    };
    let named = container.ports.iter().find(|port| port.name == *name && port.protocol == Protocol::Tcp);
    named.map(|port| port.port).ok_or_else(|| Problem::UnknownPort(Arc::clone(name)))
}

/// The request of the kubelet's prober: the address as host unless a header names one.
fn http_request(
    address: SocketAddr,
    path: &str,
    headers: &[(String, String)],
) -> Result<Request<Empty<Bytes>>, http::Error> {
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let mut request = Request::get(path).body(Empty::new())?;
    let all = request.headers_mut();
    all.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    all.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    all.insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut given = HeaderMap::new();
    for (name, value) in headers {
        given.append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
    }
    if !given.contains_key(header::HOST) {
        given.insert(header::HOST, HeaderValue::try_from(address.to_string())?);
    }
    // In a chain of a name's values only the first item bears the name.
    for name in given.keys() {
        all.remove(name);
        given.get_all(name).iter().for_each(|value| {
            all.append(name.clone(), value.clone());
        });
    }
    Ok(request)
}

async fn status(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<u16, Problem> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = Connection(tokio::spawn(connection));
    Ok(sender.send_request(request).await?.status().as_u16())
}

/// The task that drives a connection; it ends with the interest in it.
struct Connection<T>(tokio::task::JoinHandle<T>);

impl<T> Drop for Connection<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// `HealthCheckRequest { service }` as one gRPC message.
fn health_request(service: &str) -> Bytes {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.push(length as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0], length.as_slice(), &message].concat().into()
}

/// The status of a `HealthCheckResponse`, the only field of the only message.
fn health_status(body: &[u8]) -> Option<u8> {
    match body {
        [0, 0, 0, 0, 0] => Some(0),
        [0, 0, 0, 0, 2, 0x08, status] => Some(*status),
        _ => None,
    }
}

/// TLS to whoever answers: the kubelet does not verify what it probes either.
mod unverified {
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};
    use std::sync::Arc;

    pub(super) fn client_config() -> Result<ClientConfig, Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = Arc::new(Anyone(Arc::clone(&provider)));
        let versions =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])?;
        Ok(versions.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
    }

    #[derive(Debug)]
    struct Anyone(Arc<CryptoProvider>);

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
