//! Which kinds are acted on, in which groups and versions, and what reads each.

use crate::decode::{self, Scope};
use crate::fields::Field;
use crate::validate_istio::IstioKind;
use crate::{Namespace, Object, ServiceAccount, WorkloadKind};
use lictor_model::PolicyKind;
use std::sync::Arc;

/// What an object says that it is.
pub(crate) struct Typed<'n> {
    pub(crate) api_version: &'n str,
    pub(crate) kind: &'n str,
}

impl<'n> Typed<'n> {
    /// The API group; empty for the core group.
    fn group(&self) -> &'n str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// What it is to lictor. A policy is never passed over because of a slip in its kind or group.
    pub(crate) fn known(&self) -> Known {
        let group = self.group();
        let named = || KINDS.iter().filter(|(name, ..)| *name == self.kind);
        if let Some((_, _, versions, kind)) = named().find(|(_, groups, ..)| groups.contains(&group)) {
            let version = versions.first().copied().unwrap_or_default();
            return if versions.contains(&self.api_version) { Known::Kind(*kind) } else { Known::Version(version) };
        }
        let elsewhere = NAMESAKES.contains(&(self.kind, group));
        if let Some((_, _, versions, _)) = named().find(|(.., kind)| kind.is_policy() && !elsewhere) {
            return Known::Version(versions.first().copied().unwrap_or_default());
        }
        match GROUPS.iter().find(|(name, kinds)| *name == group && !kinds.contains(&self.kind)) {
            Some((_, kinds)) => Known::NotOfGroup(kinds),
            None => Known::Kind(Kind::Other),
        }
    }
}

/// A kind, as far as its reading differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Namespace,
    ServiceAccount,
    Workload(WorkloadKind),
    Service,
    Ingress,
    Route,
    Endpoints,
    EndpointSlice,
    ConfigMap,
    Secret,
    NetworkPolicy,
    /// One of the three that are cluster-wide.
    ClusterNetworkPolicy(PolicyKind),
    /// One of the two.
    CiliumNetworkPolicy(PolicyKind),
    CidrGroup,
    PeerAuthentication,
    AuthorizationPolicy,
    Stance,
    ClusterSpiffeId,
    ClusterStaticEntry,
    ClusterFederatedTrustDomain,
    Certificate,
    /// Read, not acted on.
    Other,
}

impl Kind {
    /// Whether it is a policy: one in a group that is not known is refused, not passed over.
    pub(crate) const fn is_policy(self) -> bool {
        matches!(
            self,
            Self::NetworkPolicy
                | Self::ClusterNetworkPolicy(_)
                | Self::CiliumNetworkPolicy(_)
                | Self::CidrGroup
                | Self::PeerAuthentication
                | Self::AuthorizationPolicy
                | Self::Stance
                | Self::ClusterSpiffeId
                | Self::ClusterStaticEntry
                | Self::ClusterFederatedTrustDomain
        )
    }

    /// Whether a field that it does not have is an error: all that decides who may do what, or who is who.
    pub(crate) const fn is_strict(self) -> bool {
        self.is_policy() || matches!(self, Self::Certificate)
    }

    /// The kind to Istio's own rules, if it is one of its.
    pub(crate) const fn of_istio(self) -> Option<IstioKind> {
        match self {
            Self::AuthorizationPolicy => Some(IstioKind::AuthorizationPolicy),
            Self::PeerAuthentication => Some(IstioKind::PeerAuthentication),
            _ => None,
        }
    }
}

/// What an `apiVersion` and a `kind` amount to.
pub(crate) enum Known {
    /// This kind.
    Kind(Kind),
    /// A kind that is acted on, in a version that is not known; this one is.
    Version(&'static str),
    /// A group of policies, and a kind that it does not have; it has these.
    NotOfGroup(&'static [&'static str]),
}

/// The kinds that are acted on: name, the groups that have it, the versions that are known, and what reads it.
const KINDS: &[(&str, &[&str], &[&str], Kind)] = &[
    ("Namespace", &[""], &["v1"], Kind::Namespace),
    ("ServiceAccount", &[""], &["v1"], Kind::ServiceAccount),
    ("Pod", &[""], &["v1"], Kind::Workload(WorkloadKind::Pod)),
    ("ReplicationController", &[""], &["v1"], Kind::Workload(WorkloadKind::ReplicationController)),
    (
        "Deployment",
        &["apps", "extensions"],
        &["apps/v1", "apps/v1beta2", "apps/v1beta1", "extensions/v1beta1"],
        Kind::Workload(WorkloadKind::Deployment),
    ),
    (
        "ReplicaSet",
        &["apps", "extensions"],
        &["apps/v1", "apps/v1beta2", "extensions/v1beta1"],
        Kind::Workload(WorkloadKind::ReplicaSet),
    ),
    (
        "DaemonSet",
        &["apps", "extensions"],
        &["apps/v1", "apps/v1beta2", "extensions/v1beta1"],
        Kind::Workload(WorkloadKind::DaemonSet),
    ),
    ("StatefulSet", &["apps"], &["apps/v1", "apps/v1beta2", "apps/v1beta1"], Kind::Workload(WorkloadKind::StatefulSet)),
    ("Job", &["batch"], &["batch/v1"], Kind::Workload(WorkloadKind::Job)),
    ("CronJob", &["batch"], &["batch/v1", "batch/v1beta1", "batch/v2alpha1"], Kind::Workload(WorkloadKind::CronJob)),
    ("Service", &[""], &["v1"], Kind::Service),
    (
        "Ingress",
        &["networking.k8s.io", "extensions"],
        &["networking.k8s.io/v1", "networking.k8s.io/v1beta1", "extensions/v1beta1"],
        Kind::Ingress,
    ),
    ("Route", &["route.openshift.io"], &["route.openshift.io/v1"], Kind::Route),
    ("Endpoints", &[""], &["v1"], Kind::Endpoints),
    ("EndpointSlice", &["discovery.k8s.io"], &["discovery.k8s.io/v1", "discovery.k8s.io/v1beta1"], Kind::EndpointSlice),
    ("ConfigMap", &[""], &["v1"], Kind::ConfigMap),
    ("Secret", &[""], &["v1"], Kind::Secret),
    ("NetworkPolicy", &["networking.k8s.io", "extensions"], &["networking.k8s.io/v1"], Kind::NetworkPolicy),
    (
        "ClusterNetworkPolicy",
        &["policy.networking.k8s.io"],
        &["policy.networking.k8s.io/v1alpha2"],
        Kind::ClusterNetworkPolicy(PolicyKind::ClusterNetworkPolicy),
    ),
    (
        "AdminNetworkPolicy",
        &["policy.networking.k8s.io"],
        &["policy.networking.k8s.io/v1alpha1"],
        Kind::ClusterNetworkPolicy(PolicyKind::AdminNetworkPolicy),
    ),
    (
        "BaselineAdminNetworkPolicy",
        &["policy.networking.k8s.io"],
        &["policy.networking.k8s.io/v1alpha1"],
        Kind::ClusterNetworkPolicy(PolicyKind::BaselineAdminNetworkPolicy),
    ),
    (
        "CiliumNetworkPolicy",
        &["cilium.io"],
        &["cilium.io/v2"],
        Kind::CiliumNetworkPolicy(PolicyKind::CiliumNetworkPolicy),
    ),
    (
        "CiliumClusterwideNetworkPolicy",
        &["cilium.io"],
        &["cilium.io/v2"],
        Kind::CiliumNetworkPolicy(PolicyKind::CiliumClusterwideNetworkPolicy),
    ),
    ("CiliumCIDRGroup", &["cilium.io"], &["cilium.io/v2", "cilium.io/v2alpha1"], Kind::CidrGroup),
    (
        "PeerAuthentication",
        &["security.istio.io"],
        &["security.istio.io/v1", "security.istio.io/v1beta1"],
        Kind::PeerAuthentication,
    ),
    (
        "AuthorizationPolicy",
        &["security.istio.io"],
        &["security.istio.io/v1", "security.istio.io/v1beta1"],
        Kind::AuthorizationPolicy,
    ),
    ("Stance", &["lictor.dev"], &["lictor.dev/v1alpha1"], Kind::Stance),
    ("ClusterSPIFFEID", &["spire.spiffe.io"], &["spire.spiffe.io/v1alpha1"], Kind::ClusterSpiffeId),
    ("ClusterStaticEntry", &["spire.spiffe.io"], &["spire.spiffe.io/v1alpha1"], Kind::ClusterStaticEntry),
    (
        "ClusterFederatedTrustDomain",
        &["spire.spiffe.io"],
        &["spire.spiffe.io/v1alpha1"],
        Kind::ClusterFederatedTrustDomain,
    ),
    ("Certificate", &["cert-manager.io"], &["cert-manager.io/v1"], Kind::Certificate),
];

/// Kinds of others that have a policy's name.
const NAMESAKES: &[(&str, &str)] = &[
    ("NetworkPolicy", "crd.projectcalico.org"),
    ("NetworkPolicy", "projectcalico.org"),
    ("NetworkPolicy", "crd.antrea.io"),
    ("ClusterNetworkPolicy", "crd.antrea.io"),
    ("ClusterNetworkPolicy", "security.antrea.tanzu.vmware.com"),
    ("AuthorizationPolicy", "policy.linkerd.io"),
];

/// The groups that policies are of, and every kind that they have.
const GROUPS: &[(&str, &[&str])] = &[
    ("networking.k8s.io", &["NetworkPolicy", "Ingress", "IngressClass", "IPAddress", "ServiceCIDR", "ClusterCIDR"]),
    ("policy.networking.k8s.io", &["ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy"]),
    ("security.istio.io", &["PeerAuthentication", "AuthorizationPolicy", "RequestAuthentication"]),
    ("lictor.dev", &["Stance"]),
    ("cert-manager.io", &["Certificate", "CertificateRequest", "Issuer", "ClusterIssuer"]),
    (
        "spire.spiffe.io",
        &["ClusterSPIFFEID", "ClusterStaticEntry", "ClusterFederatedTrustDomain", "ControllerManagerConfig"],
    ),
];

/// Reads an object of a kind; what is wrong is reported to the field's context.
pub(crate) fn decode_object(
    object: &Field<'_>,
    kind: Kind,
    typed: &Typed<'_>,
    default_namespace: &str,
) -> Option<Object> {
    let scope = match kind {
        Kind::Namespace => Scope::ClusterLabel,
        Kind::ClusterNetworkPolicy(_)
        | Kind::CiliumNetworkPolicy(PolicyKind::CiliumClusterwideNetworkPolicy)
        | Kind::CidrGroup
        | Kind::ClusterSpiffeId
        | Kind::ClusterStaticEntry
        | Kind::ClusterFederatedTrustDomain => Scope::Cluster,
        Kind::Service => Scope::NamespacedLabel,
        Kind::Other => Scope::Unknown,
        _ => Scope::Namespaced,
    };
    let metadata = decode::metadata(object, scope, default_namespace)?;
    let plain = |keys: &[&'static str]| {
        object.record(|record| record.accept(&[&["apiVersion", "kind", "metadata", "status"], keys].concat()))
    };
    Some(match kind {
        Kind::Namespace => {
            plain(&["spec"])?;
            Object::Namespace(Arc::new(Namespace { meta: metadata.meta }))
        }
        Kind::ServiceAccount => {
            plain(&["automountServiceAccountToken", "imagePullSecrets", "secrets"])?;
            Object::ServiceAccount(Arc::new(ServiceAccount { meta: metadata.meta }))
        }
        Kind::Workload(kind) => Object::Workload(Arc::new(decode::workload(object, kind, metadata)?)),
        Kind::Service => Object::Service(Arc::new(decode::service(object, metadata)?)),
        Kind::Ingress => Object::Entrance(Arc::new(decode::ingress(object, metadata)?)),
        Kind::Route => Object::Entrance(Arc::new(decode::route(object, metadata)?)),
        Kind::Endpoints => Object::Endpoints(Arc::new(decode::endpoints(object, metadata)?)),
        Kind::EndpointSlice => Object::Endpoints(Arc::new(decode::endpoint_slice(object, metadata)?)),
        Kind::ConfigMap => Object::Stored(Arc::new(decode::stored(object, false, metadata)?)),
        Kind::Secret => Object::Stored(Arc::new(decode::stored(object, true, metadata)?)),
        Kind::NetworkPolicy => Object::NetworkPolicy(Arc::new(decode::network_policy(object, metadata)?)),
        Kind::ClusterNetworkPolicy(kind) => {
            Object::ClusterNetworkPolicy(Arc::new(decode::cluster_network_policy(object, kind, metadata)?))
        }
        Kind::CiliumNetworkPolicy(kind) => {
            Object::CiliumNetworkPolicy(Arc::new(decode::cilium_network_policy(object, kind, metadata)?))
        }
        Kind::CidrGroup => Object::CidrGroup(Arc::new(decode::cidr_group(object, metadata)?)),
        Kind::PeerAuthentication => {
            Object::PeerAuthentication(Arc::new(decode::peer_authentication(object, metadata)?))
        }
        Kind::AuthorizationPolicy => {
            Object::AuthorizationPolicy(Arc::new(decode::authorization_policy(object, metadata)?))
        }
        Kind::Stance => Object::Stance(Arc::new(decode::stance(object, metadata)?)),
        Kind::ClusterSpiffeId => Object::ClusterSpiffeId(Arc::new(decode::cluster_spiffe_id(object, metadata)?)),
        Kind::ClusterStaticEntry => {
            Object::ClusterStaticEntry(Arc::new(decode::cluster_static_entry(object, metadata)?))
        }
        Kind::ClusterFederatedTrustDomain => {
            Object::ClusterFederatedTrustDomain(Arc::new(decode::cluster_federated_trust_domain(object, metadata)?))
        }
        Kind::Certificate => Object::Certificate(Arc::new(decode::certificate(object, metadata)?)),
        Kind::Other => {
            let group = typed.group();
            let kind = if group.is_empty() { typed.kind.to_owned() } else { format!("{}.{group}", typed.kind) };
            Object::Other(Arc::from(kind), metadata.meta)
        }
    })
}
