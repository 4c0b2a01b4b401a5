//! Tunnels into a pod: each `CONNECT` is a connection to one of its ports.

use crate::authority::connect_target;
use crate::deliver::{Arrival, Refusal, deliver};
use crate::hbone::{Accepted, Answer};
use crate::pod::Pod;
use crate::policy::{Inbound, Transport};
use crate::settings::ports;
use crate::tunnel::TunnelStream;
use crate::worker::Worker;
use futures::FutureExt;
use h2::RecvStream;
use http::{Method, Request, StatusCode};
use lictor_model::{Direction, SpiffeId};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;

/// Serves the streams of a tunnel until its client is done.
pub(crate) async fn serve(worker: Rc<Worker>, pod: Rc<Pod>, mut tunnel: Accepted, peer: SocketAddr) {
    let mut old_age = pin!(tokio::time::sleep(worker.settings.tunnel_age).fuse());
    loop {
        let next = tokio::select! {
            next = tunnel.next() => next,
            () = &mut old_age => {
                tunnel.say_goodbye();
                continue;
            }
        };
        let (request, answer) = match next {
            None => return,
            Some(Ok(accepted)) => accepted,
            Some(Err(error)) => {
                tracing::debug!(pod = %pod.name, %peer, %error, "a tunnel broke");
                return;
            }
        };
        worker.metrics().tunnel_streams_accepted.increment();
        let Some(seat) = pod.seat(worker.settings.connections_per_pod) else {
            worker.metrics().over_connection_limit.increment();
            answer.refuse(StatusCode::SERVICE_UNAVAILABLE);
            continue;
        };
        let (worker, served, proven) = (Rc::clone(&worker), Rc::clone(&pod), tunnel.peer.clone());
        pod.spawn(async move {
            stream(worker, served, request, answer, peer, proven).await;
            drop(seat);
        });
    }
}

async fn stream(
    worker: Rc<Worker>,
    pod: Rc<Pod>,
    request: Request<RecvStream>,
    answer: Answer,
    peer: SocketAddr,
    proven: SpiffeId,
) {
    let Some(destination) = target(&request, &pod) else {
        worker.metrics().malformed_requests.increment();
        answer.refuse(StatusCode::BAD_REQUEST);
        return;
    };
    let inbound = Inbound {
        way: Direction::Ingress,
        pod: pod.name.clone(),
        source: peer.ip(),
        destination,
        transport: Transport::Tunnel(proven),
        sni: None,
    };
    let arrival = TunnelArrival { answer, body: request.into_body() };
    deliver(worker, pod, arrival, inbound, peer).await;
}

/// What a tunnel's request is for: a port of this pod that is not the proxy's own, else it would go in circles.
fn target(request: &Request<RecvStream>, pod: &Pod) -> Option<SocketAddr> {
    if request.method() != Method::CONNECT {
        return None;
    }
    let target = connect_target(request.uri()).ok()?;
    (pod.has(target.ip()) && !ports::are_own(target.port())).then_some(target)
}

/// A stream that is not answered yet.
struct TunnelArrival {
    answer: Answer,
    body: RecvStream,
}

impl Arrival for TunnelArrival {
    type Stream = TunnelStream;

    fn accept(self) -> io::Result<TunnelStream> {
        self.answer.accept(self.body)
    }

    /// ztunnel's statuses.
    fn refuse(self, why: Refusal) {
        self.answer.refuse(match why {
            Refusal::Denied => StatusCode::UNAUTHORIZED,
            Refusal::Unreachable => StatusCode::SERVICE_UNAVAILABLE,
        });
    }
}
