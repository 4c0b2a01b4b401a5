//! What a scalar means to the Kubernetes API machinery.
//!
//! Source: `sigs.k8s.io/yaml` (goyaml.v2's resolver), recorded in `testdata/kubernetes-yaml.tsv`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};
use std::borrow::Cow;

/// The JSON value of a scalar; the text of one that JSON cannot hold or that does not fit its tag.
pub(super) fn resolve<'s>(text: Cow<'s, str>, plain: bool, tag: Option<&str>) -> Result<Value, Cow<'s, str>> {
    let fits: fn(&Value) -> bool = match tag {
        None if plain => |_| true,
        Some("int") => |value| value.is_i64() || value.is_u64(),
        Some("float") => Value::is_number,
        Some("bool") => Value::is_boolean,
        Some("null") => Value::is_null,
        Some("binary") => {
            let decoded = STANDARD.decode(&*text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            return decoded.map(Value::String).ok_or(text);
        }
        _ => return Ok(Value::String(text.into_owned())),
    };
    match infer(&text) {
        Inferred::Value(value) if fits(&value) => Ok(value),
        Inferred::Text if plain && tag.is_none() => Ok(Value::String(text.into_owned())),
        _ => Err(text),
    }
}

/// What a plain scalar is.
enum Inferred {
    /// Null, a boolean or a number.
    Value(Value),
    /// What it says.
    Text,
    /// Something that JSON has no word for.
    Nothing,
}

fn infer(text: &str) -> Inferred {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Inferred::Value(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Inferred::Value(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Inferred::Value(Value::Bool(false));
        }
        _ if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) => return Inferred::Text,
        ".nan" | ".NaN" | ".NAN" => return Inferred::Nothing,
        _ if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF") => return Inferred::Nothing,
        _ => {}
    }
    let bare = if text.contains('_') { Cow::Owned(text.replace('_', "")) } else { Cow::Borrowed(text) };
    let number = integer(&bare).or_else(|| float(&bare));
    number.map_or(Inferred::Text, |number| Inferred::Value(Value::Number(number)))
}

fn integer(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let after = |prefixes: [&str; 2]| prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (radix, digits) = if let Some(digits) = after(["0x", "0X"]) {
        (16, digits)
    } else if let Some(digits) = after(["0o", "0O"]) {
        (8, digits)
    } else if let Some(digits) = after(["0b", "0B"]) {
        (2, digits)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits)
    } else {
        (10, digits)
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let magnitude = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map(Number::from).ok().or_else(|| u64::try_from(value).map(Number::from).ok())
}

/// A whole float becomes an integer, as it does when Kubernetes turns YAML into JSON.
#[allow(clippy::cast_possible_truncation)]
fn float(text: &str) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let digits = text.trim_start_matches(['+', '-']);
    let shape = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.bytes().any(|b| b.is_ascii_digit());
    let value = shape.then(|| text.parse::<f64>().ok()).flatten()?;
    if value.fract() == 0.0 && value.abs() < EXACT { Some(Number::from(value as i64)) } else { Number::from_f64(value) }
}
