//! A Workload API that says what it is told to; every stream begins with what was said last.

use futures::StreamExt;
use futures::stream::BoxStream;
use lictor_pki::CertificateAuthority;
use lictor_wire::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use lictor_wire::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use time::OffsetDateTime;
use tokio::net::UnixListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{UnixListenerStream, WatchStream};
use tonic::{Request, Response, Status};

/// What is said; nothing yet.
type Said<M> = Option<Result<M, Status>>;

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

pub(crate) struct Server {
    folder: tempfile::TempDir,
    authority: CertificateAuthority,
    api: Api,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Clone)]
struct Api {
    svids: watch::Sender<Said<X509svidResponse>>,
    keys: watch::Sender<Said<JwtBundlesResponse>>,
    asked_for_keys: Arc<AtomicUsize>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let authority = CertificateAuthority::new("td".parse().unwrap(), now(), time::Duration::DAY).unwrap();
        let api =
            Api { svids: watch::Sender::new(None), keys: watch::Sender::new(None), asked_for_keys: Arc::default() };
        let mut server = Self { folder: tempfile::tempdir().unwrap(), authority, api, running: None };
        server.restart();
        server
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    pub(crate) fn authority(&self) -> &CertificateAuthority {
        &self.authority
    }

    pub(crate) fn restart(&mut self) {
        let _ = std::fs::remove_file(self.socket());
        let incoming = UnixListenerStream::new(UnixListener::bind(self.socket()).unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = tonic::transport::Server::builder().add_service(SpiffeWorkloadApiServer::new(self.api.clone()));
        let serving = serving.serve_with_incoming(incoming);
        let task = tokio::spawn(async move {
            // Dropped when it is told to stop: open streams break off.
            tokio::select! {
                served = serving => served.unwrap(),
                _ = stopped => {}
            }
        });
        self.running = Some((stop, task));
    }

    pub(crate) async fn stop(&mut self) {
        let (stop, task) = self.running.take().unwrap();
        stop.send(()).unwrap();
        task.await.unwrap();
        // Streams that are open end as those of a process that is killed.
        self.api.svids.send_replace(Some(Err(Status::unavailable("killed"))));
        self.api.keys.send_replace(None);
        std::fs::remove_file(self.socket()).unwrap();
    }

    pub(crate) fn say(&self, state: Result<X509svidResponse, Status>) {
        self.api.svids.send_replace(Some(state));
    }

    pub(crate) fn say_keys(&self, keys: Result<JwtBundlesResponse, Status>) {
        self.api.keys.send_replace(Some(keys));
    }

    pub(crate) fn asked_for_keys(&self) -> usize {
        self.api.asked_for_keys.load(Ordering::Relaxed)
    }

    /// New SVIDs of these identities.
    pub(crate) fn state(&self, ids: &[&str]) -> X509svidResponse {
        state(&self.authority, ids)
    }

    /// A state of another trust domain.
    pub(crate) fn other_domain(&self) -> X509svidResponse {
        let other = CertificateAuthority::new("other".parse().unwrap(), now(), time::Duration::DAY).unwrap();
        state(&other, &["spiffe://other/a"])
    }

    pub(crate) fn keys(&self) -> JwtBundlesResponse {
        JwtBundlesResponse { bundles: [("spiffe://td".to_owned(), self.authority.bundle(1).jwt_jwks().into())].into() }
    }
}

fn state(authority: &CertificateAuthority, ids: &[&str]) -> X509svidResponse {
    let svid = |id: &&str| {
        let svid = authority.issue(&id.parse().unwrap(), now(), time::Duration::HOUR).unwrap();
        X509svid {
            spiffe_id: (*id).to_owned(),
            x509_svid: svid.chain.iter().flat_map(|der| der.iter().copied()).collect(),
            x509_svid_key: svid.key.pkcs8().to_vec(),
            bundle: authority.bundle(1).concatenated_der(),
            hint: String::new(),
        }
    };
    X509svidResponse { svids: ids.iter().map(svid).collect(), ..X509svidResponse::default() }
}

/// Everything said from now on, up to a refusal.
fn stream<M: Clone + Send + Sync + 'static>(said: &watch::Sender<Said<M>>) -> BoxStream<'static, Result<M, Status>> {
    let mut over = false;
    let said = WatchStream::new(said.subscribe()).filter_map(|said| async { said });
    said.take_while(move |said| {
        let before = over;
        over = said.is_err();
        std::future::ready(!before)
    })
    .boxed()
}

fn check_header<T>(request: &Request<T>) {
    assert_eq!(request.metadata().get("workload.spiffe.io").unwrap(), "true", "the security header");
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Api {
    type FetchX509SVIDStream = BoxStream<'static, Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = BoxStream<'static, Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = BoxStream<'static, Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        check_header(&request);
        Ok(Response::new(stream(&self.svids)))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        check_header(&request);
        self.asked_for_keys.fetch_add(1, Ordering::Relaxed);
        Ok(Response::new(stream(&self.keys)))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Err(Status::unimplemented("nobody asks for it here"))
    }

    async fn fetch_jwtsvid(&self, _: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it here"))
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        Err(Status::unimplemented("nobody asks for it here"))
    }
}
