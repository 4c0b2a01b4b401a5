//! A node's membership in a trust domain whose authorities are with control.
//!
//! The node joins by a one-time token, proves itself by its SVID from then on, and keeps the keyring for the pods that run
//! here as the issuer beside its own authorities would. Keys are made here and stay here.
//!
//! While control is away, what was issued goes on until it expires, and whom to believe stays; the node asks again and
//! again, after waits that grow. A node that starts again with the SVID that it kept renews it before it does anything
//! else; one whose SVID has ended, or counts no more, needs another token, which it looks for in the same file.
//!
//! Source: `docs/node-control.md`.

mod connect;
mod issue;
mod kept;
mod session;

pub use kept::KeptError;

use crate::backoff::Backoff;
use crate::control::{NodeName, control_id};
use crate::issuer::{Clock, Schedule, random_fraction};
use crate::needs::Identity;
use crate::registry::Registry;
use connect::Api;
use kept::Kept;
use lictor_model::{InvalidSpiffeId, Name, SpiffeId, TrustDomain};
use lictor_pki::tls::node::{Fingerprint, Pin};
use lictor_pki::{Bundle, InvalidAuthority, Keyring, SecretDigest, Subject, Svid};
use lictor_wire::node::{IssueTokenRequest, Pod};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use tonic::Status;

/// How long at most an SVID that has expired stays in the keyring.
const NAP: Duration = Duration::from_secs(10);

/// How a node is to be a member.
#[derive(Clone)]
pub struct MembershipOptions {
    /// Where control listens: `host:port`.
    pub address: String,
    /// The node's name.
    pub node: NodeName,
    /// Whose member it is.
    pub trust_domain: TrustDomain,
    /// What is known about control before anything else is.
    pub bootstrap: Bootstrap,
    /// The file with the join token; looked at whenever one is needed.
    pub token_file: Option<PathBuf>,
    /// Where the node's SVID and the last bundle outlive the process; they end with it without.
    pub kept: Option<PathBuf>,
    /// Tells the time of day.
    pub clock: Clock,
}

/// What is known about control before anything else is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bootstrap {
    /// The trust domain's bundle.
    Bundle(Box<Bundle>),
    /// One of its authorities.
    Fingerprint(Fingerprint),
}

/// The membership of this node. Cheap to clone; clones share the content.
#[derive(Clone)]
pub struct Membership(Arc<Shared>);

struct Shared {
    address: String,
    node: NodeName,
    /// Who the node is, and who control is.
    own: SpiffeId,
    control: SpiffeId,
    trust_domain: TrustDomain,
    pin: Option<Pin>,
    token_file: Option<PathBuf>,
    kept: Option<PathBuf>,
    keyring: Keyring,
    clock: Clock,
    content: Mutex<Content>,
    /// Told when pods come and go, and of everything that `status` tells.
    changes: watch::Sender<()>,
}

#[derive(Default)]
struct Content {
    svid: Option<Arc<Svid>>,
    /// When the next one is due; at once when the process has just begun.
    renew_at: Option<OffsetDateTime>,
    /// Control has said that the SVID does not count any more.
    denied: bool,
    /// The token that was used or refused last, and why it is not shown again.
    spent: Option<(SecretDigest, String)>,
    schedule: Schedule,
    /// Whose SVIDs were refused, how often one after the other, and why.
    refused: BTreeMap<Subject, (u32, String)>,
    api: Option<Api>,
    /// When control was last heard of.
    heard: Option<OffsetDateTime>,
    /// By how many seconds this machine's clock is ahead of control's.
    ahead: i64,
    fault: Option<String>,
}

/// How the membership stands, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipStatus {
    /// Where control is.
    pub address: String,
    /// The node.
    pub node: NodeName,
    /// The last second of the node's SVID, if it has one.
    pub not_after: Option<OffsetDateTime>,
    /// Whether control can be asked now.
    pub connected: bool,
    /// When control was last heard of.
    pub heard: Option<OffsetDateTime>,
    /// What is wrong now.
    pub faults: Vec<String>,
}

/// Why there is no membership to begin with.
#[derive(Debug, thiserror::Error)]
pub enum MembershipError {
    /// The names are too long for identities.
    #[error(transparent)]
    Id(#[from] InvalidSpiffeId),
    /// Never in practice: a bundle without authorities is a valid one.
    #[error(transparent)]
    Bundle(#[from] InvalidAuthority),
    /// What was kept cannot be read.
    #[error(transparent)]
    Kept(#[from] KeptError),
}

impl Membership {
    /// The membership of a node that has what it kept, if it kept something; nobody is asked until it [runs](Self::run).
    ///
    /// # Errors
    /// What it kept cannot be read, or is another node's.
    pub fn new(options: MembershipOptions) -> Result<Self, MembershipError> {
        let MembershipOptions { address, node, trust_domain, bootstrap, token_file, kept, clock } = options;
        let own = node.identity(&trust_domain)?;
        let control = control_id(&trust_domain)?;
        let (bundle, pin) = match bootstrap {
            Bootstrap::Bundle(bundle) => (*bundle, None),
            Bootstrap::Fingerprint(fingerprint) => {
                let nobody = Bundle::new(trust_domain.clone(), Vec::new(), 0)?;
                (nobody, Some(Pin::new(trust_domain.clone(), fingerprint)?))
            }
        };
        let mut content = Content::default();
        let mut believed = bundle;
        if let Some(Kept { svid, bundle }) = kept.as_deref().map(|path| kept::read(path, &own)).transpose()?.flatten() {
            content.renew_at = Some(clock());
            content.svid = Some(Arc::new(svid));
            believed = bundle;
        }
        let keyring = Keyring::new(believed);
        let (content, changes) = (Mutex::new(content), watch::Sender::new(()));
        let shared = Shared {
            address,
            node,
            own,
            control,
            trust_domain,
            pin,
            token_file,
            kept,
            keyring,
            clock,
            content,
            changes,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// The keyring that has the SVIDs of the pods here, and whom to believe.
    pub fn keyring(&self) -> &Keyring {
        &self.0.keyring
    }

    /// How it stands now.
    pub fn status(&self) -> MembershipStatus {
        let content = self.content();
        let clock = (content.ahead.unsigned_abs() > session::TOLERATED).then(|| {
            let side = if content.ahead > 0 { "ahead of" } else { "behind" };
            format!("the clock of this machine is {} s {side} control's", content.ahead.unsigned_abs())
        });
        let refused = content.refused.iter().map(|(subject, (_, why))| format!("{}: {why}", subject.id));
        MembershipStatus {
            address: self.0.address.clone(),
            node: self.0.node.clone(),
            not_after: content.svid.as_ref().map(|svid| svid.not_after),
            connected: content.api.is_some(),
            heard: content.heard,
            faults: content.fault.iter().cloned().chain(clock).chain(refused).collect(),
        }
    }

    /// Waits until the node has been let in and knows whom to believe.
    pub async fn joined(&self) {
        let mut changes = self.0.changes.subscribe();
        while self.content().api.is_none() && changes.changed().await.is_ok() {}
    }

    /// Keeps the keyring for the identities of `registry`, until `shutdown`.
    pub async fn run(self, registry: Registry, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.upkeep(&registry) => {}
            () = self.sessions(&registry) => {}
        }
    }

    /// A token for a pod that runs here, which control signs.
    ///
    /// # Errors
    /// `Unavailable` while control is away, else what control says.
    pub async fn issue_token(&self, pod: &Name, identity: &Identity, audience: &[String]) -> Result<String, Status> {
        let api = self.content().api.clone();
        let Some(mut api) = api else { return Err(Status::unavailable("control cannot be asked for a token now")) };
        let request = IssueTokenRequest {
            pod: Some(asked(pod)),
            spiffe_id: identity.id.to_string(),
            audience: audience.to_vec(),
        };
        let response = tokio::time::timeout(session::PATIENCE, api.issue_token(request)).await;
        let response = response.map_err(|_| Status::unavailable("control does not answer"))??;
        Ok(response.into_inner().token)
    }

    /// Goes on whether control is there or not: follows the pods, and gives up what has expired.
    async fn upkeep(&self, registry: &Registry) {
        let mut pods = registry.changes();
        loop {
            pods.mark_unchanged();
            let now = self.now();
            let next = {
                let mut content = self.content();
                content.schedule.follow_pods(registry, self.keyring(), now);
                let needed = registry.subjects();
                content.refused.retain(|subject, _| needed.binary_search(subject).is_ok());
                self.expire(now, &needed)
            };
            self.0.changes.send_replace(());
            let nap = next.and_then(|next| Duration::try_from(next - now).ok()).unwrap_or(NAP);
            tokio::select! {
                _ = pods.changed() => {}
                () = tokio::time::sleep(nap.clamp(Duration::from_millis(100), NAP)) => {}
            }
        }
    }

    /// Drops the SVIDs that have expired; returns when the next one does.
    fn expire(&self, now: OffsetDateTime, needed: &[Subject]) -> Option<OffsetDateTime> {
        let mut next: Option<OffsetDateTime> = None;
        for subject in needed {
            let Some((svid, _)) = self.keyring().svid_of(subject) else { continue };
            if now > svid.not_after {
                tracing::warn!(id = %subject.id, not_after = %svid.not_after, "an SVID expired before control renewed it");
                self.keyring().remove_of(subject);
            } else {
                let end = svid.not_after.saturating_add(time::Duration::SECOND);
                next = Some(next.map_or(end, |next| next.min(end)));
            }
        }
        next
    }

    async fn sessions(&self, registry: &Registry) {
        let mut backoff = Backoff::new(random_fraction());
        loop {
            let ended = self.session(registry, &mut backoff).await;
            self.content().api = None;
            if let Err(why) = ended {
                let wait = backoff.wait();
                tracing::warn!(control = %self.0.address, %why, ?wait, "control cannot be asked");
                self.content().fault = Some(why.to_string());
                self.0.changes.send_replace(());
                tokio::time::sleep(wait).await;
            }
        }
    }

    fn now(&self) -> OffsetDateTime {
        (self.0.clock)()
    }

    // Nothing panics while it holds the lock, so a poisoned one has whole content.
    fn content(&self) -> MutexGuard<'_, Content> {
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A pod as the protocol names it.
fn asked(pod: &Name) -> Pod {
    Pod { namespace: pod.namespace.to_string(), name: pod.name.to_string(), uid: String::new() }
}

impl fmt::Debug for MembershipOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MembershipOptions")
            .field("address", &self.address)
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership")
            .field("address", &self.0.address)
            .field("node", &self.0.node)
            .finish_non_exhaustive()
    }
}
