//! Who may join, and who has joined: one-time tokens and nodes, kept together so that using up a token and letting a node
//! in are one writing.

mod saved;
#[cfg(test)]
mod tests;

use super::node_name::NodeName;
use crate::ca::{Store, StoreError, StoreOptions};
use crate::issuer::Clock;
use lictor_pki::{Certified, IssueError, OneTimeSecret, SecretDigest, serial_number};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use time::{Duration, OffsetDateTime};
use tokio::sync::watch;

/// Tokens that wait to be used, at most.
const TOKENS: usize = 10_000;

/// Certificates of a node that count: the one that it shows, and the one that it has asked for and may not have got.
const SERIALS: usize = 2;

/// The tokens and nodes of a trust domain. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Members(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    store: Option<Store>,
    clock: Clock,
    /// Told of every change.
    changes: watch::Sender<()>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    tokens: BTreeMap<SecretDigest, Token>,
    nodes: BTreeMap<NodeName, Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    /// The one node that it lets in; any that has not joined if there is nothing here.
    node: Option<NodeName>,
    made: OffsetDateTime,
    expires: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    joined: OffsetDateTime,
    /// The token that let it in, as people call it.
    token: String,
    /// The serial numbers of the certificates that count, the newest last.
    serials: Vec<String>,
    /// The last second of the newest.
    not_after: OffsetDateTime,
}

/// A token that waits to be used, for people: nobody can tell its text any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenStatus {
    /// What it is called.
    pub id: String,
    /// The one node that it lets in; any that has not joined if there is nothing here.
    pub node: Option<NodeName>,
    /// When it was made.
    pub made: OffsetDateTime,
    /// Its last second.
    pub expires: OffsetDateTime,
}

/// A node that has joined, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeStatus {
    /// The node.
    pub name: NodeName,
    /// When it joined.
    pub joined: OffsetDateTime,
    /// The token that let it in.
    pub token: String,
    /// The last second of its newest certificate.
    pub not_after: OffsetDateTime,
}

/// Why a token was not made or taken back.
#[derive(Debug, thiserror::Error)]
pub enum MembersError {
    /// Too many wait.
    #[error("expected at most {TOKENS} join tokens that wait to be used; revoke some, or wait until they expire")]
    Full,
    /// A lifetime that is none.
    #[error("expected a lifetime of a second or more, saw {0}")]
    Lifetime(Duration),
    /// It cannot be drawn.
    #[error(transparent)]
    Draw(#[from] IssueError),
    /// It cannot be kept, so nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a node is not let in, or not any longer.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// The token is none that waits to be used.
    #[error("expected a join token that waits to be used, this one is not known: it was used, revoked, or never made")]
    UnknownToken,
    /// The token waited too long.
    #[error("the join token expired at {expired}; the time here is {now}")]
    Expired {
        /// Its last second.
        expired: OffsetDateTime,
        /// The time of day.
        now: OffsetDateTime,
    },
    /// The token is another node's.
    #[error("expected a join token for node {wanted}, this one is for another node")]
    AnotherNode {
        /// Who wanted to join.
        wanted: NodeName,
    },
    /// A token for any node does not let one in under a name that is taken.
    #[error(
        "node {node} has joined already: it takes a token that was made for it, or the node has to be evicted first"
    )]
    Taken {
        /// The name.
        node: NodeName,
    },
    /// It has not joined, was evicted, or has joined again since.
    #[error(
        "node {node} is not a member by this certificate: it was evicted, or has joined again since; it needs a new join token"
    )]
    NoMember {
        /// The node.
        node: NodeName,
    },
    /// The request was not signed; the token waits on.
    #[error("no certificate for the node: {0}")]
    Issue(#[from] IssueError),
    /// It cannot be kept, so nothing has changed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Members {
    /// Those of a store, which lies beside that of the authorities; in memory without one.
    ///
    /// # Errors
    /// The store does not open, or holds something else.
    pub fn open(store: Option<&StoreOptions>, clock: Clock) -> Result<Self, StoreError> {
        let (store, document) = store.map(|store| Store::open(&store.of_members())).transpose()?.unzip();
        let state = match (&store, document.flatten()) {
            (Some(store), Some(document)) => saved::read(&document).map_err(|error| store.blame_members(error))?,
            _ => State::default(),
        };
        let changes = watch::Sender::new(());
        Ok(Self(Arc::new(Shared { state: Mutex::new(state), store, clock, changes })))
    }

    /// Makes a token that lets one node in, within `lifetime`.
    ///
    /// Source: SPIRE, `spire-server token generate`.
    ///
    /// # Errors
    /// Too many wait already, or it cannot be kept.
    pub fn generate(
        &self,
        node: Option<NodeName>,
        lifetime: Duration,
    ) -> Result<(OneTimeSecret, TokenStatus), MembersError> {
        if lifetime < Duration::SECOND {
            return Err(MembersError::Lifetime(lifetime));
        }
        let secret = OneTimeSecret::new()?;
        let (digest, made) = (SecretDigest::of(secret.text()), self.now());
        let token = Token { node, made, expires: made.saturating_add(lifetime) };
        let status = token.status(&digest);
        self.change(|state| {
            state.tokens.retain(|_, token| made <= token.expires);
            if state.tokens.len() >= TOKENS {
                return Err(MembersError::Full);
            }
            state.tokens.insert(digest, token);
            Ok(())
        })?;
        tracing::info!(token = %status.id, node = status.node.as_ref().map(NodeName::as_str), expires = %status.expires, "a join token was made");
        Ok((secret, status))
    }

    /// The tokens that wait to be used, the first to expire first.
    pub fn tokens(&self) -> Vec<TokenStatus> {
        let now = self.now();
        let state = self.state();
        let waiting = state.tokens.iter().filter(|(_, token)| now <= token.expires);
        let mut tokens: Vec<_> = waiting.map(|(digest, token)| token.status(digest)).collect();
        tokens.sort_by(|one, other| (one.expires, &one.id).cmp(&(other.expires, &other.id)));
        tokens
    }

    /// Takes back the token that is called `id`; tells whether there was one.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn revoke(&self, id: &str) -> Result<bool, MembersError> {
        self.change(|state| {
            let before = state.tokens.len();
            state.tokens.retain(|digest, _| digest.id() != id);
            Ok(state.tokens.len() < before)
        })
    }

    /// The nodes that have joined, by name.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let status = |(name, node): (&NodeName, &Node)| NodeStatus {
            name: name.clone(),
            joined: node.joined,
            token: node.token.clone(),
            not_after: node.not_after,
        };
        self.state().nodes.iter().map(status).collect()
    }

    /// Takes a node out: from now on it is issued nothing, and needs a new token. Tells whether it had joined.
    ///
    /// # Errors
    /// It cannot be kept.
    pub fn evict(&self, node: &NodeName) -> Result<bool, MembersError> {
        let evicted = self.change(|state| Ok::<_, MembersError>(state.nodes.remove(node).is_some()))?;
        if evicted {
            tracing::warn!(%node, "a node was evicted");
        }
        Ok(evicted)
    }

    /// Lets a node in: its token is gone and its certificate counts, both or neither, before anybody hears of it. Whatever
    /// happens then, the token is not used again.
    pub(super) fn join(
        &self,
        node: &NodeName,
        token: &str,
        sign: impl FnOnce() -> Result<Certified, IssueError>,
    ) -> Result<Certified, Denied> {
        let (digest, now) = (SecretDigest::of(token), self.now());
        self.change(|state| {
            let Some(Token { node: only, expires, .. }) = state.tokens.get(&digest) else {
                return Err(Denied::UnknownToken);
            };
            if now > *expires {
                return Err(Denied::Expired { expired: *expires, now });
            }
            match only {
                Some(only) if only != node => return Err(Denied::AnotherNode { wanted: node.clone() }),
                None if state.nodes.get(node).is_some_and(|known| now <= known.not_after) => {
                    return Err(Denied::Taken { node: node.clone() });
                }
                _ => {}
            }
            let certified = sign()?;
            state.tokens.remove(&digest);
            state.nodes.insert(node.clone(), Node::new(now, digest.id(), &certified));
            Ok(certified)
        })
    }

    /// The next certificate of a node that has proven to be one by the certificate with this serial number.
    pub(super) fn renew(
        &self,
        node: &NodeName,
        serial: &str,
        sign: impl FnOnce() -> Result<Certified, IssueError>,
    ) -> Result<Certified, Denied> {
        self.change(|state| {
            let known = state.nodes.get_mut(node).filter(|known| known.counts(serial));
            let Some(known) = known else { return Err(Denied::NoMember { node: node.clone() }) };
            let certified = sign()?;
            known.renewed(serial, &certified);
            Ok(certified)
        })
    }

    /// Whether the certificate with this serial number makes its bearer a member.
    ///
    /// # Errors
    /// It does not.
    pub(super) fn check(&self, node: &NodeName, serial: &str) -> Result<(), Denied> {
        let counts = self.state().nodes.get(node).is_some_and(|known| known.counts(serial));
        if counts { Ok(()) } else { Err(Denied::NoMember { node: node.clone() }) }
    }

    /// Tells of every change after this call.
    pub(super) fn changes(&self) -> watch::Receiver<()> {
        self.0.changes.subscribe()
    }

    /// Makes a change to a copy, has the store keep it, and only then is it true. Only one is made at a time.
    fn change<T, E: From<StoreError>>(&self, change: impl FnOnce(&mut State) -> Result<T, E>) -> Result<T, E> {
        let mut state = self.state();
        let mut changed = state.clone();
        let done = change(&mut changed)?;
        if changed != *state {
            if let Some(store) = &self.0.store {
                store.save(&saved::document(&changed).map_err(|error| store.blame_members(error.to_string()))?)?;
            }
            *state = changed;
            drop(state);
            self.0.changes.send_replace(());
        }
        Ok(done)
    }

    fn now(&self) -> OffsetDateTime {
        (self.0.clock)()
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    fn status(&self, digest: &SecretDigest) -> TokenStatus {
        TokenStatus { id: digest.id(), node: self.node.clone(), made: self.made, expires: self.expires }
    }
}

impl Node {
    fn new(joined: OffsetDateTime, token: String, certified: &Certified) -> Self {
        Self { joined, token, serials: serial(certified).into_iter().collect(), not_after: certified.not_after }
    }

    fn counts(&self, serial: &str) -> bool {
        self.serials.iter().any(|known| known == serial)
    }

    /// The one that was shown goes on counting, since the answer may be lost; one before it does not.
    fn renewed(&mut self, shown: &str, certified: &Certified) {
        self.serials.retain(|known| known == shown);
        self.serials.extend(serial(certified));
        self.serials.truncate(SERIALS);
        self.not_after = certified.not_after;
    }
}

fn serial(certified: &Certified) -> Option<String> {
    certified.chain.first().and_then(serial_number)
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Members")
            .field("tokens", &state.tokens.len())
            .field("nodes", &state.nodes.len())
            .finish_non_exhaustive()
    }
}
