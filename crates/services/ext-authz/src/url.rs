//! Percent-encoding and query strings as Go reads them, since OPA's Envoy plugin does.
//!
//! Source: Go, `net/url`: `PathUnescape`, `QueryUnescape`, `ParseQuery`.

use serde_json::{Map, Value};

/// A text that is no URL part.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidUrl {
    /// A percent sign without two hexadecimal digits.
    #[error("expected two hexadecimal digits after `%`, found `{0}`")]
    Escape(String),
    /// A semicolon, which once separated what `&` does.
    #[error("expected `&` between query parameters, found `;`")]
    Semicolon,
}

/// The segments of a path, decoded before they are split.
pub(crate) fn segments(path: &str) -> Result<Vec<String>, InvalidUrl> {
    let (path, _) = path.split_once('?').unwrap_or((path, ""));
    let decoded = unescaped(path, false)?;
    Ok(decoded.trim_start_matches('/').split('/').map(str::to_owned).collect())
}

/// The query parameters of a path, each with its values in order.
pub(crate) fn query_of(path: &str) -> Result<Map<String, Value>, InvalidUrl> {
    path.split_once('?').map_or_else(|| Ok(Map::new()), |(_, query)| parameters(query))
}

/// The parameters of a query string or a form.
pub(crate) fn parameters(query: &str) -> Result<Map<String, Value>, InvalidUrl> {
    let mut parameters = Map::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if pair.contains(';') {
            return Err(InvalidUrl::Semicolon);
        }
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (unescaped(name, true)?, Value::String(unescaped(value, true)?));
        match parameters.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(values) => values.push(value),
            other => *other = value,
        }
    }
    Ok(parameters)
}

/// Bytes that are no UTF-8 become replacement characters, as they do on Go's way to JSON.
fn unescaped(text: &str, plus_is_space: bool) -> Result<String, InvalidUrl> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => {
                let digits = after.first_chunk::<2>().and_then(|&[high, low]| Some((digit(high)?, digit(low)?)));
                let Some((high, low)) = digits else {
                    let shown = after.get(..2).unwrap_or(after);
                    return Err(InvalidUrl::Escape(format!("%{}", String::from_utf8_lossy(shown))));
                };
                bytes.push(high << 4 | low);
                rest = after.get(2..).unwrap_or_default();
            }
            b'+' if plus_is_space => bytes.push(b' '),
            byte => bytes.push(byte),
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
