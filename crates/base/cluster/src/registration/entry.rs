//! Entries, and why there is none.

use lictor_manifest::{EntrySelector, Issuance};
use lictor_model::{DnsName, InvalidSpiffeId, SpiffeId, TrustDomain};
use lictor_template::RenderError;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a workload may be issued, and what it has to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The identity.
    pub id: SpiffeId,
    /// Who may ask for it: the agent of the pod's node, or an alias of it.
    pub parent: SpiffeId,
    /// What the workload has to be, all of it.
    pub selectors: BTreeSet<EntrySelector>,
    /// The DNS names that its certificates carry, each once, those of templates first.
    pub dns_names: Vec<DnsName>,
    /// How what is issued for it is made.
    pub issuance: Arc<Issuance>,
    /// The resource that it is made of.
    pub by: By,
}

/// A resource that makes entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum By {
    /// The ClusterSPIFFEID of this name.
    SpiffeId(Arc<str>),
    /// The ClusterStaticEntry of this name.
    Static(Arc<str>),
}

/// Paths of identities that are no workload's: those of SPIRE's server and agents, and of control, nodes and bundle
/// endpoints.
const RESERVED: [&str; 2] = ["/spire", "/lictor"];

impl Entry {
    /// Whether another one is for the same workloads and says the same identity: only one of them is set.
    ///
    /// Source: spire-controller-manager, `makeEntryKey`.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.id == other.id && self.parent == other.parent && self.selectors == other.selectors
    }

    /// Why it is not taken: as SPIRE's server would not, and not for an identity of lictor's own services.
    pub(crate) fn refusal(&self, trust_domain: &TrustDomain) -> Option<Refusal> {
        let path = self.id.path();
        if self.id.trust_domain_str() != trust_domain.as_str() {
            return Some(Refusal::TrustDomain { id: self.id.clone(), wanted: trust_domain.clone() });
        }
        let below = |own: &str| path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if path.is_empty() || RESERVED.into_iter().any(below) {
            return Some(Refusal::Reserved { id: self.id.clone() });
        }
        let covered = |name: &&DnsName| name.wildcard().is_some_and(|wildcard| self.dns_names.contains(&wildcard));
        self.dns_names.iter().find(covered).map(|name| Refusal::Wildcard { name: name.clone() })
    }
}

/// Why a resource makes no entry for a pod.
///
/// Source: spire-controller-manager, `renderPodEntry`; counted as `podEntryRenderFailures`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A template has no text for the pod.
    #[error("its template gives nothing: {0}")]
    Template(#[from] RenderError),
    /// What is rendered is no SPIFFE ID.
    #[error("`{text}`: {error}")]
    Id {
        /// What was rendered.
        text: String,
        /// What is wrong with it.
        error: InvalidSpiffeId,
    },
    /// The identity is another trust domain's.
    #[error("expected an identity of trust domain {wanted}, found {id}")]
    TrustDomain {
        /// The identity.
        id: SpiffeId,
        /// The trust domain.
        wanted: TrustDomain,
    },
    /// What is rendered is no selector.
    #[error("expected a selector such as k8s:ns:shop, found `{0}`")]
    Selector(String),
    /// The node's agent has no identity: the cluster's name cannot stand in one.
    #[error("the node's agent has no identity: {0}")]
    Agent(InvalidSpiffeId),
    /// The pod's node is not known.
    #[error("node {0} is not known")]
    Node(Arc<str>),
}

/// Why an entry is not taken.
///
/// Source: SPIRE, `pkg/server/api`: `VerifyTrustDomainWorkloadID` and the checks of DNS names; counted as `entryFailures`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The identity is another trust domain's.
    #[error("expected an identity of trust domain {wanted}, found {id}")]
    TrustDomain {
        /// The identity.
        id: SpiffeId,
        /// The trust domain.
        wanted: TrustDomain,
    },
    /// The identity is the trust domain's own, or one that SPIRE or lictor keeps for itself.
    #[error("expected an identity with a path that is not /spire or /lictor nor below one of them, found {id}")]
    Reserved {
        /// The identity.
        id: SpiffeId,
    },
    /// What is rendered is no DNS name.
    #[error("expected a DNS name, found `{0}`")]
    DnsName(String),
    /// A DNS name is among those that a wildcard of the same entry means.
    #[error("expected no DNS name that a wildcard of the entry means already, found {name}")]
    Wildcard {
        /// The name.
        name: DnsName,
    },
}
