//! Who issues a lab's identities.

use anyhow::{Context, Result};
use lictor_certificates::{Issuers, Rules};
use lictor_cluster::Snapshot;
use lictor_cluster::registration::By;
use lictor_identity::certificates::{Certificates, CertificatesOptions};
use lictor_identity::membership::{Membership, MembershipOptions};
use lictor_identity::{Ca, CaOptions, Source, StoreOptions, UpstreamFiles, WorkloadEndpoint, system_clock};
use lictor_manifest::{Code, Finding, Issuance as Asked, Object};
use lictor_model::TrustDomain;
use lictor_node::Issuance;
use lictor_pkcs11::{Token, TokenOptions};
use lictor_pki::Keys;
use lictor_sources::Cluster;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// Who issues a lab's identities.
#[derive(Debug, Clone)]
pub enum Identity {
    /// Authorities of the lab's own.
    Own(Box<Authorities>),
    /// Another Workload API, such as that of a SPIRE agent.
    Given(WorkloadEndpoint),
    /// Control, of which the lab is a node.
    Control(Box<MembershipOptions>),
}

/// How long SVIDs and those who sign them live, and where the authorities come from.
#[derive(Debug, Clone)]
pub struct Authorities {
    /// How long an SVID lives.
    pub svid_lifetime: Duration,
    /// How long an authority lives.
    pub authority_lifetime: Duration,
    /// Who signs the authorities; they are roots without.
    pub upstream: Option<UpstreamFiles>,
    /// Where the authorities are kept; they end with the lab without.
    pub store: Option<StoreOptions>,
    /// The token that holds the keys of the authorities; they are in this process without.
    pub token: Option<TokenOptions>,
    /// The ClusterIssuers that Certificates name to mean the lab's authorities; the default one if there are none.
    pub certificate_issuers: Vec<String>,
}

impl Identity {
    /// Whoever issues the identities of a trust domain.
    pub(crate) fn issuance(&self, trust_domain: &TrustDomain) -> Result<Issuance> {
        match self {
            Self::Own(authorities) => Ok(Issuance::Own {
                ca: authorities.ca(trust_domain)?,
                svid_lifetime: authorities.svid_lifetime.try_into()?,
            }),
            Self::Given(endpoint) => {
                Ok(Issuance::Given(Source::new(endpoint.clone(), trust_domain.clone(), system_clock())?))
            }
            Self::Control(options) => Ok(Issuance::Control(Membership::new((**options).clone())?)),
        }
    }

    /// Which Certificates are served: none where there is nobody to sign them.
    pub(crate) fn rules(&self, cluster: &Cluster) -> Rules {
        let (issuers, has_authorities) = match self {
            Self::Own(authorities) => {
                (Issuers::clusterwide(authorities.certificate_issuers.iter().map(String::as_str)), true)
            }
            Self::Given(_) | Self::Control(_) => (Issuers::default(), false),
        };
        Rules { issuers, has_authorities, cluster_domain: Arc::clone(&cluster.registration.cluster_domain) }
    }

    /// What objects ask of identities and whoever issues them does not give.
    pub(crate) fn findings(&self, objects: &[Object], snapshot: &Snapshot) -> Vec<Finding> {
        let Self::Given(endpoint) = self else { return Vec::new() };
        let given = snapshot.pods.values().flat_map(|pod| {
            let parts = pod.parts.iter().map(|part| &part.entry.by);
            pod.entries.iter().map(|entry| &entry.by).chain(parts)
        });
        let makers: BTreeSet<&By> = given.collect();
        let finding = |object: &Object| {
            let (kind, maker, asked) = match object {
                Object::ClusterSpiffeId(one) => {
                    let asked = [
                        live("spec.ttl", &one.issuance),
                        has_names("spec.dnsNameTemplates", !one.dns_names.is_empty()),
                        has_names("spec.autoPopulateDNSNames", one.auto_populate_dns_names),
                    ];
                    ("ClusterSPIFFEID", By::SpiffeId(Arc::clone(&one.meta.name.name)), asked)
                }
                Object::ClusterStaticEntry(one) => {
                    let names = has_names("spec.dnsNames", !one.dns_names.is_empty());
                    let asked = [live("spec.x509SVIDTTL", &one.issuance), names, None];
                    ("ClusterStaticEntry", By::Static(Arc::clone(&one.meta.name.name)), asked)
                }
                _ => return Vec::new(),
            };
            let meta = object.meta();
            let said = |(path, asked): (&str, String)| {
                let name = &meta.name.name;
                let message =
                    format!("{kind} {name} has its SVIDs {asked}, and the Workload API at {endpoint} decides that");
                Finding::new(Code::DecidedByOthers, meta.origin.position(path), message)
            };
            asked.into_iter().flatten().filter(|_| makers.contains(&maker)).map(said).collect()
        };
        objects.iter().flat_map(finding).collect()
    }

    /// The Secrets of Certificates, signed by the own authorities, if there are any.
    pub(crate) fn certificates(&self, issuance: &Issuance, cluster: &Cluster) -> Result<Option<Certificates>> {
        let (Self::Own(authorities), Some(ca)) = (self, issuance.ca()) else { return Ok(None) };
        let options = CertificatesOptions { rules: self.rules(cluster), store: authorities.store.clone() };
        Certificates::start(ca.clone(), options).map(Some).context("no Secrets for Certificates")
    }
}

fn live(path: &'static str, issuance: &Asked) -> Option<(&'static str, String)> {
    issuance.x509_lifetime.map(|limit| (path, format!("live {} s at most", limit.as_secs())))
}

fn has_names(path: &'static str, has: bool) -> Option<(&'static str, String)> {
    has.then(|| (path, "have DNS names".to_owned()))
}

impl Authorities {
    /// The authorities of a trust domain.
    ///
    /// Errors: they cannot be made, or what they are kept in does not open.
    pub fn ca(&self, trust_domain: &TrustDomain) -> Result<Ca> {
        let options = CaOptions {
            trust_domain: trust_domain.clone(),
            life: self.authority_lifetime.try_into()?,
            upstream: self.upstream.clone(),
            store: self.store.clone(),
        };
        let keys = match &self.token {
            Some(token) => Keys::held_by(Arc::new(Token::open(token)?)),
            None => Keys::default(),
        };
        Ca::start_with_keys(options, &keys, system_clock()).context("no authority for the pods' identities")
    }
}
