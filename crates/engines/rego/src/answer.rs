//! What a rule's value says to Envoy.
//!
//! Source: OPA's Envoy plugin, `envoyauth/response.go` and `internal/internal.go`. Where the plugin ends the call with an error,
//! which an Envoy may be told to let pass, there is no answer here, which denies.

use serde_json::{Map, Value};

/// A value, read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// Whether the request goes on.
    pub allowed: bool,
    /// Whether the value was an object; a boolean says nothing but itself.
    pub detailed: bool,
    /// Headers for the request that goes on, or for the response of one that is denied.
    pub headers: Vec<(String, String)>,
    /// Headers that the request loses before it goes on.
    pub request_headers_to_remove: Vec<String>,
    /// Headers for the response of a request that goes on.
    pub response_headers_to_add: Vec<(String, String)>,
    /// Query parameters that the request gets.
    pub query_parameters_to_set: Vec<(String, String)>,
    /// Query parameters that the request loses.
    pub query_parameters_to_remove: Vec<String>,
    /// The status of a response that denies; 403 where nothing is said.
    pub status: u16,
    /// The body of a response that denies.
    pub body: String,
    /// For the filters that come after.
    pub dynamic_metadata: Option<Map<String, Value>>,
}

/// Why a value is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAnAnswer {
    /// Neither a boolean nor an object.
    #[error("expected a boolean or an object, found {0}")]
    Form(&'static str),
    /// The object does not say whether the request is allowed.
    #[error("expected an object with `allowed`")]
    Allowed,
    /// A member of another type.
    #[error("expected `{member}` to be {wanted}, found {seen}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What it is to be.
        wanted: &'static str,
        /// What it is.
        seen: String,
    },
}

/// The status codes that Envoy's API has (`envoy/type/v3/http_status.proto`), of which Go's `http.StatusText` has a name.
const STATUSES: [std::ops::RangeInclusive<u16>; 12] = [
    100..=100,
    200..=208,
    226..=226,
    300..=305,
    307..=308,
    400..=417,
    421..=424,
    426..=426,
    428..=429,
    431..=431,
    500..=508,
    510..=511,
];

const FORBIDDEN: u16 = 403;

impl Answer {
    /// Reads a rule's value.
    ///
    /// # Errors
    /// It says nothing that can be told to Envoy.
    pub fn read(value: &Value) -> Result<Self, NotAnAnswer> {
        let object = match value {
            Value::Bool(allowed) => {
                return Ok(Self { allowed: *allowed, status: FORBIDDEN, ..Self::default() });
            }
            Value::Object(object) => object,
            other => return Err(NotAnAnswer::Form(form(other))),
        };
        let allowed = match object.get("allowed") {
            Some(Value::Bool(allowed)) => *allowed,
            Some(other) => return Err(wrong("allowed", "a boolean", other)),
            None => return Err(NotAnAnswer::Allowed),
        };
        let mut answer = Self {
            allowed,
            detailed: true,
            status: FORBIDDEN,
            headers: headers(object, "headers")?,
            dynamic_metadata: metadata(object)?,
            ..Self::default()
        };
        // What is for the other verdict is not looked at.
        if allowed {
            answer.request_headers_to_remove = texts(object, "request_headers_to_remove")?;
            answer.response_headers_to_add = headers(object, "response_headers_to_add")?;
            answer.query_parameters_to_remove = texts(object, "query_parameters_to_remove")?;
            answer.query_parameters_to_set = parameters(object, "query_parameters_to_set")?;
        } else {
            answer.body = body(object)?;
            answer.status = status(object)?;
        }
        Ok(answer)
    }
}

fn texts(object: &Map<String, Value>, member: &'static str) -> Result<Vec<String>, NotAnAnswer> {
    let Some(value) = object.get(member) else { return Ok(Vec::new()) };
    let wrong = || wrong(member, "a list of texts", value);
    let items = value.as_array().ok_or_else(wrong)?;
    items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
}

/// An object of texts or lists of texts, or a list of such objects.
fn headers(object: &Map<String, Value>, member: &'static str) -> Result<Vec<(String, String)>, NotAnAnswer> {
    let mut pairs = Vec::new();
    match object.get(member) {
        None => {}
        Some(Value::Array(items)) => items.iter().try_for_each(|item| flatten(item, member, &mut pairs))?,
        Some(one) => flatten(one, member, &mut pairs)?,
    }
    Ok(pairs)
}

fn parameters(object: &Map<String, Value>, member: &'static str) -> Result<Vec<(String, String)>, NotAnAnswer> {
    let mut pairs = Vec::new();
    object.get(member).map_or(Ok(()), |value| flatten(value, member, &mut pairs))?;
    Ok(pairs)
}

fn flatten(value: &Value, member: &'static str, pairs: &mut Vec<(String, String)>) -> Result<(), NotAnAnswer> {
    let wrong = || wrong(member, "an object of texts or of lists of texts", value);
    for (name, value) in value.as_object().ok_or_else(wrong)? {
        match value {
            Value::String(text) => pairs.push((name.clone(), text.clone())),
            Value::Array(items) => {
                for item in items {
                    pairs.push((name.clone(), item.as_str().ok_or_else(wrong)?.to_owned()));
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

fn metadata(object: &Map<String, Value>) -> Result<Option<Map<String, Value>>, NotAnAnswer> {
    match object.get("dynamic_metadata") {
        None => Ok(None),
        Some(Value::Object(metadata)) => Ok(Some(metadata.clone())),
        Some(other) => Err(wrong("dynamic_metadata", "an object", other)),
    }
}

fn body(object: &Map<String, Value>) -> Result<String, NotAnAnswer> {
    match object.get("body") {
        None => Ok(String::new()),
        Some(Value::String(body)) => Ok(body.clone()),
        Some(other) => Err(wrong("body", "a text", other)),
    }
}

fn status(object: &Map<String, Value>) -> Result<u16, NotAnAnswer> {
    let Some(value) = object.get("http_status") else { return Ok(FORBIDDEN) };
    let number = value.as_u64().and_then(|number| u16::try_from(number).ok());
    let known = number.filter(|number| STATUSES.iter().any(|range| range.contains(number)));
    known.ok_or_else(|| wrong("http_status", "a status code of HTTP", value))
}

fn wrong(member: &'static str, wanted: &'static str, seen: &Value) -> NotAnAnswer {
    let seen = match seen {
        Value::Number(number) => format!("the number {number}"),
        other => form(other).to_owned(),
    };
    NotAnAnswer::Member { member, wanted, seen }
}

const fn form(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
