//! Peers are judged by the bundle that the keyring holds for their trust domain at the moment of the handshake.

use super::node::Pin;
use super::provider;
use crate::keyring::Keyring;
use crate::verify::{PeerError, Usage, verify_leaf};
use lictor_model::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;

/// Whom a client accepts as its server.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peers {
    /// Any workload of a trust domain that is believed.
    Any,
    /// One of these.
    Only(Arc<[SpiffeId]>),
}

impl Peers {
    /// Exactly this workload.
    pub fn one(id: SpiffeId) -> Self {
        Self::Only([id].into())
    }

    /// Whether `id` is one of them.
    pub fn contain(&self, id: &SpiffeId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(ids) => ids.contains(id),
        }
    }
}

#[derive(Debug)]
pub(super) struct Verifier {
    believed: Believed,
    peers: Peers,
    usage: Usage,
    /// Whether a client that shows no certificate is turned away.
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

/// Whom a verifier believes.
#[derive(Debug)]
enum Believed {
    /// Those of the keyring, at the moment of the handshake.
    Keyring(Keyring),
    /// One authority, which the peer shows itself.
    Pinned(Pin),
}

impl Verifier {
    pub(super) fn of_clients(keyring: &Keyring) -> Self {
        Self::new(Believed::Keyring(keyring.clone()), Peers::Any, Usage::Client)
    }

    pub(super) fn of_servers(keyring: &Keyring, peers: &Peers) -> Self {
        Self::new(Believed::Keyring(keyring.clone()), peers.clone(), Usage::Server)
    }

    pub(super) fn of_pinned(pin: Pin, peers: &Peers) -> Self {
        Self::new(Believed::Pinned(pin), peers.clone(), Usage::Server)
    }

    /// Lets clients in that show no certificate as well.
    pub(super) fn or_nobody(self) -> Self {
        Self { mandatory: false, ..self }
    }

    fn new(believed: Believed, peers: Peers, usage: Usage) -> Self {
        Self { believed, peers, usage, mandatory: true, provider: provider() }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), PeerError> {
        let seen = match &self.believed {
            Believed::Keyring(keyring) => {
                verify_leaf(leaf, intermediates, |id| keyring.bundle_for(id), now, self.usage)?
            }
            Believed::Pinned(pin) => verify_leaf(leaf, intermediates, |_| pin.bundle(intermediates), now, self.usage)?,
        };
        if self.peers.contain(&seen) { Ok(()) } else { Err(PeerError::Unexpected { seen }) }
    }

    fn signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }
}

fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
    Err(Error::General("expected TLS 1.3, saw a TLS 1.2 signature".to_owned()))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.judge(leaf, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    /// None: the names of authorities would tell every scanner whose mesh this is, and clients have one certificate.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge(leaf, intermediates, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
