//! What SPIRE's controller has in its configuration.

use lictor_model::{InvalidSpiffeId, SpiffeId, TrustDomain};
use std::sync::Arc;

/// The settings of registration.
///
/// Source: spire-controller-manager, `docs/spire-controller-manager-config.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationSettings {
    /// The name of the cluster, `.ClusterName` in templates.
    pub cluster_name: Arc<str>,
    /// The domain of the cluster's Services, `.ClusterDomain` in templates.
    pub cluster_domain: Arc<str>,
    /// The `className` of the resources that are acted on.
    pub class: Arc<str>,
    /// Whether those without a `className` are acted on as well.
    pub classless: bool,
    /// The namespaces whose pods no ClusterSPIFFEID speaks of.
    pub ignored_namespaces: Vec<Arc<str>>,
}

impl RegistrationSettings {
    /// Whether a resource of this class is acted on.
    pub fn acts_on(&self, class: &str) -> bool {
        (class.is_empty() && self.classless) || *class == *self.class
    }

    /// Whether no ClusterSPIFFEID speaks of a namespace's pods.
    pub fn ignores(&self, namespace: &str) -> bool {
        self.ignored_namespaces.iter().any(|ignored| **ignored == *namespace)
    }

    /// The identity of a node's agent, the parent of the entries of its pods.
    ///
    /// # Errors
    /// The cluster's name cannot stand in an identity.
    pub fn agent(&self, trust_domain: &TrustDomain, node: &str) -> Result<SpiffeId, InvalidSpiffeId> {
        format!("spiffe://{trust_domain}/spire/agent/k8s_psat/{}/{}", self.cluster_name, self.node_uid(node)).parse()
    }

    /// The uid of a node: made of its name and the cluster's, as no manifest states one.
    pub fn node_uid(&self, node: &str) -> String {
        made_uid(&["node", &self.cluster_name, node])
    }
}

impl Default for RegistrationSettings {
    /// A cluster named `default` with the domain `cluster.local`; resources without a class; `kube-system`, `kube-public` and
    /// `spire-system` ignored, as SPIRE's controller has it.
    fn default() -> Self {
        Self {
            cluster_name: Arc::from("default"),
            cluster_domain: Arc::from("cluster.local"),
            class: Arc::from(""),
            classless: true,
            ignored_namespaces: ["kube-system", "kube-public", "spire-system"].map(Arc::from).into(),
        }
    }
}

/// A uid for what no API server has given one: the same for the same names, in the form of RFC 9562, version 8.
pub(crate) fn made_uid(names: &[&str]) -> String {
    let bytes = names.iter().flat_map(|name| name.bytes().chain([0]));
    let hash = bytes.fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b) // FNV-1a
    });
    let marked = (hash & !(0xf << 76) & !(0x3 << 62)) | (0x8 << 76) | (0x2 << 62);
    let hex = format!("{marked:032x}");
    let part = |from, to| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

#[cfg(test)]
mod tests {
    use super::{RegistrationSettings, made_uid};

    #[test]
    fn a_made_uid_stays_and_differs_by_name() {
        let uid = made_uid(&["pod", "shop", "web-0"]);
        assert_eq!(uid, made_uid(&["pod", "shop", "web-0"]));
        assert_ne!(uid, made_uid(&["pod", "shopw", "eb-0"]));
        let parts: Vec<usize> = uid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert!(uid.get(14..15) == Some("8") && uid.get(19..20).is_some_and(|variant| "89ab".contains(variant)));
    }

    #[test]
    fn a_class_is_ours_or_none() {
        let settings = |class: &str, classless| RegistrationSettings {
            class: class.into(),
            classless,
            ..RegistrationSettings::default()
        };
        for (settings, expected) in [
            (settings("", true), [true, false]),
            (settings("", false), [true, false]),
            (settings("a", false), [false, true]),
            (settings("a", true), [true, true]),
            (settings("b", true), [true, false]),
        ] {
            assert_eq!([settings.acts_on(""), settings.acts_on("a")], expected, "{settings:?}");
        }
    }
}
