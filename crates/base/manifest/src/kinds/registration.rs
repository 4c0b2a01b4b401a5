//! `spire.spiffe.io/v1alpha1`: who gets which identity, and which other trust domains there are.

use crate::Meta;
use lictor_model::{DnsName, Selector, SpiffeId, TrustDomain};
use lictor_template::Template;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// A ClusterSPIFFEID: the identity of each pod that it selects, by templates.
///
/// Source: spiffe/spire-controller-manager, `api/v1alpha1/clusterspiffeid_types.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSpiffeId {
    /// Name and origin.
    pub meta: Meta,
    /// The namespaces by their labels; without a selector, all.
    pub namespaces: Selector,
    /// The pods in them by their labels; without a selector, all.
    pub pods: Selector,
    /// What makes the identity.
    pub id: Template,
    /// What makes the DNS names that its certificates carry.
    pub dns_names: Vec<Template>,
    /// Whether the names of the Services that lead to the pod are added to them.
    pub auto_populate_dns_names: bool,
    /// What makes further selectors that a workload has to meet.
    pub selectors: Vec<Template>,
    /// Whether it counts only for pods that no other one makes an entry for.
    pub fallback: bool,
    /// Which controller acts on it; empty when it names none.
    pub class: Arc<str>,
    /// How what is issued for it is made.
    pub issuance: Issuance,
}

/// A ClusterStaticEntry: an entry as it stands.
///
/// Source: spiffe/spire-controller-manager, `api/v1alpha1/clusterstaticentry_types.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterStaticEntry {
    /// Name and origin.
    pub meta: Meta,
    /// The identity.
    pub id: SpiffeId,
    /// Who may ask for it: a node's identity, or the server's own for an alias of nodes.
    pub parent: SpiffeId,
    /// What a workload has to be; at least one.
    pub selectors: Vec<EntrySelector>,
    /// The DNS names that its certificates carry.
    pub dns_names: Vec<DnsName>,
    /// Which controller acts on it; empty when it names none.
    pub class: Arc<str>,
    /// How what is issued for it is made.
    pub issuance: Issuance,
}

/// How the SVIDs of an entry are made, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Issuance {
    /// The most that an X509-SVID lives, in whole seconds; the default when nothing is said.
    pub x509_lifetime: Option<Duration>,
    /// The most that a JWT-SVID lives, in whole seconds; the default when nothing is said.
    pub jwt_lifetime: Option<Duration>,
    /// The trust domains whose bundles the workload gets.
    pub federates_with: Vec<TrustDomain>,
    /// What tells the workload's SVIDs apart; empty when it has none.
    pub hint: Arc<str>,
    /// Whether it is for an administrator. Kept; nothing here asks for it.
    pub admin: bool,
    /// Whether it is for a server below this one. Kept; nothing here asks for it.
    pub downstream: bool,
}

/// A selector as SPIRE spells it: `type:value`, such as `k8s:ns:shop`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntrySelector {
    kind: Arc<str>,
    value: Arc<str>,
}

/// A text that is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a selector such as k8s:ns:shop: a type and a value, neither empty, with a colon between them")]
pub struct InvalidEntrySelector;

impl EntrySelector {
    /// The type: `k8s`, `unix`, …
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The value, colons included.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for EntrySelector {
    type Err = InvalidEntrySelector;

    fn from_str(text: &str) -> Result<Self, InvalidEntrySelector> {
        match text.split_once(':') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => {
                Ok(Self { kind: Arc::from(kind), value: Arc::from(value) })
            }
            _ => Err(InvalidEntrySelector),
        }
    }
}

impl fmt::Display for EntrySelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// A ClusterFederatedTrustDomain: another trust domain, and where its bundle is.
///
/// Source: spiffe/spire-controller-manager, `api/v1alpha1/clusterfederatedtrustdomain_types.go`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterFederatedTrustDomain {
    /// Name and origin.
    pub meta: Meta,
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Where its bundle is: an `https` URL without a user.
    pub bundle_endpoint: Arc<str>,
    /// How the endpoint proves itself.
    pub profile: BundleProfile,
    /// A first bundle, as a JWK set; not verified yet.
    pub bundle: Option<Arc<str>>,
    /// Which controller acts on it; empty when it names none.
    pub class: Arc<str>,
}

/// How a bundle endpoint proves itself.
///
/// Source: SPIFFE Federation, section 5.2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleProfile {
    /// `https_web`: by a certificate of the Web's authorities.
    Web,
    /// `https_spiffe`: by the SVID of this identity.
    Spiffe(SpiffeId),
}
