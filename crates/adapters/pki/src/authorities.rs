//! The authorities of one trust domain through their lives: prepared, active, old, tainted, gone.
//!
//! There are two kinds, one for certificates and one for tokens, each with a key that signs, one that waits for its turn,
//! and those that only have to be believed. The names and the order of the steps are SPIRE's (`localauthority x509` and
//! `localauthority jwt`); so are the marks of the schedule, without its upper bounds in days.
//!
//! ```text
//!            half of the active one's life    last sixth            the last thing signed is over
//!  (nothing) ------------> prepared ------------> active -> old ----------------------------------> (gone)
//!                                                            | taint                                   ^
//!                                                            +----> tainted -- revoke, or the same ----+
//! ```
//!
//! **Invariant.** What is prepared is in the bundle before it signs; what has signed stays in it until the last thing that
//! it signed is over, or until it is revoked.

mod change;
mod saved;
mod slot;
#[cfg(test)]
mod tests;

use crate::authority::{CertificateAuthority, IssueError};
use crate::bundle::{Bundle, InvalidAuthority, JwtKey};
use crate::keys::{AuthorityKey, Keys, SavedKey};
use crate::tokens::TokenAuthority;
use crate::upstream::Upstream;
use lictor_model::TrustDomain;
use rustls_pki_types::CertificateDer;
pub use saved::InvalidSaved;
use slot::{Authority, Slot, Slots};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// What an authority signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Certificates.
    X509,
    /// Tokens.
    Jwt,
}

/// Where an authority is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// It is believed, and signs when its turn comes.
    Prepared,
    /// It signs.
    Active,
    /// It signs no more; what it signed is still in use.
    Old,
    /// It is not to be trusted any more: what it signed is replaced at once.
    Tainted,
}

/// An authority, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorityStatus {
    /// What it signs.
    pub kind: Kind,
    /// Its name: the key's identifier in certificates, `kid` of tokens.
    pub id: Arc<str>,
    /// Where it is in its life.
    pub state: State,
    /// When it was made.
    pub since: OffsetDateTime,
    /// Its own end.
    pub not_after: OffsetDateTime,
    /// How much it has signed.
    pub issued: u64,
    /// When the last of that ends.
    pub last_expiry: Option<OffsetDateTime>,
}

/// Why a step was not taken; each message says what to do instead.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// Nothing waits for its turn.
    #[error("there is no prepared {kind} authority; prepare one first")]
    NothingPrepared {
        /// Of which kind.
        kind: Kind,
    },
    /// A name of none of them.
    #[error("there is no {kind} authority {id}; there are {known}")]
    Unknown {
        /// Of which kind.
        kind: Kind,
        /// The name.
        id: String,
        /// Those that there are.
        known: String,
    },
    /// It is not in the state that the step begins in.
    #[error("expected {wanted} authority, {id} is {state}; {hint}")]
    State {
        /// The state that the step begins in, with its article.
        wanted: &'static str,
        /// The authority.
        id: String,
        /// Its state.
        state: State,
        /// What to do.
        hint: &'static str,
    },
    /// Without a name the step is for the only one that it can be for; there are none, or several.
    #[error("expected the name of {wanted} {kind} authority; there are {candidates}")]
    Unnamed {
        /// The state that the step begins in, with its article.
        wanted: &'static str,
        /// Of which kind.
        kind: Kind,
        /// Those it could be for.
        candidates: String,
    },
    /// Peers believe the upstream's root, not this authority: leaving it out of the bundle would change nothing.
    #[error("the {kind} authorities are signed by an upstream; replace the upstream's files instead")]
    Upstream {
        /// Of which kind.
        kind: Kind,
    },
    /// A new authority could not be made.
    #[error(transparent)]
    Issue(#[from] IssueError),
}

/// What the schedule did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// To which kind.
    pub kind: Kind,
    /// To which authority.
    pub id: Arc<str>,
    /// What became of it; `None`: it is gone.
    pub became: Option<State>,
}

/// The authorities of one trust domain. Pure: the clock is passed in, and whoever changes it publishes
/// [`bundle`](Self::bundle) before anything more is issued.
#[derive(Clone)]
pub struct Authorities {
    trust_domain: TrustDomain,
    /// How long a new authority lives.
    life: Duration,
    upstream: Option<Arc<Upstream>>,
    /// Where new keys are made.
    keys: Keys,
    x509: Slots<CertificateAuthority>,
    jwt: Slots<TokenAuthority>,
    sequence: u64,
}

impl Authorities {
    /// A first authority of each kind, active at once.
    ///
    /// With an upstream, it signs those for certificates, and its root is what peers believe.
    ///
    /// # Errors
    /// No key can be made, or the upstream has expired.
    pub fn new(
        trust_domain: TrustDomain,
        upstream: Option<Arc<Upstream>>,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Self, LifecycleError> {
        Self::with_keys(Keys::default(), trust_domain, upstream, life, now)
    }

    /// As [`new`](Self::new), with keys that are made where `keys` says.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_keys(
        keys: Keys,
        trust_domain: TrustDomain,
        upstream: Option<Arc<Upstream>>,
        life: Duration,
        now: OffsetDateTime,
    ) -> Result<Self, LifecycleError> {
        let jwt = new_jwt(&keys, &trust_domain, life, now)?;
        let x509 = new_x509(&keys, &jwt.authority, upstream.as_deref(), life, now)?;
        Ok(Self { trust_domain, life, upstream, keys, x509: first(x509), jwt: first(jwt), sequence: 1 })
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Who signs certificates now.
    pub fn signer(&self) -> (&Arc<CertificateAuthority>, &Arc<str>) {
        (&self.x509.active.authority, &self.x509.active.id)
    }

    /// Who signs tokens now.
    pub fn tokens(&self) -> &Arc<TokenAuthority> {
        &self.jwt.active.authority
    }

    /// Everyone who is to be believed now. Its number grows with each change of the content.
    ///
    /// # Errors
    /// A certificate of an upstream that may not sign; it was held to that when it was read.
    pub fn bundle(&self) -> Result<Bundle, InvalidAuthority> {
        let (roots, keys) = self.content();
        Ok(Bundle::new(self.trust_domain.clone(), roots, self.sequence)?.with_jwt_keys(keys))
    }

    /// All of them: those for certificates first, in the order of their lives.
    pub fn list(&self) -> Vec<AuthorityStatus> {
        self.x509.all().map(Slot::status).chain(self.jwt.all().map(Slot::status)).collect()
    }

    /// What the key store finds the keys of all of them by; none of those that are in this process.
    pub fn held_keys(&self) -> BTreeSet<String> {
        let of = |key: Option<SavedKey>| match key {
            Some(SavedKey::Held(reference)) => Some(reference),
            _ => None,
        };
        let x509 = self.x509.all().filter_map(|slot| of(Some(slot.authority.key())));
        x509.chain(self.jwt.all().filter_map(|slot| of(slot.authority.key().ok()))).collect()
    }

    /// Where new keys are made.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The state of the authority for certificates of this name.
    #[cfg(test)]
    pub(crate) fn x509_state(&self, id: &str) -> Option<State> {
        self.x509.state_of(id)
    }

    /// The roots and the keys for tokens, each once.
    fn content(&self) -> (Vec<CertificateDer<'static>>, Vec<JwtKey>) {
        let mut roots: Vec<CertificateDer<'static>> = Vec::new();
        let upstream = self.upstream.iter().flat_map(|upstream| upstream.roots());
        for root in self.x509.all().flat_map(|slot| slot.authority.roots()).chain(upstream) {
            if !roots.contains(root) {
                roots.push(root.clone());
            }
        }
        (roots, self.jwt.all().map(|slot| slot.authority.public().clone()).collect())
    }
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::X509, Self::Jwt];
}

impl State {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Old => "old",
            Self::Tainted => "tainted",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::X509 => "x509",
            Self::Jwt => "jwt",
        })
    }
}

impl std::str::FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.to_string() == text).ok_or_else(|| "expected x509 or jwt".to_owned())
    }
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("trust_domain", &self.trust_domain.as_str())
            .field("sequence", &self.sequence)
            .field("authorities", &self.list())
            .finish_non_exhaustive()
    }
}

fn first<A>(mut slot: Slot<A>) -> Slots<A> {
    slot.state = State::Active;
    Slots { active: slot, next: None, old: Vec::new() }
}

fn new_jwt(
    keys: &Keys,
    trust_domain: &TrustDomain,
    life: Duration,
    now: OffsetDateTime,
) -> Result<Slot<TokenAuthority>, LifecycleError> {
    let authority = TokenAuthority::made_in(keys, trust_domain.clone()).map_err(IssueError::from)?.until(now + life);
    prepared(authority, now, now + life)
}

fn new_x509(
    keys: &Keys,
    tokens: &Arc<TokenAuthority>,
    upstream: Option<&Upstream>,
    life: Duration,
    now: OffsetDateTime,
) -> Result<Slot<CertificateAuthority>, LifecycleError> {
    let tokens = Arc::clone(tokens);
    let key = AuthorityKey::made_in(keys)?;
    let authority = match upstream {
        Some(upstream) => upstream.issuing(tokens, key, now, life)?,
        None => CertificateAuthority::root(tokens, key, now, life)?,
    };
    let not_after = authority.not_after();
    prepared(authority, now, not_after)
}

fn prepared<A: Authority>(
    authority: A,
    since: OffsetDateTime,
    not_after: OffsetDateTime,
) -> Result<Slot<A>, LifecycleError> {
    let malformed = LifecycleError::Issue(IssueError::Signing(rcgen::Error::CouldNotParseCertificate));
    let id: Arc<str> = authority.id().ok_or(malformed)?.into();
    Ok(Slot { authority: Arc::new(authority), id, state: State::Prepared, since, not_after, stopped: None })
}
