//! Request paths: their canonical form, and the patterns on them.

use crate::text::Text;
use std::borrow::Cow;
use std::fmt;

/// The form of a request path that rules are matched on: without query and fragment, dot segments resolved,
/// backslashes turned into slashes, escapes of unreserved characters undone.
///
/// What it does not change: repeated slashes, the case of escapes, escaped slashes. A proxy that judges the
/// canonical form should forward it too, so that the application sees what was judged. Borrowed when the path
/// is canonical already, as nearly every one is.
///
/// Source: Istio's default path normalization `BASE` (istio.io, reference/config/security/normalization);
/// RFC 3986, sections 5.2.4 and 6.2.2.
pub fn canonical_path(path: &str) -> Cow<'_, str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let bytes = path.as_bytes();
    let dotted = bytes.windows(2).any(|pair| pair == b"/.");
    if !dotted && !bytes.iter().any(|byte| matches!(byte, b'\\' | b'%')) {
        return Cow::Borrowed(path);
    }
    let path = unescape(path).replace('\\', "/");
    if !path.starts_with('/') {
        return Cow::Owned(path);
    }
    let mut segments: Vec<&str> = Vec::new();
    let mut rest = path.split('/').skip(1).peekable();
    while let Some(segment) = rest.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if rest.peek().is_none() {
                    segments.push("");
                }
            }
            other => segments.push(other),
        }
    }
    Cow::Owned(segments.iter().flat_map(|segment| ["/", segment]).collect())
}

/// Undoes escapes of unreserved characters (RFC 3986, section 2.3); all others stay as they are.
fn unescape(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let byte =
            escape.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| !escape.starts_with("%+"));
        match byte {
            Some(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
                rest = escape.get(3..).unwrap_or_default();
            }
            _ => {
                out.push('%');
                rest = escape.get(1..).unwrap_or_default();
            }
        }
    }
    out.push_str(rest);
    out
}

/// A pattern on a canonical path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PathPattern {
    /// One of the shared string forms.
    Text(Text),
    /// A template of segments.
    Template(Template),
}

impl PathPattern {
    /// Reads the policy's form. `strict`: see [`Template`].
    pub(crate) fn parse(pattern: &str, strict: bool) -> Self {
        if pattern.contains("{*}") || pattern.contains("{**}") {
            Self::Template(Template::parse(pattern, strict))
        } else {
            Self::Text(Text::parse(pattern))
        }
    }

    /// Whether a canonical path has this form.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Text(text) => text.matches(path),
            Self::Template(template) => template.matches(path),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => text.fmt(f),
            Self::Template(template) => f.write_str(&template.source),
        }
    }
}

/// A path template: `{*}` is one segment that is not empty, `{**}` any number of characters, slashes too.
///
/// Envoy lets both stand only for the characters that RFC 3986 allows in a path. A rule that lets something
/// through is as `strict` as that; a rule that keeps something out is not, for otherwise a stray character
/// would be a way past it.
///
/// Source: istio/istio, `pilot/pkg/security/authz/matcher/template.go`; Envoy,
/// `extensions.path.match.uri_template.v3.UriTemplateMatchConfig`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    source: Box<str>,
    parts: Box<[Part]>,
    strict: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Segment,
    Rest,
}

impl Template {
    fn parse(pattern: &str, strict: bool) -> Self {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while !rest.is_empty() {
            let (part, length) = if rest.starts_with("{*}") {
                (Part::Segment, 3)
            } else if rest.starts_with("{**}") {
                (Part::Rest, 4)
            } else {
                let at = [rest.find("{*}"), rest.find("{**}")].into_iter().flatten().min().unwrap_or(rest.len());
                (Part::Literal(rest.get(..at).unwrap_or_default().into()), at)
            };
            parts.push(part);
            rest = rest.get(length..).unwrap_or_default();
        }
        Self { source: pattern.into(), parts: parts.into(), strict }
    }

    fn matches(&self, path: &str) -> bool {
        matches_parts(&self.parts, path, self.strict)
    }
}

/// `{**}` is the last operator of every policy that passes validation, so only a literal can follow it and
/// nothing is tried twice; a template that has more is matched by trying.
fn matches_parts(parts: &[Part], path: &str, strict: bool) -> bool {
    let Some((part, parts)) = parts.split_first() else { return path.is_empty() };
    match part {
        Part::Literal(text) => path.strip_prefix(&**text).is_some_and(|rest| matches_parts(parts, rest, strict)),
        Part::Segment => {
            let (segment, rest) = path.split_at(path.find('/').unwrap_or(path.len()));
            !segment.is_empty()
                && (!strict || segment.bytes().all(is_path_character))
                && matches_parts(parts, rest, strict)
        }
        Part::Rest => match parts {
            [] => all_allowed(path, strict),
            [Part::Literal(text)] => path.strip_suffix(&**text).is_some_and(|taken| all_allowed(taken, strict)),
            _ => path.char_indices().map(|(at, _)| at).chain([path.len()]).any(|at| {
                all_allowed(path.split_at(at).0, strict) && matches_parts(parts, path.split_at(at).1, strict)
            }),
        },
    }
}

fn all_allowed(text: &str, strict: bool) -> bool {
    !strict || text.bytes().all(|byte| byte == b'/' || is_path_character(byte))
}

/// The characters of a path segment, as Envoy's template matcher takes them.
fn is_path_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte)
}

#[cfg(test)]
mod tests;
