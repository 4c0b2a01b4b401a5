//! The words of `lictor up` about who issues identities: the lab itself, another Workload API, or control.

use super::authority::AuthorityWords;
use anyhow::{Result, anyhow, bail};
use clap::Args;
use lictor_identity::system_clock;
use lictor_lab::{Bootstrap, Identity, MembershipOptions, NodeName, WorkloadEndpoint, read_bundle};
use lictor_model::TrustDomain;
use lictor_pki::tls::node::Fingerprint;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct IssuanceWords {
    #[command(flatten)]
    authority: AuthorityWords,
    /// The ClusterIssuer that Certificates name to mean the lab's authorities, instead of `spiffe-issuer`; may be repeated
    #[arg(long, value_name = "NAME")]
    certificate_issuer: Vec<String>,
    /// Take the pods' identities from another Workload API, such as a SPIRE agent's, instead of issuing them
    #[arg(
        long,
        value_name = "unix:PATH",
        conflicts_with_all = [
            "svid_ttl", "ca_ttl", "upstream_cert", "upstream_key", "upstream_roots", "identity_store", "ca_pkcs11_module",
            "certificate_issuer", "federate_with", "web_roots", "bundle_endpoint", "jwt_issuer",
        ]
    )]
    workload_api: Option<WorkloadEndpoint>,
    /// Have control issue the pods' identities (`lictor control`), as one of its nodes
    #[arg(
        long,
        value_name = "HOST:PORT",
        requires = "control_trust",
        conflicts_with_all = [
            "svid_ttl", "ca_ttl", "upstream_cert", "upstream_key", "upstream_roots", "identity_store", "ca_pkcs11_module",
            "certificate_issuer", "workload_api", "bundle_endpoint", "jwt_issuer",
        ]
    )]
    control: Option<String>,
    /// The file with the one-time token to join by; read whenever one is needed
    #[arg(long, value_name = "FILE", requires = "control")]
    join_token_file: Option<PathBuf>,
    /// The trust domain's bundle, by which control proves itself: a JWK set, or certificates as PEM
    #[arg(long, value_name = "FILE", requires = "control", group = "control_trust")]
    control_bundle: Option<PathBuf>,
    /// One of the trust domain's authorities instead, by the SHA-256 of its certificate
    #[arg(long, value_name = "HEX", requires = "control", group = "control_trust")]
    control_fingerprint: Option<Fingerprint>,
    /// Keep the node's own SVID in this file, so that it needs no other token when it starts again
    #[arg(long, value_name = "FILE", requires = "control")]
    node_state: Option<PathBuf>,
    /// The name of the node
    #[arg(long, value_name = "NAME", requires = "control", default_value = "lab")]
    node: NodeName,
}

impl IssuanceWords {
    /// The node's name.
    pub(super) fn node(&self) -> &str {
        self.node.as_str()
    }

    pub(super) fn identity(&self, trust_domain: &TrustDomain, svid_lifetime: Duration) -> Result<Identity> {
        if let Some(endpoint) = &self.workload_api {
            return Ok(Identity::Given(endpoint.clone()));
        }
        if let Some(address) = &self.control {
            return Ok(Identity::Control(Box::new(self.membership(address, trust_domain)?)));
        }
        let authorities = self.authority.authorities(svid_lifetime, &self.certificate_issuer)?;
        Ok(Identity::Own(Box::new(authorities)))
    }

    fn membership(&self, address: &str, trust_domain: &TrustDomain) -> Result<MembershipOptions> {
        let bootstrap = match (&self.control_bundle, self.control_fingerprint) {
            (Some(file), _) => {
                let bundle = read_bundle(trust_domain, file);
                Bootstrap::Bundle(Box::new(bundle.map_err(|error| anyhow!("{}: {error}", file.display()))?))
            }
            (None, Some(fingerprint)) => Bootstrap::Fingerprint(fingerprint),
            (None, None) => bail!("--control: expected --control-bundle or --control-fingerprint"),
        };
        Ok(MembershipOptions {
            address: address.to_owned(),
            node: self.node.clone(),
            trust_domain: trust_domain.clone(),
            bootstrap,
            token_file: self.join_token_file.as_ref().map(std::path::absolute).transpose()?,
            kept: self.node_state.as_ref().map(std::path::absolute).transpose()?,
            clock: system_clock(),
        })
    }
}
