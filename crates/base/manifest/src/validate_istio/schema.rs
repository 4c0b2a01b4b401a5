//! A schema as a custom resource definition writes it, and the messages of the API server.
//!
//! Source: k8s.io/apiextensions-apiserver and k8s.io/kube-openapi, `pkg/validation`.

use super::Problems;
use serde_json::Value;

/// What a value must be.
pub(super) enum Schema {
    /// `true` or `false`.
    Boolean,
    /// A text.
    Text(Text),
    /// A list of at most so many.
    List { items: &'static Schema, max: usize },
    /// A mapping with these fields and no other.
    Object { fields: &'static [(&'static str, Schema)], required: &'static [&'static str], rules: &'static [Rule] },
    /// A mapping with keys of any name.
    Map { values: &'static Schema, min: usize, max: usize, rules: &'static [Rule] },
}

/// What a text must be.
pub(super) struct Text {
    pub(super) min: usize,
    pub(super) max: usize,
    /// The words it may be; empty means any.
    pub(super) words: &'static [&'static str],
    /// The regular expression that it must match.
    pub(super) pattern: Option<Pattern>,
    pub(super) rules: &'static [Rule],
}

/// A regular expression: as it is written, for the message, and what it means.
pub(super) struct Pattern {
    pub(super) written: &'static str,
    pub(super) matches: fn(&str) -> bool,
}

impl Text {
    /// Any text.
    pub(super) const ANY: Self = Self { min: 0, max: usize::MAX, words: &[], pattern: None, rules: &[] };
    /// Any but the empty one.
    pub(super) const FILLED: Self = Self { min: 1, ..Self::ANY };
}

/// A rule in the expression language of the schema: its message, and whether a value meets it; an error is one of
/// the evaluation itself.
pub(super) struct Rule {
    pub(super) message: &'static str,
    pub(super) holds: fn(&Value) -> Result<bool, String>,
}

/// A length for no limit.
pub(super) const UNLIMITED: usize = usize::MAX;

impl Schema {
    pub(super) fn check(&self, value: &Value, path: &str, problems: &mut Problems) {
        match (self, value) {
            (Self::Boolean, Value::Bool(_)) => {}
            (Self::Text(text), Value::String(found)) => text.check(found, value, path, problems),
            (Self::List { items, max }, Value::Array(found)) => {
                if found.len() > *max {
                    problems.error(path, format!("{path}: Too many: {}: must have at most {max} items", found.len()));
                }
                for (at, item) in found.iter().enumerate() {
                    items.check(item, &format!("{path}[{at}]"), problems);
                }
            }
            (Self::Object { fields, required, rules }, Value::Object(found)) => {
                for name in required.iter().filter(|name| !found.contains_key(**name)) {
                    problems.error(format!("{path}.{name}"), format!("{path}.{name}: Required value"));
                }
                for (name, value) in found {
                    let path = format!("{path}.{name}");
                    match fields.iter().find(|(field, _)| field == name) {
                        Some((_, schema)) => schema.check(value, &path, problems),
                        None => problems.error(&*path, format!("unknown field \"{path}\"")),
                    }
                }
                ask(rules, value, path, problems);
            }
            (Self::Map { values, min, max, rules }, Value::Object(found)) => {
                if found.len() < *min {
                    problems.error(path, format!("{path} in body should have at least {min} properties"));
                }
                if found.len() > *max {
                    problems.error(path, format!("{path}: Too many: {}: must have at most {max} items", found.len()));
                }
                for (name, value) in found {
                    values.check(value, &format!("{path}.{name}"), problems);
                }
                ask(rules, value, path, problems);
            }
            (expected, _) => {
                let (expected, found) = (expected.kind(), kind_of(value));
                let message = format!(
                    "{path}: Invalid value: \"{found}\": {path} in body must be of type {expected}: \"{found}\""
                );
                problems.error(path, message);
            }
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::Text(_) => "string",
            Self::List { .. } => "array",
            Self::Object { .. } | Self::Map { .. } => "object",
        }
    }
}

impl Text {
    fn check(&self, text: &str, value: &Value, path: &str, problems: &mut Problems) {
        let length = text.chars().count();
        if length < self.min {
            problems.error(path, format!("{path} in body should be at least {} chars long", self.min));
        }
        if length > self.max {
            problems.error(path, format!("{path}: Too long: may not be more than {} bytes", self.max));
        }
        if !self.words.is_empty() && !self.words.contains(&text) {
            let words = self.words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
            problems.error(path, format!("{path}: Unsupported value: \"{text}\": supported values: {words}"));
        }
        if let Some(pattern) = self.pattern.as_ref().filter(|pattern| !(pattern.matches)(text)) {
            problems.error(path, format!("{path} in body should match '{}'", pattern.written));
        }
        ask(self.rules, value, path, problems);
    }
}

fn ask(rules: &[Rule], value: &Value, path: &str, problems: &mut Problems) {
    for rule in rules {
        let (message, kind) = (rule.message, kind_of(value));
        match (rule.holds)(value) {
            Ok(true) => {}
            Ok(false) => problems.error(path, format!("{path}: Invalid value: \"{kind}\": {message}")),
            Err(why) => {
                problems.error(path, format!("{path}: Invalid value: \"{kind}\": {why} evaluating rule: {message}"))
            }
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A duration as Go writes it (`1h2m3.5s`), in milliseconds; nothing when it is none.
pub(super) fn duration_ms(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-6), ("us", 1e-3), ("µs", 1e-3), ("μs", 1e-3), ("ms", 1.0), ("s", 1e3), ("m", 6e4), ("h", 3.6e6)];
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|char: char| !char.is_ascii_digit() && char != '.').filter(|at| *at > 0)?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().ok()?;
        let (unit, milliseconds) = UNITS.iter().find(|(unit, _)| {
            let follows = after.strip_prefix(unit);
            follows.is_some_and(|follows| {
                follows.is_empty() || follows.starts_with(|char: char| char.is_ascii_digit() || char == '.')
            })
        })?;
        total += number * milliseconds;
        rest = after.strip_prefix(unit)?;
    }
    Some(sign * total)
}
