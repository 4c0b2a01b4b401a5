//! One issue: a key, its certificate, the Secret.

use super::secret::{Secret, TLS_KEY};
use super::state::{Kept, Record, State, Wanted};
use super::{Certificates, count};
use crate::ca::StoreError;
use lictor_certificates::{Reissue, Request};
use lictor_manifest::{Certificate, KeyAlgorithm, KeyEncoding, KeyRotation};
use lictor_model::Name;
use lictor_pki::{Encoding, InvalidLeafKey, IssueError, KeyKind, Leaf, LeafKey, certificates_to_pem};
use std::sync::Arc;
use time::Duration;

/// How long after a first failure it is tried again; each further one doubles it.
const RETRY: Duration = Duration::seconds(10);
/// How often it doubles: the longest wait is a little over five minutes.
const DOUBLINGS: u32 = 5;

/// A Certificate that is due.
pub(super) struct Job {
    name: Name,
    secret: Name,
    certificate: Arc<Certificate>,
    request: Request,
    reissue: Reissue,
    /// The key that is kept.
    key: Option<LeafKey>,
}

/// Why nothing was issued.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Key(#[from] InvalidLeafKey),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("expected a lifetime that a certificate can have")]
    Lifetime,
}

impl Certificates {
    /// The first Certificate by name that is due, and the key that it keeps.
    pub(super) fn next_job(&self, state: &mut State) -> Option<Job> {
        let now = self.0.ca.now();
        let names: Vec<Name> = state.wanted.keys().cloned().collect();
        for name in names {
            let Some(reissue) = state.due(&name, now) else { continue };
            let Some(Wanted { certificate, verdict: Ok(request) }) = state.wanted.get(&name).cloned() else { continue };
            let secret = Name::new(Arc::clone(&name.namespace), Arc::clone(&certificate.secret_name));
            match kept_key(state.secrets.get(&secret), &certificate) {
                Ok(key) => {
                    state.note_issuing(&name, true, (reissue.cause.as_str(), &reissue.message), now);
                    return Some(Job { name, secret, certificate, request, reissue, key });
                }
                Err(message) => state.note_issuing(&name, false, ("CannotRegenerateKey", &message), now),
            }
        }
        None
    }

    /// Makes the key, without anybody waiting for it, then the certificate and the Secret.
    pub(super) fn perform(&self, job: Job) {
        let made = match job.key {
            Some(key) => Ok(key),
            None => LeafKey::generate(kind(job.certificate.private_key.algorithm)).map_err(Failure::from),
        };
        let mut state = self.lock();
        let granted =
            |wanted: &Wanted| wanted.certificate == job.certificate && wanted.verdict.as_ref() == Ok(&job.request);
        if !state.wanted.get(&job.name).is_some_and(granted) || !state.owns(&job.name) {
            // Something else is asked for by now; the next step sees to it.
            state.progress_mut(&job.name).issuing = None;
            return;
        }
        let job = Job { key: None, ..job };
        match made.and_then(|key| self.fill(&mut state, &job, &key)) {
            Ok(()) => self.note_success(&mut state, &job),
            Err(failure) => self.note_failure(&mut state, &job, &failure),
        }
    }

    /// Certifies a key and puts it into the Secret; when the store does not take it, nothing has changed.
    fn fill(&self, state: &mut State, job: &Job, key: &LeafKey) -> Result<(), Failure> {
        let Job { secret: name, certificate, request, .. } = job;
        let leaf = Leaf {
            id: &request.id,
            common_name: &request.common_name,
            dns_names: request.dns_names.iter().map(|name| &**name).collect(),
            key_encipherment: request.usages.key_encipherment,
            key_agreement: request.usages.key_agreement,
        };
        let lifetime = Duration::try_from(request.duration).map_err(|_| Failure::Lifetime)?;
        let encoding = match certificate.private_key.encoding {
            KeyEncoding::Pkcs1 => Encoding::Traditional,
            KeyEncoding::Pkcs8 => Encoding::Pkcs8,
        };
        let text = key.to_pem(encoding)?;
        let certified = self.0.ca.certify(name, &leaf, key, lifetime)?;
        let pair = Secret::of_pair(&text, &certificates_to_pem(&certified.chain));
        let filled = pair.dressed(certificate, &self.0.ca.keyring().bundle()).map(|secret| {
            let record = Record { request: request.clone(), public: key.public_key_info() };
            state.secrets.insert(name.clone(), Kept::new(secret, record))
        });
        let (before, failure) = match filled {
            Ok(before) => match self.save_counted(state, job) {
                Ok(()) => return Ok(()),
                Err(error) => (before, Failure::from(error)),
            },
            Err(error) => (state.secrets.remove(name), error.into()),
        };
        self.0.ca.release(name);
        state.secrets.remove(name);
        if let Some(before) = before {
            count(&self.0.ca, name, &before);
            state.secrets.insert(name.clone(), before);
        }
        Err(failure)
    }

    /// Writes the store with one more revision of a Certificate; without it, the count is as before.
    fn save_counted(&self, state: &mut State, job: &Job) -> Result<(), StoreError> {
        state.progress_mut(&job.name).revision += 1;
        let saved = self.save(state);
        if saved.is_err() {
            state.progress_mut(&job.name).revision -= 1;
        }
        saved
    }

    fn note_success(&self, state: &mut State, job: &Job) {
        let progress = state.progress_mut(&job.name);
        (progress.issuing, progress.asked, progress.retry) = (None, false, None);
        (progress.failed_attempts, progress.last_failure) = (0, None);
        let revision = progress.revision;
        state.observe(self.0.ca.now());
        let Job { name, request, reissue, .. } = job;
        tracing::info!(certificate = %name, id = %request.id, revision, reason = %reissue.cause, "a Certificate was issued");
    }

    fn note_failure(&self, state: &mut State, job: &Job, failure: &Failure) {
        let now = self.0.ca.now();
        let progress = state.progress_mut(&job.name);
        let wait = RETRY * 2_i32.pow(progress.failed_attempts.min(DOUBLINGS));
        progress.failed_attempts = progress.failed_attempts.saturating_add(1);
        (progress.last_failure, progress.retry) = (Some(now), Some(now + wait));
        let message =
            format!("The certificate was not issued, and is tried again in {} s: {failure}", wait.whole_seconds());
        state.note_issuing(&job.name, false, ("Failed", &message), now);
        tracing::error!(certificate = %job.name, error = %failure, "a Certificate was not issued");
    }
}

/// The key that a Certificate keeps; nothing if a new one is made.
///
/// Source: cert-manager, `keymanager_controller.go`: with `rotationPolicy: Never`, a key that is there and can be read is kept,
/// and one of another kind than is asked for waits for somebody to decide.
fn kept_key(kept: Option<&Kept>, certificate: &Certificate) -> Result<Option<LeafKey>, String> {
    let (Some(kept), KeyRotation::Never) = (kept, certificate.private_key.rotation) else { return Ok(None) };
    let text = kept.secret.data.get(TLS_KEY).filter(|text| !text.is_empty());
    let Some(key) = text.and_then(|text| LeafKey::from_pem(text).ok()) else { return Ok(None) };
    let wanted = certificate.private_key.algorithm;
    if key.kind() == Some(kind(wanted)) {
        return Ok(Some(key));
    }
    let found = key.kind().map_or_else(|| "of another kind".to_owned(), |kind| kind.to_string());
    Err(format!(
        "User intervention required: {wanted} is asked for, the key in Secret {} is {found}, and rotationPolicy is Never; set it to Always, or delete the Secret",
        certificate.secret_name
    ))
}

fn kind(algorithm: KeyAlgorithm) -> KeyKind {
    match algorithm {
        KeyAlgorithm::Rsa(bits) => KeyKind::Rsa(bits),
        KeyAlgorithm::Ecdsa(bits) => KeyKind::Ecdsa(bits),
        KeyAlgorithm::Ed25519 => KeyKind::Ed25519,
    }
}
