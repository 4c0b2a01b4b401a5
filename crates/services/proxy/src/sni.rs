//! The server name that a TLS client asks for, read in passing.

use rustls::server::Acceptor;

/// What the first bytes of a TLS connection say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hello {
    /// The client asks for this name.
    Name(String),
    /// It asks for none, or this is no greeting that can be read.
    NoName,
    /// The greeting goes on.
    Incomplete,
}

/// A greeting that is longer is not waited for.
pub const LONGEST: usize = 16 << 10;

/// Reads a ClientHello (RFC 8446, section 4.1.2; RFC 6066, section 3) without answering it.
pub fn server_name(bytes: &[u8]) -> Hello {
    let mut acceptor = Acceptor::default();
    let mut rest = bytes;
    while !rest.is_empty() {
        if !matches!(acceptor.read_tls(&mut rest), Ok(1..)) {
            return Hello::NoName;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let name = accepted.client_hello().server_name().map(str::to_owned);
                return name.map_or(Hello::NoName, Hello::Name);
            }
            Ok(None) => {}
            Err(_) => return Hello::NoName,
        }
    }
    if bytes.len() < LONGEST { Hello::Incomplete } else { Hello::NoName }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Hello, server_name};
    use lictor_pki::tls::provider;
    use proptest::prelude::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::Arc;

    /// What a client says first.
    pub(crate) fn greeting(name: &str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().expect("a name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).expect("a greeting");
        bytes
    }

    #[test]
    fn a_name_is_read_from_the_whole_greeting() {
        let bytes = greeting("shop.example");
        assert_eq!(server_name(&bytes), Hello::Name("shop.example".to_owned()));
        for length in [0, 1, 5, 100, bytes.len() - 1] {
            assert_eq!(server_name(&bytes[..length]), Hello::Incomplete, "{length}");
        }
        assert_eq!(server_name(&greeting("10.0.0.1")), Hello::NoName, "an address is not sent as a name");
        assert_eq!(server_name(b"GET / HTTP/1.1\r\n\r\n"), Hello::NoName);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..1000, flip: u8) {
            let _ = server_name(&bytes);
            let mut greeting = greeting("shop.example");
            if let Some(byte) = greeting.get_mut(at) {
                *byte ^= flip;
            }
            let _ = server_name(&greeting);
        }
    }
}
