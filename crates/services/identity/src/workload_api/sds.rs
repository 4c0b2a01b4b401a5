//! Envoy's secret discovery service (SDS), version 3: the caller's own SVIDs, and bundles, as Envoy takes them.
//!
//! Names of resources, as a SPIRE agent has them: `default` is the pod's default SVID, a SPIFFE ID the pod's SVID of that
//! name; `ROOTCA` is the bundle of the pod's trust domain, `spiffe://<trust domain>` one by its name, `ALL` every bundle
//! that the pod may believe. A request without names asks for everything.
//!
//! Source: Envoy's xDS protocol, `envoy/service/secret/v3/sds.proto`; SPIRE agent, "Envoy SDS configuration".

mod delta;
mod secrets;
mod stream;

use super::callers::{Callers, Recipient};
use super::states::FIRST;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use lictor_wire::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use lictor_wire::envoy::service::secret::v3::secret_discovery_service_server::SecretDiscoveryService;
use lictor_wire::google::rpc;
use std::sync::Arc;
use tokio::time::Instant;
use tonic::{Extensions, Request, Response, Status, Streaming};

/// An Envoy describes itself with all of its extensions, some tens of kilobytes.
pub(super) const MAX_REQUEST: usize = 1024 * 1024;

/// Names that one stream may ask for.
const MAX_NAMES: usize = 256;

/// The one type of resource that this service has.
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Envoy's secret discovery service.
pub(super) struct Secrets(Arc<Callers>);

impl Secrets {
    pub(super) fn new(callers: Arc<Callers>) -> Self {
        Self(callers)
    }

    async fn recipient(&self, request: &Extensions) -> Result<Recipient, Status> {
        let (pod, peer) = self.0.authorize(request).await?;
        Ok(self.0.recipient(pod, peer))
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Secrets {
    type StreamSecretsStream = BoxStream<'static, Result<DiscoveryResponse, Status>>;
    type DeltaSecretsStream = BoxStream<'static, Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let to = self.recipient(request.extensions()).await?;
        let sending = stream::Sending::new(to, request.into_inner().boxed());
        Ok(Response::new(responses(sending).boxed()))
    }

    async fn delta_secrets(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        let to = self.recipient(request.extensions()).await?;
        let sending = delta::Sending::new(to, request.into_inner().boxed());
        Ok(Response::new(responses(sending).boxed()))
    }

    async fn fetch_secrets(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        let mut to = self.recipient(request.extensions()).await?;
        let request = request.into_inner();
        check_type(&request.type_url)?;
        let validator = secrets::Validator::of(request.node.as_ref());
        let names = secrets::Names::of(request.resource_names)?;
        let limit = Instant::now() + FIRST;
        loop {
            to.updates.mark_unchanged();
            let state = to.state();
            if let Some(found) = secrets::find(&to.workload.identities, &state, &names, validator)? {
                let resources = found.into_iter().map(|resource| resource.secret).collect();
                // No nonce: nothing follows that could name it.
                return Ok(Response::new(DiscoveryResponse {
                    resources,
                    type_url: SECRET_TYPE.to_owned(),
                    ..DiscoveryResponse::default()
                }));
            }
            to.wait(Some(limit)).await?;
        }
    }
}

/// The requests of a stream.
type Requests<R> = BoxStream<'static, Result<R, Status>>;

/// What answers requests on a stream, and goes on by itself when something changes.
trait Responses: Send {
    type Request: Send;
    type Message: Send;

    /// Whom it is for, and what he asks.
    fn ends(&mut self) -> (&mut Recipient, &mut Requests<Self::Request>);

    /// Takes a request.
    ///
    /// # Errors
    /// It cannot be answered, which ends the stream.
    fn take(&mut self, request: Self::Request) -> Result<(), Status>;

    /// What there is to send that the client has not.
    ///
    /// # Errors
    /// Something that is asked for cannot be told, which ends the stream.
    fn news(&mut self) -> Result<Option<Self::Message>, Status>;

    /// Until when something must have been sent.
    fn limit(&self) -> Option<Instant>;

    /// The next message; nothing when the client has ended the stream.
    ///
    /// # Errors
    /// What ends the stream.
    fn next(&mut self) -> impl Future<Output = Result<Option<Self::Message>, Status>> + Send {
        async {
            loop {
                let (to, _) = self.ends();
                to.updates.mark_unchanged();
                to.stands()?;
                if let Some(news) = self.news()? {
                    let (to, _) = self.ends();
                    to.judge().await?;
                    return Ok(Some(news));
                }
                let limit = self.limit();
                let (to, requests) = self.ends();
                let request = tokio::select! {
                    biased;
                    changed = to.wait(limit) => {
                        changed?;
                        continue;
                    }
                    request = requests.next() => request,
                };
                match request {
                    Some(request) => self.take(request?)?,
                    None => return Ok(None),
                }
            }
        }
    }
}

fn responses<R: Responses + 'static>(sending: R) -> impl Stream<Item = Result<R::Message, Status>> + Send {
    futures::stream::unfold(Some(sending), |sending| async move {
        let mut sending = sending?;
        match sending.next().await {
            Ok(Some(message)) => Some((Ok(message), Some(sending))),
            Ok(None) => None,
            Err(status) => Some((Err(status), None)),
        }
    })
}

/// Of this service, or left out, as every client of a service with one type may.
fn check_type(url: &str) -> Result<(), Status> {
    match url.is_empty() || url == SECRET_TYPE {
        true => Ok(()),
        false => Err(Status::invalid_argument(format!("expected the type {SECRET_TYPE}, saw {url}"))),
    }
}

/// Why an Envoy did not take what it was sent; what it has stays in force there.
fn note_rejection(error: Option<&rpc::Status>, to: &Recipient) {
    if let Some(error) = error {
        tracing::warn!(pod = %to.workload.pod.name(), error = %error.message, "an Envoy has rejected its secrets");
    }
}
