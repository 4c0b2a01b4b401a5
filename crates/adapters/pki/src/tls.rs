//! Mutual TLS between SPIFFE identities: TLS 1.3 only, hybrid post-quantum key exchange first, no host names.
//!
//! Resumption is off on both ends: a resumed session is authenticated by the earlier handshake, so it would outlive
//! the expiry of the peer's certificate, its removal, and a change of the bundle. Tunnels are pooled, and so
//! handshakes are rare enough to be whole.

mod cache;
pub mod endpoint;
pub mod node;
mod verifier;

pub use cache::{ConfigCache, ConfigError};
pub use verifier::Peers;

use crate::keyring::Keyring;
use crate::svid::Svid;
use crate::verify::{PeerError, identity_of};
use lictor_model::SpiffeId;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group, sign};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, CommonState, Error, ServerConfig, SignatureScheme};
use rustls_pki_types::{PrivateKeyDer, ServerName, UnixTime};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The one application protocol: HTTP/2, as HBONE needs it.
const ALPN: &[u8] = b"h2";

/// The algorithms: X25519MLKEM768, then X25519; AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        Arc::new(CryptoProvider {
            cipher_suites: vec![
                cipher_suite::TLS13_AES_128_GCM_SHA256,
                cipher_suite::TLS13_AES_256_GCM_SHA384,
                cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
            ],
            kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519],
            ..default_provider()
        })
    });
    Arc::clone(&PROVIDER)
}

/// The accepting end, showing `svid`: any client whose identity the keyring's bundle proves may connect, none without.
///
/// # Errors
/// The SVID's key is none, or not the key of its leaf.
pub fn server_config(keyring: &Keyring, svid: &Svid) -> Result<ServerConfig, Error> {
    server_with(keyring, certified(svid)?)
}

/// The opening end, showing `svid`: the server must be one of `peers`, whatever its address.
///
/// # Errors
/// The SVID's key is none, or not the key of its leaf.
pub fn client_config(keyring: &Keyring, svid: &Svid, peers: &Peers) -> Result<ClientConfig, Error> {
    client_with(keyring, certified(svid)?, peers)
}

/// The name to open a client connection with: rustls wants one, it is neither sent nor looked at.
pub fn no_name() -> ServerName<'static> {
    ServerName::IpAddress(IpAddr::V4(Ipv4Addr::UNSPECIFIED).into())
}

/// The identity that the peer of a completed handshake has proven; `None` before that.
pub fn peer_identity(connection: &CommonState) -> Option<SpiffeId> {
    identity_of(connection.peer_certificates()?.first()?).ok()
}

fn certified(svid: &Svid) -> Result<Arc<CertifiedKey>, Error> {
    let key = sign::any_supported_type(&PrivateKeyDer::Pkcs8(svid.key.as_der()))?;
    let certified = CertifiedKey::new(svid.chain.clone(), key);
    certified.keys_match()?;
    Ok(Arc::new(certified))
}

/// That an SVID's key is one, and its leaf's.
pub(crate) fn check_key(svid: &Svid) -> Result<(), Error> {
    certified(svid).map(drop)
}

fn server_with(keyring: &Keyring, key: Arc<CertifiedKey>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier::Verifier::of_clients(keyring)))
        .with_cert_resolver(Arc::new(Own(key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_with(keyring: &Keyring, key: Arc<CertifiedKey>, peers: &Peers) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier::Verifier::of_servers(keyring, peers)))
        .with_client_cert_resolver(Arc::new(Own(key)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The one certificate of this end.
#[derive(Debug)]
struct Own(Arc<CertifiedKey>);

impl ResolvesServerCert for Own {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

impl ResolvesClientCert for Own {
    fn resolve(&self, _authorities: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The alert that the peer gets for each reason is rustls' translation of these (RFC 8446, section 6.2).
impl From<PeerError> for Error {
    fn from(error: PeerError) -> Self {
        let certificate = match error {
            PeerError::NoCertificate => return Self::NoCertificatesPresented,
            PeerError::Malformed => CertificateError::BadEncoding,
            PeerError::UriNames { .. }
            | PeerError::NotASpiffeId(_)
            | PeerError::NoPath { .. }
            | PeerError::SigningCertificate
            | PeerError::KeyUsage
            | PeerError::NamesNotCritical
            | PeerError::Path(_) => CertificateError::NotValidForName,
            PeerError::Purpose => CertificateError::InvalidPurpose,
            PeerError::TrustDomain { .. } | PeerError::UnknownAuthority | PeerError::Signer(_) => {
                CertificateError::UnknownIssuer
            }
            // With both times, so that whoever reads it sees a clock that is off.
            PeerError::Expired { not_after, now } => {
                CertificateError::ExpiredContext { time: seconds(now), not_after: seconds(not_after) }
            }
            PeerError::NotYetValid { not_before, now } => {
                CertificateError::NotValidYetContext { time: seconds(now), not_before: seconds(not_before) }
            }
            PeerError::Unexpected { .. } => CertificateError::ApplicationVerificationFailure,
        };
        Self::InvalidCertificate(certificate)
    }
}

fn seconds(at: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(at))
}

#[cfg(test)]
mod tests;
