//! The methods of the Broker API: those of the Workload API, for somebody else.
//!
//! Source: SPIFFE Broker API, sections 5.2 and 6.2.

use super::audit::{Asked, Audit};
use super::gate::Broker;
use super::reference::Reference;
use super::refusal::not_entitled;
use super::right::Brokered;
use crate::attestation::Attestor;
use crate::workload::Workload;
use crate::workload_api::feed::Feed;
use crate::workload_api::states::{Recipient, State, states, stopping};
use crate::workload_api::{jwt, service};
use futures::StreamExt;
use futures::stream::BoxStream;
use lictor_pki::Keyring;
use lictor_wire::broker::api_server::Api;
use lictor_wire::broker::{
    FetchJwtsvidRequest, FetchJwtsvidResponse, Jwtsvid, SubscribeToJwtBundlesRequest, SubscribeToJwtBundlesResponse,
    SubscribeToX509BundlesRequest, SubscribeToX509BundlesResponse, SubscribeToX509svidRequest,
    SubscribeToX509svidResponse, WorkloadReference, X509svid,
};
use lictor_wire::workload;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Code, Extensions, Request, Response, Status};

pub(super) struct BrokerApi {
    attestor: Arc<Attestor>,
    keyring: Keyring,
    feed: Feed,
    stopped: watch::Receiver<()>,
    audit: Audit,
}

/// A workload that a broker may have the states of, and who asked how.
struct Found {
    workload: Workload,
    right: Brokered,
    asked: Asked,
}

impl BrokerApi {
    pub(super) fn new(attestor: Arc<Attestor>, keyring: Keyring, stopped: watch::Receiver<()>, audit: Audit) -> Self {
        let feed = Feed::of(&keyring);
        Self { attestor, keyring, feed, stopped, audit }
    }

    /// The workload that a request refers to, judged anew for each request.
    async fn find(
        &self,
        method: &'static str,
        extensions: &Extensions,
        reference: Option<&WorkloadReference>,
    ) -> Result<Found, Status> {
        let broker = extensions.get::<Broker>().cloned();
        let broker = broker.ok_or_else(|| Status::unauthenticated("the caller has proven nothing"))?;
        let read = Reference::read(reference);
        let mut asked = Asked {
            caller: Some(broker.id.clone()),
            method: Some(method),
            reference: read.as_ref().ok().map(ToString::to_string),
            pod: None,
        };
        let mut stopped = self.stopped.clone();
        let found = async { Brokered::resolve(broker, &read?, &self.attestor).await };
        let found = tokio::select! {
            found = found => found,
            _ = stopped.changed() => Err(stopping()),
        };
        let (workload, right) = found.inspect_err(|status| self.audit.refused(&asked, status))?;
        asked.pod = Some(workload.pod.name().clone());
        Ok(Found { workload, right, asked })
    }

    async fn states<M: PartialEq + Send + 'static>(
        &self,
        method: &'static str,
        extensions: &Extensions,
        reference: Option<&WorkloadReference>,
        message: fn(&State) -> Option<M>,
    ) -> Result<Response<BoxStream<'static, Result<M, Status>>>, Status> {
        let Found { workload, right, asked } = self.find(method, extensions, reference).await?;
        self.audit.granted(&asked);
        let recipient = Recipient {
            updates: self.feed.subscribe(&workload.identities),
            federates_with: workload.pod.federates_with(),
            keyring: self.keyring.clone(),
            stopped: self.stopped.clone(),
            workload,
            right,
        };
        let audit = self.audit.clone();
        let told = states(recipient, message).inspect(move |state| {
            if let Err(status) = state {
                audit.refused(&asked, status);
            }
        });
        Ok(Response::new(told.boxed()))
    }

    fn tokens(&self, workload: &Workload, asked: workload::JwtsvidRequest) -> Result<FetchJwtsvidResponse, Status> {
        let identities = jwt::asked(&asked, &workload.identities);
        let identities = identities
            .map_err(|status| if status.code() == Code::PermissionDenied { not_entitled() } else { status })?;
        let issue = |identity| {
            let made = jwt::issue(&self.keyring, identity, &asked.audience)?;
            Ok(token(jwt::svid(identity, made)))
        };
        Ok(FetchJwtsvidResponse { svids: identities.into_iter().map(issue).collect::<Result<_, Status>>()? })
    }
}

#[tonic::async_trait]
impl Api for BrokerApi {
    type SubscribeToX509SVIDStream = BoxStream<'static, Result<SubscribeToX509svidResponse, Status>>;
    type SubscribeToX509BundlesStream = BoxStream<'static, Result<SubscribeToX509BundlesResponse, Status>>;
    type SubscribeToJWTBundlesStream = BoxStream<'static, Result<SubscribeToJwtBundlesResponse, Status>>;

    async fn subscribe_to_x509svid(
        &self,
        request: Request<SubscribeToX509svidRequest>,
    ) -> Result<Response<Self::SubscribeToX509SVIDStream>, Status> {
        let (_, extensions, SubscribeToX509svidRequest { reference }) = request.into_parts();
        self.states("SubscribeToX509SVID", &extensions, reference.as_ref(), svid_message).await
    }

    async fn subscribe_to_x509_bundles(
        &self,
        request: Request<SubscribeToX509BundlesRequest>,
    ) -> Result<Response<Self::SubscribeToX509BundlesStream>, Status> {
        let (_, extensions, SubscribeToX509BundlesRequest { reference }) = request.into_parts();
        self.states("SubscribeToX509Bundles", &extensions, reference.as_ref(), bundles_message).await
    }

    async fn fetch_jwtsvid(
        &self,
        request: Request<FetchJwtsvidRequest>,
    ) -> Result<Response<FetchJwtsvidResponse>, Status> {
        let (_, extensions, FetchJwtsvidRequest { reference, audience, spiffe_id }) = request.into_parts();
        let Found { workload, asked, .. } = self.find("FetchJWTSVID", &extensions, reference.as_ref()).await?;
        match self.tokens(&workload, workload::JwtsvidRequest { audience, spiffe_id }) {
            Ok(tokens) => {
                self.audit.granted(&asked);
                Ok(Response::new(tokens))
            }
            Err(status) => {
                self.audit.refused(&asked, &status);
                Err(status)
            }
        }
    }

    async fn subscribe_to_jwt_bundles(
        &self,
        request: Request<SubscribeToJwtBundlesRequest>,
    ) -> Result<Response<Self::SubscribeToJWTBundlesStream>, Status> {
        let (_, extensions, SubscribeToJwtBundlesRequest { reference }) = request.into_parts();
        self.states("SubscribeToJWTBundles", &extensions, reference.as_ref(), jwt_bundles_message).await
    }
}

fn svid_message(state: &State) -> Option<SubscribeToX509svidResponse> {
    let workload::X509svidResponse { svids, crl, federated_bundles } = service::svid_message(state)?;
    let svid = |svid| {
        let workload::X509svid { spiffe_id, x509_svid, x509_svid_key, bundle, hint } = svid;
        X509svid { spiffe_id, x509_svid, x509_svid_key, bundle, hint }
    };
    Some(SubscribeToX509svidResponse { svids: svids.into_iter().map(svid).collect(), crl, federated_bundles })
}

fn bundles_message(state: &State) -> Option<SubscribeToX509BundlesResponse> {
    let workload::X509BundlesResponse { crl, bundles } = service::bundles_message(state)?;
    Some(SubscribeToX509BundlesResponse { crl, bundles })
}

fn jwt_bundles_message(state: &State) -> Option<SubscribeToJwtBundlesResponse> {
    let workload::JwtBundlesResponse { bundles } = jwt::bundles_message(state)?;
    Some(SubscribeToJwtBundlesResponse { bundles })
}

fn token(told: workload::Jwtsvid) -> Jwtsvid {
    let workload::Jwtsvid { spiffe_id, svid, hint } = told;
    Jwtsvid { spiffe_id, svid, hint }
}
