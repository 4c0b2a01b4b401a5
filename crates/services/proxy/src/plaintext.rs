//! Plaintext connections into a pod.

use crate::deliver::{Arrival, Refusal, deliver};
use crate::pod::Pod;
use crate::policy::{Inbound, Transport};
use crate::settings::ports;
use crate::socket;
use crate::worker::Worker;
use lictor_model::Direction;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;

/// Serves one connection that was on its way to `destination`, an address of the pod.
pub(crate) async fn serve(
    worker: Rc<Worker>,
    pod: Rc<Pod>,
    client: TcpStream,
    peer: SocketAddr,
    destination: SocketAddr,
) {
    if !pod.has(destination.ip()) || ports::are_own(destination.port()) {
        socket::reset_on_close(&client);
        return;
    }
    socket::watch(&client);
    let (name, source) = (pod.name.clone(), peer.ip());
    let way = Direction::Ingress;
    let inbound = Inbound { way, pod: name, source, destination, transport: Transport::Plaintext, sni: None };
    deliver(worker, pod, client, inbound, peer).await;
}

impl Arrival for TcpStream {
    type Stream = Self;

    fn accept(self) -> io::Result<Self> {
        Ok(self)
    }

    fn refuse(self, _: Refusal) {
        socket::reset_on_close(&self);
    }
}
