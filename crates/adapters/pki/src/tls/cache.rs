//! TLS configurations, built once per generation of an SVID.

use super::{Peers, certified, client_with, server_with};
use crate::keyring::Keyring;
use lictor_model::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// Why there is no TLS configuration for an identity.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The identity has no SVID, not yet or not any more.
    #[error("expected an SVID of {id}, there is none")]
    NoSvid {
        /// The identity.
        id: SpiffeId,
    },
    /// rustls does not take the SVID.
    #[error("the SVID cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Hands out configurations for the identities of a keyring; share one per process or per thread.
///
/// A configuration depends on the SVID only: verifiers read the bundle from the keyring at each handshake. What was
/// built for an older generation is dropped when the newer one is first asked for, and with the identity.
pub struct ConfigCache {
    keyring: Keyring,
    built: RwLock<HashMap<SpiffeId, Built>>,
}

/// Everything built from one SVID.
struct Built {
    generation: u64,
    key: Arc<CertifiedKey>,
    server: Arc<ServerConfig>,
    clients: HashMap<Peers, Arc<ClientConfig>>,
}

impl ConfigCache {
    /// An empty cache over `keyring`.
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, built: RwLock::default() }
    }

    /// The keyring that it reads.
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// The configuration to accept connections as `id` with its current SVID.
    ///
    /// # Errors
    /// The identity has no SVID, or rustls does not take it.
    pub fn server(&self, id: &SpiffeId) -> Result<Arc<ServerConfig>, ConfigError> {
        self.find(id, |built| Some(Arc::clone(&built.server)), |_, built| Ok(Arc::clone(&built.server)))
    }

    /// The configuration to open connections as `id` with its current SVID to one of `peers`.
    ///
    /// # Errors
    /// The identity has no SVID, or rustls does not take it.
    pub fn client(&self, id: &SpiffeId, peers: &Peers) -> Result<Arc<ClientConfig>, ConfigError> {
        self.find(
            id,
            |built| built.clients.get(peers).map(Arc::clone),
            |keyring, built| {
                let config = Arc::new(client_with(keyring, Arc::clone(&built.key), peers)?);
                Ok(Arc::clone(built.clients.entry(peers.clone()).or_insert(config)))
            },
        )
    }

    /// What `present` finds for the current generation, or else what `build` makes.
    fn find<T>(
        &self,
        id: &SpiffeId,
        present: impl Fn(&Built) -> Option<T>,
        build: impl Fn(&Keyring, &mut Built) -> Result<T, ConfigError>,
    ) -> Result<T, ConfigError> {
        let Some((svid, generation)) = self.keyring.svid(id) else {
            self.built.write().unwrap_or_else(PoisonError::into_inner).remove(id);
            return Err(ConfigError::NoSvid { id: id.clone() });
        };
        {
            let built = self.built.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(found) = built.get(id).filter(|built| built.generation == generation).and_then(&present) {
                return Ok(found);
            }
        }
        let mut all = self.built.write().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have built a newer one meanwhile; that serves as well.
        if all.get(id).is_none_or(|built| built.generation < generation) {
            let key = certified(&svid)?;
            let server = Arc::new(server_with(&self.keyring, Arc::clone(&key))?);
            all.insert(id.clone(), Built { generation, key, server, clients: HashMap::new() });
        }
        match all.get_mut(id) {
            Some(built) => build(&self.keyring, built),
            None => Err(ConfigError::NoSvid { id: id.clone() }),
        }
    }
}

impl fmt::Debug for ConfigCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConfigCache").field("keyring", &self.keyring).finish_non_exhaustive()
    }
}
