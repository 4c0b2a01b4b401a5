//! The SPIFFE Broker API, as this node is told to serve it.

use crate::issuance::Issuance;
use anyhow::{Result, bail};
use lictor_identity::broker_api::{AnswerSink, Brokers, Settings, serve};
use lictor_identity::{Attestor, Registration};
use lictor_model::{Name, SpiffeId, TrustDomain};
use std::collections::BTreeSet;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// Where the Broker API is served, and to whom.
pub struct BrokerOptions {
    /// Its socket; see [`lictor_identity::broker_api::bind`].
    pub listener: UnixListener,
    /// Who may ask for the identities of others.
    pub brokers: Brokers,
    /// Where it is told what brokers asked for and were answered.
    pub sink: AnswerSink,
}

/// As whom a node proves itself to brokers, who are to accept no other: no workload of a namespace has this identity.
pub fn broker_endpoint_id(trust_domain: &TrustDomain) -> Result<SpiffeId> {
    Ok(format!("spiffe://{trust_domain}/lictor/broker-endpoint").parse()?)
}

/// Serves the Broker API for the pods that `attestor` knows.
///
/// Errors: identities are given by somebody else, who has none for the endpoint, or it cannot be registered.
pub(crate) fn start(
    options: BrokerOptions,
    attestor: &Attestor,
    issuance: &Issuance,
    tasks: &mut JoinSet<()>,
) -> Result<()> {
    let elsewhere = issuance.membership().map(|_| "control".to_owned()).or_else(|| issuance.says_whom_to_believe());
    if let Some(whom) = elsewhere {
        bail!(
            "{whom} gives the identities and none of an endpoint for brokers; beside it, the Broker API cannot be had"
        );
    }
    let BrokerOptions { listener, brokers, sink } = options;
    let keyring = issuance.keyring();
    let endpoint = broker_endpoint_id(keyring.bundle().trust_domain())?;
    // Without a cgroup and a namespace: it is renewed like a pod's, and no process and no reference leads to it.
    attestor.registry().add(Registration {
        pod: Name::new("", "broker-endpoint"),
        uid: None,
        ids: vec![endpoint.clone().into()],
        federates_with: BTreeSet::new(),
        cgroups: Vec::new(),
    })?;
    let settings = Settings { attestor: attestor.clone(), keyring: keyring.clone(), endpoint, brokers, sink };
    tasks.spawn(async move {
        if let Err(error) = serve(listener, settings, std::future::pending()).await {
            tracing::error!(%error, "the Broker API is not served any more");
        }
    });
    Ok(())
}
