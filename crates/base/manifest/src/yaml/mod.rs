//! YAML with positions, typed the way Kubernetes types it.
//!
//! The parser is saphyr's (YAML 1.2 grammar); scalars are resolved here by the rules of `sigs.k8s.io/yaml`,
//! which are YAML 1.1's (`on`, `yes`, `0644`), because a value must mean the same to us as to the API server.
//! Duplicate keys are refused, aliases are shared rather than copied and count against a limit.

mod load;
mod scalar;
#[cfg(test)]
mod tests;

use foldhash::fast::RandomState;
use indexmap::IndexMap;
use serde_json::Value;
use std::sync::Arc;

pub(crate) use load::Loader;

/// A place in the source: line and column of its first character, counted from one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Spot {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) spot: Spot,
    /// Whether it is a literal block (`|`), whose lines are lines of the file.
    pub(crate) literal: bool,
}

/// Each key with its place and its value, in the order of the source.
pub(crate) type Mapping = IndexMap<String, (Spot, Node), RandomState>;

/// The content of a node; an alias shares it with its anchor.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    /// Anything but a list or a mapping.
    Scalar(Value),
    /// A list.
    List(Arc<Vec<Node>>),
    /// A mapping; each entry keeps the place of its key.
    Map(Arc<Mapping>),
}

/// Why a document could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Problem {
    /// Not YAML.
    #[error("expected YAML: {0}")]
    Syntax(String),
    /// The same key twice in one mapping.
    #[error("the key `{key}` stands twice in one mapping")]
    DuplicateKey { key: String, first: Spot },
    /// A list, mapping or nothing as a key.
    #[error("expected a text, number or boolean as a key")]
    ComplexKey,
    /// `!!int text`, `.inf` and the like.
    #[error("expected a value that JSON can hold and that fits its tag, found `{0}`")]
    Unrepresentable(String),
    /// `<<:` with something other than mappings.
    #[error("expected a mapping, or a list of mappings, to merge by `<<`")]
    Merge,
    /// More nodes than allowed, aliases counted each time.
    #[error("expected at most {MAX_NODES} values in a file, aliases counted each time")]
    TooLarge,
    /// Nested deeper than allowed.
    #[error("expected at most {MAX_DEPTH} levels of nesting")]
    TooDeep,
}

/// A problem and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Located {
    pub(crate) problem: Problem,
    pub(crate) spot: Spot,
}

/// The most values of one stream, aliases counted each time.
pub(crate) const MAX_NODES: usize = 1_000_000;
/// The deepest nesting; Kubernetes' own kinds need about 20.
pub(crate) const MAX_DEPTH: usize = 128;

impl Node {
    /// The value without positions.
    pub(crate) fn to_json(&self) -> Value {
        match &self.data {
            Data::Scalar(value) => value.clone(),
            Data::List(items) => items.iter().map(Self::to_json).collect(),
            Data::Map(entries) => entries.iter().map(|(key, (_, value))| (key.clone(), value.to_json())).collect(),
        }
    }

    /// Whether it is `null` or empty.
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, Data::Scalar(Value::Null))
    }

    /// The value of a key, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match &self.data {
            Data::Map(entries) => entries.get(key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, when it is one.
    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }
}
