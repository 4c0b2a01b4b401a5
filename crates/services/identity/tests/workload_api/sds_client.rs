//! The part of a pod's process that speaks Envoy's secret discovery: it passes messages on, in hexadecimal.

use crate::client::{hex, said};
use crate::node::bytes;
use lictor_wire::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use lictor_wire::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use prost::Message;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

/// One stream of each kind.
#[derive(Default)]
pub(crate) struct Relay {
    api: Option<SecretDiscoveryServiceClient<Channel>>,
    world: Option<Open<DiscoveryRequest, DiscoveryResponse>>,
    delta: Option<Open<DeltaDiscoveryRequest, DeltaDiscoveryResponse>>,
}

struct Open<Q, A> {
    requests: UnboundedSender<Q>,
    responses: Streaming<A>,
}

impl Relay {
    pub(crate) fn connect(&mut self, channel: Channel) {
        self.api = Some(SecretDiscoveryServiceClient::new(channel));
    }

    /// Does what an order says; what comes of it at once, if anything.
    pub(crate) async fn obey(&mut self, order: &str, message: Option<&str>) -> Option<(&'static str, String)> {
        let api = self.api.as_mut().expect("a connection before the first request");
        let message = message.map(bytes).unwrap_or_default();
        match order {
            "fetch" => match api.fetch_secrets(DiscoveryRequest::decode(&*message).unwrap()).await {
                Ok(response) => return Some(("sds", hex(&response.into_inner().encode_to_vec()))),
                Err(status) => return Some(("refused", said(&status))),
            },
            "open" => {
                let (requests, sent) = unbounded_channel();
                match api.stream_secrets(UnboundedReceiverStream::new(sent)).await {
                    Ok(opened) => self.world = Some(Open { requests, responses: opened.into_inner() }),
                    Err(status) => return Some(("refused", said(&status))),
                }
            }
            "open-delta" => {
                let (requests, sent) = unbounded_channel();
                match api.delta_secrets(UnboundedReceiverStream::new(sent)).await {
                    Ok(opened) => self.delta = Some(Open { requests, responses: opened.into_inner() }),
                    Err(status) => return Some(("refused", said(&status))),
                }
            }
            "ask" => send(self.world.as_ref(), DiscoveryRequest::decode(&*message).unwrap()),
            "ask-delta" => send(self.delta.as_ref(), DeltaDiscoveryRequest::decode(&*message).unwrap()),
            other => panic!("expected an order, saw {other}"),
        }
        None
    }

    /// The next response of either stream, or its end.
    pub(crate) async fn next(&mut self) -> (&'static str, String) {
        tokio::select! {
            response = next(&mut self.world) => response,
            response = next(&mut self.delta) => response,
        }
    }
}

fn send<Q, A>(open: Option<&Open<Q, A>>, request: Q) {
    // A stream that the server has ended takes nothing; its end is told by itself.
    open.expect("an open stream").requests.send(request).ok();
}

async fn next<Q, A: Message>(open: &mut Option<Open<Q, A>>) -> (&'static str, String) {
    let Some(stream) = open else { return std::future::pending().await };
    let response = stream.responses.message().await;
    match response.and_then(|response| response.ok_or_else(|| Status::ok("the end"))) {
        Ok(response) => ("sds", hex(&response.encode_to_vec())),
        Err(status) => {
            *open = None;
            ("end", said(&status))
        }
    }
}
