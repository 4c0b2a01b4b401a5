//! Identities that another Workload API gives to this process, so that lictor lives beside an existing SPIRE.
//!
//! Two streams of complete states are followed, X.509-SVIDs with their bundles and keys for tokens. Each state replaces
//! the one before as a whole: what it leaves out is given up, and what a refusal takes back as well. A stream that ends is
//! opened again, after waits that grow; until then what was received goes on until it expires.
//!
//! Source: SPIFFE Workload API, sections 4.2 to 4.5, 5.2 and 6.2; SPIFFE Workload Endpoint, sections 3, 4 and 6.

mod endpoint;
mod offer;
mod streams;

pub use endpoint::{InvalidEndpoint, WorkloadEndpoint};

use crate::issuer::Clock;
use crate::registry::Registry;
use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::{Bundle, InvalidAuthority, Keyring};
use offer::{Offer, TokenKeys};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use streams::{Tokens, X509};
use time::OffsetDateTime;
use tokio::sync::watch;

/// How long at most an SVID that has expired stays in the keyring.
const NAP: Duration = Duration::from_secs(10);

/// Another Workload API as the source of this node's identities. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Source(Arc<Shared>);

struct Shared {
    endpoint: WorkloadEndpoint,
    trust_domain: TrustDomain,
    /// The own trust domain's bundle without authorities.
    nobody: Bundle,
    keyring: Keyring,
    clock: Clock,
    content: Mutex<Content>,
    /// Told of every state that was taken in, and of every one that was taken back.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Content {
    /// What the last state offers; nothing before the first one and after a refusal.
    offer: Option<Offer>,
    received: Option<OffsetDateTime>,
    token_keys: TokenKeys,
    /// The foreign trust domains that are believed because a state said so.
    foreign: BTreeSet<TrustDomain>,
    missing: Vec<SpiffeId>,
    faults: Faults,
}

/// What keeps a stream from being followed, and why some of what it brought is of no use.
#[derive(Default)]
struct Faults {
    x509: Option<String>,
    tokens: Option<String>,
}

/// How the source stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceStatus {
    /// Where the other Workload API listens.
    pub endpoint: WorkloadEndpoint,
    /// When the last state with SVIDs came; nothing before the first one.
    pub received: Option<OffsetDateTime>,
    /// The identities of the own trust domain that it offers, in order.
    pub offered: Vec<SpiffeId>,
    /// Those that pods here need and it does not offer, in order.
    pub missing: Vec<SpiffeId>,
    /// What is wrong now: with a stream, or with a part of what it brought.
    pub faults: Vec<String>,
}

impl Source {
    /// A source for a node of this trust domain; nothing is believed and nobody has an SVID until it [runs](Self::run).
    ///
    /// # Errors
    /// None in practice: a bundle without authorities is a valid one.
    pub fn new(endpoint: WorkloadEndpoint, trust_domain: TrustDomain, clock: Clock) -> Result<Self, InvalidAuthority> {
        let nobody = Bundle::new(trust_domain.clone(), Vec::new(), 0)?;
        let keyring = Keyring::new(nobody.clone());
        let (content, changes) = (Mutex::default(), watch::Sender::new(()));
        Ok(Self(Arc::new(Shared { endpoint, trust_domain, nobody, keyring, clock, content, changes })))
    }

    /// Where the other Workload API listens.
    pub fn endpoint(&self) -> &WorkloadEndpoint {
        &self.0.endpoint
    }

    /// The keyring that has the SVIDs of the pods here, and whom to believe.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// How it stands now.
    pub fn status(&self) -> SourceStatus {
        let content = self.content();
        let Faults { x509, tokens } = &content.faults;
        let passed_over =
            content.offer.iter().flat_map(|offer| &offer.passed_over).chain(&content.token_keys.passed_over);
        SourceStatus {
            endpoint: self.0.endpoint.clone(),
            received: content.received,
            offered: content.offer.iter().flat_map(|offer| offer.svids.keys().cloned()).collect(),
            missing: content.missing.clone(),
            faults: [x509, tokens].into_iter().flatten().chain(passed_over).cloned().collect(),
        }
    }

    /// Waits until the first state with SVIDs has been taken in.
    pub async fn received(&self) {
        let mut changes = self.0.changes.subscribe();
        while self.content().offer.is_none() && changes.changed().await.is_ok() {}
    }

    /// Keeps the keyring as the other Workload API says, for the identities of `registry`, until `shutdown`.
    pub async fn run(self, registry: Registry, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.settle_on_changes(&registry) => {}
            () = streams::follow::<X509>(&self) => {}
            () = streams::follow::<Tokens>(&self) => {}
        }
    }

    async fn settle_on_changes(&self, registry: &Registry) {
        let (mut states, mut pods) = (self.0.changes.subscribe(), registry.changes());
        loop {
            self.settle(registry);
            tokio::select! {
                _ = states.changed() => {}
                _ = pods.changed() => {}
                () = tokio::time::sleep(NAP) => {}
            }
        }
    }

    /// Makes the keyring what the last states say: first whom to believe, then who the pods are.
    fn settle(&self, registry: &Registry) {
        let (wanted, now) = (registry.subjects(), (self.0.clock)());
        let mut content = self.content();
        self.believe(&mut content);
        let keyring = self.keyring();
        for subject in keyring.subjects() {
            if wanted.binary_search(&subject).is_err() {
                keyring.remove_of(&subject);
            }
        }
        let mut missing: Vec<SpiffeId> = Vec::new();
        for subject in wanted {
            let offered = content.offer.as_ref().and_then(|offer| offer.svids.get(&subject.id));
            match offered.filter(|svid| now <= svid.not_after) {
                Some(svid) => {
                    // Which DNS names an identity has, is decided there as well: it is the one SVID whatever an entry here says.
                    if keyring.svid_of(&subject).is_none_or(|(held, _)| held.chain != svid.chain) {
                        keyring.insert_named(svid.clone(), subject.dns_names);
                    }
                }
                None => {
                    keyring.remove_of(&subject);
                    if missing.last() != Some(&subject.id) {
                        missing.push(subject.id);
                    }
                }
            }
        }
        content.missing = missing;
    }

    /// One bundle for each trust domain, never one for two.
    fn believe(&self, content: &mut Content) {
        let keyring = self.keyring();
        let keys = |domain: &TrustDomain| content.token_keys.by_domain.get(domain).cloned().unwrap_or_default();
        let held = keyring.bundle();
        let own = match &content.offer {
            Some(offer) => offer.bundle.clone(),
            None => self.0.nobody.clone(),
        };
        let own = own.with_jwt_keys(keys(&self.0.trust_domain));
        // The other side numbers nothing; equal content keeps its number.
        if own.authorities() != held.authorities() || own.jwt_keys() != held.jwt_keys() {
            keyring.set_bundle(own.numbered(held.sequence() + 1));
        }
        let foreign = content.offer.iter().flat_map(|offer| &offer.foreign);
        let mut believed = BTreeSet::new();
        for (domain, bundle) in foreign {
            // Read as a foreign one, so that it is not about the own trust domain.
            if keyring.set_foreign(bundle.clone().with_jwt_keys(keys(domain))).is_ok() {
                believed.insert(domain.clone());
            }
        }
        for gone in content.foreign.difference(&believed) {
            keyring.remove_foreign(gone);
        }
        content.foreign = believed;
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("endpoint", &self.0.endpoint).field("keyring", &self.0.keyring).finish()
    }
}
