//! Federation with other trust domains, as this node is told to have it.

use crate::issuance::Issuance;
use crate::relations::Relations;
use anyhow::{Context, Result, bail};
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

impl FederationOptions {
    /// That nothing of it is said where somebody else says it.
    ///
    /// Errors: identities are given, and whoever gives them says whom to believe and signs tokens.
    pub(crate) fn check(&self, issuance: &Issuance) -> Result<()> {
        if issuance.membership().is_some() && (self.endpoint.is_some() || self.issuer.is_some()) {
            bail!("control has the authorities: the bundle is its to serve, and who issues tokens its to say");
        }
        let Some(whom) = issuance.says_whom_to_believe() else { return Ok(()) };
        let Self { endpoint, relations, roots, issuer } = self;
        let said = [
            ("a bundle endpoint", endpoint.is_some()),
            ("relations to other trust domains", !relations.is_empty()),
            ("authorities of the web", *roots != Roots::default()),
            ("an issuer of tokens", issuer.is_some()),
        ];
        match said.iter().find(|(_, said)| *said) {
            Some((what, _)) => {
                bail!("{whom} gives the identities and says whom to believe; beside it, {what} cannot be had")
            }
            None => Ok(()),
        }
    }
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
    issuance: &Issuance,
    registry: &Registry,
    tasks: &mut JoinSet<()>,
) -> Result<Relations> {
    options.check(issuance)?;
    let keyring = issuance.keyring();
    if let Some(whom) = issuance.says_whom_to_believe() {
        return Ok(Relations::given_by(keyring, whom));
    }
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
                uid: None,
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

#[cfg(test)]
mod tests {
    use super::{EndpointOptions, EndpointProfile, FederationOptions, Relation, Roots};
    use crate::issuance::Issuance;
    use lictor_identity::federation::Profile;
    use lictor_identity::{Ca, CaOptions, Source, system_clock};
    use std::time::Duration;

    /// One for each thing that can be said.
    fn said() -> [FederationOptions; 4] {
        let profile = EndpointProfile::Spiffe;
        let address = "127.0.0.1:0".parse().expect("an address");
        let url = "https://127.0.0.1:1/".parse().expect("a URL");
        let trust_domain = "other".parse().expect("a trust domain");
        let relation = Relation { trust_domain, url, profile: Profile::Web(Roots::System), first: None };
        let none = FederationOptions::default;
        [
            FederationOptions {
                endpoint: Some(EndpointOptions { address, profile, refresh_hint: Duration::from_secs(60) }),
                ..none()
            },
            FederationOptions { relations: vec![relation], ..none() },
            FederationOptions { roots: Roots::File("/roots".into()), ..none() },
            FederationOptions { issuer: Some("https://td.example".parse().expect("an issuer")), ..none() },
        ]
    }

    #[test]
    fn nothing_is_said_about_federation_where_identities_are_given() {
        let trust_domain: lictor_model::TrustDomain = "td".parse().expect("a trust domain");
        let endpoint = "unix:/api".parse().expect("an endpoint");
        let given = Issuance::Given(Source::new(endpoint, trust_domain.clone(), system_clock()).expect("a source"));
        let options = CaOptions { trust_domain, life: time::Duration::DAY, upstream: None, store: None };
        let ca = Ca::start(options, system_clock()).expect("authorities");
        let own = Issuance::Own { ca, svid_lifetime: time::Duration::HOUR };
        assert!(FederationOptions::default().check(&given).is_ok());
        for options in said() {
            let error = options.check(&given).expect_err("a refusal").to_string();
            assert!(error.starts_with("the Workload API at unix:/api gives the identities"), "{error}");
            assert!(options.check(&own).is_ok(), "{error}");
        }
    }
}
