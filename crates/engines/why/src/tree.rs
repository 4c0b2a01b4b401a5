//! An ordered document, and its YAML form.
//!
//! A fix is a document that a person reads and pastes, so its keys keep the order in which Kubernetes'
//! own examples write them; JSON maps of `serde_json` do not.

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Number;
use std::fmt;

/// A document, or a part of one. Maps keep the order of their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// Keys and values, in order.
    Map(Vec<(String, Tree)>),
}

impl Tree {
    /// A map of these entries, in this order.
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Tree)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// A list of these items.
    pub fn list(items: impl IntoIterator<Item = Tree>) -> Self {
        Self::List(items.into_iter().collect())
    }

    /// A text.
    pub fn text(text: impl fmt::Display) -> Self {
        Self::Text(text.to_string())
    }

    /// A number.
    pub fn number(number: impl Into<Number>) -> Self {
        Self::Number(number.into())
    }

    /// Any value that serializes, with the order of its fields.
    ///
    /// # Errors
    /// When the value has no JSON form (a map key that is no text, a number that is not finite).
    pub fn of<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::from_str(&serde_json::to_string(value)?)
    }

    /// The block form of YAML, ending with a line break; read back by Kubernetes it means the same.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        match self {
            Self::Map(entries) if !entries.is_empty() => write_map(&mut out, entries, 0, false),
            Self::List(items) if !items.is_empty() => write_list(&mut out, items, 0),
            scalar => {
                out.push_str(&scalar.flat());
                out.push('\n');
            }
        }
        out
    }

    /// A scalar or an empty collection, on one line.
    fn flat(&self) -> String {
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Text(text) => scalar(text),
            Self::List(_) => "[]".to_owned(),
            Self::Map(_) => "{}".to_owned(),
        }
    }
}

fn pad(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

/// Writes a map; `inline` means that the first key continues a line that is already begun (`- key: value`).
fn write_map(out: &mut String, entries: &[(String, Tree)], indent: usize, inline: bool) {
    for (at, (key, value)) in entries.iter().enumerate() {
        if at > 0 || !inline {
            pad(out, indent);
        }
        out.push_str(&scalar(key));
        out.push(':');
        write_value(out, value, indent + 2);
    }
}

/// Writes what follows a key's colon.
fn write_value(out: &mut String, value: &Tree, indent: usize) {
    match value {
        Tree::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            write_map(out, entries, indent, false);
        }
        Tree::List(items) if !items.is_empty() => {
            out.push('\n');
            write_list(out, items, indent);
        }
        flat => {
            out.push(' ');
            out.push_str(&flat.flat());
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, items: &[Tree], indent: usize) {
    for item in items {
        pad(out, indent);
        out.push('-');
        match item {
            Tree::Map(entries) if !entries.is_empty() => {
                out.push(' ');
                write_map(out, entries, indent + 2, true);
            }
            other => write_value(out, other, indent + 2),
        }
    }
}

/// A text as a scalar that no YAML reader, 1.1 or 1.2, takes for anything else: plain when that is beyond
/// doubt, otherwise quoted as in JSON.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "nan"];
    let body = |c: char| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '-' | '@' | ':' | '(' | ')' | ';' | '=' | '[' | ']')
    };
    let starts_as_text = match text.chars().next() {
        Some(first) if first.is_ascii_alphabetic() || matches!(first, '/' | '_') => true,
        Some(first) => first.is_ascii_digit() && text.contains('/'),
        None => false,
    };
    let words = text.split(' ').all(|word| !word.is_empty() && word.chars().all(body) && !word.ends_with(':'));
    let taken = WORDS.iter().any(|word| word.eq_ignore_ascii_case(text));
    if starts_as_text && words && !taken { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

impl From<&str> for Tree {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Tree {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut seq = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| seq.serialize_element(item))?;
                seq.end()
            }
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ordered;
        impl<'de> Visitor<'de> for Ordered {
            type Value = Tree;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }
            fn visit_unit<E>(self) -> Result<Tree, E> {
                Ok(Tree::Null)
            }
            fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(value))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
                Ok(Tree::Number(value.into()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
                Ok(Number::from_f64(value).map_or(Tree::Null, Tree::Number))
            }
            fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
                Ok(Tree::Text(value.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = seq.next_element()? {
                    items.push(item);
                }
                Ok(Tree::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Tree::Map(entries))
            }
        }
        deserializer.deserialize_any(Ordered)
    }
}

#[cfg(test)]
mod tests {
    use super::{Tree, scalar};

    #[test]
    fn keys_keep_their_order_and_lists_are_indented() {
        let policy = Tree::map([
            ("kind", Tree::text("NetworkPolicy")),
            (
                "spec",
                Tree::map([
                    ("podSelector", Tree::map([])),
                    (
                        "egress",
                        Tree::list([Tree::map([
                            (
                                "to",
                                Tree::list([Tree::map([(
                                    "podSelector",
                                    Tree::map([("matchLabels", Tree::map([("app", "db".into())]))]),
                                )])]),
                            ),
                            (
                                "ports",
                                Tree::list([Tree::map([("protocol", "TCP".into()), ("port", Tree::number(5432))])]),
                            ),
                        ])]),
                    ),
                ]),
            ),
        ]);
        insta::assert_snapshot!(policy.to_yaml(), @r"
        kind: NetworkPolicy
        spec:
          podSelector: {}
          egress:
            - to:
                - podSelector:
                    matchLabels:
                      app: db
              ports:
                - protocol: TCP
                  port: 5432
        ");
    }

    #[test]
    fn a_text_that_could_be_read_as_something_else_is_quoted() {
        for text in [
            "y", "No", "NULL", "1", "1.5", "0x1f", "12:30", "-", "", "a: b", "a ", "{x}", "*", "a #b", "ends:", "~",
            "10.0.0.1",
        ] {
            assert!(scalar(text).starts_with('"'), "{text}");
        }
        for text in
            ["app", "kubernetes.io/metadata.name", "10.0.0.0/8", "2001:db8::/32", "/carts/x", "no policy allows it; so"]
        {
            assert_eq!(scalar(text), text);
        }
    }

    #[test]
    fn any_value_becomes_a_tree_in_the_order_of_its_fields() {
        #[derive(serde::Serialize)]
        struct Z {
            z: u8,
            a: Option<bool>,
        }
        let tree = Tree::of(&Z { z: 1, a: None }).expect("a value with a JSON form");
        assert_eq!(tree.to_yaml(), "z: 1\na: null\n");
    }
}
