//! Whom a tunnel request is for.

use http::Uri;
use std::net::{IpAddr, SocketAddr};

/// Why a `CONNECT` request names no target that a pod's proxy can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    /// There is no authority.
    #[error("expected an authority of the form address:port, found none")]
    Missing,
    /// A path, a query or a scheme came with the authority.
    #[error("expected an authority alone, as CONNECT has it")]
    NotAuthorityForm,
    /// It has a user part.
    #[error("expected an authority without a user part")]
    User,
    /// The host is a name, or no address at all.
    #[error("expected an IP address as the host")]
    NotAddress,
    /// The port is missing, zero or too large.
    #[error("expected a port from 1 to 65535")]
    Port,
}

/// The target of an HBONE `CONNECT`: the authority as `address:port`, `[address]:port` for IPv6.
///
/// Source: RFC 9113, section 8.5 (the authority is host and port, nothing else is there); ztunnel also takes the
/// host name of a service there, which a pod's own proxy has no use for.
///
/// # Errors
/// For anything else; see [`InvalidTarget`].
pub fn connect_target(uri: &Uri) -> Result<SocketAddr, InvalidTarget> {
    let authority = uri.authority().ok_or(InvalidTarget::Missing)?;
    if uri.scheme().is_some() || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(InvalidTarget::NotAuthorityForm);
    }
    let text = authority.as_str();
    if text.contains('@') {
        return Err(InvalidTarget::User);
    }
    let (host, port) = text.rsplit_once(':').ok_or(InvalidTarget::Port)?;
    let address: IpAddr = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => IpAddr::V6(inner.parse().map_err(|_| InvalidTarget::NotAddress)?),
        None => IpAddr::V4(host.parse().map_err(|_| InvalidTarget::NotAddress)?),
    };
    if port.is_empty() || !port.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(InvalidTarget::Port);
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(InvalidTarget::Port),
        Ok(port) => Ok(SocketAddr::new(address.to_canonical(), port)),
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidTarget, connect_target};
    use http::Uri;
    use proptest::prelude::*;
    use std::net::SocketAddr;

    fn read(authority: &str) -> Result<SocketAddr, InvalidTarget> {
        connect_target(&Uri::builder().authority(authority).build().expect("an authority"))
    }

    #[test]
    fn an_address_and_a_port_are_a_target() {
        assert_eq!(read("10.0.0.1:80"), Ok("10.0.0.1:80".parse().expect("an address")));
        assert_eq!(read("[fd00::1]:443"), Ok("[fd00::1]:443".parse().expect("an address")));
        assert_eq!(read("[::ffff:10.0.0.1]:80"), Ok("10.0.0.1:80".parse().expect("an address")));
    }

    #[test]
    fn everything_else_is_refused() {
        use InvalidTarget as E;
        for (authority, error) in [
            ("10.0.0.1", E::Port),
            ("10.0.0.1:", E::Port),
            ("10.0.0.1:0", E::Port),
            ("10.0.0.1:65536", E::Port),
            ("10.0.0.1:+80", E::Port),
            ("db.production.svc:80", E::NotAddress),
            ("010.0.0.1:80", E::NotAddress),
            ("10.1:80", E::NotAddress),
            ("[10.0.0.1]:80", E::NotAddress),
            ("user@10.0.0.1:80", E::User),
        ] {
            assert_eq!(read(authority), Err(error), "{authority}");
        }
        assert_eq!(connect_target(&Uri::from_static("/path")), Err(E::Missing));
        assert_eq!(connect_target(&Uri::from_static("http://10.0.0.1:80/")), Err(E::NotAuthorityForm));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address: std::net::IpAddr, port in 1u16..) {
            let target = SocketAddr::new(address, port);
            prop_assert_eq!(read(&target.to_string()), Ok(SocketAddr::new(address.to_canonical(), port)));
        }

        #[test]
        fn no_uri_panics(text in "\\PC{0,40}") {
            if let Ok(uri) = text.parse::<Uri>() {
                let _ = connect_target(&uri);
            }
        }
    }
}
