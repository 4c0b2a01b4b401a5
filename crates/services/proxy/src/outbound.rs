//! Connections out of a pod: by tunnel to a pod of the mesh, as they are to anything else.

use crate::deliver::deliver;
use crate::hbone::TunnelError;
use crate::live::Question;
use crate::metrics::Metrics;
use crate::pod::Pod;
use crate::policy::{Inbound, Ruling, Transport, View};
use crate::pool::Remote;
use crate::record::{self, Subject};
use crate::relay::{Stream, carry};
use crate::settings::ports;
use crate::socket::{self, Reach};
use crate::worker::Worker;
use http::StatusCode;
use lictor_model::{Direction, Layer};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use tokio::net::TcpStream;

/// Serves one connection that a pod opened to `destination`.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    pod: Rc<Pod>,
    client: TcpStream,
    peer: SocketAddr,
    destination: SocketAddr,
) {
    let view = worker.view();
    let outbound = Outbound { worker, pod, view, peer, destination };
    let ruling = outbound.view.outbound(&outbound.pod.name, destination);
    if !ruling.verdict.is_allow() {
        outbound.record(ruling);
        socket::reset_on_close(&client);
        return;
    }
    match outbound.proxy_of_destination() {
        Some(proxy) => outbound.by_tunnel(client, ruling, &proxy).await,
        None if outbound.is_limited() => outbound.by_what_is_said(client).await,
        None => outbound.directly(client).await,
    }
}

struct Outbound {
    worker: Rc<Worker>,
    pod: Rc<Pod>,
    view: Arc<View>,
    peer: SocketAddr,
    destination: SocketAddr,
}

impl Outbound {
    /// Where tunnels to the destination go, and who has to answer there: only if it is another pod of the mesh.
    fn proxy_of_destination(&self) -> Option<Remote> {
        let known = self.view.snapshot.pod_at(self.destination.ip())?;
        if !known.enrolled || self.pod.has(self.destination.ip()) {
            return None;
        }
        let own = self.view.snapshot.pods.get(&self.pod.name);
        let near = own.is_some_and(|own| own.node == known.node);
        Some(Remote {
            address: SocketAddr::new(self.destination.ip(), ports::TUNNEL),
            identity: known.identity.clone(),
            reach: if near { Reach::ThisNode } else { Reach::Anywhere },
        })
    }

    /// The destination's proxy records the decision: it knows all layers. Here only a denial in audit is recorded.
    async fn by_tunnel(self, client: TcpStream, ruling: Ruling, proxy: &Remote) {
        let decision = (!ruling.would.is_allow()).then(|| self.record(ruling));
        let open = self.worker.open(&self.view, self.question(), decision);
        match self.worker.pool.connect(&self.pod, proxy, self.destination).await {
            Ok(tunnel) => carry(&open, client.into_ends(), tunnel.into_ends()).await,
            Err(error) => {
                socket::reset_on_close(&client);
                self.explain(&error);
            }
        }
    }

    /// What the destination's proxy has decided is in its own record. That there is no tunnel is ours to say:
    /// the connection is not let out as it is.
    fn explain(&self, error: &TunnelError) {
        match error {
            TunnelError::Refused(StatusCode::SERVICE_UNAVAILABLE) => self.metrics().unreachable.increment(),
            TunnelError::Refused(_) => {}
            error => {
                self.record(Ruling::refusal(Layer::Transport, error.to_string()));
            }
        }
    }

    /// Whether the connection may be used for some things only, and nobody else sees for what it is.
    fn is_limited(&self) -> bool {
        let limited = self.view.limits(&self.as_delivered()).is_some();
        limited && !self.view.leaves_to_resolver(&self.pod.name, self.destination)
    }

    fn as_delivered(&self) -> Inbound {
        Inbound {
            way: Direction::Egress,
            pod: self.pod.name.clone(),
            source: self.peer.ip(),
            destination: self.destination,
            transport: Transport::Plaintext,
            sni: None,
        }
    }

    /// What is said on it is judged here.
    async fn by_what_is_said(self, client: TcpStream) {
        let inbound = self.as_delivered();
        deliver(self.worker, self.pod, client, inbound, self.peer).await;
    }

    /// Its packets meet the kernel's programs as they are, which record the connection and its end.
    async fn directly(self, client: TcpStream) {
        let open = self.worker.open(&self.view, self.question(), None);
        let limit = self.worker.settings.connect_time;
        match socket::connect(&self.pod.namespace, None, self.destination, Reach::Anywhere, limit).await {
            Ok(server) => {
                socket::watch(&server);
                carry(&open, client.into_ends(), server.into_ends()).await;
            }
            Err(error) => {
                socket::reset_on_close(&client);
                self.metrics().unreachable.increment();
                tracing::debug!(pod = %self.pod.name, destination = %self.destination, %error, "cannot connect");
            }
        }
    }

    fn question(&self) -> Question {
        Question::Outbound { pod: self.pod.name.clone(), destination: self.destination }
    }

    fn record(&self, ruling: Ruling) -> u64 {
        let subject = Subject {
            source: record::pod(&self.pod.name, self.peer, None),
            destination: record::party(&self.view, self.destination),
            encrypted: false,
            request: None,
        };
        self.worker.record(&self.view, ruling, subject)
    }

    fn metrics(&self) -> &Metrics {
        self.worker.metrics()
    }
}
