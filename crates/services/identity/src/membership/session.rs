//! A conversation with control: in, then whom to believe and what is due, until something breaks.

use super::connect::{Api, ConnectError, deepest};
use super::{Membership, kept};
use crate::backoff::Backoff;
use crate::issuer::{half_life, random_fraction};
use crate::registry::Registry;
use lictor_pki::{Bundle, InvalidReceived, IssueError, SecretDigest, SigningRequest, Svid};
use lictor_wire::node::join_request::Evidence;
use lictor_wire::node::{Certificate, FollowTrustRequest, JoinRequest, JoinToken, RenewRequest, Trust};
use rustls_pki_types::CertificateDer;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tonic::{Code, Response, Status};
use zeroize::Zeroizing;

/// For an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// By how many seconds two clocks may differ without a word: certificates begin a minute before they are made.
pub(super) const TOLERATED: u64 = 30;

/// How long at most a session sleeps: a clock that was set forward is noticed by then.
const NAP: Duration = Duration::from_secs(10);

/// The largest file that may hold a token.
const TOKEN: u64 = 4096;

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("{0}")]
    Said(String),
    #[error("{file}: {why}")]
    Token { file: String, why: String },
    #[error("the node needs a join token, and no file says one")]
    NoToken,
    #[error("control gave a certificate that is of no use: {0}{1}")]
    Answer(InvalidReceived, String),
    #[error("control gave a bundle that is of no use: {0}")]
    Bundle(String),
    #[error(transparent)]
    Request(#[from] IssueError),
}

impl Membership {
    /// Talks until something breaks, or until the node has another SVID to connect with.
    pub(super) async fn session(&self, registry: &Registry, backoff: &mut Backoff) -> Result<(), SessionError> {
        self.get_in().await?;
        let svid = self.content().svid.clone();
        let mut api = self.connect(svid.as_deref()).await?;
        if self.content().renew_at.is_some_and(|at| at <= self.now()) {
            self.renew(&mut api).await?;
            return Ok(());
        }
        let mut states = answer(api.follow_trust(FollowTrustRequest {})).await.map_err(|status| self.blamed(status))?;
        loop {
            let first = self.content().api.is_none();
            // Before the schedule is looked at: what comes after that is told.
            let mut changes = self.0.changes.subscribe();
            let pause = if first { PATIENCE } else { self.pause() };
            tokio::select! {
                state = states.message() => match state {
                    Ok(Some(state)) => {
                        self.believe(&state)?;
                        backoff.reset();
                        let mut content = self.content();
                        (content.fault, content.heard) = (None, Some(self.now()));
                        content.api = Some(api.clone());
                        drop(content);
                        self.0.changes.send_replace(());
                    }
                    Ok(None) => return Err(SessionError::Said("control ended the stream".to_owned())),
                    Err(status) => return Err(self.blamed(status)),
                },
                _ = changes.changed(), if !first => {}
                () = tokio::time::sleep(pause) => {
                    if first {
                        return Err(SessionError::Said("control says nothing of whom to believe".to_owned()));
                    }
                }
            }
            if self.content().renew_at.is_some_and(|at| at <= self.now()) {
                self.renew(&mut api).await?;
                return Ok(());
            }
            while self.issue(&mut api, registry).await.map_err(|status| self.blamed(status))? {}
        }
    }

    /// Has an SVID that counts, or joins. While there is no other token, one that control has denied is tried again: it may
    /// have been control that was wrong.
    async fn get_in(&self) -> Result<(), SessionError> {
        let now = self.now();
        let (valid, denied) = {
            let content = self.content();
            (content.svid.as_ref().is_some_and(|svid| now <= svid.not_after), content.denied)
        };
        if valid && !denied {
            return Ok(());
        }
        match self.join().await {
            Err(error @ (SessionError::NoToken | SessionError::Token { .. })) if valid => {
                tracing::info!(%error, "the node goes on with the SVID that it has");
                Ok(())
            }
            outcome => outcome,
        }
    }

    async fn join(&self) -> Result<(), SessionError> {
        let (token, file) = self.token()?;
        let digest = SecretDigest::of(&token);
        let mut api = self.connect(None).await?;
        let request = SigningRequest::new()?;
        let asked = JoinRequest {
            node: self.0.node.to_string(),
            csr: request.der().to_vec(),
            now: self.now().unix_timestamp(),
            evidence: Some(Evidence::JoinToken(JoinToken { token: token.trim().to_owned() })),
        };
        let joined = answer(api.join(asked)).await.map_err(|status| {
            if status.code() == Code::PermissionDenied {
                let why = status.message().to_owned();
                self.content().spent = Some((digest, why.clone()));
                return SessionError::Token { file, why };
            }
            SessionError::Said(said(&status))
        })?;
        self.compare_clocks(joined.now);
        let trust = joined.trust.ok_or_else(|| SessionError::Bundle("there is none".to_owned()))?;
        let bundle = self.read_bundle(&trust)?;
        let svid = self.answered(&request, joined.svid, &bundle)?;
        self.keyring().set_bundle(bundle);
        self.content().spent = Some((digest, "this join token has let the node in once".to_owned()));
        tracing::info!(node = %self.0.node, not_after = %svid.not_after, "the node has joined");
        self.take(svid);
        Ok(())
    }

    async fn renew(&self, api: &mut Api) -> Result<(), SessionError> {
        let request = SigningRequest::new()?;
        let asked = RenewRequest { csr: request.der().to_vec() };
        let renewed = answer(api.renew(asked)).await.map_err(|status| self.blamed(status))?;
        self.compare_clocks(renewed.now);
        let svid = self.answered(&request, renewed.svid, &self.keyring().bundle())?;
        tracing::info!(node = %self.0.node, not_after = %svid.not_after, "the SVID of the node was renewed");
        self.take(svid);
        Ok(())
    }

    fn answered(
        &self,
        request: &SigningRequest,
        made: Option<Certificate>,
        bundle: &Bundle,
    ) -> Result<Svid, SessionError> {
        let chain = chain(made.unwrap_or_default());
        let answered = request.answered(&self.0.own, chain, bundle, self.now());
        answered.map_err(|error| SessionError::Answer(error, self.clock_says()))
    }

    /// Shows this SVID from now on.
    fn take(&self, svid: Svid) {
        let renew_at = half_life(self.now(), svid.not_after, &mut random_fraction());
        let svid = Arc::new(svid);
        {
            let mut content = self.content();
            content.svid = Some(Arc::clone(&svid));
            content.renew_at = Some(renew_at);
            content.denied = false;
        }
        self.keep(&svid);
    }

    /// Keeps what a node that starts again needs. If that fails, this process goes on, and the next one needs a token.
    fn keep(&self, svid: &Svid) {
        let Some(path) = &self.0.kept else { return };
        if let Err(error) = kept::write(path, svid, &self.keyring().bundle()) {
            tracing::error!(%error, "the SVID of the node is not kept: a node that starts again needs a join token");
        }
    }

    fn believe(&self, trust: &Trust) -> Result<(), SessionError> {
        let bundle = self.read_bundle(trust)?;
        let changed = *self.keyring().bundle() != bundle;
        self.keyring().set_bundle(bundle);
        let issuer = trust.token_issuer.as_str();
        self.keyring().set_token_issuer((!issuer.is_empty()).then(|| issuer.into()));
        let now = self.now();
        let tainted: Vec<Arc<str>> = trust.tainted.iter().map(|id| id.as_str().into()).collect();
        let svid = {
            let mut content = self.content();
            let signer = content.svid.as_ref().and_then(|svid| lictor_pki::authority_key_id(svid.chain.first()?));
            if signer.is_some_and(|signer| tainted.iter().any(|one| **one == *signer)) {
                content.renew_at = Some(now);
            }
            content.schedule.follow_taint(tainted, now);
            content.svid.clone().filter(|_| changed)
        };
        if let Some(svid) = svid {
            self.keep(&svid);
        }
        Ok(())
    }

    fn read_bundle(&self, trust: &Trust) -> Result<Bundle, SessionError> {
        let read = Bundle::from_jwks(self.0.trust_domain.clone(), &trust.bundle);
        Ok(read.map_err(|error| SessionError::Bundle(error.to_string()))?.bundle)
    }

    /// The join token, unless it is the one that was used up or refused before.
    fn token(&self) -> Result<(Zeroizing<String>, String), SessionError> {
        let path = self.0.token_file.as_deref().ok_or(SessionError::NoToken)?;
        let file = path.display().to_string();
        let text = read_token(path).map_err(|why| SessionError::Token { file: file.clone(), why })?;
        match &self.content().spent {
            Some((spent, why)) if *spent == SecretDigest::of(&text) => {
                Err(SessionError::Token { file, why: format!("{why}; the node waits for another one in this file") })
            }
            _ => Ok((text, file)),
        }
    }

    /// What a status means, and that control does not take the node for a member any more if it says so.
    pub(super) fn blamed(&self, status: Status) -> SessionError {
        let said = said(&status);
        // A certificate that TLS refuses is told by an alert (RFC 8446, section 6.2).
        if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) || said.contains("fatal alert") {
            self.content().denied = true;
        }
        SessionError::Said(said)
    }

    pub(super) fn compare_clocks(&self, control: i64) {
        let ahead = self.now().unix_timestamp().saturating_sub(control);
        self.content().ahead = ahead;
        if ahead.unsigned_abs() > TOLERATED {
            tracing::warn!(ahead, "the clock of this machine differs from control's (seconds)");
        }
    }

    /// What to add to an error about times.
    pub(super) fn clock_says(&self) -> String {
        let ahead = self.content().ahead;
        match ahead.unsigned_abs() {
            off if off <= TOLERATED => String::new(),
            off if ahead > 0 => format!("; the clock of this machine is {off} s ahead of control's"),
            off => format!("; the clock of this machine is {off} s behind control's"),
        }
    }

    /// How long there is nothing to ask for.
    fn pause(&self) -> Duration {
        let content = self.content();
        let next = content.schedule.next().into_iter().chain(content.renew_at).min();
        let pause = next.map_or(NAP, |next: OffsetDateTime| Duration::try_from(next - self.now()).unwrap_or_default());
        pause.min(NAP)
    }
}

/// An answer, if one comes in time.
pub(super) async fn answer<T>(asked: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    let answered = tokio::time::timeout(PATIENCE, asked).await;
    Ok(answered.map_err(|_| Status::deadline_exceeded("control does not answer"))??.into_inner())
}

pub(super) fn chain(made: Certificate) -> Vec<CertificateDer<'static>> {
    made.chain.into_iter().map(CertificateDer::from).collect()
}

fn read_token(path: &Path) -> Result<Zeroizing<String>, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > TOKEN {
        return Err(format!("expected a join token, saw {size} bytes"));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(|error| error.to_string())?);
    if text.trim().is_empty() { Err("expected a join token, saw nothing".to_owned()) } else { Ok(text) }
}

/// What a status says, or what lies below it if it says nothing of its own.
fn said(status: &Status) -> String {
    let cause = std::error::Error::source(status).map(deepest);
    match cause {
        Some(cause) => format!("control cannot be asked: {cause}"),
        None => format!("control says: {}", status.message()),
    }
}
