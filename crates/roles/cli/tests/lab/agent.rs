//! An agent of another SPIRE, as far as a lab asks it: a Workload API that says what a test tells it to.

use futures::StreamExt;
use futures::stream::BoxStream;
use lictor_pki::CertificateAuthority;
use lictor_wire::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use lictor_wire::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// The agent; it ends when it is dropped.
pub(crate) struct Agent {
    own: CertificateAuthority,
    other: CertificateAuthority,
    said: watch::Sender<X509svidResponse>,
    folder: tempfile::TempDir,
    _runtime: Runtime,
}

fn authority(domain: &str) -> CertificateAuthority {
    CertificateAuthority::new(domain.parse().unwrap(), time::OffsetDateTime::now_utc(), time::Duration::DAY).unwrap()
}

impl Agent {
    /// One of the trust domain `given.example`, which is federated with `other.example`; it offers these identities.
    pub(crate) fn start(ids: &[&str]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (own, other) = (authority("given.example"), authority("other.example"));
        let folder = tempfile::tempdir().unwrap();
        let said = watch::Sender::new(X509svidResponse::default());
        let api = SpiffeWorkloadApiServer::new(Api(said.clone()));
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(folder.path().join("agent.sock")).unwrap()
        };
        let incoming = futures::stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let serving = tonic::transport::Server::builder().add_service(api).serve_with_incoming(incoming);
        runtime.spawn(async move { serving.await.unwrap() });
        let agent = Self { own, other, said, folder, _runtime: runtime };
        agent.offer(ids);
        agent
    }

    /// The word for `lictor up --workload-api`.
    pub(crate) fn endpoint(&self) -> String {
        format!("unix:{}", self.folder.path().join("agent.sock").display())
    }

    /// Offers new SVIDs of these identities, and no others.
    pub(crate) fn offer(&self, ids: &[&str]) {
        let svid = |id: &&str| {
            let now = time::OffsetDateTime::now_utc();
            let svid = self.own.issue(&id.parse().unwrap(), now, time::Duration::HOUR).unwrap();
            X509svid {
                spiffe_id: (*id).to_owned(),
                x509_svid: svid.chain.iter().flat_map(|der| der.iter().copied()).collect(),
                x509_svid_key: svid.key.pkcs8().to_vec(),
                bundle: self.own.bundle(1).concatenated_der(),
                hint: String::new(),
            }
        };
        let federated = ("spiffe://other.example".to_owned(), self.other.bundle(1).concatenated_der());
        self.said.send_replace(X509svidResponse {
            svids: ids.iter().map(svid).collect(),
            federated_bundles: [federated].into(),
            ..X509svidResponse::default()
        });
    }
}

/// What is said last, and everything after it.
struct Api(watch::Sender<X509svidResponse>);

fn unasked<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("SVIDs are all that is said here"))
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for Api {
    type FetchX509SVIDStream = BoxStream<'static, Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = BoxStream<'static, Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = BoxStream<'static, Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(&self, _: Request<X509svidRequest>) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        let mut said = self.0.subscribe();
        said.mark_changed();
        let states = futures::stream::unfold(said, |mut said| async move {
            said.changed().await.ok()?;
            let state = said.borrow_and_update().clone();
            Some((Ok(state), said))
        });
        Ok(Response::new(states.boxed()))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        unasked()
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        unasked()
    }

    async fn fetch_jwtsvid(&self, _: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        unasked()
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        unasked()
    }
}
