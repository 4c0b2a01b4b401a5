//! The methods of the Workload API.

use super::callers::Callers;
use super::connection::Peer;
use super::jwt;
use super::states::{State, states};
use super::tokens::Tokens;
use crate::workload::Workload;
use futures::stream::BoxStream;
use lictor_pki::{Keyring, Svid};
use lictor_wire::workload::spiffe_workload_api_server::SpiffeWorkloadApi;
use lictor_wire::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest,
    ValidateJwtsvidResponse, X509BundlesRequest, X509BundlesResponse, X509svid, X509svidRequest, X509svidResponse,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// Every request carries it, so that no other kind of client can be tricked into making one.
///
/// Source: SPIFFE Workload Endpoint, section 3.
const SECURITY_HEADER: (&str, &str) = ("workload.spiffe.io", "true");

pub(super) struct WorkloadApi {
    callers: Arc<Callers>,
    keyring: Keyring,
    tokens: Tokens,
}

impl WorkloadApi {
    pub(super) fn new(callers: Arc<Callers>, tokens: Tokens) -> Self {
        let keyring = callers.keyring().clone();
        Self { callers, keyring, tokens }
    }

    /// Whoever asks, judged anew for each request.
    async fn authorize<T>(&self, request: &Request<T>) -> Result<(Workload, Peer), Status> {
        check_header(request)?;
        self.callers.authorize(request.extensions()).await
    }

    async fn states<T, M: PartialEq + Send + 'static>(
        &self,
        request: &Request<T>,
        message: fn(&State) -> Option<M>,
    ) -> Result<Response<BoxStream<'static, Result<M, Status>>>, Status> {
        let (workload, peer) = self.authorize(request).await?;
        let recipient = self.callers.recipient(workload, peer);
        Ok(Response::new(Box::pin(states(recipient, message))))
    }
}

#[tonic::async_trait]
impl SpiffeWorkloadApi for WorkloadApi {
    type FetchX509SVIDStream = BoxStream<'static, Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = BoxStream<'static, Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = BoxStream<'static, Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        self.states(&request, svid_message).await
    }

    async fn fetch_x509_bundles(
        &self,
        request: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        self.states(&request, bundles_message).await
    }

    async fn fetch_jwtsvid(&self, request: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        let (workload, _) = self.authorize(&request).await?;
        let (request, pod) = (request.into_inner(), workload.pod.name());
        let mut svids = Vec::new();
        for identity in jwt::asked(&request, &workload.identities)? {
            let token = self.tokens.issue(&self.keyring, pod, identity, &request.audience).await?;
            svids.push(jwt::svid(identity, token));
        }
        Ok(Response::new(JwtsvidResponse { svids }))
    }

    async fn fetch_jwt_bundles(
        &self,
        request: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        self.states(&request, jwt::bundles_message).await
    }

    async fn validate_jwtsvid(
        &self,
        request: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        let (workload, _) = self.authorize(&request).await?;
        let bundles = self.keyring.bundles(&workload.pod.federates_with().borrow());
        jwt::validate(&request.into_inner(), &bundles).map(Response::new)
    }
}

fn check_header<T>(request: &Request<T>) -> Result<(), Status> {
    let (name, value) = SECURITY_HEADER;
    if request.metadata().get(name).is_some_and(|seen| seen == value) {
        Ok(())
    } else {
        Err(Status::invalid_argument("security header missing from request"))
    }
}

pub(crate) fn svid_message(state: &State) -> Option<X509svidResponse> {
    let svid = |(svid, hint): &(Arc<Svid>, Arc<str>)| X509svid {
        spiffe_id: svid.id.to_string(),
        x509_svid: svid.chain.iter().flat_map(|der| der.iter().copied()).collect(),
        x509_svid_key: svid.key.pkcs8().to_vec(),
        bundle: state.bundles.own().concatenated_der(),
        hint: hint.to_string(),
    };
    let svids = state.svids.as_ref()?.iter().map(svid).collect();
    // The own bundle stands beside the SVID, the others here (section 5.2.1).
    let federated_bundles = state.foreign().map(|(name, bundle)| (name, bundle.concatenated_der())).collect();
    Some(X509svidResponse { svids, federated_bundles, ..X509svidResponse::default() })
}

pub(crate) fn bundles_message(state: &State) -> Option<X509BundlesResponse> {
    let bundles = state.bundles().map(|(name, bundle)| (name, bundle.concatenated_der())).collect();
    Some(X509BundlesResponse { bundles, ..X509BundlesResponse::default() })
}
