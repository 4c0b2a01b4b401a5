//! What there is to say of a Certificate: its status, as Kubernetes has it.

use lictor_manifest::IssuerRef;
use lictor_model::Name;
use time::OffsetDateTime;

/// The status of a Certificate.
///
/// Source: cert-manager, `CertificateStatus`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The Certificate.
    pub name: Name,
    /// Its Secret.
    pub secret: Name,
    /// Who is to sign it.
    pub issuer: IssuerRef,
    /// `Ready`, then `Issuing` if there is anything to say about it.
    pub conditions: Vec<Condition>,
    /// From when the certificate is valid, where there is one; in the Secret, whoever issued it.
    pub not_before: Option<OffsetDateTime>,
    /// Until when it is valid.
    pub not_after: Option<OffsetDateTime>,
    /// When it is renewed.
    pub renewal: Option<OffsetDateTime>,
    /// How many times it has been issued.
    pub revision: u64,
    /// When issuing it failed the last time; nothing after it has succeeded.
    pub last_failure: Option<OffsetDateTime>,
    /// How many times in a row it has failed.
    pub failed_attempts: u32,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Ready` or `Issuing`.
    pub kind: &'static str,
    /// Whether it holds.
    pub holds: bool,
    /// Why, in one word.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
    /// Since when it holds, or does not.
    pub since: OffsetDateTime,
}

/// The condition that the Secret has what was asked for.
pub(super) const READY: &str = "Ready";
/// The condition that a certificate is being issued.
pub(super) const ISSUING: &str = "Issuing";

impl Condition {
    /// A condition, held against what it was before: since when it holds is kept where it goes on.
    pub(super) fn after(
        before: Option<&Self>,
        kind: &'static str,
        holds: bool,
        (reason, message): (&str, &str),
        now: OffsetDateTime,
    ) -> Self {
        let since = before.filter(|before| before.holds == holds).map_or(now, |before| before.since);
        Self { kind, holds, reason: reason.to_owned(), message: message.to_owned(), since }
    }
}
