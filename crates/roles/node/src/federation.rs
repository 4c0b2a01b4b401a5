//! Federation with other trust domains, as this node is told to have it.

use crate::relations::Relations;
use anyhow::{Context, Result};
use lictor_identity::federation::{Endpoint, FileCertificate, Issuer, Relation, Roots, serve};
use lictor_identity::{Registration, Registry};
use lictor_model::{Name, SpiffeId, TrustDomain};
use lictor_pki::Keyring;
use lictor_pki::tls::endpoint::{EndpointCertificate, SvidCertificate};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// With whom a trust domain is federated, and where others fetch its bundle.
///
/// A pod gets the bundles of those trust domains that its entries federate with, and believes no others.
#[derive(Debug, Clone, Default)]
pub struct FederationOptions {
    /// Where the own bundle is served; nowhere if there is nothing here.
    pub endpoint: Option<EndpointOptions>,
    /// Whose bundles are fetched, beside those that objects declare.
    pub relations: Vec<Relation>,
    /// The web's authorities for the relations that objects declare.
    pub roots: Roots,
    /// Who issues tokens, as their `iss` says; they have none if there is nothing here.
    pub issuer: Option<Issuer>,
}

/// A bundle endpoint.
#[derive(Debug, Clone)]
pub struct EndpointOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it proves itself.
    pub profile: EndpointProfile,
    /// How often others should ask.
    pub refresh_hint: Duration,
}

/// How the own endpoint proves itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointProfile {
    /// `https_spiffe`: by the SVID of [`endpoint_id`].
    Spiffe,
    /// `https_web`: by a certificate in PEM files.
    Web {
        /// The chain, leaf first.
        certificate: PathBuf,
        /// The leaf's key.
        key: PathBuf,
    },
}

/// The identity of a trust domain's bundle endpoint: no workload of a namespace has it.
pub fn endpoint_id(trust_domain: &TrustDomain) -> Result<SpiffeId> {
    Ok(format!("spiffe://{trust_domain}/lictor/bundle-endpoint").parse()?)
}

/// Serves the own bundle and asks for those of others.
///
/// Errors: the address is taken, the certificate cannot be read, or a relation is about the own trust domain.
pub(crate) async fn start(
    options: FederationOptions,
    keyring: &Keyring,
    registry: &Registry,
    tasks: &mut JoinSet<()>,
) -> Result<Relations> {
    let FederationOptions { endpoint, relations, roots, issuer } = options;
    keyring.set_token_issuer(issuer.as_ref().map(|issuer| issuer.as_str().into()));
    if let Some(EndpointOptions { address, profile, refresh_hint }) = endpoint {
        let certificate = certificate(profile, keyring, registry)?;
        let listener = TcpListener::bind(address).await;
        let listener = listener.with_context(|| format!("the bundle endpoint cannot listen at {address}"))?;
        let endpoint = Endpoint { certificate, keyring: keyring.clone(), refresh_hint, issuer };
        tasks.spawn(async move {
            if let Err(error) = serve(listener, endpoint, std::future::pending()).await {
                tracing::error!(%error, "the bundle endpoint is not served any more");
            }
        });
    }
    Relations::start(keyring, relations, roots)
}

fn certificate(
    profile: EndpointProfile,
    keyring: &Keyring,
    registry: &Registry,
) -> Result<Arc<dyn EndpointCertificate>> {
    Ok(match profile {
        EndpointProfile::Spiffe => {
            let id = endpoint_id(keyring.bundle().trust_domain())?;
            // Without a cgroup: it is renewed like a pod's, and no process can ask for it.
            let pod = Name::new("lictor", "bundle-endpoint");
            registry.add(Registration {
                pod,
                ids: vec![id.clone().into()],
                federates_with: BTreeSet::new(),
                cgroups: Vec::new(),
            })?;
            Arc::new(SvidCertificate::new(keyring.clone(), id))
        }
        EndpointProfile::Web { certificate, key } => {
            Arc::new(FileCertificate::open(certificate, key).context("the bundle endpoint has no certificate")?)
        }
    })
}
