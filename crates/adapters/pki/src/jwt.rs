//! What a JWT-SVID proves.

use crate::bundle::Bundle;
use crate::jws::{JwsError, Unverified};
use lictor_model::{InvalidSpiffeId, SpiffeId, TrustDomain};
use rustls_pki_types::UnixTime;
use serde_json::{Map, Number, Value};
use std::ops::Deref;

/// How many seconds after its expiry a token is still taken, and before its start already.
///
/// JWT-SVID, appendix A, and RFC 7519, section 4.1.4, allow a small leeway for clocks that differ. A minute is what our
/// certificates allow (they begin a minute before they are made) and what go-spiffe and SPIRE take.
pub const LEEWAY: i64 = 60;

/// A token that has proven whose it is.
#[derive(Debug, Clone, PartialEq)]
pub struct JwtSvid {
    /// Whom it proves.
    pub id: SpiffeId,
    /// For whom it is meant; one of them is the verifier.
    pub audience: Vec<String>,
    /// When it expires, Unix seconds.
    pub expires_at: i64,
    /// Every claim, as the token has it.
    pub claims: Map<String, Value>,
}

/// Why a token proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a signed text in the form of a JWT-SVID.
    #[error(transparent)]
    Jws(#[from] JwsError),
    /// `sub`, `aud` or `exp` is not there (JWT-SVID, section 3).
    #[error("expected the claim {name} in the token")]
    Missing {
        /// The claim.
        name: &'static str,
    },
    /// A claim of another type (RFC 7519, section 4.1).
    #[error("expected the claim {name} to be {wanted}")]
    ClaimType {
        /// The claim.
        name: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// `sub` is no SPIFFE ID (JWT-SVID, section 3.1).
    #[error("expected a SPIFFE ID as the token's subject: {0}")]
    Subject(#[from] InvalidSpiffeId),
    /// `sub` names a whole trust domain, not a workload (JWT-SVID, section 3.1).
    #[error("expected the identity of a workload, saw {seen}, which names a whole trust domain")]
    NoPath {
        /// The name.
        seen: SpiffeId,
    },
    /// A subject of a trust domain that is not believed here (Workload API, section 6.3).
    #[error("expected an identity of the trust domain {wanted}, saw {seen}")]
    TrustDomain {
        /// The trust domain of the bundle.
        wanted: TrustDomain,
        /// Whom the token names.
        seen: SpiffeId,
    },
    /// The bundle has no key of that `kid`, or, without one, none for the algorithm.
    #[error("expected a token that a key of the trust domain has signed, saw another key's or none")]
    UnknownKey,
    /// No such key has signed it.
    #[error("the token's signature is not that of a key of the trust domain")]
    Signature,
    /// Meant for others (JWT-SVID, section 3.2).
    #[error("expected a token for the audience {wanted}")]
    Audience {
        /// Who verifies it.
        wanted: String,
    },
    /// It has expired (JWT-SVID, section 3.3).
    #[error("the token expired at {expired_at}, {now} is later (Unix seconds)")]
    Expired {
        /// `exp`.
        expired_at: i64,
        /// The time of the check.
        now: i64,
    },
    /// `nbf` lies in the future (RFC 7519, section 4.1.5).
    #[error("the token is valid from {not_before}, {now} is earlier (Unix seconds)")]
    NotYetValid {
        /// `nbf`.
        not_before: i64,
        /// The time of the check.
        now: i64,
    },
}

/// What `token` proves to `audience` at `now`, judged by the keys that the bundle has for tokens.
///
/// A token with `kid` is tried with the keys of that name only, one without it with every key that fits its algorithm
/// (JWT-SVID, section 2.2, makes `kid` optional). A key whose JWK names an algorithm is for that one alone. The claims
/// are judged after the signature, with [`LEEWAY`].
///
/// Source: JWT-SVID, sections 2 to 4 and appendix A.
///
/// # Errors
/// The first rule that the token breaks.
pub fn verify_token(token: &str, bundle: &Bundle, audience: &str, now: UnixTime) -> Result<JwtSvid, TokenError> {
    verify_by(token, |_| bundle, audience, now)
}

/// As [`verify_token`]; `bundle` says which bundle judges the identity that the token claims.
pub(crate) fn verify_by<B: Deref<Target = Bundle>>(
    token: &str,
    bundle: impl FnOnce(&SpiffeId) -> B,
    audience: &str,
    now: UnixTime,
) -> Result<JwtSvid, TokenError> {
    let token = Unverified::read(token)?;
    let id = subject(&token.claims)?;
    let bundle = bundle(&id);
    if id.trust_domain_str() != bundle.trust_domain().as_str() {
        return Err(TokenError::TrustDomain { wanted: bundle.trust_domain().clone(), seen: id });
    }
    check_signature(&token, &bundle)?;
    let meant = audiences(&token.claims)?;
    if !meant.iter().any(|one| one == audience) {
        return Err(TokenError::Audience { wanted: audience.to_owned() });
    }
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let expires_at = date("exp", &token.claims, f64::floor)?.ok_or(TokenError::Missing { name: "exp" })?;
    if now >= expires_at.saturating_add(LEEWAY) {
        return Err(TokenError::Expired { expired_at: expires_at, now });
    }
    if let Some(not_before) = date("nbf", &token.claims, f64::ceil)?
        && now < not_before.saturating_sub(LEEWAY)
    {
        return Err(TokenError::NotYetValid { not_before, now });
    }
    Ok(JwtSvid { id, audience: meant, expires_at, claims: token.claims })
}

fn check_signature(token: &Unverified<'_>, bundle: &Bundle) -> Result<(), TokenError> {
    let algorithm = token.algorithm;
    let mut candidates = bundle
        .jwt_keys()
        .iter()
        .filter(|key| token.key_id.as_ref().is_none_or(|id| *id == key.id))
        .filter(|key| algorithm.fits(&key.key) && key.algorithm.is_none_or(|only| only == algorithm))
        .peekable();
    if candidates.peek().is_none() {
        return Err(TokenError::UnknownKey);
    }
    if candidates.any(|key| token.is_signed_by(&key.key)) { Ok(()) } else { Err(TokenError::Signature) }
}

pub(crate) fn subject(claims: &Map<String, Value>) -> Result<SpiffeId, TokenError> {
    let subject = claims.get("sub").ok_or(TokenError::Missing { name: "sub" })?;
    let subject = subject.as_str().ok_or(TokenError::ClaimType { name: "sub", wanted: "a string" })?;
    let id: SpiffeId = subject.parse()?;
    if id.path().is_empty() { Err(TokenError::NoPath { seen: id }) } else { Ok(id) }
}

/// A string or an array of strings (RFC 7519, section 4.1.3), at least one (JWT-SVID, section 3.2).
fn audiences(claims: &Map<String, Value>) -> Result<Vec<String>, TokenError> {
    let wrong = TokenError::ClaimType { name: "aud", wanted: "a string or an array of strings" };
    let found = match claims.get("aud").ok_or(TokenError::Missing { name: "aud" })? {
        Value::String(one) => vec![one.clone()],
        Value::Array(several) => {
            let several = several.iter().map(|one| one.as_str().map(str::to_owned));
            several.collect::<Option<_>>().ok_or(wrong)?
        }
        _ => return Err(wrong),
    };
    if found.is_empty() { Err(TokenError::Missing { name: "aud" }) } else { Ok(found) }
}

/// A `NumericDate` (RFC 7519, section 2) in whole seconds; `round` makes one of a fraction.
fn date(name: &'static str, claims: &Map<String, Value>, round: fn(f64) -> f64) -> Result<Option<i64>, TokenError> {
    let seconds = |number: &Number| {
        // Numbers beyond an i64 end at its ends: a date that far away is as good as any other.
        let rounded = number.as_f64().map(|seconds| round(seconds) as i64);
        number.as_i64().or(rounded)
    };
    let wrong = TokenError::ClaimType { name, wanted: "a number" };
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => seconds(number).map(Some).ok_or(wrong),
        Some(_) => Err(wrong),
    }
}
