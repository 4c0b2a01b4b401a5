//! What a namespace may name in its certificates.

use crate::judge::Request;
use crate::rules::Rules;
use lictor_cluster::Snapshot;
use lictor_cluster::registration::Entry;
use lictor_model::{DnsName, SpiffeId, TrustDomain};
use std::sync::Arc;

/// Why a namespace may not have a certificate of an identity; each message says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclaimable {
    /// It is of another trust domain.
    #[error(
        "expected an identity of the trust domain {wanted}, found {id}; what another trust domain names, its own authorities sign"
    )]
    TrustDomain {
        /// The identity.
        id: SpiffeId,
        /// The trust domain of the cluster.
        wanted: TrustDomain,
    },
    /// It is the trust domain's own, or one that SPIRE keeps for itself.
    #[error("{id} is no workload's: name one with a path, such as spiffe://{}/ns/{namespace}/sa/NAME", id.trust_domain_str())]
    Reserved {
        /// The identity.
        id: SpiffeId,
        /// The namespace that asks.
        namespace: Arc<str>,
    },
    /// It is a service account's of another namespace.
    #[error(
        "{id} is of namespace {of}, and the Certificate is in {namespace}: put it into {of} (metadata.namespace, kubectl apply -n {of}, or the namespace of a kustomization)"
    )]
    Namespace {
        /// The identity.
        id: SpiffeId,
        /// Whose it is.
        of: Arc<str>,
        /// The namespace that asks.
        namespace: Arc<str>,
    },
    /// It has the form of a service account's identity, and there can be no such account.
    #[error("{id}: a service account's name has lower-case letters, digits, dashes and dots")]
    NoAccount {
        /// The identity.
        id: SpiffeId,
    },
    /// Registration gives it to no pod of the namespace.
    #[error("{id} is given to no pod of namespace {namespace}: name spiffe://{}/ns/{namespace}/sa/NAME, or have a ClusterSPIFFEID give it to a pod there", id.trust_domain_str())]
    NotRegistered {
        /// The identity.
        id: SpiffeId,
        /// The namespace that asks.
        namespace: Arc<str>,
    },
}

/// Whether a namespace may have certificates of an identity: those of its own service accounts, and those that
/// registration gives to a pod in it.
///
/// An identity that names another namespace by its path is refused even if registration gives it: the path is what policies
/// go by.
///
/// # Errors
/// It may not.
pub fn claim(id: &SpiffeId, namespace: &Arc<str>, snapshot: &Snapshot) -> Result<(), Unclaimable> {
    let namespace = Arc::clone(namespace);
    let id = id.clone();
    if id.trust_domain_str() != snapshot.trust_domain.as_str() {
        return Err(Unclaimable::TrustDomain { id, wanted: snapshot.trust_domain.clone() });
    }
    if id.path().is_empty() || id.path() == "/spire" || id.path().starts_with("/spire/") {
        return Err(Unclaimable::Reserved { id, namespace });
    }
    if let Some((of, account)) = id.workload() {
        return match (of == &*namespace, is_account(account)) {
            (true, true) => Ok(()),
            (true, false) => Err(Unclaimable::NoAccount { id }),
            (false, _) => Err(Unclaimable::Namespace { of: Arc::from(of), id, namespace }),
        };
    }
    let registered = entries(&id, &namespace, snapshot).next().is_some();
    if registered { Ok(()) } else { Err(Unclaimable::NotRegistered { id, namespace }) }
}

/// Whether a namespace may keep what was issued to it: its identity and every name beside it are its own still.
pub fn may_keep(request: &Request, namespace: &Arc<str>, snapshot: &Snapshot, rules: &Rules) -> bool {
    let has = |name: &Arc<str>| may_have_name(name, &request.id, namespace, snapshot, &rules.cluster_domain);
    claim(&request.id, namespace, snapshot).is_ok() && request.dns_names.iter().all(has)
}

/// Whether a namespace may have a DNS name in a certificate of an identity: a name of its own Services, or one that
/// registration gives together with the identity.
pub(crate) fn may_have_name(
    name: &str,
    id: &SpiffeId,
    namespace: &Arc<str>,
    snapshot: &Snapshot,
    cluster_domain: &str,
) -> bool {
    let Ok(name) = name.parse::<DnsName>() else { return false };
    // The short form NAME.NAMESPACE is left out: to others `api.com` is a name of the Web's, whatever `com` is here.
    let zones = [format!(".{namespace}.svc"), format!(".{namespace}.svc.{cluster_domain}")];
    let own = zones.iter().any(|zone| name.as_str().ends_with(&**zone));
    own || entries(id, namespace, snapshot).any(|entry| entry.dns_names.contains(&name))
}

fn entries<'s>(
    id: &SpiffeId,
    namespace: &Arc<str>,
    snapshot: &'s Snapshot,
) -> impl Iterator<Item = &'s Arc<Entry>> + use<'s> {
    let (id, namespace) = (id.clone(), Arc::clone(namespace));
    let first = lictor_model::Name::new(Arc::clone(&namespace), "");
    let own = snapshot.pods.range(first..).take_while(move |(name, _)| name.namespace == namespace);
    own.flat_map(|(_, pod)| &pod.entries).filter(move |entry| entry.id == id)
}

/// Source: `k8s.io/apimachinery/pkg/util/validation`, `IsDNS1123Subdomain`.
fn is_account(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-');
    name.len() <= 253 && name.split('.').all(label)
}
