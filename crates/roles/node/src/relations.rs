//! The relations to other trust domains: those of the node's own settings, and those that objects declare.

#[cfg(test)]
mod tests;

use anyhow::Result;
use lictor_identity::federation::{EndpointUrl, Federation, Profile, Relation, RelationStatus, Roots, Settings};
use lictor_manifest::{BundleProfile, ClusterFederatedTrustDomain, Code, Finding};
use lictor_model::TrustDomain;
use lictor_pki::{Bundle, Keyring, OwnTrustDomain};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those that a snapshot declares, each trust domain once.
type Declared = BTreeMap<TrustDomain, Arc<ClusterFederatedTrustDomain>>;

/// Every relation of this node. A relation of the settings is there as long as the node is, unless somebody ends it; one
/// that an object declares comes and goes with the object.
#[derive(Debug)]
pub struct Relations {
    federation: Federation,
    /// The web's authorities where a relation names no others.
    roots: Roots,
    /// Who says whom to believe, in place of settings and objects.
    given_by: Option<String>,
    own: TrustDomain,
    configured: BTreeSet<TrustDomain>,
    declared: Mutex<Declared>,
}

/// Why a relation, or what is believed, is not changed by hand.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unchangeable {
    /// The relation ends with its object, not before: it would be there again with the next change of any object.
    #[error(
        "ClusterFederatedTrustDomain {name} declares the federation with {trust_domain}; it ends when that is removed"
    )]
    Declared {
        /// With whom.
        trust_domain: TrustDomain,
        /// The object.
        name: Arc<str>,
    },
    /// Whoever gives the identities says so; its next state would bring back what was there.
    #[error("{0} says whom to believe here; change it there")]
    Given(String),
    /// A bundle is the own trust domain's.
    #[error(transparent)]
    Own(#[from] OwnTrustDomain),
}

impl Relations {
    /// Those of the settings. Call it within a runtime.
    ///
    /// Errors: one is about the own trust domain.
    pub(crate) fn start(keyring: &Keyring, configured: Vec<Relation>, roots: Roots) -> Result<Self> {
        let configured_names = configured.iter().map(|relation| relation.trust_domain.clone()).collect();
        let relations = Self { roots, configured: configured_names, ..Self::none(keyring) };
        for relation in configured {
            relations.federation.add(relation)?;
        }
        Ok(relations)
    }

    /// None, now and later: whoever gives the identities says whom to believe as well.
    pub(crate) fn given_by(keyring: &Keyring, whom: String) -> Self {
        Self { given_by: Some(whom), ..Self::none(keyring) }
    }

    fn none(keyring: &Keyring) -> Self {
        Self {
            federation: Federation::new(keyring.clone(), Settings::default()),
            roots: Roots::default(),
            given_by: None,
            own: keyring.bundle().trust_domain().clone(),
            configured: BTreeSet::new(),
            declared: Mutex::default(),
        }
    }

    /// Has the relations that objects declare be these, and no others: what is new begins, what is gone ends, and what its
    /// peers have open with it. Returns why an object is not acted on. Call it within a runtime.
    ///
    /// Source: spire-controller-manager, `pkg/spirefederationrelationship`.
    pub(crate) fn follow(&self, wanted: &Declared) -> Vec<Finding> {
        let mut declared = self.declared();
        let mut findings = Vec::new();
        let mut now = Declared::new();
        for (trust_domain, resource) in wanted {
            match self.take(resource, declared.get(trust_domain)) {
                Ok(()) => drop(now.insert(trust_domain.clone(), Arc::clone(resource))),
                Err(finding) => findings.push(*finding),
            }
        }
        for gone in declared.keys().filter(|trust_domain| !now.contains_key(*trust_domain)) {
            self.federation.remove(gone);
        }
        *declared = now;
        findings
    }

    fn take(
        &self,
        resource: &Arc<ClusterFederatedTrustDomain>,
        before: Option<&Arc<ClusterFederatedTrustDomain>>,
    ) -> Result<(), Box<Finding>> {
        if before.is_some_and(|before| before == resource) {
            return Ok(());
        }
        let relation = self.relation(resource)?;
        self.federation.add(relation).map_err(|error| refused(resource, "spec.trustDomain", error.to_string()))
    }

    fn relation(&self, resource: &ClusterFederatedTrustDomain) -> Result<Relation, Box<Finding>> {
        if let Some(whom) = &self.given_by {
            let why = format!("{whom} says whom to believe here; have it federate with {}", resource.trust_domain);
            return Err(refused(resource, "spec.trustDomain", why));
        }
        let trust_domain = resource.trust_domain.clone();
        if trust_domain == self.own {
            return Err(refused(resource, "spec.trustDomain", format!("{trust_domain} is the own trust domain")));
        }
        if self.configured.contains(&trust_domain) {
            let why = format!("the settings of the node federate with {trust_domain} already, and they count");
            return Err(refused(resource, "spec.trustDomain", why));
        }
        let url = resource.bundle_endpoint.parse::<EndpointUrl>();
        let url = url.map_err(|error| refused(resource, "spec.bundleEndpointURL", error.to_string()))?;
        let profile = match &resource.profile {
            BundleProfile::Web => Profile::Web(self.roots.clone()),
            BundleProfile::Spiffe(id) if id.path().is_empty() => {
                let why = format!("expected the identity of an endpoint, {id} is a whole trust domain's");
                return Err(refused(resource, "spec.bundleEndpointProfile.endpointSPIFFEID", why));
            }
            BundleProfile::Spiffe(id) => Profile::Spiffe(id.clone()),
        };
        let first = resource.bundle.as_ref().map(|text| Bundle::from_jwks(trust_domain.clone(), text.as_bytes()));
        let first = first.transpose();
        let first = first.map_err(|error| refused(resource, "spec.trustDomainBundle", error.to_string()))?;
        Ok(Relation { trust_domain, url, profile, first: first.map(|read| read.bundle) })
    }

    /// Ends the relation to a trust domain, and the trust in it; tells whether there was any of both.
    ///
    /// # Errors
    /// An object declares it, or whoever gives the identities says whom to believe.
    pub fn remove(&self, trust_domain: &TrustDomain) -> Result<bool, Unchangeable> {
        self.check_changeable()?;
        match self.declared().get(trust_domain) {
            Some(resource) => {
                let name = Arc::clone(&resource.meta.name.name);
                Err(Unchangeable::Declared { trust_domain: trust_domain.clone(), name })
            }
            None => Ok(self.federation.remove(trust_domain)),
        }
    }

    /// Believes this bundle about its trust domain until the next answer of its endpoint, if it has one; tells whether
    /// anything changed.
    ///
    /// # Errors
    /// It is the own trust domain's, or whoever gives the identities says whom to believe.
    pub fn set_bundle(&self, bundle: Bundle) -> Result<bool, Unchangeable> {
        self.check_changeable()?;
        Ok(self.federation.set_bundle(bundle)?)
    }

    fn check_changeable(&self) -> Result<(), Unchangeable> {
        self.given_by.clone().map_or(Ok(()), |whom| Err(Unchangeable::Given(whom)))
    }

    /// Has a trust domain's endpoint be asked at once; tells whether there is a relation to it.
    pub fn refresh(&self, trust_domain: &TrustDomain) -> bool {
        self.federation.refresh(trust_domain)
    }

    /// How every relation stands, by trust domain, and the object that declares it, if one does.
    pub fn statuses(&self) -> Vec<(RelationStatus, Option<Arc<ClusterFederatedTrustDomain>>)> {
        let declared = self.declared();
        let with = |status: RelationStatus| {
            let by = declared.get(&status.relation.trust_domain).map(Arc::clone);
            (status, by)
        };
        self.federation.statuses().into_iter().map(with).collect()
    }

    // Nothing panics while it holds the lock.
    fn declared(&self) -> MutexGuard<'_, Declared> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(resource: &ClusterFederatedTrustDomain, path: &str, why: String) -> Box<Finding> {
    let message = format!("ClusterFederatedTrustDomain {} is not acted on: {why}", resource.meta.name);
    Box::new(Finding::new(Code::FederationRefused, resource.meta.origin.position(path), message))
}
