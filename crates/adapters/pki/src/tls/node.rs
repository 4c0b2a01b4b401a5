//! TLS between a node and control: TLS 1.3 alone; control always proves itself, a node as soon as it has an SVID.

use super::verifier::Verifier;
use super::{ALPN, Own, Peers, certified, endpoint, provider};
use crate::bundle::Bundle;
use crate::keyring::Keyring;
use crate::svid::Svid;
use crate::unix_time;
use lictor_model::{SpiffeId, TrustDomain};
use rustls::client::Resumption;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::version::TLS13;
use rustls::{ClientConfig, Error, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use time::OffsetDateTime;

/// Tells the time of day.
pub type Clock = Arc<dyn Fn() -> OffsetDateTime + Send + Sync>;

/// One authority of a trust domain, told by the SHA-256 of its certificate in DER: what somebody who has not seen the
/// bundle yet can be given in a line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    trust_domain: TrustDomain,
    digest: Fingerprint,
    /// The trust domain's bundle without authorities.
    nobody: Bundle,
}

/// The SHA-256 of a certificate in DER, as `openssl x509 -fingerprint -sha256` shows it; colons and case do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text that is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected the SHA-256 of a certificate: 64 hex digits, with or without colons")]
pub struct InvalidFingerprint;

/// Whom a node believes about control.
#[derive(Debug, Clone)]
pub enum Trusted<'t> {
    /// The bundle of a keyring.
    Keyring(&'t Keyring),
    /// One authority.
    Pin(&'t Pin),
}

impl Fingerprint {
    /// That of a certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        let mut octets = [0; 32];
        octets.iter_mut().zip(digest.as_ref()).for_each(|(octet, seen)| *octet = *seen);
        Self(octets)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    fn from_str(text: &str) -> Result<Self, InvalidFingerprint> {
        let digits = text.trim().chars().filter(|character| *character != ':');
        let digits = digits.map(|digit| digit.to_digit(16).and_then(|value| u8::try_from(value).ok()));
        let digits =
            digits.collect::<Option<Vec<u8>>>().filter(|digits| digits.len() == 64).ok_or(InvalidFingerprint)?;
        let mut octets = [0; 32];
        octets.iter_mut().zip(digits.chunks(2)).for_each(|(octet, pair)| {
            *octet = pair.iter().fold(0, |octet, digit| octet << 4 | digit);
        });
        Ok(Self(octets))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl Pin {
    /// The authority of `trust_domain` with this fingerprint.
    ///
    /// # Errors
    /// None in practice: a bundle without authorities is a valid one.
    pub fn new(trust_domain: TrustDomain, digest: Fingerprint) -> Result<Self, crate::InvalidAuthority> {
        let nobody = Bundle::new(trust_domain.clone(), Vec::new(), 0)?;
        Ok(Self { trust_domain, digest, nobody })
    }

    /// The authority, if it is among the certificates that a peer shows, else nobody.
    pub(super) fn bundle(&self, shown: &[CertificateDer<'_>]) -> Box<Bundle> {
        let found = shown.iter().find(|certificate| Fingerprint::of(certificate) == self.digest);
        let bundle =
            found.and_then(|found| Bundle::new(self.trust_domain.clone(), vec![found.clone().into_owned()], 0).ok());
        Box::new(bundle.unwrap_or_else(|| self.nobody.clone()))
    }
}

/// The accepting end: it shows the SVID that `keyring` has for `own` at each handshake, and after it the trust domain's
/// authorities, so that a client that knows one of them by its fingerprint finds it. A client may show no certificate; one
/// that it shows has to prove an identity.
///
/// # Errors
/// The library does not take the configuration.
pub fn server_config(keyring: &Keyring, own: SpiffeId, clock: Clock) -> Result<ServerConfig, Error> {
    let certificate = Shown { keyring: keyring.clone(), own };
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(Verifier::of_clients(keyring).or_nobody()))
        .with_cert_resolver(Arc::new(certificate));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The opening end, showing `svid` if there is one: the server proves to be `control`, whatever its address.
///
/// # Errors
/// The SVID's key is none, or not the key of its leaf.
pub fn client_config(
    trusted: &Trusted<'_>,
    control: &SpiffeId,
    svid: Option<&Svid>,
    clock: Clock,
) -> Result<ClientConfig, Error> {
    let peers = Peers::one(control.clone());
    let verifier = match trusted {
        Trusted::Keyring(keyring) => Verifier::of_servers(keyring, &peers),
        Trusted::Pin(pin) => Verifier::of_pinned((*pin).clone(), &peers),
    };
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(Time(clock)))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match svid {
        Some(svid) => builder.with_client_cert_resolver(Arc::new(Own(certified(svid)?))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Ok(config)
}

struct Time(Clock);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time((self.0)()))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

/// An SVID and the authorities, as the keyring has them at a handshake.
#[derive(Debug)]
struct Shown {
    keyring: Keyring,
    own: SpiffeId,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let (svid, _) = self.keyring.svid(&self.own)?;
        let bundle = self.keyring.bundle();
        let chain = svid.chain.iter().chain(bundle.authorities()).cloned().collect();
        endpoint::certificate(chain, &PrivateKeyDer::Pkcs8(svid.key.as_der())).ok()
    }
}

#[cfg(test)]
mod tests;
