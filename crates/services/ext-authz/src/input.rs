//! The input document that a policy is asked with.
//!
//! Source: OPA's Envoy plugin, `envoyauth/request.go`, `RequestToInput`.

use crate::body::{self, InvalidBody};
use crate::json;
use crate::url::{self, InvalidUrl};
use lictor_wire::envoy::service::auth::v3::CheckRequest;
use lictor_wire::envoy::service::auth::v3::attribute_context::HttpRequest;
use serde_json::{Value, json};

/// A request of which there is no document; it is answered with 400.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidRequest {
    /// Its path.
    #[error("the request's path cannot be read: {0}")]
    Path(#[from] InvalidUrl),
    /// Its body.
    #[error("the request's body cannot be read: {0}")]
    Body(#[from] InvalidBody),
}

/// The attributes of a check under `attributes`, and beside them what the plugin reads out of them.
pub(crate) fn document(request: &CheckRequest) -> Result<Value, InvalidRequest> {
    let attributes = request.attributes.as_ref();
    let http = attributes.and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
    let empty = HttpRequest::default();
    let http = http.unwrap_or(&empty);
    let mut input = json::check(request);
    let (parsed_body, truncated_body) = body::parsed(http)?;
    input.extend([
        ("version".to_owned(), json!({"ext_authz": "v3", "encoding": "protojson"})),
        ("parsed_path".to_owned(), json!(url::segments(&http.path)?)),
        ("parsed_query".to_owned(), Value::Object(url::query_of(&http.path)?)),
        ("parsed_body".to_owned(), parsed_body),
        ("truncated_body".to_owned(), Value::Bool(truncated_body)),
    ]);
    let principal = attributes.and_then(|attributes| Some(attributes.source.as_ref()?.principal.as_str()));
    if let Some(principal) = principal.filter(|principal| !principal.is_empty()) {
        input.insert("source_principal".to_owned(), Value::String(principal.to_owned()));
    }
    Ok(Value::Object(input))
}

#[cfg(test)]
mod tests;
