//! The path of a request as policies and the application are both to understand it.
//!
//! A path that two readers take for two resources lets a request past a rule. So there is one reading that is
//! judged *and* forwarded, and a second one that no DENY rule may match:
//!
//! - **base**, RFC 3986 section 6.2.2 (Istio's `BASE`, its default): `\` is `/`, escapes of unreserved characters are undone,
//!   dot segments are resolved. It is what goes to the application.
//! - **merged** (Istio's `DECODE_AND_MERGE_SLASHES`): escaped slashes are slashes, and several are one. It is only
//!   asked for DENY rules: `//admin` must not slip by a rule for `/admin`, and an ALLOW rule for `/x//` must still match.
//!
//! Where the two would resolve dot segments differently (`/public/..%2fadmin`, `/a//../b`), the request is refused.

use std::borrow::Cow;

/// A path in its two readings, each with the query as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath<'a> {
    /// What policies are asked about and the application gets.
    pub base: Cow<'a, str>,
    /// The reading with escaped and repeated slashes resolved, where it is another one.
    pub merged: Option<String>,
}

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    /// It does not begin with a slash.
    #[error("expected a path that begins with a slash")]
    NotAbsolute,
    /// A percent sign without two hexadecimal digits, or an escaped NUL.
    #[error("expected two hexadecimal digits, not both 0, after each percent sign")]
    Escape,
    /// Servers disagree on which resource it names.
    #[error("expected a path whose dot segments mean the same to every reader")]
    Ambiguous,
}

/// Reads a path, with or without its query.
///
/// # Errors
/// See [`InvalidPath`]; such a request is answered with 400.
pub fn normalise_path(raw: &str) -> Result<NormalPath<'_>, InvalidPath> {
    if raw == "*" {
        return Ok(NormalPath { base: Cow::Borrowed(raw), merged: None });
    }
    if !raw.starts_with(['/', '\\']) {
        return Err(InvalidPath::NotAbsolute);
    }
    let (path, query) = raw.split_at(raw.find(['?', '#']).unwrap_or(raw.len()));
    if is_plain(path) {
        return Ok(NormalPath { base: Cow::Borrowed(raw), merged: None });
    }
    let visible = unescape_unreserved(path)?;
    let base = without_dot_segments(&visible);
    let merged = without_dot_segments(&merge_slashes(&visible));
    if merged != merge_slashes(&base) || hides_dot_segment(&merged) {
        return Err(InvalidPath::Ambiguous);
    }
    let merged = (merged != base).then(|| merged + query);
    let base = if base == path { Cow::Borrowed(raw) } else { Cow::Owned(base + query) };
    Ok(NormalPath { base, merged })
}

/// Whether there is nothing to do: the common case, without an allocation.
fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let special = |b: &u8| matches!(b, b'%' | b'\\' | b';');
    let pairs = |pair: &[u8]| matches!(pair, b"//" | b"/.");
    !bytes.iter().any(special) && !bytes.windows(2).any(pairs)
}

/// Undoes `%41` and the like, leaves other escapes, and makes every backslash a slash.
fn unescape_unreserved(path: &str) -> Result<String, InvalidPath> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find(['%', '\\']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = from.strip_prefix('\\') {
            out.push('/');
            rest = after;
            continue;
        }
        let digits = from.get(1..3).ok_or(InvalidPath::Escape)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(InvalidPath::Escape);
        }
        match u8::from_str_radix(digits, 16) {
            Ok(0) | Err(_) => return Err(InvalidPath::Escape),
            Ok(byte) if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') => {
                out.push(char::from(byte));
            }
            Ok(_) => {
                out.push('%');
                out.push_str(digits);
            }
        }
        rest = from.get(3..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

/// RFC 3986, section 5.2.4, on a path that begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." => {}
            ".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push("");
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

/// Escaped slashes and backslashes as slashes, and one slash for several.
fn merge_slashes(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(next) = rest.chars().next() {
        let escaped =
            rest.get(..3).is_some_and(|text| text.eq_ignore_ascii_case("%2f") || text.eq_ignore_ascii_case("%5c"));
        let (symbol, length) = if escaped { ('/', 3) } else { (next, next.len_utf8()) };
        if symbol != '/' || !out.ends_with('/') {
            out.push(symbol);
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    out
}

/// Whether some servers see a dot segment where others do not: they cut parameters off (`/..;/admin`).
fn hides_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| matches!(segment.split_once(';'), Some(("." | "..", _))))
}

#[cfg(test)]
mod tests {
    use super::{InvalidPath, normalise_path};
    use proptest::prelude::*;

    #[test]
    fn there_is_one_reading_for_rule_and_application() {
        for (raw, base, merged) in [
            ("/", "/", None),
            ("*", "*", None),
            ("/a/b?x=/../y", "/a/b?x=/../y", None),
            ("/a/./b/../c", "/a/c", None),
            ("/a/..", "/", None),
            ("/a/b/..", "/a/", None),
            ("/../../etc", "/etc", None),
            ("/a/%2e%2E/admin", "/admin", None),
            ("/%61dmin?q=%41", "/admin?q=%41", None),
            ("/a\\b", "/a/b", None),
            ("/caf%C3%A9", "/caf%C3%A9", None),
            ("/100%25", "/100%25", None),
            ("//admin", "//admin", Some("/admin")),
            ("/foo//", "/foo//", Some("/foo/")),
            ("/a%2Fb?q", "/a%2Fb?q", Some("/a/b?q")),
            ("/a%5cb", "/a%5cb", Some("/a/b")),
            ("/.hidden", "/.hidden", None),
            ("/a;v=1/b", "/a;v=1/b", None),
        ] {
            let read = normalise_path(raw).expect(raw);
            assert_eq!((read.base.as_ref(), read.merged.as_deref()), (base, merged), "{raw}");
        }
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        use InvalidPath as E;
        for (raw, error) in [
            ("", E::NotAbsolute),
            ("admin", E::NotAbsolute),
            ("/%", E::Escape),
            ("/%4", E::Escape),
            ("/%zz", E::Escape),
            ("/%+1", E::Escape),
            ("/a%00b", E::Escape),
            ("/public/..%2fadmin", E::Ambiguous),
            ("/public/%2e%2e%5cadmin", E::Ambiguous),
            ("/public%2f..%2fadmin", E::Ambiguous),
            ("/a//../b", E::Ambiguous),
            ("/public/..;/admin", E::Ambiguous),
            ("/public/.;x/admin", E::Ambiguous),
        ] {
            assert_eq!(normalise_path(raw), Err(error), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn the_base_reading_is_stable(raw in "/([a/.%;\\\\]|%2[eEfF5]|%41|\\.\\.){0,12}(\\?[a/.%]{0,4})?") {
            if let Ok(read) = normalise_path(&raw) {
                let again = normalise_path(&read.base);
                prop_assert_eq!(again.as_ref().map(|again| again.base.as_ref()), Ok(read.base.as_ref()));
                prop_assert_eq!(again.ok().and_then(|again| again.merged), read.merged);
            }
        }

        #[test]
        fn no_reading_leaves_a_dot_segment(raw in "/([a/.%;]|%2[eEfF]|\\.\\.){0,12}") {
            if let Ok(read) = normalise_path(&raw) {
                for path in [Some(read.base.as_ref()), read.merged.as_deref()].into_iter().flatten() {
                    prop_assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{}", path);
                }
            }
        }

        #[test]
        fn no_text_panics(raw in "\\PC{0,40}") {
            let _ = normalise_path(&raw);
        }
    }
}
