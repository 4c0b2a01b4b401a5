//! Pods and the kinds that make them.

use crate::Meta;
use lictor_model::{Labels, Protocol};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A Pod, or a kind that makes pods from a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Name, namespace and origin of the object itself.
    pub meta: Meta,
    /// Which kind.
    pub kind: WorkloadKind,
    /// How many pods; 1 for a Pod, a DaemonSet (one a node) and a Job.
    pub replicas: u32,
    /// What each pod is.
    pub template: PodTemplate,
    /// The `status.podIP(s)` that a dumped Pod carries.
    pub addresses: Vec<IpAddr>,
    /// The `status.hostIP` that a dumped Pod carries.
    pub host_address: Option<IpAddr>,
    /// The controller in `ownerReferences`.
    pub owner: Option<Owner>,
}

/// An entry of `ownerReferences`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner {
    /// Its kind.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its uid, if it is stated.
    pub uid: Option<Arc<str>>,
}

/// A kind that makes pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The names are the API's own.
pub enum WorkloadKind {
    Pod,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicaSet,
    ReplicationController,
    Job,
    /// Read, and runs nothing until its time; the lab keeps it suspended.
    CronJob,
}

impl WorkloadKind {
    /// The kind's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicaSet => "ReplicaSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }
}

/// What a pod is made from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodTemplate {
    /// The pod's labels.
    pub labels: Labels,
    /// The pod's annotations.
    pub annotations: BTreeMap<String, String>,
    /// What runs in it.
    pub spec: PodSpec,
}

/// What runs in a pod, as far as lictor acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PodSpec {
    /// The service account; `default` when the manifest names none.
    pub service_account: Arc<str>,
    /// Whether it lives in the node's network.
    pub host_network: bool,
    /// The node it is bound to.
    pub node_name: Option<Arc<str>>,
    /// `hostname`, for headless records.
    pub hostname: Option<Arc<str>>,
    /// `subdomain`, for headless records.
    pub subdomain: Option<Arc<str>>,
    /// The containers; init containers are not among them, but for those that go on beside the others.
    pub containers: Vec<Container>,
    /// The images of the other init containers, each with the names that a dumped Pod's status has for it.
    pub init_images: Vec<Vec<String>>,
}

/// A container, as far as lictor acts on it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Container {
    /// The name.
    pub name: Arc<str>,
    /// Whether it is an init container that goes on beside the others.
    pub sidecar: bool,
    /// The image.
    pub image: String,
    /// What a dumped Pod's `status` calls it: `image` and `imageID`, where the digest is.
    pub status_images: Vec<String>,
    /// `command` and `args`, one after the other.
    pub command: Vec<String>,
    /// `env` entries with a plain value.
    pub env: Vec<(String, String)>,
    /// The declared ports.
    pub ports: Vec<ContainerPort>,
    /// `readinessProbe`.
    pub readiness: Option<Probe>,
    /// `livenessProbe`.
    pub liveness: Option<Probe>,
    /// `startupProbe`.
    pub startup: Option<Probe>,
}

/// A declared port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPort {
    /// The name; empty when it has none.
    pub name: Arc<str>,
    /// The number.
    pub port: u16,
    /// The protocol; TCP when the manifest names none.
    pub protocol: Protocol,
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub action: ProbeAction,
    /// `initialDelaySeconds`.
    pub initial_delay: Duration,
    /// `periodSeconds`; 10 s when the manifest names none.
    pub period: Duration,
    /// `timeoutSeconds`; 1 s when the manifest names none.
    pub timeout: Duration,
    /// `failureThreshold`; 3 when the manifest names none.
    pub failures: u32,
    /// `successThreshold`; 1 when the manifest names none.
    pub successes: u32,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeAction {
    /// A command in the container ends with 0.
    Exec(Vec<String>),
    /// A GET answers 200 to 399.
    Http {
        /// Path and query.
        path: String,
        /// The port number, or the name of a container port.
        port: Result<u16, Arc<str>>,
        /// Extra request headers.
        headers: Vec<(String, String)>,
        /// Whether over TLS (unverified).
        tls: bool,
    },
    /// A TCP connection opens.
    Tcp(Result<u16, Arc<str>>),
    /// A gRPC health check answers SERVING; the service name is asked for.
    Grpc(u16, String),
}

impl Container {
    /// What the image is called: as the status has it, else as the manifest does.
    pub fn image_names(&self) -> Vec<String> {
        if self.status_images.is_empty() { image_names(&self.image) } else { self.status_images.clone() }
    }
}

/// An image as a manifest names it, and by its digest alone if the manifest pins one beside a tag: a runtime reports
/// `repository:tag@sha256:…` as `repository@sha256:…`.
fn image_names(image: &str) -> Vec<String> {
    let pinned = image.split_once('@').and_then(|(tagged, digest)| {
        let (repository, tag) = tagged.rsplit_once(':')?;
        // A port of a registry is followed by a path.
        (!tag.contains('/')).then(|| format!("{repository}@{digest}"))
    });
    let names = std::iter::once(image.to_owned()).chain(pinned);
    names.filter(|name| !name.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::image_names;

    #[test]
    fn a_pinned_image_has_the_name_of_its_digest_too() {
        for (image, names) in [
            ("nginx", &["nginx"][..]),
            ("nginx:1.27", &["nginx:1.27"]),
            ("nginx@sha256:ab", &["nginx@sha256:ab"]),
            ("nginx:1.27@sha256:ab", &["nginx:1.27@sha256:ab", "nginx@sha256:ab"]),
            ("reg:5000/a@sha256:ab", &["reg:5000/a@sha256:ab"]),
            ("reg:5000/a:1@sha256:ab", &["reg:5000/a:1@sha256:ab", "reg:5000/a@sha256:ab"]),
            ("", &[]),
        ] {
            assert_eq!(image_names(image), names, "{image}");
        }
    }
}
