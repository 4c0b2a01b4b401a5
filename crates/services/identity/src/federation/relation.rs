//! What is configured about a foreign trust domain.

use super::certificate::certificates;
use super::fetch::FetchError;
use super::url::EndpointUrl;
use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::tls::endpoint::{spiffe_client_config, web_client_config};
use lictor_pki::{Bundle, Keyring};
use rustls::ClientConfig;
use rustls_pki_types::CertificateDer;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// One direction of a federation: where the bundle of a foreign trust domain is, and how the endpoint proves itself.
///
/// All of it is said explicitly, nothing is inferred from the rest (SPIFFE Federation, sections 5.1 and 7.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Whom the bundle is about.
    pub trust_domain: TrustDomain,
    /// Where it is.
    pub url: EndpointUrl,
    /// How the endpoint proves itself.
    pub profile: Profile,
    /// What to believe until the first answer. A self-serving endpoint of `https_spiffe` cannot be asked without.
    pub first: Option<Bundle>,
}

/// How an endpoint proves itself (section 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// `https_web`: by a certificate of the web's PKI for its host.
    Web(Roots),
    /// `https_spiffe`: by the X.509-SVID of this identity, in the bundle's trust domain (self-serving) or another one.
    Spiffe(SpiffeId),
}

/// The roots of the web's PKI.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Roots {
    /// Those of this system.
    #[default]
    System,
    /// Those of a PEM file, and no others.
    File(PathBuf),
}

/// Where systems keep the roots of the web, as one PEM file: Debian, Fedora, older Red Hat, openSUSE, Alpine.
const SYSTEM: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Profile {
    /// Its name in the specification.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Web(_) => "https_web",
            Self::Spiffe(_) => "https_spiffe",
        }
    }

    /// How to connect, with what is believed now. It is the same for every URL that a redirect leads to.
    pub(super) fn client_config(&self, keyring: &Keyring) -> Result<Arc<ClientConfig>, FetchError> {
        let config = match self {
            Self::Web(roots) => web_client_config(roots.read().map_err(FetchError::Roots)?),
            Self::Spiffe(endpoint) => {
                let trust_domain = endpoint.trust_domain();
                if keyring.bundle_of(&trust_domain).is_none() {
                    return Err(FetchError::NoBundle { trust_domain });
                }
                spiffe_client_config(keyring, endpoint)
            }
        };
        config.map(Arc::new).map_err(FetchError::Configuration)
    }
}

impl Roots {
    fn read(&self) -> io::Result<Vec<CertificateDer<'static>>> {
        let found = match self {
            Self::File(path) => certificates(path)?,
            Self::System => match SYSTEM.iter().map(Path::new).find(|path| path.exists()) {
                Some(path) => certificates(path)?,
                None => return Err(io::Error::other("this system has no file with the web's authorities")),
            },
        };
        if found.is_empty() { Err(io::Error::other("expected an authority of the web, saw none")) } else { Ok(found) }
    }
}
