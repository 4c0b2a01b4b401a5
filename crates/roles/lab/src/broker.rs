//! Where a lab serves the SPIFFE Broker API.

use anyhow::{Context, Result, ensure};
use lictor_identity::broker_api::{Brokers, bind};
use lictor_node::BrokerOptions;
use std::path::{Path, PathBuf};

/// The SPIFFE Broker API of a lab.
#[derive(Debug, Clone)]
pub struct BrokerApi {
    /// Its socket. Pods see it, as they see the machine's files, unless it is below `/run/lictor`.
    pub socket: PathBuf,
    /// Who may ask.
    pub brokers: Brokers,
}

impl BrokerApi {
    /// Whoever sees the folder of the Workload API's socket must not see this one.
    ///
    /// Source: SPIRE's agent; SPIFFE Broker Endpoint, section 2.
    pub(crate) fn check(&self, workload_folder: &Path) -> Result<()> {
        let beside = self.socket.starts_with(workload_folder);
        ensure!(!beside, "the Broker API's socket cannot be in the folder of the Workload API's");
        Ok(())
    }

    /// Listens at its socket.
    pub(crate) fn bind(&self) -> Result<BrokerOptions> {
        let listener = bind(&self.socket);
        let listener =
            listener.with_context(|| format!("the Broker API cannot listen at {}", self.socket.display()))?;
        Ok(BrokerOptions { listener, brokers: self.brokers.clone() })
    }
}
