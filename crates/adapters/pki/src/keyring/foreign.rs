//! Bundles of foreign trust domains, each by itself.
//!
//! Source: SPIFFE Federation, sections 4.2, 6.3 and 7.3: a bundle judges the identities of its own trust domain only,
//! and deleting it ends the trust.

use super::{Change, Keyring};
use crate::bundle::Bundle;
use crate::jwt::{JwtSvid, TokenError, verify_by};
use lictor_model::{SpiffeId, TrustDomain};
use rustls_pki_types::UnixTime;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is believed about foreign trust domains: one bundle for each, never one for several.
pub type ForeignBundles = BTreeMap<TrustDomain, Arc<Bundle>>;

/// A bundle that came as a foreign one and names the own trust domain: others do not say whom to believe about us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected the bundle of a foreign trust domain, saw one of the own, {trust_domain}")]
pub struct OwnTrustDomain {
    /// The own trust domain.
    pub trust_domain: TrustDomain,
}

/// What one workload believes, of one moment: the bundle of its own trust domain, and those of the foreign ones that it
/// federates with, each by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleSet {
    own: Arc<Bundle>,
    foreign: ForeignBundles,
}

impl BundleSet {
    /// The own trust domain's.
    pub fn own(&self) -> &Bundle {
        &self.own
    }

    /// The foreign ones, by trust domain.
    pub fn foreign(&self) -> impl Iterator<Item = &Bundle> {
        self.foreign.values().map(|bundle| &**bundle)
    }

    /// What `token` proves to `audience` at `now`, judged by the bundle of its subject's trust domain; see
    /// [`verify_token`](crate::verify_token).
    ///
    /// # Errors
    /// The first rule that the token breaks.
    pub fn verify_token(&self, token: &str, audience: &str, now: UnixTime) -> Result<JwtSvid, TokenError> {
        // The own one proves no identity of another trust domain.
        let bundle = |id: &SpiffeId| &**self.foreign.get(&id.trust_domain()).unwrap_or(&self.own);
        verify_by(token, bundle, audience, now)
    }
}

impl Keyring {
    /// Every foreign bundle, of one moment.
    pub fn foreign(&self) -> Arc<ForeignBundles> {
        Arc::clone(&self.read().foreign)
    }

    /// The bundle of a trust domain, own or foreign; `None` if nothing is believed about it.
    pub fn bundle_of(&self, trust_domain: &TrustDomain) -> Option<Arc<Bundle>> {
        let state = self.read();
        if state.bundle.trust_domain() == trust_domain {
            return Some(Arc::clone(&state.bundle));
        }
        state.foreign.get(trust_domain).map(Arc::clone)
    }

    /// The bundle that judges `id`: that of its trust domain, or, if there is none, the own one, which proves no
    /// identity of another trust domain.
    pub(crate) fn bundle_for(&self, id: &SpiffeId) -> Arc<Bundle> {
        let state = self.read();
        if state.foreign.is_empty() || state.bundle.trust_domain().as_str() == id.trust_domain_str() {
            return Arc::clone(&state.bundle);
        }
        Arc::clone(state.foreign.get(&id.trust_domain()).unwrap_or(&state.bundle))
    }

    /// What a workload believes that federates with these trust domains: of each of them that is known here, its bundle.
    pub fn bundles(&self, federates_with: &BTreeSet<TrustDomain>) -> BundleSet {
        let state = self.read();
        let known = |name: &TrustDomain| Some((name.clone(), Arc::clone(state.foreign.get(name)?)));
        BundleSet { own: Arc::clone(&state.bundle), foreign: federates_with.iter().filter_map(known).collect() }
    }

    /// Believes these authorities about their trust domain from now on, and no others; tells whether anything changed.
    ///
    /// # Errors
    /// It is the own trust domain's, which [`set_bundle`](Self::set_bundle) alone replaces.
    pub fn set_foreign(&self, bundle: Bundle) -> Result<bool, OwnTrustDomain> {
        let trust_domain = bundle.trust_domain().clone();
        {
            let mut state = self.write();
            if *state.bundle.trust_domain() == trust_domain {
                return Err(OwnTrustDomain { trust_domain });
            }
            if state.foreign.get(&trust_domain).is_some_and(|known| **known == bundle) {
                return Ok(false);
            }
            Arc::make_mut(&mut state.foreign).insert(trust_domain.clone(), Arc::new(bundle));
            self.step();
        }
        self.tell(&Change::Foreign(trust_domain));
        Ok(true)
    }

    /// Believes nobody about this foreign trust domain any more; tells whether anybody was believed.
    pub fn remove_foreign(&self, trust_domain: &TrustDomain) -> bool {
        let removed = {
            let mut state = self.write();
            let removed = Arc::make_mut(&mut state.foreign).remove(trust_domain).is_some();
            if removed {
                self.step();
            }
            removed
        };
        if removed {
            self.tell(&Change::Foreign(trust_domain.clone()));
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::OwnTrustDomain;
    use crate::{Bundle, CertificateAuthority, Change, Keyring, TokenError, unix_time};
    use std::collections::BTreeSet;
    use std::sync::{Arc, Mutex};
    use time::{Duration, OffsetDateTime};

    fn now() -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
    }

    fn authority(domain: &str) -> CertificateAuthority {
        CertificateAuthority::new(domain.parse().expect("a trust domain"), now(), Duration::DAY).expect("a root")
    }

    #[test]
    fn a_foreign_bundle_comes_changes_and_goes_by_itself() {
        let (own, other, third) = (authority("own"), authority("other"), authority("third"));
        let keyring = Keyring::new(own.bundle(1));
        let told = Arc::new(Mutex::new(Vec::new()));
        let _subscription = keyring.subscribe({
            let told = Arc::clone(&told);
            move |change| told.lock().expect("the list").push(change.clone())
        });
        assert_eq!(keyring.set_foreign(other.bundle(1)), Ok(true));
        assert_eq!(keyring.set_foreign(other.bundle(1)), Ok(false), "an equal one changes nothing");
        assert_eq!(keyring.set_foreign(third.bundle(1)), Ok(true));
        let before = keyring.foreign();
        assert_eq!(keyring.set_foreign(other.bundle(2)), Ok(true));
        assert!(keyring.remove_foreign(third.trust_domain()) && !keyring.remove_foreign(third.trust_domain()));
        assert_eq!((before.len(), keyring.foreign().len()), (2, 1), "what was read is one state");
        assert_eq!(keyring.bundle_of(other.trust_domain()).map(|bundle| bundle.sequence()), Some(2));
        assert_eq!(keyring.bundle_of(own.trust_domain()).as_deref(), Some(&own.bundle(1)));
        assert_eq!(keyring.bundle_of(third.trust_domain()), None);
        let foreign = |authority: &CertificateAuthority| Change::Foreign(authority.trust_domain().clone());
        let wanted = [foreign(&other), foreign(&third), foreign(&other), foreign(&third)];
        assert_eq!(*told.lock().expect("the list"), wanted);
    }

    #[test]
    fn nobody_else_says_whom_to_believe_about_the_own_trust_domain() {
        let (own, impostor) = (authority("own"), authority("own"));
        let keyring = Keyring::new(own.bundle(1));
        let refused = Err(OwnTrustDomain { trust_domain: own.trust_domain().clone() });
        assert_eq!(keyring.set_foreign(impostor.bundle(9)), refused);
        assert_eq!((*keyring.bundle()).clone(), own.bundle(1));
        assert!(!keyring.remove_foreign(own.trust_domain()));
    }

    #[test]
    fn a_token_is_judged_by_the_keys_of_its_subjects_trust_domain() {
        let (own, other) = (authority("own"), authority("other"));
        let keyring = Keyring::new(own.bundle(1));
        let token = |authority: &CertificateAuthority, id: &str| {
            let id = id.parse().expect("an identity");
            authority.tokens().issue(&id, &["bank".to_owned()], now(), Duration::HOUR).expect("a token")
        };
        let (ours, theirs) = (token(&own, "spiffe://own/a"), token(&other, "spiffe://other/a"));
        let with_other = BTreeSet::from([other.trust_domain().clone(), own.trust_domain().clone()]);
        let verify_with = |token: &str, federates_with: &BTreeSet<_>| {
            let bundles = keyring.bundles(federates_with);
            bundles.verify_token(token, "bank", unix_time(now())).map(|svid| svid.id.to_string())
        };
        let verify = |token: &str| verify_with(token, &with_other);
        assert!(matches!(verify(&theirs), Err(TokenError::TrustDomain { .. })));
        keyring.set_foreign(other.bundle(1)).expect("a foreign bundle");
        assert_eq!(verify(&theirs).as_deref(), Ok("spiffe://other/a"));
        assert_eq!(verify(&ours).as_deref(), Ok("spiffe://own/a"));
        assert!(matches!(verify_with(&theirs, &BTreeSet::new()), Err(TokenError::TrustDomain { .. })), "not federated");
        assert_eq!(verify_with(&ours, &BTreeSet::new()).as_deref(), Ok("spiffe://own/a"));
        // The key of the other trust domain signs nothing that says it is ours, and the other way round.
        let other_as_own = Bundle::new(own.trust_domain().clone(), Vec::new(), 2).expect("a bundle");
        keyring.set_bundle(other_as_own.with_jwt_keys(own.bundle(1).jwt_keys().to_vec()));
        let Ok(crate::keys::SavedKey::Own(key)) = other.tokens().key() else { panic!("a key of this process") };
        let forged = crate::TokenAuthority::with_key(own.trust_domain().clone(), other.tokens().algorithm(), &key);
        let id = "spiffe://own/a".parse().expect("an identity");
        let forged = forged.expect("an authority").issue(&id, &["bank".to_owned()], now(), Duration::HOUR);
        assert_eq!(verify(&forged.expect("a token")), Err(TokenError::UnknownKey));
        keyring.remove_foreign(other.trust_domain());
        assert!(matches!(verify(&theirs), Err(TokenError::TrustDomain { .. })));
    }
}
