//! What a cluster lets lictor serve.

use lictor_manifest::IssuerRef;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Which issuers are lictor's, and how the cluster's own names end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The issuers.
    pub issuers: Issuers,
    /// Whether there are authorities that the issuers stand for. Without them no Certificate is served.
    pub has_authorities: bool,
    /// The domain of the cluster's Services, such as `cluster.local`.
    pub cluster_domain: Arc<str>,
}

/// The issuers that Certificates name to mean lictor's authorities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuers {
    /// Each of them.
    pub all: BTreeSet<IssuerRef>,
    /// Whether somebody has named them. What nobody has named gives way to a declaration of the same name.
    pub named: bool,
}

impl Issuers {
    /// The name of the ClusterIssuer that is lictor's where nobody names another one.
    pub const DEFAULT: &str = "spiffe-issuer";

    /// The ClusterIssuers of these names; the default one if there are none.
    pub fn clusterwide<'n>(names: impl IntoIterator<Item = &'n str>) -> Self {
        let all: BTreeSet<IssuerRef> = names.into_iter().map(IssuerRef::cluster).collect();
        if all.is_empty() {
            return Self { all: [IssuerRef::cluster(Self::DEFAULT)].into(), named: false };
        }
        Self { all, named: true }
    }
}

impl Default for Issuers {
    fn default() -> Self {
        Self::clusterwide([])
    }
}
