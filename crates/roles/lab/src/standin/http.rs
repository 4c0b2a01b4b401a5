//! HTTP/1.1 and HTTP/2 on one port: every request is answered with what was seen of it.

use super::websocket;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

/// What a stand-in saw of a request: the JSON of its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The pod that answers, as `namespace/name`.
    pub pod: String,
    /// The address and port that its socket saw.
    pub peer: SocketAddr,
    /// The method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// The `host` header or `:authority`.
    pub host: Option<String>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// The headers, names in lower case; values of a repeated one joined by `, `.
    pub headers: BTreeMap<String, String>,
    /// The number of bytes in the body.
    pub received: u64,
}

/// The longest text that [`starts_like_request`] looks at.
pub(super) const LONGEST_METHOD: usize = 8;
const METHODS: [&str; 10] =
    ["GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "CONNECT ", "OPTIONS ", "TRACE ", "PATCH ", "PRI * "];

const MAX_DELAY: Duration = Duration::from_secs(60);
const MAX_BYTES: u64 = 1 << 30;
const FILLER: &[u8] = &[b'x'; 8 * 1024];
const READ_BUFFER: usize = 16 * 1024;
const HEADER_TIME: Duration = Duration::from_secs(30);
/// One gRPC message, uncompressed, two bytes: `HealthCheckResponse { status: SERVING }`.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x01];

type Body = BoxBody<Bytes, hyper::Error>;

/// Whether bytes start an HTTP/1 request line or the HTTP/2 preface; nothing while too few have come to say.
pub(super) fn starts_like_request(bytes: &[u8]) -> Option<bool> {
    let mut undecided = false;
    for method in METHODS.map(str::as_bytes) {
        if bytes.starts_with(method) {
            return Some(true);
        }
        undecided |= method.starts_with(bytes) && !bytes.is_empty();
    }
    if undecided { None } else { Some(false) }
}

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, peer: SocketAddr, pod: Arc<str>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIME).max_buf_size(READ_BUFFER).half_close(true);
    server.http2().timer(TokioTimer::new()).enable_connect_protocol();
    let service = service_fn(move |request| {
        let pod = pod.clone();
        async move { Ok::<_, Infallible>(answer(request, peer, &pod).await) }
    });
    // A broken connection is the client's business.
    let _ = server.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, peer: SocketAddr, pod: &str) -> Response<Body> {
    let wanted = match Wanted::read(request.uri().query().unwrap_or_default()) {
        Ok(wanted) => wanted,
        Err(problem) => return plain(StatusCode::BAD_REQUEST, problem),
    };
    if let Some(delay) = wanted.delay {
        tokio::time::sleep(delay).await;
    }
    if is_websocket(&request) {
        return upgrade(request);
    }
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    if content_type.as_ref().is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return grpc(request);
    }
    let mut response = if wanted.echo {
        let mut response = Response::new(request.into_body().boxed());
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        response
    } else if let Some(bytes) = wanted.bytes {
        let mut response = Response::new(filler(bytes));
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
        response
    } else {
        described(request, peer, pod).await
    };
    *response.status_mut() = wanted.status;
    response
}

/// What the query asks for.
struct Wanted {
    status: StatusCode,
    bytes: Option<u64>,
    delay: Option<Duration>,
    echo: bool,
}

impl Wanted {
    fn read(query: &str) -> Result<Self, String> {
        let mut wanted = Self { status: StatusCode::OK, bytes: None, delay: None, echo: false };
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "status" => {
                    let status = value.parse().ok().and_then(|code: u16| StatusCode::from_u16(code).ok());
                    // An informational status is no answer.
                    let status = status.filter(|status| !status.is_informational());
                    wanted.status =
                        status.ok_or_else(|| format!("expected a status from 200 to 999, found `{value}`"))?;
                }
                "bytes" => {
                    let bytes = value.parse().ok().filter(|bytes| *bytes <= MAX_BYTES);
                    wanted.bytes =
                        Some(bytes.ok_or_else(|| format!("expected at most {MAX_BYTES} bytes, found `{value}`"))?);
                }
                "delay" => {
                    let delay = value.parse().ok().map(Duration::from_millis).filter(|delay| *delay <= MAX_DELAY);
                    let most = MAX_DELAY.as_millis();
                    wanted.delay = Some(delay.ok_or_else(|| format!("expected at most {most} ms, found `{value}`"))?);
                }
                "echo" => wanted.echo = true,
                _ => {}
            }
        }
        Ok(wanted)
    }
}

async fn described(request: Request<Incoming>, peer: SocketAddr, pod: &str) -> Response<Body> {
    let (head, mut body) = request.into_parts();
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    let host = head.headers.get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()).into_owned());
    let seen = Seen {
        pod: pod.to_owned(),
        peer,
        method: head.method.to_string(),
        path: head.uri.path_and_query().map_or_else(|| head.uri.path().to_owned(), ToString::to_string),
        host: head.uri.authority().map(ToString::to_string).or(host),
        protocol: format!("{:?}", head.version),
        headers: joined(&head.headers),
        received,
    };
    match serde_json::to_vec(&seen) {
        Ok(mut json) => {
            json.push(b'\n');
            let mut response = Response::new(whole(json));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn joined(headers: &HeaderMap) -> BTreeMap<String, String> {
    let mut all = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        all.entry(name.as_str().to_owned())
            .and_modify(|have| {
                have.push_str(", ");
                have.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    all
}

/// RFC 6455 section 4.2.1: what a client's handshake has.
fn is_websocket(request: &Request<Incoming>) -> bool {
    let has = |name, wanted: &str| {
        let value = request.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        String::from_utf8_lossy(value).split(',').any(|token| token.trim().eq_ignore_ascii_case(wanted))
    };
    request.method() == Method::GET && has(header::UPGRADE, "websocket") && has(header::CONNECTION, "upgrade")
}

fn upgrade(request: Request<Incoming>) -> Response<Body> {
    let version = request.headers().get(header::SEC_WEBSOCKET_VERSION);
    if version.is_none_or(|version| version != "13") {
        let mut response = plain(StatusCode::UPGRADE_REQUIRED, "expected sec-websocket-version 13".to_owned());
        response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return response;
    }
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, "expected a sec-websocket-key".to_owned());
    };
    let Ok(accept) = HeaderValue::from_str(&websocket::accept_key(key.as_bytes())) else {
        return plain(StatusCode::BAD_REQUEST, "expected a sec-websocket-key of ASCII".to_owned());
    };
    tokio::spawn(async move {
        if let Ok(stream) = hyper::upgrade::on(request).await {
            let _ = websocket::echo(TokioIo::new(stream)).await;
        }
    });
    let mut response = Response::new(nothing());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

/// Sends a call's messages back and ends it well; a health check (grpc/grpc `doc/health-checking.md`) is told SERVING.
fn grpc(request: Request<Incoming>) -> Response<Body> {
    let health = request.uri().path() == "/grpc.health.v1.Health/Check";
    let content_type = request.headers().get(header::CONTENT_TYPE).cloned();
    let trailers = async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Some(Ok(trailers))
    };
    let body = if health {
        Full::new(Bytes::from_static(SERVING)).map_err(|never| match never {}).with_trailers(trailers).boxed()
    } else {
        request.into_body().with_trailers(trailers).boxed()
    };
    let mut response = Response::new(body);
    if let Some(content_type) = content_type {
        response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    }
    response
}

fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut response = Response::new(whole(text + "\n"));
    *response.status_mut() = status;
    response
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

fn nothing() -> Body {
    Empty::new().map_err(|never| match never {}).boxed()
}

/// A body of this many bytes, made as it is read.
fn filler(bytes: u64) -> Body {
    let chunks = futures::stream::unfold(bytes, |left| async move {
        let take = FILLER.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let chunk = FILLER.get(..take).filter(|chunk| !chunk.is_empty())?;
        Some((Ok(Frame::data(Bytes::from_static(chunk))), left - take as u64))
    });
    StreamBody::new(chunks).boxed()
}

#[cfg(test)]
mod tests {
    use super::starts_like_request;

    #[test]
    fn a_request_is_known_by_its_first_bytes() {
        for text in ["GET / HTTP/1.1", "PRI * HTTP/2.0", "DELETE /x", "OPTIONS * "] {
            assert_eq!(starts_like_request(text.as_bytes()), Some(true), "{text}");
        }
        for text in ["G", "PR", "POST", "CONNECT"] {
            assert_eq!(starts_like_request(text.as_bytes()), None, "{text}");
        }
        for text in ["", "get / HTTP/1.1", "GETS ", "WHOAMI\n", "\x16\x03\x01"] {
            assert_eq!(starts_like_request(text.as_bytes()), Some(false), "{text}");
        }
    }
}
