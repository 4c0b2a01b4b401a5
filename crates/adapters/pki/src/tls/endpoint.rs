//! TLS of bundle endpoints: the server alone shows a certificate, of SPIFFE or of the web.
//!
//! Source: SPIFFE Federation, section 5: servers keep to Mozilla's intermediate recommendations (TLS 1.2 and 1.3, forward
//! secrecy and authenticated ciphers only) and ask for no client certificate (sections 5.2.1.3 and 5.2.2.3).

use super::verifier::Verifier;
use super::{Peers, certified, provider};
use crate::keyring::Keyring;
use lictor_model::SpiffeId;
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Error, RootCertStore, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// HTTP/1.1: a bundle is one request.
const ALPN: &[u8] = b"http/1.1";

/// The certificate that an endpoint shows, which may be another one at each handshake.
pub trait EndpointCertificate: fmt::Debug + Send + Sync {
    /// The one of now; without any, the handshake fails.
    fn current(&self) -> Option<Arc<CertifiedKey>>;
}

/// A certificate chain, leaf first, with the key of its leaf, as a server shows it.
///
/// # Errors
/// The key is none, or not the key of the leaf.
pub fn certificate(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Arc<CertifiedKey>, Error> {
    let certified = CertifiedKey::new(chain, sign::any_supported_type(key)?);
    certified.keys_match()?;
    Ok(Arc::new(certified))
}

/// The accepting end: TLS 1.2 or 1.3, no certificate asked of the client.
///
/// # Errors
/// The library does not take the configuration.
pub fn server_config(certificate: Arc<dyn EndpointCertificate>) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Resolver(certificate)));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The opening end of profile `https_spiffe`: the server proves to be `endpoint`, by the bundle that the keyring has for
/// its trust domain at the handshake (section 5.2.2.4). Its host name is not looked at. TLS 1.3, which every server has
/// that keeps to section 5.2.
///
/// # Errors
/// The library does not take the configuration.
pub fn spiffe_client_config(keyring: &Keyring, endpoint: &SpiffeId) -> Result<ClientConfig, Error> {
    let verifier = Verifier::of_servers(keyring, &Peers::one(endpoint.clone()));
    let config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(of_client(config))
}

/// The opening end of profile `https_web`: a root of the web has signed the server's certificate, and it names the host
/// (section 5.2.1.4). Roots that cannot be read are passed over, as systems have such.
///
/// # Errors
/// The library does not take the configuration.
pub fn web_client_config(roots: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<ClientConfig, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots);
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13, &TLS12])?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(of_client(config))
}

/// Nothing is resumed: each poll proves anew whose answer it is.
fn of_client(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    config
}

/// The SVID of one identity, as it rotates.
pub struct SvidCertificate {
    keyring: Keyring,
    id: SpiffeId,
    built: RwLock<Option<(u64, Arc<CertifiedKey>)>>,
}

impl SvidCertificate {
    /// The SVID that `keyring` has for `id` at each handshake.
    pub fn new(keyring: Keyring, id: SpiffeId) -> Self {
        Self { keyring, id, built: RwLock::default() }
    }
}

impl EndpointCertificate for SvidCertificate {
    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let (svid, generation) = self.keyring.svid(&self.id)?;
        if let Some((built, key)) = &*self.built.read().unwrap_or_else(PoisonError::into_inner)
            && *built == generation
        {
            return Some(Arc::clone(key));
        }
        let key = certified(&svid).ok()?;
        *self.built.write().unwrap_or_else(PoisonError::into_inner) = Some((generation, Arc::clone(&key)));
        Some(key)
    }
}

impl fmt::Debug for SvidCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SvidCertificate").field("id", &self.id.as_str()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Resolver(Arc<dyn EndpointCertificate>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.current()
    }
}
