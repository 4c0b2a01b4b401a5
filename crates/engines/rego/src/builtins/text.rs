//! Functions of texts that the interpreter computes otherwise than OPA.
//!
//! Source: OPA, `v1/topdown/strings.go`; Go, `strings.Count` and `strings.NewReplacer`.

use super::{Fault, text_of};
use regorus::Value;

/// How often a text stands in another without overlapping itself; the empty one stands around each character.
pub(super) fn count(given: &[Value]) -> Result<Value, Fault> {
    let (text, wanted) = (text_of(given, 0)?, text_of(given, 1)?);
    Ok(Value::from(text.matches(wanted).count()))
}

/// Replaces all that an object names in one pass: what was put in is not looked at again, and of two that stand at one place
/// the first in order counts.
pub(super) fn replaced(given: &[Value]) -> Result<Value, Fault> {
    let patterns = given.first().and_then(|patterns| patterns.as_object().ok()).ok_or(Fault::Undefined)?;
    let mut pairs = Vec::new();
    for (pattern, instead) in patterns.iter() {
        let text = |value: &Value| value.as_string().cloned().map_err(|_| Fault::Undefined);
        pairs.push((text(pattern)?, text(instead)?));
    }
    pairs.sort();
    let mut rest = text_of(given, 1)?;
    let (mut out, mut after_empty) = (String::new(), false);
    loop {
        let fits = |pattern: &str| rest.starts_with(pattern) && !(after_empty && pattern.is_empty());
        let found = pairs.iter().find(|(pattern, _)| fits(pattern));
        after_empty = found.is_some_and(|(pattern, _)| pattern.is_empty());
        let taken = match found {
            Some((pattern, instead)) => {
                out.push_str(instead);
                pattern.len()
            }
            None => {
                let Some(character) = rest.chars().next() else { return Ok(Value::from(out)) };
                out.push(character);
                character.len_utf8()
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
}

/// Whether a text is JSON; what is no text is none.
pub(super) fn is_json(given: &[Value]) -> Result<Value, Fault> {
    let valid = text_of(given, 0).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    Ok(Value::from(valid))
}
