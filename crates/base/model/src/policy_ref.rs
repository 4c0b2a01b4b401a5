//! Which rule of which document.

use crate::Name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The policy kinds that can decide, and the group that each belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PolicyKind {
    /// `networking.k8s.io`.
    NetworkPolicy,
    /// `policy.networking.k8s.io`.
    ClusterNetworkPolicy,
    /// `policy.networking.k8s.io`, v1alpha1.
    AdminNetworkPolicy,
    /// `policy.networking.k8s.io`, v1alpha1.
    BaselineAdminNetworkPolicy,
    /// `cilium.io`.
    CiliumNetworkPolicy,
    /// `cilium.io`.
    CiliumClusterwideNetworkPolicy,
    /// `security.istio.io`.
    PeerAuthentication,
    /// `security.istio.io`.
    AuthorizationPolicy,
    /// `lictor.dev`.
    Stance,
    /// The core group: one whose Rego judges what an Envoy asks.
    ConfigMap,
}

impl PolicyKind {
    /// The API group.
    pub const fn group(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "networking.k8s.io",
            Self::ClusterNetworkPolicy | Self::AdminNetworkPolicy | Self::BaselineAdminNetworkPolicy => {
                "policy.networking.k8s.io"
            }
            Self::CiliumNetworkPolicy | Self::CiliumClusterwideNetworkPolicy => "cilium.io",
            Self::PeerAuthentication | Self::AuthorizationPolicy => "security.istio.io",
            Self::Stance => "lictor.dev",
            Self::ConfigMap => "",
        }
    }

    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NetworkPolicy => "NetworkPolicy",
            Self::ClusterNetworkPolicy => "ClusterNetworkPolicy",
            Self::AdminNetworkPolicy => "AdminNetworkPolicy",
            Self::BaselineAdminNetworkPolicy => "BaselineAdminNetworkPolicy",
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::CiliumClusterwideNetworkPolicy => "CiliumClusterwideNetworkPolicy",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::Stance => "Stance",
            Self::ConfigMap => "ConfigMap",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A rule: the policy it stands in, and its field path there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PolicyRef {
    /// The kind; it implies the group.
    pub kind: PolicyKind,
    /// Namespace and name, as `namespace/name`.
    pub name: Name,
    /// The field path of the rule, such as `spec.ingress[0].from[1]`; empty for the policy as a whole.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub path: Arc<str>,
}

impl PolicyRef {
    /// The policy as a whole.
    pub fn whole(kind: PolicyKind, name: Name) -> Self {
        Self { kind, name, path: Arc::default() }
    }

    /// The same policy, at a field path.
    #[must_use]
    pub fn at(&self, path: impl Into<Arc<str>>) -> Self {
        Self { path: path.into(), ..self.clone() }
    }
}

impl fmt::Display for PolicyRef {
    /// `NetworkPolicy production/allow-api-to-db spec.ingress[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.name)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, " {}", self.path) }
    }
}
