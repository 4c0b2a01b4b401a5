//! The streams that are followed, each on a connection of its own.

use super::offer::{TokenKeys, read, read_token_keys};
use super::{Faults, Source};
use crate::backoff::Backoff;
use crate::issuer::random_fraction;
use hyper_util::rt::TokioIo;
use lictor_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lictor_wire::workload::{JwtBundlesRequest, JwtBundlesResponse, X509svidRequest, X509svidResponse};
use std::error::Error as _;
use std::time::Duration;
use tokio::net::UnixStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// The most that one state has: some thousand SVIDs with their keys.
const MAX_STATE: usize = 16 * 1024 * 1024;

type Api = SpiffeWorkloadApiClient<Channel>;

/// A kind of stream.
pub(super) trait Stream {
    /// For people.
    const NAME: &'static str;
    /// A state.
    type State;

    async fn open(api: &mut Api) -> Result<Response<Streaming<Self::State>>, Status>;

    /// Takes a state in, in place of the one before.
    fn take(source: &Source, state: Self::State) -> Result<(), String>;

    /// Gives up what the last state brought.
    fn give_up(source: &Source);

    fn fault(faults: &mut Faults) -> &mut Option<String>;
}

/// SVIDs and whom to believe.
pub(super) struct X509;

/// Keys for tokens.
pub(super) struct Tokens;

impl Stream for X509 {
    const NAME: &'static str = "X.509-SVIDs";
    type State = X509svidResponse;

    async fn open(api: &mut Api) -> Result<Response<Streaming<X509svidResponse>>, Status> {
        api.fetch_x509svid(with_header(X509svidRequest {})).await
    }

    fn take(source: &Source, state: X509svidResponse) -> Result<(), String> {
        let now = (source.0.clock)();
        let offer = read(state, &source.0.trust_domain, now).map_err(|error| error.to_string())?;
        for fault in &offer.passed_over {
            tracing::warn!(endpoint = %source.0.endpoint, %fault, "a part of what the Workload API gives is of no use");
        }
        let mut content = source.content();
        content.offer = Some(offer);
        content.received = Some(now);
        Ok(())
    }

    fn give_up(source: &Source) {
        source.content().offer = None;
    }

    fn fault(faults: &mut Faults) -> &mut Option<String> {
        &mut faults.x509
    }
}

impl Stream for Tokens {
    const NAME: &'static str = "JWT bundles";
    type State = JwtBundlesResponse;

    async fn open(api: &mut Api) -> Result<Response<Streaming<JwtBundlesResponse>>, Status> {
        api.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await
    }

    fn take(source: &Source, state: JwtBundlesResponse) -> Result<(), String> {
        let keys = read_token_keys(&state, &source.0.trust_domain)?;
        source.content().token_keys = keys;
        Ok(())
    }

    fn give_up(source: &Source) {
        source.content().token_keys = TokenKeys::default();
    }

    fn fault(faults: &mut Faults) -> &mut Option<String> {
        &mut faults.tokens
    }
}

/// Follows a stream for good, or until the other side says that trying again is of no use (Workload Endpoint, section 6).
pub(super) async fn follow<S: Stream>(source: &Source) {
    let mut backoff = Backoff::new(random_fraction());
    loop {
        let ended = states::<S>(source, &mut backoff).await;
        let wait = backoff.wait();
        tracing::warn!(endpoint = %source.0.endpoint, stream = S::NAME, ?wait, error = %reason(&ended), "a stream of the Workload API ended");
        *S::fault(&mut source.content().faults) = Some(format!("{}: {}", S::NAME, reason(&ended)));
        match ended.code() {
            // Everything is taken back (section 5.2.1).
            Code::PermissionDenied => S::give_up(source),
            Code::InvalidArgument | Code::Unimplemented => {
                S::give_up(source);
                source.0.changes.send_replace(());
                return std::future::pending().await;
            }
            _ => {}
        }
        source.0.changes.send_replace(());
        tokio::time::sleep(wait).await;
    }
}

/// Takes states in until there are no more, and returns why.
async fn states<S: Stream>(source: &Source, backoff: &mut Backoff) -> Status {
    let opened = async { S::open(&mut connect(source).await?).await };
    let mut stream = match opened.await {
        Ok(response) => response.into_inner(),
        Err(status) => return status,
    };
    loop {
        match stream.message().await {
            Ok(Some(state)) => {
                backoff.reset();
                let fault = S::take(source, state).err().map(|error| format!("{}: {error}", S::NAME));
                if let Some(fault) = &fault {
                    // Discarded as a whole; what came before stays (section 4.5).
                    tracing::error!(endpoint = %source.0.endpoint, %fault, "a state of the Workload API is not used");
                }
                *S::fault(&mut source.content().faults) = fault;
                source.0.changes.send_replace(());
            }
            Ok(None) => return Status::unavailable("the server ended the stream"),
            Err(status) => return status,
        }
    }
}

async fn connect(source: &Source) -> Result<Api, Status> {
    let socket = source.0.endpoint.path().to_owned();
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    // The address is never looked at: the connector knows where to go.
    let endpoint = Endpoint::from_static("http://workload").connect_timeout(CONNECT);
    let channel = endpoint.connect_with_connector(connector).await.map_err(|error| Status::from_error(error.into()))?;
    Ok(SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(MAX_STATE))
}

/// Workload Endpoint, section 3: every request carries it.
fn with_header<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    request
}

/// What a status says, and what lies below it.
fn reason(status: &Status) -> String {
    let mut said = vec![status.message().to_owned()];
    let mut cause = status.source();
    while let Some(error) = cause {
        said.push(error.to_string());
        cause = error.source();
    }
    said.dedup();
    said.retain(|part| !part.is_empty());
    format!("{:?}: {}", status.code(), said.join(": "))
}
