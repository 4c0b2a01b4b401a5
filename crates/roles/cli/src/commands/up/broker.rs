//! The options of `lictor up` that are about brokers, with the names that a SPIRE agent's `broker` block has.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lictor_identity::broker_api::{Brokers, ReferenceType, ReferenceTypes};
use lictor_lab::BrokerApi;
use lictor_model::{SpiffeId, TrustDomain};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::str::FromStr;

/// Who may ask for the identities of others.
// Two groups of options cannot have one name, which is that of the type.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct Words {
    /// Let the workload of this SPIFFE ID get the SVIDs and bundles of others by the SPIFFE Broker API. type_url says how it may refer to
    /// them: type.googleapis.com/spiffe.broker.WorkloadPIDReference or ...KubernetesObjectReference, each in a part of its
    /// own, or * for both; may be repeated
    #[arg(long, value_name = "SPIFFE-ID,type_url=...", requires = "broker_socket_path")]
    broker: Vec<BrokerWords>,
    /// Serve the SPIFFE Broker API at this unix socket, to the brokers alone
    #[arg(long, value_name = "PATH", requires = "broker")]
    broker_socket_path: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct BrokerWords {
    id: SpiffeId,
    types: ReferenceTypes,
}

impl Words {
    /// Errors: a broker is named twice, or is no workload of the own trust domain.
    pub(super) fn options(&self, own: &TrustDomain) -> Result<Option<BrokerApi>> {
        let Some(socket) = &self.broker_socket_path else { return Ok(None) };
        let socket =
            std::path::absolute(socket).with_context(|| format!("--broker-socket-path {}", socket.display()))?;
        let mut brokers = Brokers::default();
        for BrokerWords { id, types } in self.broker.iter().cloned() {
            let named = id.to_string();
            brokers.insert(own, id, types).with_context(|| format!("--broker {named}"))?;
        }
        Ok(Some(BrokerApi { socket, brokers }))
    }
}

impl FromStr for BrokerWords {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(',');
        let id: SpiffeId = parts.next().unwrap_or_default().parse()?;
        let mut named = Vec::new();
        for part in parts {
            match part.split_once('=') {
                Some(("type_url", value)) => named.push(value),
                _ => bail!("expected type_url=, saw {part:?}"),
            }
        }
        let types = match &*named {
            [] => bail!("expected type_url= with how the broker may refer to workloads"),
            ["*"] => ReferenceTypes::Any,
            _ => {
                let types: BTreeSet<ReferenceType> = named.iter().map(|one| one.parse()).collect::<Result<_, _>>()?;
                ensure!(types.len() == named.len(), "a type_url is there twice");
                ReferenceTypes::These(types)
            }
        };
        Ok(Self { id, types })
    }
}

#[cfg(test)]
mod tests {
    use super::{BrokerWords, ReferenceType, ReferenceTypes};

    #[test]
    fn a_broker_says_how_it_may_refer_to_workloads() {
        let read = |text: &str| text.parse::<BrokerWords>();
        let (pid, object) = (ReferenceType::Pid, ReferenceType::KubernetesObject);
        let any = read("spiffe://td/proxy,type_url=*").expect("a broker");
        assert_eq!((any.id.as_str(), any.types), ("spiffe://td/proxy", ReferenceTypes::Any));
        let one = read(&format!("spiffe://td/proxy,type_url={pid}")).expect("a broker");
        assert_eq!(one.types, ReferenceTypes::These([pid].into()));
        let both = read(&format!("spiffe://td/proxy,type_url={pid},type_url={object}")).expect("a broker");
        assert_eq!(both.types, ReferenceTypes::These([pid, object].into()));
        for (text, reason) in [
            ("", "spiffe://"),
            ("proxy,type_url=*", "spiffe://"),
            ("spiffe://td/proxy", "type_url="),
            ("spiffe://td/proxy,type_url", "type_url="),
            ("spiffe://td/proxy,types=*", "type_url="),
            ("spiffe://td/proxy,type_url=", "WorkloadPIDReference"),
            ("spiffe://td/proxy,type_url=WorkloadPIDReference", "type.googleapis.com"),
            ("spiffe://td/proxy,type_url=*,type_url=*", "saw \"*\""),
            (&format!("spiffe://td/proxy,type_url={pid},type_url=*"), "saw \"*\""),
            (&format!("spiffe://td/proxy,type_url={pid},type_url={pid}"), "twice"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
