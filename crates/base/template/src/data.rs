//! What a template can speak of.

use lictor_model::Labels;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Texts by their key: labels or annotations.
pub trait Texts {
    /// The text of a key.
    fn text(&self, key: &str) -> Option<&str>;
    /// Whether there is none.
    fn is_without_texts(&self) -> bool;
}

impl Texts for Labels {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key)
    }
    fn is_without_texts(&self) -> bool {
        Labels::is_empty(self)
    }
}

impl Texts for BTreeMap<String, String> {
    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
    fn is_without_texts(&self) -> bool {
        self.is_empty()
    }
}

/// What a template is filled in with.
///
/// Source: spire-controller-manager, `docs/clusterspiffeid-crd.md`, "Templates". `.NodeSpec` is not known here, and of the
/// other parts only what stands below.
#[derive(Clone, Copy)]
pub struct Data<'a> {
    /// `.TrustDomain`: its name.
    pub trust_domain: &'a str,
    /// `.ClusterName`.
    pub cluster_name: &'a str,
    /// `.ClusterDomain`.
    pub cluster_domain: &'a str,
    /// `.PodMeta` and `.PodSpec`.
    pub pod: PodData<'a>,
    /// `.NodeMeta`.
    pub node: NodeData<'a>,
}

/// `.PodMeta` and `.PodSpec`.
#[derive(Clone, Copy)]
pub struct PodData<'a> {
    /// `.PodMeta.Name`.
    pub name: &'a str,
    /// `.PodMeta.Namespace`.
    pub namespace: &'a str,
    /// `.PodMeta.UID`.
    pub uid: &'a str,
    /// `.PodMeta.Labels`.
    pub labels: &'a dyn Texts,
    /// `.PodMeta.Annotations`.
    pub annotations: &'a dyn Texts,
    /// `.PodSpec.ServiceAccountName`.
    pub service_account: &'a str,
    /// `.PodSpec.Hostname`; empty when it has none.
    pub hostname: &'a str,
    /// `.PodSpec.Subdomain`; empty when it has none.
    pub subdomain: &'a str,
    /// `.PodSpec.HostNetwork`.
    pub host_network: bool,
}

/// `.NodeMeta`, and the node's name as `.PodSpec.NodeName`.
#[derive(Clone, Copy)]
pub struct NodeData<'a> {
    /// `.NodeMeta.Name`.
    pub name: &'a str,
    /// `.NodeMeta.UID`.
    pub uid: &'a str,
    /// `.NodeMeta.Labels`.
    pub labels: &'a dyn Texts,
}

/// A value while a template is rendered.
#[derive(Clone)]
pub(crate) enum Value<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Texts(&'a dyn Texts),
    /// A label or annotation that is not there, by `.Labels.key`: Go's invalid value.
    Missing,
}

impl Value<'_> {
    /// In words, for an error.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "a number",
            Self::Texts(_) => "a whole map",
            Self::Missing => "a key that is not there",
        }
    }

    /// Source: `text/template`, `IsTrue`.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Bool(truth) => *truth,
            Self::Int(number) => *number != 0,
            Self::Texts(texts) => !texts.is_without_texts(),
            Self::Missing => false,
        }
    }
}

/// A field that templates can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    TrustDomain,
    ClusterName,
    ClusterDomain,
    PodName,
    PodNamespace,
    PodUid,
    PodLabels,
    PodAnnotations,
    ServiceAccount,
    NodeName,
    Hostname,
    Subdomain,
    HostNetwork,
    NodeUid,
    NodeLabels,
    NodeNamespace,
}

/// The fields below each of the data's parts; the empty part is the data itself.
pub(crate) const FIELDS: &[(&str, &[(&str, Field)])] = &[
    (
        "",
        &[
            ("TrustDomain", Field::TrustDomain),
            ("ClusterName", Field::ClusterName),
            ("ClusterDomain", Field::ClusterDomain),
        ],
    ),
    (
        "PodMeta",
        &[
            ("Name", Field::PodName),
            ("Namespace", Field::PodNamespace),
            ("UID", Field::PodUid),
            ("Labels", Field::PodLabels),
            ("Annotations", Field::PodAnnotations),
        ],
    ),
    (
        "PodSpec",
        &[
            ("ServiceAccountName", Field::ServiceAccount),
            ("NodeName", Field::NodeName),
            ("Hostname", Field::Hostname),
            ("Subdomain", Field::Subdomain),
            ("HostNetwork", Field::HostNetwork),
        ],
    ),
    (
        "NodeMeta",
        &[
            ("Name", Field::NodeName),
            ("Namespace", Field::NodeNamespace),
            ("UID", Field::NodeUid),
            ("Labels", Field::NodeLabels),
        ],
    ),
];

impl Field {
    /// Whether it holds texts by their keys.
    pub(crate) fn is_map(self) -> bool {
        matches!(self, Self::PodLabels | Self::PodAnnotations | Self::NodeLabels)
    }

    /// Its value for a pod.
    pub(crate) fn of<'a>(self, data: &Data<'a>) -> Value<'a> {
        let text = |text: &'a str| Value::Text(Cow::Borrowed(text));
        match self {
            Self::TrustDomain => text(data.trust_domain),
            Self::ClusterName => text(data.cluster_name),
            Self::ClusterDomain => text(data.cluster_domain),
            Self::PodName => text(data.pod.name),
            Self::PodNamespace => text(data.pod.namespace),
            Self::PodUid => text(data.pod.uid),
            Self::PodLabels => Value::Texts(data.pod.labels),
            Self::PodAnnotations => Value::Texts(data.pod.annotations),
            Self::ServiceAccount => text(data.pod.service_account),
            Self::NodeName => text(data.node.name),
            Self::Hostname => text(data.pod.hostname),
            Self::Subdomain => text(data.pod.subdomain),
            Self::HostNetwork => Value::Bool(data.pod.host_network),
            Self::NodeUid => text(data.node.uid),
            Self::NodeLabels => Value::Texts(data.node.labels),
            Self::NodeNamespace => text(""),
        }
    }
}
