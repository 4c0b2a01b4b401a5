//! What a scalar means to the Kubernetes API machinery.
//!
//! Source: `sigs.k8s.io/yaml` (goyaml.v2's resolver), recorded in `testdata/kubernetes-yaml.tsv`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Number, Value};

/// The JSON value of a scalar; nothing for one that JSON cannot hold or that does not fit its tag.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&str>) -> Option<Value> {
    match tag {
        None if plain => infer(text),
        None | Some("str") => Some(Value::String(text.to_owned())),
        Some("binary") => String::from_utf8(STANDARD.decode(text).ok()?).ok().map(Value::String),
        Some("int") => infer(text).filter(|value| value.is_i64() || value.is_u64()),
        Some("float") => infer(text).filter(Value::is_number),
        Some("bool") => infer(text).filter(Value::is_boolean),
        Some("null") => infer(text).filter(Value::is_null),
        Some(_) => Some(Value::String(text.to_owned())),
    }
}

fn infer(text: &str) -> Option<Value> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Some(Value::Null),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => {
            return Some(Value::Bool(true));
        }
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Some(Value::Bool(false));
        }
        ".nan" | ".NaN" | ".NAN" => return None,
        _ if matches!(text.trim_start_matches(['+', '-']), ".inf" | ".Inf" | ".INF") => return None,
        _ => {}
    }
    let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    let bare = text.replace('_', "");
    let number = if numeric { integer(&bare).or_else(|| float(&bare)) } else { None };
    Some(number.map_or_else(|| Value::String(text.to_owned()), Value::Number))
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
