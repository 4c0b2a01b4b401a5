//! The form of a test file.

use anyhow::{Context, Result, bail};
use lictor_why::{Ask, RequestAsk};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// One file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    /// What the tests are called; the file's name if nothing.
    pub(super) name: Option<String>,
    /// The manifests: folders and files, from where the test file is.
    pub(super) given: Vec<PathBuf>,
    /// What must be allowed.
    #[serde(default)]
    pub(super) allow: Vec<Expectation>,
    /// What must be denied.
    #[serde(default)]
    pub(super) deny: Vec<Expectation>,
}

/// A connection or request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expectation(Fields);

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    from: String,
    to: String,
    method: Option<String>,
    path: Option<String>,
    host: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for Expectation {
    /// `from -> to`, or a mapping.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let Some(text) = value.as_str() else {
            return serde_json::from_value(value).map(Self).map_err(D::Error::custom);
        };
        let ends = text.split_once("->").map(|(from, to)| (from.trim(), to.trim()));
        let Some((from, to)) = ends.filter(|(from, to)| !from.is_empty() && !to.is_empty()) else {
            return Err(D::Error::custom(format!("expected `from -> to`, found `{text}`")));
        };
        let (from, to) = (from.to_owned(), to.to_owned());
        Ok(Self(Fields { from, to, method: None, path: None, host: None, headers: BTreeMap::new() }))
    }
}

impl TestFile {
    /// Reads a file; the reason when it is none.
    pub(super) fn read(text: &str) -> Result<Self> {
        let documents = lictor_manifest::values(text)?;
        let [document] = documents.as_slice() else {
            bail!("expected one YAML document, found {}", documents.len());
        };
        let test: Self = serde_json::from_value(document.clone()).context("expected name, given, allow and deny")?;
        if test.allow.is_empty() && test.deny.is_empty() {
            bail!("expected something to `allow` or `deny`, found nothing");
        }
        Ok(test)
    }
}

impl Expectation {
    /// It as a question.
    pub(super) fn ask(&self) -> Ask {
        let Fields { from, to, method, path, host, headers } = &self.0;
        let asks = method.is_some() || path.is_some() || host.is_some() || !headers.is_empty();
        let request = asks.then(|| RequestAsk {
            method: method.clone().unwrap_or_else(|| "GET".to_owned()),
            path: path.clone().unwrap_or_else(|| "/".to_owned()),
            host: host.clone(),
            headers: headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
        });
        Ask { from: from.clone(), to: to.clone(), namespace: "default".to_owned(), protocol: None, request }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fields { from, to, method, path, .. } = &self.0;
        write!(f, "{from} -> {to}")?;
        match (method, path) {
            (None, None) => Ok(()),
            (method, path) => {
                write!(f, "  {} {}", method.as_deref().unwrap_or("GET"), path.as_deref().unwrap_or("/"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::TestFile;

    #[test]
    fn a_file_that_says_nothing_or_something_else_is_refused() {
        let wrong = |text: &str| format!("{:#}", TestFile::read(text).expect_err(text));
        assert!(wrong("given: [a]\n").contains("expected something to `allow`"));
        assert!(wrong("given: [a]\nallow: [web]\n").contains("expected `from -> to`, found `web`"));
        assert!(wrong("given: [a]\nalow: [a -> b]\n").contains("unknown field `alow`"));
        assert!(wrong("allow: [a -> b]\n").contains("missing field `given`"));
        assert!(wrong("given: [a]\n---\ngiven: [b]\n").contains("found 2"));
    }
}
