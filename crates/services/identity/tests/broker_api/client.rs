//! A broker.

use crate::node::{ENDPOINT, Node, PATIENCE};
use hyper_util::rt::TokioIo;
use lictor_pki::tls::{Peers, client_config, no_name};
use lictor_pki::{Bundle, Keyring, Svid};
use lictor_wire::broker::api_client::ApiClient;
use lictor_wire::broker::{
    FetchJwtsvidRequest, FetchJwtsvidResponse, KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType,
    SubscribeToX509svidRequest, SubscribeToX509svidResponse, WorkloadPidReference, WorkloadReference,
};
use lictor_wire::google::rpc;
use prost::Message;
use prost_types::Any;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};

pub(crate) type States = Streaming<SubscribeToX509svidResponse>;

/// A client with an SVID of the node's trust domain.
pub(crate) struct Broker {
    pub(crate) api: ApiClient<Channel>,
}

impl Broker {
    pub(crate) async fn connect(node: &Node, id: &str) -> Self {
        Self::connect_as(node, &node.issue(id, time::Duration::HOUR)).await.expect("a connection")
    }

    pub(crate) async fn connect_as(node: &Node, svid: &Svid) -> Result<Self, String> {
        let channel = channel(node.socket(), node.bundle(), svid, ENDPOINT).await.map_err(|error| chain(&error))?;
        Ok(Self { api: ApiClient::new(channel) })
    }

    pub(crate) async fn watch(&mut self, reference: WorkloadReference) -> Result<States, Status> {
        let request = with_header(SubscribeToX509svidRequest { reference: Some(reference) });
        Ok(self.api.subscribe_to_x509svid(request).await?.into_inner())
    }

    /// The identities of the first state.
    pub(crate) async fn ids(&mut self, reference: WorkloadReference) -> Vec<String> {
        let mut states = self.watch(reference).await.expect("states");
        next(&mut states).await.svids.into_iter().map(|svid| svid.spiffe_id).collect()
    }

    /// Code and reason of what is said instead of states; every method says the same.
    pub(crate) async fn refused(&mut self, reference: Option<WorkloadReference>) -> (Code, Option<String>) {
        let refused = self.refusals(reference).await;
        let said = explained(&refused[0]);
        for other in &refused {
            assert_eq!(explained(other), said, "{other:?}");
        }
        said
    }

    async fn refusals(&mut self, reference: Option<WorkloadReference>) -> Vec<Status> {
        use lictor_wire::broker::{SubscribeToJwtBundlesRequest, SubscribeToX509BundlesRequest};
        let reference = || reference.clone();
        let token =
            FetchJwtsvidRequest { reference: reference(), audience: vec!["x".into()], spiffe_id: String::new() };
        let api = &mut self.api;
        vec![
            first(api.subscribe_to_x509svid(with_header(SubscribeToX509svidRequest { reference: reference() })).await)
                .await,
            first(
                api.subscribe_to_x509_bundles(with_header(SubscribeToX509BundlesRequest { reference: reference() }))
                    .await,
            )
            .await,
            first(
                api.subscribe_to_jwt_bundles(with_header(SubscribeToJwtBundlesRequest { reference: reference() }))
                    .await,
            )
            .await,
            api.fetch_jwtsvid(with_header(token)).await.expect_err("a refusal"),
        ]
    }

    pub(crate) async fn tokens(
        &mut self,
        reference: WorkloadReference,
        audience: &[&str],
        spiffe_id: &str,
    ) -> Result<FetchJwtsvidResponse, Status> {
        let audience = audience.iter().map(|&audience| audience.to_owned()).collect();
        let request = FetchJwtsvidRequest { reference: Some(reference), audience, spiffe_id: spiffe_id.to_owned() };
        self.api.fetch_jwtsvid(with_header(request)).await.map(tonic::Response::into_inner)
    }
}

async fn first<M: std::fmt::Debug>(response: Result<tonic::Response<Streaming<M>>, Status>) -> Status {
    match response {
        Ok(stream) => stream.into_inner().message().await.expect_err("a refusal"),
        Err(status) => status,
    }
}

/// A channel over mutual TLS on a unix socket, to the server of this identity alone.
pub(crate) async fn channel(
    socket: PathBuf,
    bundle: Bundle,
    svid: &Svid,
    server: &str,
) -> Result<Channel, tonic::transport::Error> {
    let config = client_config(&Keyring::new(bundle), svid, &Peers::one(server.parse().unwrap())).unwrap();
    over(socket, TlsConnector::from(Arc::new(config))).await
}

pub(crate) async fn over(socket: PathBuf, tls: TlsConnector) -> Result<Channel, tonic::transport::Error> {
    let connector = tower::service_fn(move |_| {
        let (socket, tls) = (socket.clone(), tls.clone());
        async move { tls.connect(no_name(), UnixStream::connect(socket).await?).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://broker").connect_with_connector(connector).await
}

/// The next state, in time.
pub(crate) async fn next(states: &mut States) -> SubscribeToX509svidResponse {
    tokio::time::timeout(PATIENCE, states.message()).await.expect("a state in time").unwrap().expect("a state")
}

/// Code and reason of the stream's end, in time.
pub(crate) async fn end(states: &mut States) -> (Code, Option<String>) {
    let end = tokio::time::timeout(PATIENCE, states.message()).await.expect("an end in time");
    explained(&end.expect_err("an end"))
}

pub(crate) async fn nothing(states: &mut States) -> bool {
    tokio::time::timeout(Duration::from_millis(200), states.message()).await.is_err()
}

/// Code, and the reason that stands beside it.
pub(crate) fn explained(status: &Status) -> (Code, Option<String>) {
    let details = rpc::Status::decode(status.details()).unwrap();
    let info = |packed: &Any| rpc::ErrorInfo::decode(&*packed.value).unwrap();
    let reason = details.details.first().map(|packed| {
        let rpc::ErrorInfo { reason, domain, .. } = info(packed);
        assert_eq!(domain, "spiffe.io");
        reason
    });
    (status.code(), reason)
}

pub(crate) fn not_found() -> (Code, Option<String>) {
    (Code::NotFound, Some("WORKLOAD_NOT_FOUND".to_owned()))
}

pub(crate) fn not_entitled() -> (Code, Option<String>) {
    (Code::PermissionDenied, Some("WORKLOAD_NOT_ENTITLED".to_owned()))
}

pub(crate) fn invalid() -> (Code, Option<String>) {
    (Code::InvalidArgument, Some("WORKLOAD_REFERENCE_INVALID".to_owned()))
}

/// A reference to a process.
pub(crate) fn pid(pid: i32) -> WorkloadReference {
    packed("WorkloadPIDReference", &WorkloadPidReference { pid })
}

/// A reference to a pod: `namespace/name`, the uid, or both.
pub(crate) fn pod(key: &str, uid: &str) -> WorkloadReference {
    object("pods", "core", key, uid)
}

pub(crate) fn object(plural: &str, group: &str, key: &str, uid: &str) -> WorkloadReference {
    let key = key
        .split_once('/')
        .map(|(namespace, name)| KubernetesObjectKey { namespace: namespace.to_owned(), name: name.to_owned() });
    let r#type = Some(KubernetesObjectType { plural: plural.to_owned(), group: group.to_owned() });
    packed("KubernetesObjectReference", &KubernetesObjectReference { r#type, key, uid: uid.to_owned() })
}

pub(crate) fn packed(name: &str, message: &impl Message) -> WorkloadReference {
    let type_url = format!("type.googleapis.com/spiffe.broker.{name}");
    WorkloadReference { reference: Some(Any { type_url, value: message.encode_to_vec() }) }
}

pub(crate) fn with_header<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("broker.spiffe.io", "true".parse().unwrap());
    request
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// TLS of a client with this configuration, as the protocol needs it.
pub(crate) fn connector(mut config: rustls::ClientConfig) -> TlsConnector {
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}
