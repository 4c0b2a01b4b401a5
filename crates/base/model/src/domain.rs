//! Domain names and patterns of them.

use serde::Serialize;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A pattern of domain names, in lower case and without a dot at its end.
///
/// - `*` alone is every name.
/// - A leading `**.` stands for one label or more.
/// - Any other `*` stands for any number of the letters of one label, none included.
///
/// Source: Cilium, "DNS based" of Layer 3 policies, `matchPattern`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct DomainPattern(Arc<str>);

/// A text that is no domain pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected letters, digits, `-`, `_`, `.` and `*` as in example.com or *.example.com, found `{0}`")]
pub struct InvalidDomain(String);

impl DomainPattern {
    /// The names below a domain, at whatever depth; not the domain itself.
    pub fn below(domain: &str) -> Result<Self, InvalidDomain> {
        format!("**.{domain}").parse()
    }

    /// The one name that it stands for, if it has no `*`.
    pub fn exact(&self) -> Option<&str> {
        (!self.0.contains('*')).then_some(&*self.0)
    }

    /// The pattern as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a name is meant; capitals and a dot at its end make no difference.
    pub fn matches(&self, name: &str) -> bool {
        let name = normal(name);
        if &*self.0 == "*" {
            return !name.is_empty();
        }
        match self.0.strip_prefix("**.") {
            // The dots at which the labels in front may end.
            Some(rest) => name.match_indices('.').any(|(at, _)| at > 0 && glob(rest, name.get(at + 1..).unwrap_or(""))),
            None => glob(&self.0, &name),
        }
    }
}

/// In lower case, without the dot at its end.
fn normal(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// Whether a text matches a pattern whose `*` are letters of one label.
fn glob(pattern: &str, text: &str) -> bool {
    let mut labels = (pattern.split('.'), text.split('.'));
    loop {
        match (labels.0.next(), labels.1.next()) {
            (None, None) => return true,
            (Some(pattern), Some(label)) if label_matches(pattern, label) => {}
            _ => return false,
        }
    }
}

fn label_matches(pattern: &str, label: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == label };
    let Some(mut left) = label.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or("");
    for part in parts {
        let Some(at) = left.find(part) else { return false };
        left = left.get(at + part.len()..).unwrap_or("");
    }
    left.ends_with(last)
}

impl FromStr for DomainPattern {
    type Err = InvalidDomain;

    fn from_str(text: &str) -> Result<Self, InvalidDomain> {
        let pattern = normal(text.trim());
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*');
        let labels = pattern.split('.').all(|label| !label.is_empty() && label.len() <= 63);
        match labels && pattern.len() <= 253 && pattern.chars().all(letter) {
            true => Ok(Self(Arc::from(pattern))),
            false => Err(InvalidDomain(text.to_owned())),
        }
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<DomainPattern> for String {
    fn from(pattern: DomainPattern) -> Self {
        pattern.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::DomainPattern;

    #[test]
    fn a_star_is_within_a_label_and_two_are_labels() {
        for (pattern, named, not_named) in [
            ("Example.com.", &["example.com", "EXAMPLE.com."][..], &["www.example.com", "example.co"][..]),
            ("*", &["com", "a.b.c", "a_b"], &["", "."]),
            ("*.x.io", &["a.x.io", "-.x.io"], &["x.io", "a.b.x.io", "ax.io"]),
            ("**.x.io", &["a.x.io", "a.b.x.io"], &["x.io", ".x.io", "ax.io"]),
            ("**.*a.io", &["x.a.io", "x.y.ba.io"], &["a.io", "ba.io"]),
            ("a*b*c.io", &["abc.io", "a1b2c.io", "abbcc.io"], &["ab.io", "a.b.c.io", "cab.io"]),
            ("a*a", &["aa", "aba"], &["a"]),
        ] {
            let pattern: DomainPattern = pattern.parse().expect("a pattern");
            named.iter().for_each(|name| assert!(pattern.matches(name), "{pattern} {name}"));
            not_named.iter().for_each(|name| assert!(!pattern.matches(name), "{pattern} {name}"));
        }
        for wrong in ["", "a..b", "a b", "a/b", ".a", "a[b]"] {
            assert!(wrong.parse::<DomainPattern>().is_err(), "{wrong}");
        }
    }
}
