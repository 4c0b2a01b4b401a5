//! The Certificates that are there, the Secrets that they have, and how far each of them is.

use super::secret::Secret;
use super::status::{Condition, ISSUING, READY};
use lictor_certificates::{
    Cause, Examined, Held, Refusal, Reissue, Request, Rules, judge, may_keep, owner, readiness, reissue,
};
use lictor_cluster::Snapshot;
use lictor_manifest::Certificate;
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use time::OffsetDateTime;

/// Everything that is kept. Pure: the clock is passed in.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) wanted: BTreeMap<Name, Wanted>,
    pub(super) secrets: BTreeMap<Name, Kept>,
    progress: BTreeMap<Name, Progress>,
}

/// A Certificate, and what was decided about it.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) certificate: Arc<Certificate>,
    pub(super) verdict: Result<Request, Refusal>,
}

/// A Secret, what is known of it, and what it was filled for.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) secret: Secret,
    pub(super) record: Record,
    pub(super) held: Held,
    pub(super) authority: Option<Arc<str>>,
}

/// What a Secret was filled for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) request: Request,
    /// The public key that was signed, as SubjectPublicKeyInfo in DER.
    pub(super) public: Vec<u8>,
}

/// How far a Certificate is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    pub(super) revision: u64,
    pub(super) ready: Option<Condition>,
    pub(super) issuing: Option<Condition>,
    pub(super) failed_attempts: u32,
    pub(super) last_failure: Option<OffsetDateTime>,
    /// Before then it is not tried again.
    pub(super) retry: Option<OffsetDateTime>,
    /// Somebody asked for another issue.
    pub(super) asked: bool,
}

impl Kept {
    pub(super) fn new(secret: Secret, record: Record) -> Self {
        let (held, authority) = secret.facts();
        Self { secret, record, held, authority }
    }
}

impl Wanted {
    /// The Secret that it names.
    pub(super) fn secret(&self) -> Name {
        let Certificate { meta, secret_name, .. } = &*self.certificate;
        Name::new(Arc::clone(&meta.name.namespace), Arc::clone(secret_name))
    }
}

impl State {
    /// With the Secrets of a store.
    pub(super) fn restored(secrets: BTreeMap<Name, Kept>, revisions: BTreeMap<Name, u64>) -> Self {
        let progress =
            revisions.into_iter().map(|(name, revision)| (name, Progress { revision, ..Progress::default() }));
        Self { secrets, progress: progress.collect(), ..Self::default() }
    }

    /// Takes a snapshot's Certificates in; returns the Secrets that nobody names any more, or whose namespace may not have
    /// them any more: they are taken away.
    pub(super) fn set(&mut self, snapshot: &Snapshot, rules: &Rules) -> Vec<Name> {
        let wanted = snapshot.certificates.by_name.iter().map(|(name, certificate)| {
            let verdict = judge(certificate, snapshot, rules);
            // What failed is tried again at once where it is another one.
            let same = |before: &Wanted| before.verdict == verdict && before.certificate == *certificate;
            if !self.wanted.get(name).is_some_and(same) {
                self.progress.entry(name.clone()).or_default().retry = None;
            }
            (name.clone(), Wanted { certificate: Arc::clone(certificate), verdict })
        });
        self.wanted = wanted.collect();
        self.progress.retain(|name, _| self.wanted.contains_key(name));
        let named: BTreeSet<Name> = self.wanted.values().map(Wanted::secret).collect();
        let keeps = |name: &Name, kept: &Kept| {
            named.contains(name) && may_keep(&kept.record.request, &name.namespace, snapshot, rules)
        };
        let gone: Vec<Name> =
            self.secrets.iter().filter(|(name, kept)| !keeps(name, kept)).map(|(name, _)| name.clone()).collect();
        gone.iter().for_each(|name| drop(self.secrets.remove(name)));
        gone
    }

    /// Notes which authorities are not to be trusted.
    pub(super) fn note_tainted(&mut self, tainted: &[Arc<str>]) {
        for kept in self.secrets.values_mut() {
            if let Some(Ok(certificate)) = &mut kept.held.certificate {
                certificate.tainted = kept.authority.as_ref().is_some_and(|by| tainted.contains(by));
            }
        }
    }

    /// Whether a Certificate is the one that its Secret belongs to.
    pub(super) fn owns(&self, name: &Name) -> bool {
        let Some(own) = self.wanted.get(name).map(Wanted::secret) else { return false };
        let rivals = self.wanted.values().filter(|other| other.secret() == own).map(|other| &*other.certificate);
        let annotated = self.secrets.get(&own).and_then(|kept| kept.secret.certificate_name());
        owner(rivals, annotated) == Some(name)
    }

    /// Why a Certificate that is served is issued again now.
    pub(super) fn due(&self, name: &Name, now: OffsetDateTime) -> Option<Reissue> {
        let examined = self.examined(name, now)?;
        let progress = self.progress.get(name);
        let waits = progress.and_then(|progress| progress.retry).is_some_and(|retry| now < retry);
        if waits || !self.owns(name) {
            return None;
        }
        let message = || "Certificate re-issuance manually triggered".to_owned();
        let asked = progress.is_some_and(|progress| progress.asked);
        let asked = asked.then(|| Reissue { cause: Cause::ManuallyTriggered, message: message() });
        reissue(&examined).or(asked)
    }

    fn examined(&self, name: &Name, now: OffsetDateTime) -> Option<Examined<'_>> {
        let wanted = self.wanted.get(name)?;
        let request = wanted.verdict.as_ref().ok()?;
        let kept = self.secrets.get(&wanted.secret());
        let last = kept.map(|kept| (&kept.record.request, &*kept.record.public));
        let secret = kept.map(|kept| &kept.held);
        Some(Examined { certificate: &wanted.certificate, request, secret, last, now })
    }

    pub(super) fn progress(&self, name: &Name) -> Progress {
        self.progress.get(name).cloned().unwrap_or_default()
    }

    pub(super) fn progress_mut(&mut self, name: &Name) -> &mut Progress {
        self.progress.entry(name.clone()).or_default()
    }

    /// How many times each Certificate has been issued.
    pub(super) fn revisions(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.progress
            .iter()
            .filter(|(_, progress)| progress.revision > 0)
            .map(|(name, progress)| (name, progress.revision))
    }

    /// Brings the condition `Ready` of every Certificate up to date.
    pub(super) fn observe(&mut self, now: OffsetDateTime) {
        let names: Vec<Name> = self.wanted.keys().cloned().collect();
        for name in names {
            let ready = self.ready(&name, now);
            self.progress_mut(&name).ready = ready;
        }
    }

    fn ready(&self, name: &Name, now: OffsetDateTime) -> Option<Condition> {
        let wanted = self.wanted.get(name)?;
        let before = self.progress.get(name).and_then(|progress| progress.ready.as_ref());
        let condition = |holds, said: (&str, &str)| Condition::after(before, READY, holds, said, now);
        if let Err(refusal) = &wanted.verdict {
            return Some(condition(false, (refusal.reason.as_str(), &refusal.message)));
        }
        Some(match readiness(&self.examined(name, now)?) {
            Ok(()) => condition(true, (READY, "Certificate is up to date and has not expired")),
            Err(reason) => condition(false, (reason.cause.as_str(), &reason.message)),
        })
    }

    /// Says that a Certificate is being issued, or that this has failed.
    pub(super) fn note_issuing(&mut self, name: &Name, issuing: bool, said: (&str, &str), now: OffsetDateTime) {
        let progress = self.progress_mut(name);
        progress.issuing = Some(Condition::after(progress.issuing.as_ref(), ISSUING, issuing, said, now));
    }
}
