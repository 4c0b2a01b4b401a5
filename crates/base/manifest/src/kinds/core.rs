//! Core kinds: namespaces, service accounts, services, and what is kept for later.

use crate::Meta;
use lictor_model::{Protocol, Selector};
use std::net::IpAddr;
use std::sync::Arc;

/// A Namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Name, labels and origin.
    pub meta: Meta,
}

/// A ServiceAccount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Name, namespace and origin.
    pub meta: Meta,
}

/// A ConfigMap or Secret, kept whole. A Secret's values are not printed by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// Whether it is a Secret.
    pub secret: bool,
    /// Keys and values, base64-decoded for a Secret's `data`.
    pub data: std::collections::BTreeMap<String, Vec<u8>>,
}

/// The label of a ConfigMap whose texts are Rego, and what it says that they are for.
pub const REGO_LABEL: &str = "lictor.dev/rego";

/// The value of [`REGO_LABEL`] on policies that judge what an Envoy asks by external authorization.
pub const REGO_AUTHZ: &str = "authz";

impl Stored {
    /// Whether it is a ConfigMap with policies for external authorization.
    pub fn is_authorization(&self) -> bool {
        !self.secret && self.meta.labels.get(REGO_LABEL).is_some_and(|value| value == REGO_AUTHZ)
    }
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored").field("meta", &self.meta).field("keys", &self.data.keys()).finish()
    }
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// How it is reached.
    pub kind: ServiceType,
    /// The pods behind it; nothing means that Endpoints or EndpointSlices name them.
    pub selector: Option<Selector>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `publishNotReadyAddresses`.
    pub publish_not_ready: bool,
}

/// How a Service is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceType {
    /// By a virtual address; the ones that the manifest asks for, otherwise chosen. NodePort and LoadBalancer are this too.
    Cluster(Vec<IpAddr>),
    /// `clusterIP: None`: by its endpoints' own addresses.
    Headless,
    /// By an alias.
    External(String),
}

/// A Service's port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The name; empty when it has none.
    pub name: Arc<str>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port of the virtual address.
    pub port: u16,
    /// The port of the endpoints.
    pub target: TargetPort,
    /// `appProtocol`.
    pub app_protocol: Option<Arc<str>>,
}

/// The port of a Service's endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetPort {
    /// A number.
    Number(u16),
    /// The pod's container port of this name.
    Named(Arc<str>),
}
