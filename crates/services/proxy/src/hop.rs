//! The HTTP hop: each request on a connection is asked about, and goes to the application as it came.
//!
//! HTTP/1 stays HTTP/1 and HTTP/2 stays HTTP/2; bodies stream, trailers and upgrades pass. What is changed: a target in
//! absolute form becomes origin form, and the path is the one that was judged (see [`crate::path`]).

use crate::body::{Download, Reply, Upload};
use crate::deliver::Delivery;
use crate::denial;
use crate::head::withdraw_upgrade_to_http;
use crate::live::{Open, Question};
use crate::pod::Pod;
use crate::policy::{Inbound, Ruling, View};
use crate::relay::{Stream, carry};
use crate::request::{Facts, InvalidRequest};
use crate::sniff::Sniffed;
use crate::tunnel::Rewound;
use crate::upstream::{Unanswered, Upstream};
use http::header::{CONTENT_TYPE, UPGRADE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use lictor_model::Layer;
use std::convert::Infallible;
use std::net::IpAddr;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// One client connection that carries HTTP.
#[derive(Debug)]
pub(crate) struct Hop {
    delivery: Delivery,
    upstream: Upstream,
}

/// Spawns what hyper needs on the pod.
#[derive(Debug, Clone)]
pub(crate) struct OnPod(pub(crate) Rc<Pod>);

impl<F: Future + 'static> hyper::rt::Executor<F> for OnPod {
    fn execute(&self, task: F) {
        self.0.spawn(async move {
            task.await;
        });
    }
}

/// Serves the requests of a connection until the client is done. Whatever is not HTTP/2 is spoken to in HTTP/1.
pub(crate) async fn serve_http<S: Stream>(client: S, sniffed: Sniffed, hop: Rc<Hop>) {
    let settings = hop.delivery.worker.settings;
    let (pod, io) = (Rc::clone(&hop.delivery.pod), TokioIo::new(client));
    let service = service_fn(move |request| {
        let hop = Rc::clone(&hop);
        async move { Ok::<_, Infallible>(hop.answer::<S>(request).await) }
    });
    let served = if sniffed == Sniffed::Http2 {
        http2::Builder::new(OnPod(pod))
            .adaptive_window(true)
            .max_header_list_size(u32::try_from(settings.head_bytes).unwrap_or(u32::MAX))
            .max_concurrent_streams(settings.accepted_streams_per_tunnel)
            .auto_date_header(false)
            .timer(TokioTimer::new())
            .serve_connection(io, service)
            .await
    } else {
        http1::Builder::new()
            .preserve_header_case(true)
            .auto_date_header(false)
            .half_close(true)
            .max_headers(settings.head_fields)
            .max_buf_size(settings.head_bytes.max(8 << 10))
            .timer(TokioTimer::new())
            .header_read_timeout(settings.head_time)
            .serve_connection(io, service)
            .with_upgrades()
            .await
    };
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP connection ended");
    }
}

impl Hop {
    /// `server` is a connection to the application that is open already.
    pub(crate) fn new(delivery: Delivery, server: Option<TcpStream>) -> Self {
        Self { delivery, upstream: Upstream::new(server) }
    }

    async fn answer<S: Stream>(self: Rc<Self>, request: Request<Incoming>) -> Response<Reply> {
        let worker = &self.delivery.worker;
        worker.metrics().requests.increment();
        let (mut parts, body) = request.into_parts();
        let offer = Offer { upgrade: parts.extensions.remove(), pod: Rc::clone(&self.delivery.pod) };
        let facts = match Facts::read(&parts) {
            Ok(facts) => Rc::new(facts),
            Err(error) => return self.malformed(&parts, &error),
        };
        let view = worker.view();
        let ruling = facts.ask(&view, &self.delivery.inbound);
        let denied = (!ruling.verdict.is_allow()).then(|| self.denial(&view, &ruling, &facts));
        let request = (facts.method.as_str(), facts.path(), facts.host.as_str());
        let decision = worker.record(&view, ruling, self.delivery.subject(&view, Some(request)));
        if let Some(denied) = denied {
            return text(StatusCode::FORBIDDEN, denied);
        }
        let inbound = Rc::clone(&self.delivery.inbound);
        let open = worker.open(&view, Question::Request(inbound, Rc::clone(&facts)), Some(decision));
        self.forward::<S>(parts, body, &facts, offer, open).await
    }

    /// Refuses a request whose meaning is not certain.
    fn malformed(&self, parts: &Parts, error: &InvalidRequest) -> Response<Reply> {
        let worker = &self.delivery.worker;
        worker.metrics().malformed_requests.increment();
        let (view, ruling) = (worker.view(), Ruling::refusal(Layer::Authorization, error.to_string()));
        let host = parts.uri.host().unwrap_or_default();
        let request = (parts.method.as_str(), parts.uri.path(), host);
        worker.record(&view, ruling, self.delivery.subject(&view, Some(request)));
        text(StatusCode::BAD_REQUEST, format!("{error}\n"))
    }

    async fn forward<S: Stream>(
        self: Rc<Self>,
        mut parts: Parts,
        body: Incoming,
        facts: &Facts,
        mut offer: Offer,
        open: Open,
    ) -> Response<Reply> {
        withdraw_upgrade_to_http(&mut parts.headers);
        let connect = parts.method == Method::CONNECT;
        let upgrades = connect || parts.headers.contains_key(UPGRADE);
        match target(&parts, facts) {
            Some(uri) => parts.uri = uri,
            None => return text(StatusCode::BAD_REQUEST, "expected a request target\n".to_owned()),
        }
        let request = Request::from_parts(parts, Upload::new(body, Rc::clone(&open.counts)));
        let answered = tokio::select! {
            biased;
            () = open.ending.told() => {
                let view = self.delivery.worker.view();
                let ruling = facts.ask(&view, &self.delivery.inbound);
                return text(StatusCode::FORBIDDEN, self.denial(&view, &ruling, facts));
            }
            answered = self.upstream.send(&self.delivery, request) => answered,
        };
        let mut response = match answered {
            Ok(response) => response,
            Err(error) => return unanswered(&error),
        };
        let switched =
            response.status() == StatusCode::SWITCHING_PROTOCOLS || (connect && response.status().is_success());
        if switched
            && upgrades
            && let Some(client) = offer.upgrade.take()
        {
            let server = hyper::upgrade::on(&mut response);
            self.delivery.pod.spawn(carry_upgraded::<S>(client, server, open));
            return response.map(|_| Reply::empty());
        }
        response.map(|body| Reply::through(Download::new(body, open)))
    }

    fn denial(&self, view: &View, ruling: &Ruling, facts: &Facts) -> String {
        let Inbound { source, destination, .. } = &*self.delivery.inbound;
        let name = |address: IpAddr| {
            let pod = view.snapshot.pod_at(address);
            pod.map_or_else(|| address.to_string(), |pod| pod.name.to_string())
        };
        let to = format!("{}:{}", name(destination.ip()), destination.port());
        denial::text(ruling, &name(*source), &to, &facts.method, facts.path())
    }
}

/// A client's connection after an upgrade that it asks for, whether or not it gets it.
///
/// hyper hands the connection over at its end even when there was none, and whoever does not take it leaves it to be dropped
/// in the middle: a tunnel's client would see that as a reset.
#[derive(Debug)]
struct Offer {
    upgrade: Option<OnUpgrade>,
    pod: Rc<Pod>,
}

impl Drop for Offer {
    fn drop(&mut self) {
        if let Some(upgrade) = self.upgrade.take() {
            self.pod.spawn(async move {
                if let Ok(client) = upgrade.await {
                    // The client may be gone already.
                    let _ = TokioIo::new(client).shutdown().await;
                }
            });
        }
    }
}

/// The target as it goes to the application: HTTP/1 in origin form, HTTP/2 with scheme and authority.
fn target(parts: &Parts, facts: &Facts) -> Option<Uri> {
    if parts.method == Method::CONNECT {
        return Some(parts.uri.clone());
    }
    let path: PathAndQuery = facts.path_and_query().parse().ok()?;
    if parts.version < Version::HTTP_2 {
        return Some(Uri::from(path));
    }
    let authority: Authority = facts.host.parse().ok()?;
    let scheme = parts.uri.scheme().cloned().unwrap_or(Scheme::HTTP);
    Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build().ok()
}

/// Carries the connection that an upgrade (WebSocket) or a CONNECT has made, until a policy ends it.
async fn carry_upgraded<S: Stream>(client: OnUpgrade, server: OnUpgrade, open: Open) {
    let Ok((client, server)) = futures::future::try_join(client, server).await else { return };
    let (Ok(client), Ok(server)) = (client.downcast::<TokioIo<S>>(), server.downcast::<TokioIo<TcpStream>>()) else {
        tracing::error!("an upgraded connection is not the one it was");
        return;
    };
    let client = Rewound::new(client.read_buf, client.io.into_inner());
    let server = Rewound::new(server.read_buf, server.io.into_inner());
    carry(&open, client.into_ends(), server.into_ends()).await;
}

fn unanswered(error: &Unanswered) -> Response<Reply> {
    match error {
        Unanswered::Unreachable(error) => {
            text(StatusCode::SERVICE_UNAVAILABLE, format!("the application does not answer: {error}\n"))
        }
        Unanswered::Broken(error) => text(StatusCode::BAD_GATEWAY, format!("the application broke off: {error}\n")),
    }
}

fn text(status: StatusCode, text: String) -> Response<Reply> {
    let mut response = Response::new(Reply::text(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
