//! The forms that an output can take.

use lictor_why::Tree;
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// The form of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// For a person.
    #[default]
    Text,
    /// For a person with a wide terminal.
    Wide,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
    /// A table with commas.
    Csv,
    /// A table in Markdown.
    Markdown,
    /// A graph for Graphviz.
    Dot,
    /// A graph for Mermaid.
    Mermaid,
    /// A picture.
    Svg,
    /// Results for code scanners.
    Sarif,
    /// Results for test runners.
    Junit,
    /// Annotations of GitHub's workflows.
    Github,
}

impl Format {
    const WORDS: [(&'static str, Self); 13] = [
        ("table", Self::Text),
        ("text", Self::Text),
        ("wide", Self::Wide),
        ("json", Self::Json),
        ("yaml", Self::Yaml),
        ("csv", Self::Csv),
        ("markdown", Self::Markdown),
        ("dot", Self::Dot),
        ("mermaid", Self::Mermaid),
        ("svg", Self::Svg),
        ("sarif", Self::Sarif),
        ("junit", Self::Junit),
        ("github", Self::Github),
    ];

    /// The word that names it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, format)| *format == self).map_or("table", |(word, _)| word)
    }

    /// The document of a value, for the forms that programs read; nothing for the others.
    ///
    /// # Errors
    /// When the value has no JSON form.
    pub fn document<T: Serialize>(self, value: &T) -> Result<Option<String>, serde_json::Error> {
        match self {
            Self::Json => serde_json::to_string_pretty(value).map(|text| Some(text + "\n")),
            Self::Yaml => Tree::of(value).map(|tree| Some(tree.to_yaml())),
            _ => Ok(None),
        }
    }
}

/// A word that names no form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of table, wide, json, yaml, csv, markdown, dot, mermaid, svg, sarif, junit, github, found `{0}`")]
pub struct UnknownFormat(pub String);

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, UnknownFormat> {
        let known = Self::WORDS.iter().find(|(word, _)| *word == text);
        known.map(|(_, format)| *format).ok_or_else(|| UnknownFormat(text.to_owned()))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
