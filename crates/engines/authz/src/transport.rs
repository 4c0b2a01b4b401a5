//! Which transport a workload takes: PeerAuthentication, merged.

use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{MtlsMode, PeerAuthentication};
use lictor_model::{By, Layer, Mode, PolicyKind, PolicyRef, Verdict};
use std::collections::BTreeMap;

/// What one workload's PeerAuthentications come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerModes {
    /// The mode of every port that `ports` does not name; never [`MtlsMode::Unset`].
    pub mode: MtlsMode,
    /// What sets it; nothing when no policy does and Istio's PERMISSIVE stands.
    pub by: Option<PolicyRef>,
    /// The ports with a mode of their own; never [`MtlsMode::Unset`].
    pub ports: BTreeMap<u16, (MtlsMode, Option<PolicyRef>)>,
}

/// What a workload's port takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transport {
    /// The mode; never [`MtlsMode::Unset`].
    pub mode: MtlsMode,
    /// What sets it: a policy's `spec.mtls` or port; no policy; or that the pod is outside the mesh.
    pub by: By,
    /// How far the transport layer goes at this workload.
    pub stance: Mode,
}

impl Transport {
    /// What the mode says of a connection: only STRICT refuses any, those without mutual TLS.
    ///
    /// DISABLE takes mutual TLS as PERMISSIVE does, as Istio's ambient mode reads it: the tunnel ends before
    /// the workload either way.
    pub fn verdict(&self, mutual_tls: bool) -> Verdict {
        if self.mode == MtlsMode::Strict && !mutual_tls { Verdict::Deny } else { Verdict::Allow }
    }
}

/// The word that policies write for a mode.
pub fn mode_word(mode: MtlsMode) -> &'static str {
    match mode {
        MtlsMode::Unset => "UNSET",
        MtlsMode::Disable => "DISABLE",
        MtlsMode::Permissive => "PERMISSIVE",
        MtlsMode::Strict => "STRICT",
    }
}

/// Merges the PeerAuthentications that apply to one workload; selectors are not asked any more.
///
/// Without a selector a policy speaks for its namespace, or for the mesh in the root namespace; with one, for
/// the workload. In each of the three scopes only the oldest policy counts, the first of the list where none is
/// older; one that does not say when it was created is taken for the newest. A selector in the root namespace
/// makes a policy void. The narrowest scope that sets a mode sets it, PERMISSIVE where none does; a port's own
/// mode comes from the workload's policy, and where it is UNSET it is the merged one.
///
/// Source: istio/api, `security/v1beta1/peer_authentication.proto`; istio/istio,
/// `pilot/pkg/security/authn/policy_applier.go`, `ComposePeerAuthentication`.
pub fn merge<'a>(policies: impl IntoIterator<Item = &'a PeerAuthentication>, root_namespace: &str) -> PeerModes {
    let scopes = Scopes::sort(policies, root_namespace);
    let mut merged = PeerModes { mode: MtlsMode::Permissive, by: None, ports: BTreeMap::new() };
    for policy in [scopes.mesh, scopes.namespace, scopes.workload].into_iter().flatten() {
        if policy.mode != MtlsMode::Unset {
            merged.mode = policy.mode;
            merged.by = Some(whole(policy).at("spec.mtls.mode"));
        }
    }
    if let Some(policy) = scopes.workload {
        for (port, mode) in &policy.ports {
            let own = (*mode, Some(whole(policy).at(format!("spec.portLevelMtls.{port}"))));
            let inherited = (merged.mode, merged.by.clone());
            merged.ports.insert(*port, if *mode == MtlsMode::Unset { inherited } else { own });
        }
    }
    merged
}

/// The policy that counts in each scope.
#[derive(Default)]
pub(crate) struct Scopes<'a> {
    pub(crate) mesh: Option<&'a PeerAuthentication>,
    pub(crate) namespace: Option<&'a PeerAuthentication>,
    pub(crate) workload: Option<&'a PeerAuthentication>,
}

impl<'a> Scopes<'a> {
    pub(crate) fn sort(policies: impl IntoIterator<Item = &'a PeerAuthentication>, root_namespace: &str) -> Self {
        let mut scopes = Self::default();
        for policy in policies {
            let in_root = *policy.meta.name.namespace == *root_namespace;
            let scope = match (selects(policy), in_root) {
                (false, true) => &mut scopes.mesh,
                (false, false) => &mut scopes.namespace,
                (true, false) => &mut scopes.workload,
                (true, true) => continue,
            };
            if scope.is_none_or(|other| is_older(policy, other)) {
                *scope = Some(policy);
            }
        }
        scopes
    }
}

/// Whether a policy speaks for single workloads; an empty selector does not.
pub(crate) fn selects(policy: &PeerAuthentication) -> bool {
    policy.selector.as_ref().is_some_and(|selector| !selector.is_empty())
}

fn is_older(policy: &PeerAuthentication, other: &PeerAuthentication) -> bool {
    match (policy.meta.created, other.meta.created) {
        (Some(this), Some(other)) => this < other,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn whole(policy: &PeerAuthentication) -> PolicyRef {
    PolicyRef::whole(PolicyKind::PeerAuthentication, policy.meta.name.clone())
}

/// The PeerAuthentications of a snapshot that apply to a pod, by name.
pub(crate) fn applying<'a>(snapshot: &'a Snapshot, pod: &Pod) -> impl Iterator<Item = &'a PeerAuthentication> {
    let namespaces = [pod.name.namespace.clone(), snapshot.root_namespace.clone()];
    let labels = pod.labels.clone();
    snapshot.policies.peer_authentication.values().map(|policy| &**policy).filter(move |policy| {
        namespaces.contains(&policy.meta.name.namespace)
            && policy.selector.as_ref().is_none_or(|selector| selector.matches(&labels))
    })
}

/// A pod's transport on all of its ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodTransport {
    /// Nothing when the pod is outside the mesh.
    pub(crate) modes: Option<PeerModes>,
    pub(crate) stance: Mode,
}

impl PodTransport {
    pub(crate) fn of(snapshot: &Snapshot, pod: &Pod) -> Self {
        let modes = pod.enrolled.then(|| merge(applying(snapshot, pod), &snapshot.root_namespace));
        let (stance, _) = snapshot.mode(pod, Layer::Transport);
        Self { modes, stance }
    }

    pub(crate) fn at(&self, port: u16) -> Transport {
        let Some(modes) = &self.modes else {
            return Transport { mode: MtlsMode::Disable, by: By::OutsideMesh, stance: self.stance };
        };
        let (mode, by) = modes.ports.get(&port).map_or((modes.mode, &modes.by), |(mode, by)| (*mode, by));
        Transport { mode, by: by.clone().map_or(By::NoPolicy, By::Policy), stance: self.stance }
    }
}

#[cfg(test)]
mod tests;
