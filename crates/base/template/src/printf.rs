//! `printf`, as far as its verbs are known.
//!
//! Source: Go, package `fmt`: `%v`, `%s`, `%d`, `%q` without flags, width or precision, and what it writes for a value that
//! a verb does not fit.

use crate::data::Value;
use crate::error::RenderError;
use std::fmt::Write as _;

/// A format: a text, then a verb and a text for each value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    first: String,
    rest: Vec<(Verb, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Plain,
    Text,
    Number,
    Quoted,
}

/// A format's parts, or the verb that is not known.
pub(crate) fn format(text: &str) -> Result<Format, String> {
    let mut format = Format { first: String::new(), rest: Vec::new() };
    let mut chars = text.chars();
    while let Some(next) = chars.next() {
        if next != '%' {
            format.last().push(next);
            continue;
        }
        let verb = match chars.next() {
            Some('v') => Verb::Plain,
            Some('s') => Verb::Text,
            Some('d') => Verb::Number,
            Some('q') => Verb::Quoted,
            Some('%') => {
                format.last().push('%');
                continue;
            }
            Some(other) => return Err(format!("`%{}`", other.escape_debug())),
            None => return Err("`%` at its end".to_owned()),
        };
        format.rest.push((verb, String::new()));
    }
    Ok(format)
}

impl Format {
    /// How many values it takes.
    pub(crate) fn verbs(&self) -> usize {
        self.rest.len()
    }

    fn last(&mut self) -> &mut String {
        match self.rest.last_mut() {
            Some((_, text)) => text,
            None => &mut self.first,
        }
    }

    /// The text with these values.
    pub(crate) fn fill(&self, values: &[Value<'_>]) -> Result<String, RenderError> {
        let mut out = self.first.clone();
        for ((verb, text), value) in self.rest.iter().zip(values) {
            write(&mut out, *verb, value)?;
            out.push_str(text);
        }
        Ok(out)
    }
}

fn write(out: &mut String, verb: Verb, value: &Value<'_>) -> Result<(), RenderError> {
    let letter = match verb {
        Verb::Plain => 'v',
        Verb::Text => 's',
        Verb::Number => 'd',
        Verb::Quoted => 'q',
    };
    // Writing to a String does not fail.
    let _ = match (verb, value) {
        (_, Value::Texts(_)) => return Err(RenderError::Print(value.kind())),
        (Verb::Plain, Value::Missing) => write!(out, "<nil>"),
        (_, Value::Missing) => write!(out, "%!{letter}(<nil>)"),
        (Verb::Quoted, Value::Text(text)) => return quote(out, text),
        (Verb::Quoted, Value::Int(_)) => return Err(RenderError::Quote(value.kind())),
        (Verb::Number, Value::Text(text)) => write!(out, "%!d(string={text})"),
        (_, Value::Text(text)) => write!(out, "{text}"),
        (Verb::Plain, Value::Bool(truth)) => write!(out, "{truth}"),
        (_, Value::Bool(truth)) => write!(out, "%!{letter}(bool={truth})"),
        (Verb::Text, Value::Int(number)) => write!(out, "%!s(int={number})"),
        (_, Value::Int(number)) => write!(out, "{number}"),
    };
    Ok(())
}

/// Source: Go, `strconv.Quote`, for printable ASCII.
fn quote(out: &mut String, text: &str) -> Result<(), RenderError> {
    if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Err(RenderError::Quote("a text with others"));
    }
    out.push('"');
    for letter in text.chars() {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    Ok(())
}
