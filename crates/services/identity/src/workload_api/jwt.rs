//! The messages of the JWT-SVID profile (SPIFFE Workload API, section 6).

use super::states::{State, denied};
use lictor_model::SpiffeId;
use lictor_pki::{Bundle, TokenAuthority, unix_time, verify_token};
use lictor_wire::workload::{
    JwtBundlesResponse, Jwtsvid, JwtsvidRequest, JwtsvidResponse, ValidateJwtsvidRequest, ValidateJwtsvidResponse,
};
use prost_types::value::Kind;
use prost_types::{ListValue, Struct, Value};
use time::{Duration, OffsetDateTime};
use tonic::Status;

/// How long a token lives; whoever sees it can show it to its audience until then (JWT-SVID, section 7.1).
const LIFETIME: Duration = Duration::minutes(5);

/// A token for the caller, whose one identity is `own`.
///
/// Source: section 6.2.1.
///
/// # Errors
/// `InvalidArgument` without an audience or for what is no SPIFFE ID, `PermissionDenied` for another one's.
pub(super) fn svids(
    request: &JwtsvidRequest,
    own: &SpiffeId,
    tokens: &TokenAuthority,
) -> Result<JwtsvidResponse, Status> {
    if request.audience.is_empty() || request.audience.iter().any(String::is_empty) {
        return Err(Status::invalid_argument("expected one audience or more, none of them empty"));
    }
    if !request.spiffe_id.is_empty() {
        let wanted: SpiffeId = request.spiffe_id.parse().map_err(|error: lictor_model::InvalidSpiffeId| {
            Status::invalid_argument(format!("the requested SPIFFE ID is none: {error}"))
        })?;
        if wanted != *own {
            return Err(denied());
        }
    }
    let token = tokens.issue(own, &request.audience, OffsetDateTime::now_utc(), LIFETIME).map_err(|error| {
        tracing::error!(id = %own, %error, "no token was issued");
        Status::internal("no token could be issued")
    })?;
    let svid = Jwtsvid { spiffe_id: own.to_string(), svid: token, hint: String::new() };
    Ok(JwtsvidResponse { svids: vec![svid] })
}

/// The keys that tokens are verified with, and no others (section 6.2.2).
pub(super) fn bundles_message(state: &State) -> Option<JwtBundlesResponse> {
    let trust_domain = format!("spiffe://{}", state.bundle.trust_domain());
    Some(JwtBundlesResponse { bundles: [(trust_domain, state.bundle.jwt_jwks().into_bytes())].into() })
}

/// What a token proves to `audience`, with every claim that it has.
///
/// Source: section 6.2.3.
///
/// # Errors
/// `InvalidArgument` if something is missing, or the token proves nothing, with the reason.
pub(super) fn validate(request: &ValidateJwtsvidRequest, bundle: &Bundle) -> Result<ValidateJwtsvidResponse, Status> {
    if request.audience.is_empty() {
        return Err(Status::invalid_argument("expected the audience that the token is meant for"));
    }
    if request.svid.is_empty() {
        return Err(Status::invalid_argument("expected a token"));
    }
    let now = unix_time(OffsetDateTime::now_utc());
    let svid = verify_token(&request.svid, bundle, &request.audience, now)
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
