//! The Certificates of a cluster, and what stands in their way.

use lictor_manifest::{Certificate, IssuerRef, Meta, Object};
use lictor_model::Name;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The Certificates, and the objects that decide whether lictor serves them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Certificates {
    /// The Certificates by name.
    pub by_name: BTreeMap<Name, Arc<Certificate>>,
    /// The Secrets that manifests declare.
    pub secrets: BTreeMap<Name, Meta>,
    /// The issuers that manifests declare, by what a Certificate calls them; those of kind Issuer each under its namespace, the
    /// others under none.
    pub issuers: BTreeMap<(Arc<str>, IssuerRef), Meta>,
}

impl Certificates {
    /// The declaration of the issuer that a Certificate of a namespace names, if manifests have it.
    pub fn declaration(&self, issuer: &IssuerRef, namespace: &Arc<str>) -> Option<&Meta> {
        let nowhere = Arc::from("");
        let place = if &*issuer.kind == IssuerRef::ISSUER { namespace } else { &nowhere };
        self.issuers.get(&(Arc::clone(place), issuer.clone()))
    }

    /// Takes in an object that is read and not acted on, if it is an issuer.
    pub(crate) fn take_issuer(&mut self, kind: &str, meta: &Meta, default_namespace: &Arc<str>) {
        let namespace = match kind {
            "ClusterIssuer.cert-manager.io" => Arc::from(""),
            "Issuer.cert-manager.io" if meta.name.namespace.is_empty() => Arc::clone(default_namespace),
            "Issuer.cert-manager.io" => Arc::clone(&meta.name.namespace),
            _ => return,
        };
        let kind = kind.split('.').next().unwrap_or_default();
        let issuer = IssuerRef { kind: Arc::from(kind), ..IssuerRef::cluster(Arc::clone(&meta.name.name)) };
        self.issuers.insert((namespace, issuer), meta.clone());
    }

    /// Takes in a Secret that manifests declare.
    pub(crate) fn take_secret(&mut self, name: Name, object: &Object) {
        self.secrets.insert(name, object.meta().clone());
    }
}
