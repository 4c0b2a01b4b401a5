//! The head of an HTTP request: what it is for, said once and without contradiction.
//!
//! A request that names two hosts, or two lengths, means one thing to the policy and another to the application.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Version};
use std::borrow::Cow;

/// Why a request's head is refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHead {
    /// HTTP/1.1 demands a `Host`, HTTP/2 an `:authority` or a `Host`.
    #[error("expected a host, found none")]
    NoHost,
    /// More than one `Host` header.
    #[error("expected one host, found several")]
    SeveralHosts,
    /// `Host` and the request target or `:authority` differ.
    #[error("expected the Host header to repeat the host of the request target")]
    OtherHost,
    /// A host with a user part, or one that is no host.
    #[error("expected a host name or address, with or without a port")]
    NotHost,
    /// Both a length and a transfer coding.
    #[error("expected either a content length or a transfer coding")]
    TwoLengths,
}

/// The host that a request is for: the authority of its target, else its `Host` header, else empty (HTTP/1.0).
///
/// Source: RFC 9112, sections 3.2 and 6.3; RFC 9113, section 8.3.1.
///
/// # Errors
/// When it contradicts itself; see [`InvalidHead`].
pub fn host(parts: &Parts) -> Result<Cow<'_, str>, InvalidHead> {
    if parts.headers.contains_key(TRANSFER_ENCODING) && parts.headers.contains_key(CONTENT_LENGTH) {
        return Err(InvalidHead::TwoLengths);
    }
    let named = named_host(&parts.headers)?;
    let target = parts.uri.authority().map(Authority::as_str);
    if target.is_some_and(|target| target.contains('@')) {
        return Err(InvalidHead::NotHost);
    }
    match (target, named) {
        (Some(target), Some(named)) if !same_host(target, named, &parts.method) => Err(InvalidHead::OtherHost),
        (Some(target), _) => Ok(Cow::Borrowed(target)),
        (None, Some(named)) => Ok(Cow::Borrowed(named)),
        (None, None) if parts.version < Version::HTTP_11 => Ok(Cow::Borrowed("")),
        (None, None) => Err(InvalidHead::NoHost),
    }
}

fn named_host(headers: &HeaderMap) -> Result<Option<&str>, InvalidHead> {
    let mut values = headers.get_all(HOST).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(InvalidHead::SeveralHosts);
    }
    let text = value.to_str().map_err(|_| InvalidHead::NotHost)?;
    if text.is_empty() {
        return Ok(Some(text));
    }
    match text.parse::<Authority>() {
        Ok(_) if !text.contains('@') => Ok(Some(text)),
        _ => Err(InvalidHead::NotHost),
    }
}

/// Hosts compare without case. A CONNECT target always has its port, which clients may leave out of `Host`.
fn same_host(target: &str, named: &str, method: &Method) -> bool {
    let without_port = || target.rsplit_once(':').is_some_and(|(host, _)| host.eq_ignore_ascii_case(named));
    target.eq_ignore_ascii_case(named) || (*method == Method::CONNECT && without_port())
}

/// Takes away an offer to go on in another version of HTTP, or in TLS, on the same connection (`Upgrade: h2c`).
///
/// What follows such an upgrade would be requests that no rule sees. A server that does not see the offer answers in the
/// version of the request (RFC 9110, section 7.8). Other upgrades, WebSocket first, are one exchange and stay.
pub fn withdraw_upgrade_to_http(headers: &mut HeaderMap) {
    let words = |value: &HeaderValue| value.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
    let is_http = |word: &str| {
        let name = word.trim().split('/').next().unwrap_or_default();
        matches!(name, "h2c" | "h2" | "http" | "tls")
    };
    let offered = headers.get_all(UPGRADE).iter().any(|value| words(value).split(',').any(is_http));
    if !offered && !headers.contains_key("http2-settings") {
        return;
    }
    headers.remove(UPGRADE);
    headers.remove("http2-settings");
    let rest: Vec<String> = headers.get_all(CONNECTION).iter().map(words).collect();
    headers.remove(CONNECTION);
    let about_it = |word: &&str| matches!(*word, "" | "upgrade" | "http2-settings");
    let rest = rest.iter().flat_map(|value| value.split(',').map(str::trim)).filter(|word| !about_it(word));
    for word in rest {
        if let Ok(value) = HeaderValue::from_str(word) {
            headers.append(CONNECTION, value);
        }
    }
}

/// Every header as text, in order; bytes that are no UTF-8 are replaced, so that a rule on presence still sees them.
pub fn header_texts(headers: &HeaderMap) -> Vec<(&str, Cow<'_, str>)> {
    headers.iter().map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes()))).collect()
}

#[cfg(test)]
mod tests {
    use super::{InvalidHead, header_texts, host, withdraw_upgrade_to_http};
    use http::request::Parts;
    use http::{HeaderValue, Request, Version};
    use proptest::prelude::*;

    fn head(version: Version, method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let builder = Request::builder().version(version).method(method).uri(uri);
        let builder = headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
        builder.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn the_host_is_said_once() {
        let (v1, v2) = (Version::HTTP_11, Version::HTTP_2);
        for (parts, wanted) in [
            (head(v1, "GET", "/", &[("host", "shop:80")]), "shop:80"),
            (head(v1, "GET", "http://Shop/", &[("host", "shop")]), "Shop"),
            (head(v1, "CONNECT", "db:5432", &[("host", "db:5432")]), "db:5432"),
            (head(v1, "CONNECT", "db:5432", &[("host", "db")]), "db:5432"),
            (head(Version::HTTP_10, "GET", "/", &[]), ""),
            (head(v2, "GET", "http://shop/", &[]), "shop"),
            (head(v2, "GET", "/", &[("host", "shop")]), "shop"),
            (head(v1, "GET", "/", &[("host", "")]), ""),
        ] {
            assert_eq!(host(&parts).as_deref(), Ok(wanted), "{parts:?}");
        }
    }

    #[test]
    fn a_contradiction_is_refused() {
        use InvalidHead as E;
        let (v1, v2) = (Version::HTTP_11, Version::HTTP_2);
        for (parts, wanted) in [
            (head(v1, "GET", "/", &[]), E::NoHost),
            (head(v2, "GET", "/", &[]), E::NoHost),
            (head(v1, "GET", "/", &[("host", "a"), ("host", "a")]), E::SeveralHosts),
            (head(v1, "GET", "http://a/", &[("host", "b")]), E::OtherHost),
            (head(v1, "GET", "http://a/", &[("host", "a:80")]), E::OtherHost),
            (head(v2, "GET", "http://a/", &[("host", "b")]), E::OtherHost),
            (head(v1, "GET", "/", &[("host", "u@a")]), E::NotHost),
            (head(v1, "GET", "/", &[("host", "a b")]), E::NotHost),
            (head(v1, "GET", "http://u@a/", &[("host", "u@a")]), E::NotHost),
            (
                head(v1, "POST", "/", &[("host", "a"), ("content-length", "1"), ("transfer-encoding", "chunked")]),
                E::TwoLengths,
            ),
        ] {
            assert_eq!(host(&parts).err(), Some(wanted), "{parts:?}");
        }
    }

    #[test]
    fn no_connection_goes_on_in_another_http() {
        for (upgrade, connection, stays, rest) in [
            ("websocket", "Upgrade", true, "Upgrade"),
            ("h2c", "Upgrade, HTTP2-Settings", false, ""),
            ("websocket, H2C", "close, upgrade", false, "close"),
            ("TLS/1.2, HTTP/1.1", "upgrade", false, ""),
            ("SPDY/3.1", "Upgrade", true, "Upgrade"),
        ] {
            let given = [("upgrade", upgrade), ("connection", connection)];
            let mut parts = head(Version::HTTP_11, "GET", "/", &given);
            withdraw_upgrade_to_http(&mut parts.headers);
            let left = parts.headers.get("connection").map(|value| value.to_str().expect("text")).unwrap_or_default();
            assert_eq!((parts.headers.contains_key("upgrade"), left), (stays, rest), "{upgrade}");
        }
        let mut parts = head(Version::HTTP_11, "GET", "/", &[("http2-settings", "x"), ("upgrade", "x")]);
        withdraw_upgrade_to_http(&mut parts.headers);
        assert!(parts.headers.is_empty());
    }

    #[test]
    fn a_header_that_is_no_text_is_still_there() {
        let mut parts = head(Version::HTTP_11, "GET", "/", &[("x-a", "1")]);
        parts.headers.append("x-a", HeaderValue::from_bytes(b"\xe9").expect("a value"));
        let texts = header_texts(&parts.headers);
        let texts: Vec<_> = texts.iter().map(|(name, value)| (*name, value.as_ref())).collect();
        assert_eq!(texts, [("x-a", "1"), ("x-a", "\u{fffd}")]);
    }

    proptest! {
        #[test]
        fn a_host_is_never_both(target in "[a-z]{1,3}(:[0-9]{1,2})?", named in "[a-zA-Z]{1,3}(:[0-9]{1,2})?") {
            let parts = head(Version::HTTP_11, "GET", &format!("http://{target}/"), &[("host", &named)]);
            prop_assert_eq!(host(&parts).is_ok(), target.eq_ignore_ascii_case(&named));
        }
    }
}
