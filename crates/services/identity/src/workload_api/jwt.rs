//! The messages of the JWT-SVID profile (SPIFFE Workload API, section 6).

use super::callers::denied;
use super::states::State;
use crate::needs::Identity;
use lictor_model::SpiffeId;
use lictor_pki::{BundleSet, TokenAuthority, unix_time};
use lictor_wire::workload::{
    JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use time::{Duration, OffsetDateTime};
use tonic::Status;

/// How long a token lives; whoever sees it can show it to its audience until then (JWT-SVID, section 7.1).
pub(crate) const LIFETIME: Duration = Duration::minutes(5);

/// A token for each of the caller's identities, or for the one that is asked for.
///
/// Source: section 6.2.1.
///
/// # Errors
/// `InvalidArgument` without an audience or for what is no SPIFFE ID, `PermissionDenied` for another one's.
pub(crate) fn svids(
    request: &JwtsvidRequest,
    own: &[Identity],
    tokens: &TokenAuthority,
    issuer: Option<&str>,
) -> Result<JwtsvidResponse, Status> {
    if request.audience.is_empty() || request.audience.iter().any(String::is_empty) {
        return Err(Status::invalid_argument("expected one audience or more, none of them empty"));
    }
    let wanted = (!request.spiffe_id.is_empty()).then(|| request.spiffe_id.parse::<SpiffeId>()).transpose();
    let wanted =
        wanted.map_err(|error| Status::invalid_argument(format!("the requested SPIFFE ID is none: {error}")))?;
    let svid = |identity: &Identity| {
        let Identity { id, hint, jwt_lifetime, .. } = identity;
        let lifetime = jwt_lifetime.unwrap_or(LIFETIME);
        let issued = tokens.issue_from(issuer, id, &request.audience, OffsetDateTime::now_utc(), lifetime);
        let token = issued.map_err(|error| {
            tracing::error!(%id, %error, "no token was issued");
            Status::internal("no token could be issued")
        })?;
        Ok(Jwtsvid { spiffe_id: id.to_string(), svid: token, hint: hint.to_string() })
    };
    let asked = own.iter().filter(|identity| wanted.as_ref().is_none_or(|wanted| *wanted == identity.id));
    let svids = asked.map(svid).collect::<Result<Vec<_>, Status>>()?;
    if svids.is_empty() { Err(denied()) } else { Ok(JwtsvidResponse { svids }) }
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
