//! The messages of the JWT-SVID profile (SPIFFE Workload API, section 6).

use super::callers::denied;
use super::states::State;
use crate::needs::Identity;
use lictor_model::SpiffeId;
use lictor_pki::{BundleSet, Keyring, unix_time};
use lictor_wire::workload::{
    JwtBundlesResponse, Jwtsvid, JwtsvidRequest, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use time::{Duration, OffsetDateTime};
use tonic::Status;

/// How long a token lives; whoever sees it can show it to its audience until then (JWT-SVID, section 7.1).
pub(crate) const LIFETIME: Duration = Duration::minutes(5);

/// The caller's identities that tokens are asked for: all of them, or one.
///
/// Source: section 6.2.1.
///
/// # Errors
/// `InvalidArgument` without an audience or for what is no SPIFFE ID, `PermissionDenied` for another one's.
pub(crate) fn asked<'i>(request: &JwtsvidRequest, own: &'i [Identity]) -> Result<Vec<&'i Identity>, Status> {
    if request.audience.is_empty() || request.audience.iter().any(String::is_empty) {
        return Err(Status::invalid_argument("expected one audience or more, none of them empty"));
    }
    let wanted = (!request.spiffe_id.is_empty()).then(|| request.spiffe_id.parse::<SpiffeId>()).transpose();
    let wanted =
        wanted.map_err(|error| Status::invalid_argument(format!("the requested SPIFFE ID is none: {error}")))?;
    let meant = |identity: &&Identity| wanted.as_ref().is_none_or(|wanted| *wanted == identity.id);
    let asked: Vec<&Identity> = own.iter().filter(meant).collect();
    if asked.is_empty() { Err(denied()) } else { Ok(asked) }
}

/// A token of an identity, which the authority of the keyring signs.
pub(crate) fn issue(keyring: &Keyring, identity: &Identity, audience: &[String]) -> Result<String, Status> {
    let tokens = keyring.tokens().ok_or_else(no_tokens)?;
    let Identity { id, jwt_lifetime, .. } = identity;
    let (issuer, lifetime) = (keyring.token_issuer(), jwt_lifetime.unwrap_or(LIFETIME));
    let issued = tokens.issue_from(issuer.as_deref(), id, audience, OffsetDateTime::now_utc(), lifetime);
    issued.map_err(|error| {
        tracing::error!(%id, %error, "no token was issued");
        Status::internal("no token could be issued")
    })
}

/// A token as the caller is given it.
pub(crate) fn svid(Identity { id, hint, .. }: &Identity, token: String) -> Jwtsvid {
    Jwtsvid { spiffe_id: id.to_string(), svid: token, hint: hint.to_string() }
}

/// Nobody signs tokens here: tokens are switched off, as section 1 of the Workload API allows an operator to do.
fn no_tokens() -> Status {
    Status::unimplemented("JWT-SVIDs are not issued here")
}

/// The keys that tokens are verified with, and no others (section 6.2.2).
pub(crate) fn bundles_message(state: &State) -> Option<JwtBundlesResponse> {
    let bundles = state.bundles().map(|(trust_domain, bundle)| (trust_domain, bundle.jwt_jwks().into_bytes()));
    Some(JwtBundlesResponse { bundles: bundles.collect() })
}

/// What a token of a trust domain that the caller believes proves to `audience`, with every claim that it has.
///
/// Source: section 6.2.3.
///
/// # Errors
/// `InvalidArgument` if something is missing, or the token proves nothing, with the reason.
pub(super) fn validate(
    request: &ValidateJwtsvidRequest,
    bundles: &BundleSet,
) -> Result<ValidateJwtsvidResponse, Status> {
    if request.audience.is_empty() {
        return Err(Status::invalid_argument("expected the audience that the token is meant for"));
    }
    if request.svid.is_empty() {
        return Err(Status::invalid_argument("expected a token"));
    }
    let now = unix_time(OffsetDateTime::now_utc());
    let svid = bundles
        .verify_token(&request.svid, &request.audience, now)
        .map_err(|error| Status::invalid_argument(error.to_string()))?;
    Ok(ValidateJwtsvidResponse { spiffe_id: svid.id.to_string(), claims: Some(object(&svid.claims)) })
}

fn object(members: &serde_json::Map<String, serde_json::Value>) -> Struct {
    Struct { fields: members.iter().map(|(name, member)| (name.clone(), value(member))).collect() }
}

/// A number becomes a double, as protobuf's JSON values have no other (whole ones are exact up to 2^53).
fn value(value: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(truth) => Kind::BoolValue(*truth),
        Json::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => Kind::StringValue(text.clone()),
        Json::Array(items) => Kind::ListValue(ListValue { values: items.iter().map(self::value).collect() }),
        Json::Object(members) => Kind::StructValue(object(members)),
    };
    Value { kind: Some(kind) }
}
