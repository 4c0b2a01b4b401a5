//! The kinds that lictor acts on, as typed objects.

mod authorization_policy;
mod certificate;
mod cilium;
mod cluster_network_policy;
mod core;
mod discovery;
mod entrance;
mod network_policy;
mod peer_authentication;
mod registration;
mod stance;
mod workload;

pub use authorization_policy::{Action, AuthorizationPolicy, AuthorizationRule, Condition, Operation, Source};
pub use certificate::{
    Beyond, Certificate, CertificateKey, CertificateUsage, IssuerRef, KeyAlgorithm, KeyEncoding, KeyRotation,
    OutputFormat, Renewal, SecretTemplate,
};
pub use cilium::{
    CidrGroup, CiliumNetworkPolicy, CiliumPeer, CiliumPorts, CiliumRule, CiliumSide, CiliumSpec, EndpointSelector,
    Entity, FullMatch, GroupRef, HttpRule, Said,
};
pub use cluster_network_policy::{
    ClusterNetworkPolicy, NamespacedPods, Tier, TierAction, TierPeer, TierPort, TierRule,
};
pub use core::{
    Namespace, REGO_AUTHZ, REGO_LABEL, Service, ServiceAccount, ServicePort, ServiceType, Stored, TargetPort,
};
pub use discovery::{BackendPort, Endpoints, Subset};
pub use entrance::{Entrance, EntranceBackend};
pub use network_policy::{NetworkPolicy, NetworkRule, PeerTerm, PortMatch, PortTerm};
pub use peer_authentication::{MtlsMode, PeerAuthentication};
pub use registration::{
    BundleProfile, ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterStaticEntry, EntrySelector,
    InvalidEntrySelector, Issuance,
};
pub use stance::{Stance, StanceLayer};
pub use workload::{Container, ContainerPort, Owner, PodSpec, PodTemplate, Probe, ProbeAction, Workload, WorkloadKind};
