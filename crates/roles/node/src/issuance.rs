//! Who issues the identities of this node's pods.

use anyhow::{Context, Result, bail};
use lictor_identity::membership::Membership;
use lictor_identity::workload_api::Tokens;
use lictor_identity::{Ca, Issuer, Registry, Source, random_fraction};
use lictor_pki::Keyring;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long control may take to let the node in.
const LET_IN: Duration = Duration::from_secs(20);

/// How long another Workload API may take for its first state: SPIRE's agent asks its server every five seconds.
const FIRST_STATE: Duration = Duration::from_secs(20);

/// Who issues the identities of a node's pods, and says whom to believe.
#[derive(Debug, Clone)]
pub enum Issuance {
    /// Authorities of lictor's own.
    Own {
        /// They.
        ca: Ca,
        /// How long an SVID lives.
        svid_lifetime: time::Duration,
    },
    /// Another Workload API, which gives this process the SVIDs of all its pods.
    Given(Source),
    /// Control, which signs for the pods of its members.
    Control(Membership),
}

impl Issuance {
    /// The keyring that is kept.
    pub fn keyring(&self) -> &Keyring {
        match self {
            Self::Own { ca, .. } => ca.keyring(),
            Self::Given(source) => source.keyring(),
            Self::Control(membership) => membership.keyring(),
        }
    }

    /// The own authorities, if identities are issued here.
    pub fn ca(&self) -> Option<&Ca> {
        match self {
            Self::Own { ca, .. } => Some(ca),
            Self::Given(_) | Self::Control(_) => None,
        }
    }

    /// The other Workload API, if identities come from one.
    pub fn source(&self) -> Option<&Source> {
        match self {
            Self::Own { .. } | Self::Control(_) => None,
            Self::Given(source) => Some(source),
        }
    }

    /// The membership, if control issues the identities.
    pub fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Own { .. } | Self::Given(_) => None,
            Self::Control(membership) => Some(membership),
        }
    }

    /// Who signs the tokens of the pods here.
    pub(crate) fn tokens(&self) -> Tokens {
        self.membership().map_or(Tokens::Keyring, |membership| Tokens::Control(membership.clone()))
    }

    /// Who says whom to believe about other trust domains, where it is neither this node's settings nor objects; for
    /// messages. There, no bundle is fetched, served or set here, and no token is signed.
    pub(crate) fn says_whom_to_believe(&self) -> Option<String> {
        match self {
            Self::Own { .. } | Self::Control(_) => None,
            Self::Given(source) => Some(format!("the Workload API at {}", source.endpoint())),
        }
    }

    /// Keeps the keyring for the identities of `registry` from now on.
    ///
    /// Errors: the other Workload API gives nothing in time, or control does not let the node in, so that no pod could prove
    /// who it is.
    pub(crate) async fn start(&self, registry: &Registry, tasks: &mut JoinSet<()>) -> Result<()> {
        match self {
            Self::Own { ca, svid_lifetime } => {
                let issuer = Issuer::new(ca.clone(), registry.clone(), *svid_lifetime, random_fraction());
                tasks.spawn(issuer.run(std::future::pending()));
            }
            Self::Given(source) => {
                tasks.spawn(source.clone().run(registry.clone(), std::future::pending()));
                if tokio::time::timeout(FIRST_STATE, source.received()).await.is_err() {
                    let status = source.status();
                    let why = status.faults.first().context("it says nothing")?;
                    bail!("the Workload API at {} gives no SVID: {why}", status.endpoint);
                }
            }
            Self::Control(membership) => {
                tasks.spawn(membership.clone().run(registry.clone(), std::future::pending()));
                if tokio::time::timeout(LET_IN, membership.joined()).await.is_err() {
                    let status = membership.status();
                    let why = status.faults.first().context("it says nothing")?;
                    bail!("node {} is not let in by control at {}: {why}", status.node, status.address);
                }
            }
        }
        Ok(())
    }
}
