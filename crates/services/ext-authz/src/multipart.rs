//! Forms in parts.
//!
//! Source: RFC 2046, section 5.1; RFC 7578; the values as OPA's Envoy plugin gives them: each part by its name, JSON as what it
//! says, everything else as text, parts without a name left out.

use serde_json::{Map, Value};

/// A body that has no parts.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidMultipart {
    /// A boundary is missing.
    #[error("expected the boundary at the end of each part")]
    Boundary,
    /// No empty line after the headers.
    #[error("expected an empty line after the headers of a part")]
    Headers,
    /// A part that says that it is JSON.
    #[error("expected a part of JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The parts of a body; nothing where the content type names no boundary.
pub(crate) fn parsed(body: &str, content_type: &str) -> Result<Value, InvalidMultipart> {
    let Some(boundary) = parameter(content_type, "boundary") else { return Ok(Value::Null) };
    let delimiter = format!("--{boundary}");
    // Before the first boundary stands what nobody reads.
    let start = match body.starts_with(&delimiter) {
        true => delimiter.len(),
        false => body.find(&format!("\n{delimiter}")).ok_or(InvalidMultipart::Boundary)? + 1 + delimiter.len(),
    };
    let mut rest = body.get(start..).unwrap_or_default();
    let mut values: Map<String, Value> = Map::new();
    while !rest.starts_with("--") {
        let part = rest.trim_start_matches([' ', '\t']);
        let part = part.strip_prefix("\r\n").or_else(|| part.strip_prefix('\n')).ok_or(InvalidMultipart::Boundary)?;
        let (part, after) = split_at_boundary(part, &delimiter).ok_or(InvalidMultipart::Boundary)?;
        rest = after;
        let (headers, content) = headers(part)?;
        let header = |wanted: &str| {
            let found = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map_or("", |(_, value)| *value)
        };
        let disposition = header("content-disposition");
        let name = parameter(disposition, "name").filter(|name| !name.is_empty());
        let Some(name) = name.filter(|_| disposition.trim_start().starts_with("form-data")) else { continue };
        let value = match header("content-type").contains("application/json") {
            true => serde_json::from_str(content)?,
            false => Value::String(content.to_owned()),
        };
        match values.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
            Value::Array(values) => values.push(value),
            other => *other = value,
        }
    }
    Ok(Value::Object(values))
}

/// What stands before the line of the next boundary, and what stands after the boundary.
fn split_at_boundary<'b>(text: &'b str, delimiter: &str) -> Option<(&'b str, &'b str)> {
    if let Some(after) = text.strip_prefix(delimiter) {
        return Some(("", after));
    }
    let at = text.find(&format!("\n{delimiter}"))?;
    let part = text.get(..at)?;
    Some((part.strip_suffix('\r').unwrap_or(part), text.get(at + 1 + delimiter.len()..)?))
}

type Headers<'p> = Vec<(&'p str, &'p str)>;

fn headers(part: &str) -> Result<(Headers<'_>, &str), InvalidMultipart> {
    let mut headers = Vec::new();
    let mut rest = part;
    loop {
        let (line, after) = rest.split_once('\n').ok_or(InvalidMultipart::Headers)?;
        rest = after;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() {
            return Ok((headers, rest));
        }
        let (name, value) = line.split_once(':').ok_or(InvalidMultipart::Headers)?;
        headers.push((name.trim(), value.trim()));
    }
}

/// A parameter of a header's value, without its quotes.
fn parameter(value: &str, wanted: &str) -> Option<String> {
    let mut rest = value.split_once(';')?.1;
    loop {
        let (name, after) = rest.split_once('=')?;
        let after = after.trim_start();
        let (text, next) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted)?,
            None => {
                let (text, next) = after.split_once(';').unwrap_or((after, ""));
                (text.trim().to_owned(), next)
            }
        };
        if name.trim_matches([' ', '\t', ';']).eq_ignore_ascii_case(wanted) {
            return Some(text);
        }
        rest = next;
    }
}

/// A quoted text up to its end, and what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut unquoted = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((unquoted, text.get(at + 1..)?)),
            '\\' => unquoted.push(characters.next()?.1),
            other => unquoted.push(other),
        }
    }
    None
}
