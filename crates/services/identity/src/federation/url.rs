//! The URL of a bundle endpoint.

use http::Uri;
use rustls_pki_types::ServerName;
use std::fmt;
use std::str::FromStr;

/// Where a bundle is: `https`, a host, no user.
///
/// Source: SPIFFE Federation, sections 5.2.1.1 and 5.2.2.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    uri: Uri,
    host: ServerName<'static>,
}

/// Why a text is no URL of a bundle endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpointUrl {
    /// No URL at all.
    #[error("expected a URL, saw {0:?}")]
    Malformed(String),
    /// Another scheme, or none.
    #[error("expected a URL that begins with https://, saw {0:?}")]
    Scheme(String),
    /// A user, with or without a password, before the host.
    #[error("expected a URL without a user")]
    UserInfo,
    /// A port that is none; the URL's library leaves it to its users.
    #[error("expected a port from 1 to 65535 in the URL, saw {0:?}")]
    Port(String),
    /// A host that is neither a DNS name nor an address.
    #[error("expected a host name or address in the URL, saw {0:?}")]
    Host(String),
}

impl EndpointUrl {
    /// The host as TLS verifies it.
    pub(super) fn server_name(&self) -> ServerName<'static> {
        self.host.clone()
    }

    /// Host and port as they are looked up.
    pub(super) fn host_and_port(&self) -> (String, u16) {
        (self.host.to_str().into_owned(), self.uri.port_u16().unwrap_or(443))
    }

    /// The `Host` of a request (RFC 9112, section 3.2).
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", http::uri::Authority::as_str)
    }

    /// What is asked for there.
    pub(super) fn path_and_query(&self) -> &str {
        self.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str)
    }

    /// Where a redirect's `Location` leads from here: an `https` URL, or a path on this host (RFC 9110, section 10.2.2).
    /// A reference in another form is refused.
    ///
    /// # Errors
    /// It is no URL of a bundle endpoint.
    pub(super) fn redirected(&self, location: &str) -> Result<Self, InvalidEndpointUrl> {
        match location.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => format!("https:{location}").parse(),
            Some(_) => format!("https://{}{location}", self.authority()).parse(),
            None => location.parse(),
        }
    }
}

impl FromStr for EndpointUrl {
    type Err = InvalidEndpointUrl;

    fn from_str(text: &str) -> Result<Self, InvalidEndpointUrl> {
        let uri: Uri = text.parse().map_err(|_| InvalidEndpointUrl::Malformed(text.to_owned()))?;
        if uri.scheme_str() != Some("https") {
            return Err(InvalidEndpointUrl::Scheme(text.to_owned()));
        }
        let authority = uri.authority().ok_or_else(|| InvalidEndpointUrl::Malformed(text.to_owned()))?;
        if authority.as_str().contains('@') {
            return Err(InvalidEndpointUrl::UserInfo);
        }
        let host = authority.host();
        if authority.as_str() != host && authority.port_u16().is_none_or(|port| port == 0) {
            return Err(InvalidEndpointUrl::Port(authority.as_str().to_owned()));
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = ServerName::try_from(bare.to_owned()).map_err(|_| InvalidEndpointUrl::Host(host.to_owned()))?;
        Ok(Self { uri, host })
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::{EndpointUrl, InvalidEndpointUrl as E};

    fn url(text: &str) -> Result<EndpointUrl, E> {
        text.parse()
    }

    #[test]
    fn https_and_a_host_are_wanted_and_a_user_is_not() {
        for (text, host, port, path) in [
            ("https://other.example/trust_domain", "other.example", 443, "/trust_domain"),
            ("https://other.example", "other.example", 443, "/"),
            ("HTTPS://other.example:8443/a?b=c#d", "other.example", 8443, "/a?b=c"),
            ("https://192.0.2.1:1/", "192.0.2.1", 1, "/"),
            ("https://[2001:db8::1]/x", "2001:db8::1", 443, "/x"),
        ] {
            let url = url(text).expect(text);
            assert_eq!((url.host_and_port(), url.path_and_query()), ((host.to_owned(), port), path), "{text}");
        }
        for text in ["", "https://", "https:///x", "a b", "https://exa mple/", "https://a:b:c/"] {
            assert!(url(text).is_err(), "{text:?}");
        }
        for text in ["http://other.example/", "other.example/x", "/x", "ftp://other.example/"] {
            assert!(matches!(url(text), Err(E::Scheme(_) | E::Malformed(_))), "{text}: {:?}", url(text));
        }
        assert_eq!(url("https://user@other.example/"), Err(E::UserInfo));
        assert_eq!(url("https://user:secret@other.example/"), Err(E::UserInfo));
        for text in ["https://host:99999/", "https://host:0/", "https://host:/", "https://[::1]:x/"] {
            assert!(matches!(url(text), Err(E::Port(_) | E::Malformed(_))), "{text}: {:?}", url(text));
        }
        assert!(matches!(url("https://_-.-_/"), Err(E::Host(_))));
    }

    #[test]
    fn a_redirect_leads_to_another_url_of_the_same_rules() {
        let from = url("https://other.example:8443/a/b?c").expect("a URL");
        let to = |location: &str| from.redirected(location).map(|url| url.to_string());
        assert_eq!(to("https://third.example/x").as_deref(), Ok("https://third.example/x"));
        assert_eq!(to("/x?y").as_deref(), Ok("https://other.example:8443/x?y"));
        assert_eq!(to("//third.example/x").as_deref(), Ok("https://third.example/x"));
        assert!(matches!(to("http://other.example/"), Err(E::Scheme(_))));
        assert_eq!(to("https://user@other.example/"), Err(E::UserInfo));
        assert_eq!(to("//user@other.example/"), Err(E::UserInfo));
        for location in ["", "x", "../x", "?y", "#z", "javascript:x"] {
            assert!(to(location).is_err(), "{location:?}");
        }
    }
}
