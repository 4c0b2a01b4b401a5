//! The lab's own API: HTTP/1.1 on a unix socket that only root can open.
//!
//! The lab renders every answer itself, in the form that the caller asks for, so that `status`, `why`, `edges`,
//! `probe` and `flows` say the same on files and on the lab. The exit code of the command travels in a header.

mod bundles;
mod certificates;
mod entries;
mod federation;
mod identity;
mod query;
mod routes;

pub use bundles::{own_bundle, read_bundle};
pub use identity::of_authorities;
pub use query::Query;
pub use routes::{form, rendered};

use crate::lab::Lab;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixListener;

/// The header that carries the exit code of the command that asked.
pub const EXIT_CODE: &str = "lictor-exit-code";

/// What a route answers.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The rendered text.
    pub text: String,
    /// The exit code of the command that asked.
    pub exit_code: u8,
}

impl Answer {
    /// A text and the command's exit code.
    pub fn new(text: impl Into<String>, exit_code: u8) -> Self {
        Self { status: StatusCode::OK, text: text.into(), exit_code }
    }

    /// A request that cannot be answered; the command ends with 2.
    pub fn refused(text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, text: text.into(), exit_code: 2 }
    }
}

type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Opens the socket, tightly.
///
/// Errors: it cannot be made.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves until the listener fails.
pub(crate) async fn serve(listener: UnixListener, lab: Arc<Lab>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let lab = Arc::clone(&lab);
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(request, Arc::clone(&lab)));
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a caller of the API went away");
            }
        });
    }
}

/// Serves answers that do not stream until the listener fails, as a lab does.
///
/// Errors: the listener fails.
pub async fn serve_answers(
    listener: UnixListener,
    answer: impl Fn(&Method, &str, &Query) -> Answer + Send + Sync + 'static,
) -> io::Result<()> {
    let answer = Arc::new(answer);
    loop {
        let (stream, _) = listener.accept().await?;
        let answer = Arc::clone(&answer);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let query = Query::parse(request.uri().query().unwrap_or_default());
                let answered = answer(request.method(), request.uri().path(), &query);
                std::future::ready(Ok::<_, Infallible>(response(answered)))
            });
            let serving = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            if let Err(error) = serving.await {
                tracing::debug!(%error, "a caller of the API went away");
            }
        });
    }
}

async fn respond(request: Request<Incoming>, lab: Arc<Lab>) -> Result<Response<Body>, Infallible> {
    let query = Query::parse(request.uri().query().unwrap_or_default());
    if request.uri().path() == "/v1/flows" && query.flag("follow") {
        let lines = routes::follow(&lab, &query);
        let body = StreamBody::new(futures::StreamExt::map(lines, |line| Ok(Frame::data(Bytes::from(line)))));
        return Ok(Response::new(body.boxed_unsync()));
    }
    let answer = routes::answer(request.method(), request.uri().path(), &query, &lab).await;
    Ok(response(answer))
}

fn response(answer: Answer) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(answer.text)).boxed_unsync());
    *response.status_mut() = answer.status;
    response.headers_mut().insert(EXIT_CODE, http::HeaderValue::from(u16::from(answer.exit_code)));
    response
}
