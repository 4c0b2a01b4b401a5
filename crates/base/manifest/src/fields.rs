//! Reading a mapping field by field.
//!
//! A [`Record`] remembers which of its keys it was asked for and reports the others when it is done with; a
//! [`Field`] knows its path and reports a value of the wrong type with what was wanted and what was seen.

use crate::finding::{Code, Finding, Level};
use crate::origin::{Position, child};
use crate::yaml::{Data, Node, Spot};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// The most findings that one file's reading keeps.
const MAX_FINDINGS: usize = 200;

/// What the reading of one object shares.
pub(crate) struct Context {
    pub(crate) file: Arc<str>,
    /// Whether an unknown field is an error.
    pub(crate) strict: bool,
    /// Whether values must not be repeated in messages.
    pub(crate) secret: bool,
    findings: RefCell<Vec<Finding>>,
}

impl Context {
    pub(crate) fn new(file: &Arc<str>, strict: bool, secret: bool) -> Self {
        Self { file: Arc::clone(file), strict, secret, findings: RefCell::new(Vec::new()) }
    }

    pub(crate) fn report(&self, code: Code, spot: Spot, message: String, hint: Option<String>) {
        self.keep(Finding { hint, ..Finding::new(code, self.position(spot), message) });
    }

    fn position(&self, spot: Spot) -> Position {
        Position { file: Arc::clone(&self.file), line: spot.line, column: spot.column }
    }

    fn keep(&self, finding: Finding) {
        let mut findings = self.findings.borrow_mut();
        // Errors are never left out: whoever asks whether there was one must get the truth.
        if findings.len() < MAX_FINDINGS || (finding.is_error() && !findings.iter().any(Finding::is_error)) {
            findings.push(finding);
        } else if findings.len() == MAX_FINDINGS {
            let place = Position::of_file(Arc::clone(&self.file));
            findings.push(Finding::new(
                Code::MoreFindings,
                place,
                format!("more than {MAX_FINDINGS} findings in one object"),
            ));
        }
    }

    /// Whether nothing more than one error would be kept; no more time is spent on findings then.
    fn is_full(&self) -> bool {
        let findings = self.findings.borrow();
        findings.len() > MAX_FINDINGS && (!self.strict || findings.iter().any(Finding::is_error))
    }

    pub(crate) fn into_findings(self) -> Vec<Finding> {
        self.findings.into_inner()
    }
}

/// A value, and the path by which it was reached.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    pub(crate) context: &'a Context,
    pub(crate) node: &'a Node,
    /// Where it is named: its key in a mapping, itself in a list.
    pub(crate) spot: Spot,
    pub(crate) path: String,
}

impl<'a> Field<'a> {
    /// A whole document.
    pub(crate) fn document(context: &'a Context, node: &'a Node) -> Self {
        Self { context, node, spot: node.spot, path: String::new() }
    }

    /// Reports something about the value.
    pub(crate) fn report(&self, code: Code, message: impl AsRef<str>) {
        self.context.report(code, self.node.spot, self.told(message.as_ref()), None);
    }

    /// Reports something about the value, with a hint.
    pub(crate) fn report_with(&self, code: Code, message: impl AsRef<str>, hint: impl Into<String>) {
        self.context.report(code, self.node.spot, self.told(message.as_ref()), Some(hint.into()));
    }

    /// Reports something that the API server refuses and that leaves no doubt about what lictor acts on: a warning,
    /// whatever the code's own level.
    pub(crate) fn doubt(&self, code: Code, message: impl AsRef<str>) {
        let finding = Finding::new(code, self.context.position(self.node.spot), self.told(message.as_ref()));
        self.context.keep(Finding { level: Level::Warning, ..finding });
    }

    fn told(&self, message: &str) -> String {
        if self.path.is_empty() { message.to_owned() } else { format!("`{}`: {message}", self.path) }
    }

    /// Reports that the value is not what was wanted.
    pub(crate) fn wrong(&self, code: Code, wanted: &str) {
        self.report(code, format!("expected {wanted}, found {}", self.seen()));
    }

    /// The value as a message tells it.
    pub(crate) fn seen(&self) -> String {
        let scalar = |word: &str, text: &str| match text.char_indices().nth(60) {
            _ if self.context.secret => format!("a {word}"),
            Some((end, _)) => format!("the {word} `{}…`", text.get(..end).unwrap_or_default()),
            None => format!("the {word} `{text}`"),
        };
        match &self.node.data {
            Data::Scalar(Value::String(text)) => scalar("text", text),
            Data::Scalar(Value::Null) => "nothing".to_owned(),
            Data::Scalar(Value::Bool(value)) => scalar("boolean", &value.to_string()),
            Data::Scalar(value) => scalar("number", &value.to_string()),
            Data::List(_) => "a list".to_owned(),
            Data::Map(_) => "a mapping".to_owned(),
        }
    }

    /// The text.
    pub(crate) fn text(&self) -> Option<&'a str> {
        let text = self.node.as_str();
        if text.is_none() {
            let message = format!("expected a text, found {}", self.seen());
            match &self.node.data {
                // Its writer may have written `n` or `on`, which says nothing of truth to most.
                Data::Scalar(Value::Bool(_)) => {
                    let hint = "put it into quotes: bare y, n, yes, no, on, off, true and false are booleans";
                    self.report_with(Code::WrongType, message, hint);
                }
                Data::Scalar(Value::Number(_)) => self.report_with(Code::WrongType, message, "put it into quotes"),
                _ => self.report(Code::WrongType, message),
            }
        }
        text
    }

    /// The boolean.
    pub(crate) fn boolean(&self) -> Option<bool> {
        if let Data::Scalar(Value::Bool(value)) = &self.node.data {
            return Some(*value);
        }
        self.wrong(Code::WrongType, "true or false");
        None
    }

    /// The number, within a range.
    pub(crate) fn integer<N: TryFrom<i64> + Copy + Into<i64>>(
        &self,
        code: Code,
        range: RangeInclusive<N>,
    ) -> Option<N> {
        let (first, last): (i64, i64) = ((*range.start()).into(), (*range.end()).into());
        let Data::Scalar(Value::Number(number)) = &self.node.data else {
            self.wrong(Code::WrongType, "a whole number");
            return None;
        };
        let number = number
            .as_i64()
            .filter(|number| (first..=last).contains(number))
            .and_then(|number| N::try_from(number).ok());
        if number.is_none() {
            self.wrong(code, &format!("a whole number from {first} to {last}"));
        }
        number
    }

    /// A word out of a closed vocabulary.
    pub(crate) fn word<T: Copy>(&self, code: Code, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let known = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if known.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("expected {}, found {}", either(&all), self.seen());
            match nearest(text, all) {
                Some(word) => self.report_with(code, message, format!("did you mean `{word}`?")),
                None => self.report(code, message),
            }
        }
        known
    }

    /// The items of a list; one that is nothing is reported and left out.
    pub(crate) fn items(&self) -> Vec<Self> {
        let Data::List(items) = &self.node.data else {
            self.wrong(Code::WrongType, "a list");
            return Vec::new();
        };
        let item = |(at, node): (usize, &'a Node)| {
            let item = Self { context: self.context, node, spot: node.spot, path: format!("{}[{at}]", self.path) };
            if node.is_null() {
                item.wrong(Code::WrongType, "an item");
            }
            (!node.is_null()).then_some(item)
        };
        items.iter().enumerate().filter_map(item).collect()
    }

    /// The items of a list of texts.
    pub(crate) fn texts(&self) -> Vec<String> {
        self.items().iter().filter_map(Field::text).map(str::to_owned).collect()
    }

    /// The entries of a mapping whose keys are data, each under its path.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Data::Map(entries) = &self.node.data else {
            self.wrong(Code::WrongType, "a mapping");
            return Vec::new();
        };
        let entry = |(key, (spot, node)): (&'a String, &'a (Spot, Node))| {
            let path = format!("{}[{key}]", self.path);
            (key.as_str(), Self { context: self.context, node, spot: *spot, path })
        };
        entries.iter().map(entry).collect()
    }

    /// A mapping of texts; a key without a value has the empty text, as in the API.
    pub(crate) fn text_map(&self) -> BTreeMap<String, String> {
        let value = |field: &Self| if field.node.is_null() { Some("") } else { field.text() };
        self.entries().iter().filter_map(|(key, field)| Some(((*key).to_owned(), value(field)?.to_owned()))).collect()
    }

    /// Reads the mapping by `read`, then reports the keys that it did not ask for.
    pub(crate) fn record<T>(&self, read: impl FnOnce(&mut Record<'a>) -> T) -> Option<T> {
        if !matches!(&self.node.data, Data::Map(_)) {
            self.wrong(Code::WrongType, "a mapping");
            return None;
        }
        let mut record = Record { field: self.clone(), known: Vec::new(), open: false };
        let value = read(&mut record);
        record.report_unknown();
        Some(value)
    }

    /// Reads the mapping by `read`; the keys that it did not ask for are reported unless it gave up half-way.
    pub(crate) fn attempt<T>(&self, read: impl FnOnce(&mut Record<'a>) -> Option<T>) -> Option<T> {
        let value = self.record(|record| {
            let value = read(record);
            if value.is_none() {
                record.accept_rest();
            }
            value
        });
        value.flatten()
    }
}

/// A mapping while it is read.
pub(crate) struct Record<'a> {
    /// The mapping itself, to report something about it.
    pub(crate) field: Field<'a>,
    known: Vec<&'static str>,
    open: bool,
}

impl<'a> Record<'a> {
    /// A field's value; nothing when it is absent or null, which mean the same to the API.
    pub(crate) fn get(&mut self, key: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        let Data::Map(entries) = &self.field.node.data else { return None };
        let (spot, node) = entries.get(key)?;
        let Field { context, path, .. } = &self.field;
        (!node.is_null()).then(|| Field { context, node, spot: *spot, path: child(path, key) })
    }

    /// A field that must be there; reported when it is not.
    pub(crate) fn need(&mut self, key: &'static str) -> Option<Field<'a>> {
        let field = self.get(key);
        if field.is_none() {
            self.field.report(Code::MissingField, format!("the required field `{key}` is missing"));
        }
        field
    }

    /// A text field that may be absent.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.get(key)?.text()
    }

    /// A boolean field that is false when absent.
    pub(crate) fn flag(&mut self, key: &'static str) -> bool {
        self.get(key).and_then(|field| field.boolean()).unwrap_or(false)
    }

    /// The items of a list field; none when it is absent.
    pub(crate) fn items(&mut self, key: &'static str) -> Vec<Field<'a>> {
        self.get(key).map(|field| field.items()).unwrap_or_default()
    }

    /// The items of a field that is a list of texts; none when it is absent.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<String> {
        self.get(key).map(|field| field.texts()).unwrap_or_default()
    }

    /// Whether a field is there, whatever it holds; it is not looked into.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.get(key).is_some()
    }

    /// Fields that the kind has and that lictor does not look into.
    pub(crate) fn accept(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    /// Lets every other field pass: a part that lictor does not act on.
    pub(crate) fn accept_rest(&mut self) {
        self.open = true;
    }

    fn report_unknown(&self) {
        let Data::Map(entries) = &self.field.node.data else { return };
        let unknown = entries.iter().filter(|(key, _)| !self.open && !self.known.contains(&key.as_str()));
        for (key, (spot, _)) in unknown {
            if self.field.context.is_full() {
                break;
            }
            let code = if self.field.context.strict { Code::UnknownPolicyField } else { Code::UnknownField };
            let message = format!("`{}`: the kind has no field `{}` here", self.field.place(), brief(key));
            let hint = nearest(key, self.known.iter().copied()).map(|known| format!("did you mean `{known}`?"));
            self.field.context.report(code, *spot, message, hint);
        }
    }
}

impl Field<'_> {
    fn place(&self) -> &str {
        if self.path.is_empty() { "object" } else { &self.path }
    }
}

/// At most 60 characters of an outside text, for a message.
pub(crate) fn brief(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// `a, b or c`.
pub(crate) fn either(words: &[&str]) -> String {
    match words.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
        None => String::new(),
    }
}

/// The known word that an unknown one is most likely meant to be.
pub(crate) fn nearest<'w>(word: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 48;
    if word.chars().count() > LONGEST {
        return None;
    }
    let near = |other: &&'w str| (distance(&word.to_lowercase(), &other.to_lowercase()), *other);
    let (steps, other) = known.into_iter().map(|other| near(&other)).min_by_key(|(steps, _)| *steps)?;
    (steps <= 2 && steps * 2 < word.chars().count().max(2)).then_some(other)
}

/// How many letters must be changed, added or removed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (at, left) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (column, right) in b.chars().enumerate() {
            let change = diagonal + usize::from(left != right);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_of_the_pen_finds_its_word() {
        let known = ["podSelector", "policyTypes", "ingress", "egress"];
        for (word, wanted) in [
            ("podselector", Some("podSelector")),
            ("podSelectors", Some("podSelector")),
            ("policyType", Some("policyTypes")),
            ("ingres", Some("ingress")),
            ("foo", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), wanted, "{word}");
        }
        assert_eq!(nearest(&"podSelector".repeat(1000), known), None);
    }
}
