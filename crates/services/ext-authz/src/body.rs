//! `parsed_body` and `truncated_body`.
//!
//! Source: OPA's Envoy plugin, `envoyauth/request.go`, `getParsedBody`. A gRPC message is not read, as by a plugin without
//! descriptors.

use crate::multipart::{self, InvalidMultipart};
use crate::url::{InvalidUrl, parameters};
use lictor_wire::envoy::service::auth::v3::attribute_context::HttpRequest;
use serde_json::Value;
use std::borrow::Cow;

/// A body that is not what its content type says.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidBody {
    /// The content length is no number.
    #[error("expected a number as content-length, found `{0}`")]
    Length(String),
    /// No JSON.
    #[error("expected a body of JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// No form.
    #[error("expected a body of form parameters: {0}")]
    Form(#[from] InvalidUrl),
    /// No parts.
    #[error("expected a body of parts: {0}")]
    Multipart(#[from] InvalidMultipart),
}

/// What a body says, and whether it was cut.
pub(crate) fn parsed(http: &HttpRequest) -> Result<(Value, bool), InvalidBody> {
    let header = |name: &str| http.headers.get(name).map(String::as_str);
    if header("x-envoy-auth-partial-body") == Some("true") {
        return Ok((Value::Null, true));
    }
    let Some(kind) = header("content-type") else { return Ok((Value::Null, false)) };
    let body = match http.body.is_empty() {
        false => Cow::Borrowed(http.body.as_str()),
        true => String::from_utf8_lossy(&http.raw_body),
    };
    let reader: fn(&str, &str) -> Result<Value, InvalidBody> = if kind.contains("application/json") {
        |body, _| Ok(serde_json::from_str(body)?)
    } else if kind.contains("application/grpc") {
        |_, _| Ok(Value::Null)
    } else if kind.contains("application/x-www-form-urlencoded") {
        |body, _| Ok(Value::Object(parameters(body)?))
    } else if kind.contains("multipart/form-data") {
        |body, kind| Ok(multipart::parsed(body, kind)?)
    } else {
        return Ok((Value::Null, false));
    };
    if body.is_empty() {
        return Ok((Value::Null, false));
    }
    let bytes = if http.body.is_empty() { http.raw_body.len() } else { http.body.len() };
    if !kind.contains("application/grpc")
        && let Some(length) = header("content-length")
    {
        let length: i64 = length.parse().map_err(|_| InvalidBody::Length(length.to_owned()))?;
        if length != -1 && length > i64::try_from(bytes).unwrap_or(i64::MAX) {
            return Ok((Value::Null, true));
        }
    }
    Ok((reader(&body, kind)?, false))
}
