//! The Broker API by the bindings of `spiffe`, over TLS by `spiffe-rustls`.

use crate::{Result, say, x509};
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use serde_json::json;
use spiffe::broker_api::SecurityHeader;
use spiffe::broker_api::pb::spiffe::broker::api_client::ApiClient;
use spiffe::broker_api::pb::spiffe::broker::{
    FetchJwtsvidRequest, KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType,
    SubscribeToJwtBundlesRequest, SubscribeToX509BundlesRequest, SubscribeToX509svidRequest, WorkloadPidReference,
    WorkloadReference, X509svid,
};
use spiffe::{JwtBundle, JwtBundleSet, JwtSvid, SpiffeId, TrustDomain, X509Bundle, X509Source, X509Svid};
use spiffe_rustls::{authorizer, mtls_client};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

type Api = ApiClient<InterceptedService<Channel, SecurityHeader>>;

/// Prints each state of a workload's SVIDs, `count` of them, each verified against the bundle that came with it.
pub(crate) async fn x509(endpoint: &str, count: usize, about: &str) -> Result<()> {
    let mut api = connect(endpoint).await?;
    let request = SubscribeToX509svidRequest { reference: Some(reference(about)?) };
    let mut states = api.subscribe_to_x509svid(Request::new(request)).await.map_err(explained)?.into_inner();
    for _ in 0..count {
        let state = states.message().await.map_err(explained)?.ok_or("the stream has ended")?;
        for svid in &state.svids {
            let (id, serial) = verified(svid)?;
            say(
                &json!({"id": id, "named": svid.spiffe_id, "serial": serial, "foreign": state.federated_bundles.len()}),
            );
        }
    }
    Ok(())
}

/// The identity that an SVID proves by its own bundle, and its serial number.
fn verified(svid: &X509svid) -> Result<(String, String)> {
    let read = X509Svid::parse_from_der(&svid.x509_svid, &svid.x509_svid_key)?;
    let bundle = X509Bundle::parse_from_der(read.spiffe_id().trust_domain().clone(), &svid.bundle)?;
    let mut roots = RootCertStore::empty();
    for authority in bundle.authorities() {
        roots.add(CertificateDer::from(authority.as_bytes().to_vec()))?;
    }
    let chain: Vec<_> = read.cert_chain().iter().map(|one| CertificateDer::from(one.as_bytes().to_vec())).collect();
    let (leaf, intermediates) = chain.split_first().ok_or("an SVID without a certificate")?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build()?;
    verifier.verify_client_cert(leaf, intermediates, UnixTime::now())?;
    Ok((read.spiffe_id().to_string(), x509::serial(leaf)?))
}

/// Prints how many authorities a workload believes of each trust domain, by both kinds of bundles.
pub(crate) async fn bundles(endpoint: &str, about: &str) -> Result<()> {
    let mut api = connect(endpoint).await?;
    let request = SubscribeToX509BundlesRequest { reference: Some(reference(about)?) };
    let mut states = api.subscribe_to_x509_bundles(Request::new(request)).await.map_err(explained)?.into_inner();
    let x509 = states.message().await.map_err(explained)?.ok_or("the stream has ended")?;
    let mut counts = BTreeMap::new();
    for (name, bundle) in &x509.bundles {
        counts.insert(name.clone(), X509Bundle::parse_from_der(domain(name)?, bundle)?.authorities().len());
    }
    let keys: BTreeMap<_, _> = jwt_bundles(&mut api, about)
        .await?
        .into_iter()
        .map(|bundle| (format!("spiffe://{}", bundle.trust_domain()), bundle.jwt_authorities().count()))
        .collect();
    say(&json!({"x509": counts, "jwt": keys}));
    Ok(())
}

async fn jwt_bundles(api: &mut Api, about: &str) -> Result<Vec<JwtBundle>> {
    let request = SubscribeToJwtBundlesRequest { reference: Some(reference(about)?) };
    let mut states = api.subscribe_to_jwt_bundles(Request::new(request)).await.map_err(explained)?.into_inner();
    let state = states.message().await.map_err(explained)?.ok_or("the stream has ended")?;
    state.bundles.iter().map(|(name, jwks)| Ok(JwtBundle::from_jwt_authorities(domain(name)?, jwks)?)).collect()
}

/// A token of each of a workload's identities, verified against the workload's JWT bundles.
pub(crate) async fn jwt(endpoint: &str, audience: &str, about: &str) -> Result<()> {
    let mut api = connect(endpoint).await?;
    let mut believed = JwtBundleSet::new();
    jwt_bundles(&mut api, about).await?.into_iter().for_each(|bundle| believed.add_bundle(bundle));
    let request = FetchJwtsvidRequest {
        reference: Some(reference(about)?),
        audience: vec![audience.to_owned()],
        spiffe_id: String::new(),
    };
    let told = api.fetch_jwtsvid(Request::new(request)).await.map_err(explained)?.into_inner();
    for svid in told.svids {
        let token = JwtSvid::parse_and_validate(&svid.svid, &believed, &[audience])?;
        say(&json!({"id": token.spiffe_id().to_string(), "named": svid.spiffe_id, "audience": token.audience()}));
    }
    Ok(())
}

/// A connection to the endpoint of this identity alone, with this pod's own SVID.
async fn connect(endpoint: &str) -> Result<Api> {
    let path = std::env::var("SPIFFE_BROKER_SOCKET")?;
    let path = path.strip_prefix("unix://").ok_or("expected SPIFFE_BROKER_SOCKET=unix:///...")?.to_owned();
    let client = mtls_client(X509Source::new().await?).authorize(authorizer::exact([endpoint])?);
    let tls = TlsConnector::from(Arc::new(client.with_alpn_protocols([b"h2"]).build()?));
    let connector = tower::service_fn(move |_| {
        let (path, tls) = (path.clone(), tls.clone());
        async move {
            let name = ServerName::try_from("interop.test").map_err(std::io::Error::other)?;
            tls.connect(name, UnixStream::connect(path).await?).await.map(TokioIo::new)
        }
    });
    let channel = Endpoint::from_static("http://broker").connect_with_connector(connector).await?;
    Ok(ApiClient::with_interceptor(channel, SecurityHeader::new()))
}

fn reference(about: &str) -> Result<WorkloadReference> {
    if let Some(number) = about.strip_prefix("pid:") {
        return Ok(WorkloadPidReference { pid: number.parse()? }.into());
    }
    let key = about.strip_prefix("pod:").and_then(|key| key.split_once('/')).ok_or("expected pid: or pod:")?;
    let r#type = Some(KubernetesObjectType { plural: "pods".to_owned(), group: "core".to_owned() });
    let key = Some(KubernetesObjectKey { namespace: key.0.to_owned(), name: key.1.to_owned() });
    Ok(KubernetesObjectReference { r#type, key, uid: String::new() }.into())
}

fn domain(name: &str) -> Result<TrustDomain> {
    Ok(SpiffeId::new(name).map(|id| id.trust_domain().clone()).or_else(|_| TrustDomain::new(name))?)
}

/// The code, the message, and the reason for programs that stands in the details.
fn explained(status: Status) -> String {
    let details = String::from_utf8_lossy(status.details()).into_owned();
    let reasons = ["WORKLOAD_REFERENCE_INVALID", "WORKLOAD_NOT_FOUND", "WORKLOAD_NOT_ENTITLED"];
    let reason = reasons.into_iter().find(|reason| details.contains(reason)).unwrap_or("no reason");
    format!("{:?}: {}: {reason}", status.code(), status.message())
}
