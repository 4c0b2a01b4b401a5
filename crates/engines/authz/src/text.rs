//! The string forms that every field of a rule shares.
//!
//! Source: istio/api, `security/v1beta1/authorization_policy.proto`, message `Rule`: exact `abc`, prefix
//! `abc*`, suffix `*abc`, presence `*`. A star elsewhere is an ordinary character
//! (istio/istio, `pilot/pkg/security/authz/matcher/string.go`).

use std::fmt;

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Text {
    /// The whole value.
    Exact(Box<str>),
    /// What it begins with.
    Prefix(Box<str>),
    /// What it ends with.
    Suffix(Box<str>),
    /// Anything that is not empty.
    Present,
}

impl Text {
    /// Reads the policy's form.
    pub(crate) fn parse(pattern: &str) -> Self {
        if pattern == "*" {
            Self::Present
        } else if let Some(suffix) = pattern.strip_prefix('*') {
            Self::Suffix(suffix.into())
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            Self::Prefix(prefix.into())
        } else {
            Self::Exact(pattern.into())
        }
    }

    /// Whether a value has this form.
    pub(crate) fn matches(&self, value: &str) -> bool {
        match self {
            Self::Exact(exact) => **exact == *value,
            Self::Prefix(prefix) => value.starts_with(&**prefix),
            Self::Suffix(suffix) => value.ends_with(&**suffix),
            Self::Present => !value.is_empty(),
        }
    }

    /// The same with ASCII case left out of account.
    pub(crate) fn matches_ignoring_case(&self, value: &str) -> bool {
        let head = |length: usize| value.as_bytes().get(..length);
        let tail = |length: usize| value.len().checked_sub(length).and_then(|at| value.as_bytes().get(at..));
        let equal =
            |part: Option<&[u8]>, text: &str| part.is_some_and(|part| part.eq_ignore_ascii_case(text.as_bytes()));
        match self {
            Self::Exact(exact) => value.eq_ignore_ascii_case(exact),
            Self::Prefix(prefix) => equal(head(prefix.len()), prefix),
            Self::Suffix(suffix) => equal(tail(suffix.len()), suffix),
            Self::Present => !value.is_empty(),
        }
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(exact) => f.write_str(exact),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Present => f.write_str("*"),
        }
    }
}

/// Several patterns of which one must match. Exact ones are looked up, so a long list costs little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Texts {
    exact: Box<[Box<str>]>,
    patterns: Box<[Text]>,
}

impl Texts {
    /// Reads the policy's forms.
    pub(crate) fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut exact, mut patterns) = (Vec::new(), Vec::new());
        for value in values {
            match Text::parse(value) {
                Text::Exact(value) => exact.push(value),
                pattern => patterns.push(pattern),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Self { exact: exact.into(), patterns: patterns.into() }
    }

    /// Whether one of them matches.
    pub(crate) fn matches(&self, value: &str) -> bool {
        self.exact.binary_search_by(|exact| (**exact).cmp(value)).is_ok()
            || self.patterns.iter().any(|pattern| pattern.matches(value))
    }
}

#[cfg(test)]
mod tests {
    use super::{Text, Texts};

    #[test]
    fn the_four_forms() {
        for (pattern, matches, others) in [
            ("abc", &["abc"][..], &["", "ab", "abcd", "xabc", "Abc"][..]),
            ("abc*", &["abc", "abcd"], &["", "ab", "xabc"]),
            ("*abc", &["abc", "xabc"], &["", "abcd"]),
            ("*", &["a", " "], &[""]),
            ("a*c", &["a*c"], &["abc", "ac"]),
            ("*a*", &["a*", "xa*"], &["xax", "a"]),
            ("**", &["*", "x*"], &["", "x"]),
        ] {
            let texts = Texts::parse([pattern]);
            for value in matches {
                assert!(Text::parse(pattern).matches(value) && texts.matches(value), "{pattern} matches {value:?}");
            }
            for value in others {
                assert!(!Text::parse(pattern).matches(value) && !texts.matches(value), "{pattern} leaves {value:?}");
            }
        }
    }

    #[test]
    fn case_is_left_out_of_account_where_asked() {
        let matches = |pattern: &str, value: &str| Text::parse(pattern).matches_ignoring_case(value);
        assert!(matches("Example.COM", "eXample.com") && matches("b.com:*", "B.com:80") && matches("*.A.b", "x.a.B"));
        assert!(!matches("*.a.b", "a.b") && !matches("ab*", "a") && !matches("*ab", "b") && !matches("a", "é"));
    }
}
