//! Both ends in memory; what counts is what the *other* end sees.

mod foreign;

use super::{ConfigCache, Peers, client_config, no_name, peer_identity, server_config};
use crate::forge::{self, Forge};
use crate::{CertificateAuthority, Keyring, Svid};
use lictor_model::SpiffeId;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, Error, HandshakeKind, NamedGroup,
    ProtocolVersion, ServerConfig, ServerConnection,
};
use std::io::Read;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

const A: &str = "spiffe://td.example/ns/shop/sa/a";
const B: &str = "spiffe://td.example/ns/shop/sa/b";

fn id(text: &str) -> SpiffeId {
    text.parse().expect("an identity")
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// Runs a handshake until nothing moves: what the client ended with, and what the server ended with.
pub(super) fn handshake(
    client: &mut ClientConnection,
    server: &mut ServerConnection,
) -> (Result<(), Error>, Result<(), Error>) {
    let (mut seen_by_client, mut seen_by_server) = (Ok(()), Ok(()));
    for _ in 0..8 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).expect("memory");
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() && seen_by_server.is_ok() {
            server.read_tls(&mut rest).expect("memory");
            seen_by_server = server.process_new_packets().map(|_| ());
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).expect("memory");
        }
        let mut rest = flight.as_slice();
        while !rest.is_empty() && seen_by_client.is_ok() {
            client.read_tls(&mut rest).expect("memory");
            seen_by_client = client.process_new_packets().map(|_| ());
        }
    }
    (seen_by_client, seen_by_server)
}

fn connect(client: ClientConfig, server: ServerConfig) -> (Result<(), Error>, Result<(), Error>) {
    let mut client = ClientConnection::new(Arc::new(client), no_name()).expect("a client");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    handshake(&mut client, &mut server)
}

struct World {
    root: CertificateAuthority,
    keyring: Keyring,
}

impl World {
    fn new() -> Self {
        let root = CertificateAuthority::new(forge::domain(), now(), Duration::DAY).expect("a root");
        let keyring = Keyring::new(root.bundle(1));
        for name in [A, B] {
            keyring.insert(root.issue(&id(name), now(), Duration::HOUR).expect("an SVID"));
        }
        Self { root, keyring }
    }

    fn svid(&self, name: &str) -> Arc<Svid> {
        self.keyring.svid(&id(name)).expect("an SVID").0
    }
}

#[test]
fn two_workloads_prove_themselves_to_each_other() {
    let world = World::new();
    let cache = ConfigCache::new(world.keyring.clone());
    let config = cache.client(&id(A), &Peers::one(id(B))).expect("a client's configuration");
    let mut client = ClientConnection::new(config, no_name()).expect("a client");
    let mut server = ServerConnection::new(cache.server(&id(B)).expect("a configuration")).expect("a server");
    assert_eq!((peer_identity(&client), peer_identity(&server)), (None, None));
    assert_eq!(handshake(&mut client, &mut server), (Ok(()), Ok(())));
    assert_eq!((peer_identity(&client), peer_identity(&server)), (Some(id(B)), Some(id(A))));
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.alpn_protocol(), Some(b"h2".as_slice()));
    assert_eq!(server.server_name(), None);
    let group = client.negotiated_key_exchange_group().map(|group| group.name());
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    assert_eq!(server.reader().read(&mut [0]).map_err(|error| error.kind()), Err(std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_peer_without_post_quantum_keys_gets_x25519() {
    let world = World::new();
    let mut client = client_config(&world.keyring, &world.svid(A), &Peers::Any).expect("a configuration");
    let mut provider = (**client.crypto_provider()).clone();
    provider.kx_groups.remove(0);
    client = {
        let mut other = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(super::verifier::Verifier::of_servers(
                &world.keyring,
                &Peers::Any,
            )))
            .with_client_cert_resolver(Arc::clone(&client.client_auth_cert_resolver));
        other.alpn_protocols = client.alpn_protocols.clone();
        other
    };
    let mut client = ClientConnection::new(Arc::new(client), no_name()).expect("a client");
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    assert_eq!(handshake(&mut client, &mut server), (Ok(()), Ok(())));
    assert_eq!(client.negotiated_key_exchange_group().map(|group| group.name()), Some(NamedGroup::X25519));
}

/// The alert that a client sees which shows `svid` to a server of the world.
fn alert_for(world: &World, svid: &Svid) -> (Error, Error) {
    let client = client_config(&world.keyring, svid, &Peers::Any).expect("a configuration");
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    let (seen_by_client, seen_by_server) = connect(client, server);
    (seen_by_client.expect_err("an alert"), seen_by_server.expect_err("a refusal"))
}

#[test]
fn a_refused_client_gets_the_alert_that_says_why() {
    use AlertDescription as Alert;
    let forged = Forge::new(now());
    let world = World::new();
    world.keyring.set_bundle(
        crate::Bundle::new(forge::domain(), vec![forged.certificate.clone(), world.root.certificates()[0].clone()], 2)
            .expect("a bundle"),
    );
    let leaf = |uris: &[&str]| forge::leaf(now(), uris);
    let ago = |hours| now() - Duration::hours(hours);
    let stranger = Forge::new(now());
    let other_root = CertificateAuthority::new("other.example".parse().expect("a trust domain"), now(), Duration::DAY)
        .expect("a root");
    let other = other_root.issue(&id("spiffe://other.example/a"), now(), Duration::HOUR).expect("an SVID");
    let cases: [(&str, Svid, Alert); 10] = [
        ("another trust domain", other, Alert::UnknownCA),
        ("an unknown authority", stranger.svid(&leaf(&[A]), A), Alert::UnknownCA),
        ("a foreign name from our authority", forged.svid(&leaf(&["spiffe://other.example/a"]), A), Alert::UnknownCA),
        ("expired", forged.svid(&forge::leaf(ago(2), &[A]), A), Alert::CertificateExpired),
        ("not valid yet", forged.svid(&forge::leaf(now() + Duration::hours(2), &[A]), A), Alert::CertificateExpired),
        ("two URI names", forged.svid(&leaf(&[A, B]), A), Alert::BadCertificate),
        ("no URI name", forged.svid(&leaf(&[]), A), Alert::BadCertificate),
        ("no SPIFFE ID", forged.svid(&leaf(&["https://td.example/a"]), A), Alert::BadCertificate),
        ("a trust domain's own name", forged.svid(&leaf(&["spiffe://td.example"]), A), Alert::BadCertificate),
        (
            "for servers only",
            forged.svid(
                &forge::but(leaf(&[A]), |leaf| leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
                A,
            ),
            Alert::UnsupportedCertificate,
        ),
    ];
    for (what, svid, alert) in cases {
        let (seen_by_client, seen_by_server) = alert_for(&world, &svid);
        assert_eq!(seen_by_client, Error::AlertReceived(alert), "{what}; the server says {seen_by_server:?}");
        assert!(matches!(seen_by_server, Error::InvalidCertificate(_)), "{what}: {seen_by_server:?}");
    }
    // The same authority's proper leaf passes: the cases fail for what they are called after.
    let proper = client_config(&world.keyring, &forged.svid(&leaf(&[A]), A), &Peers::Any).expect("a configuration");
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    assert_eq!(connect(proper, server), (Ok(()), Ok(())));
}

#[test]
fn a_client_without_a_certificate_is_told_that_one_is_required() {
    let world = World::new();
    let mut client = client_config(&world.keyring, &world.svid(A), &Peers::Any).expect("a configuration");
    client.client_auth_cert_resolver = Arc::new(Nothing);
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    let (seen_by_client, seen_by_server) = connect(client, server);
    assert_eq!(seen_by_client, Err(Error::AlertReceived(AlertDescription::CertificateRequired)));
    assert_eq!(seen_by_server, Err(Error::NoCertificatesPresented));
}

#[derive(Debug)]
struct Nothing;

impl rustls::client::ResolvesClientCert for Nothing {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[test]
fn a_client_refuses_a_server_that_it_did_not_mean() {
    let world = World::new();
    let client = client_config(&world.keyring, &world.svid(A), &Peers::one(id(A))).expect("a configuration");
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    let (seen_by_client, seen_by_server) = connect(client, server);
    let refused = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    assert_eq!(seen_by_client, Err(refused));
    assert_eq!(seen_by_server, Err(Error::AlertReceived(AlertDescription::AccessDenied)));
    let several = Peers::Only([id(A), id(B)].into());
    let client = client_config(&world.keyring, &world.svid(A), &several).expect("a configuration");
    let server = server_config(&world.keyring, &world.svid(B)).expect("a configuration");
    assert_eq!(connect(client, server), (Ok(()), Ok(())));
}

#[test]
fn a_change_of_the_bundle_counts_at_once_and_nothing_is_resumed() {
    let world = World::new();
    let client = Arc::new(client_config(&world.keyring, &world.svid(A), &Peers::Any).expect("a configuration"));
    let server = Arc::new(server_config(&world.keyring, &world.svid(B)).expect("a configuration"));
    let connect = || {
        let mut client = ClientConnection::new(Arc::clone(&client), no_name()).expect("a client");
        let mut server = ServerConnection::new(Arc::clone(&server)).expect("a server");
        let ended = handshake(&mut client, &mut server);
        (ended, client.handshake_kind(), client.tls13_tickets_received())
    };
    for _ in 0..2 {
        assert_eq!(connect(), ((Ok(()), Ok(())), Some(HandshakeKind::Full), 0));
    }
    let nobody = crate::Bundle::new(forge::domain(), Vec::new(), 2).expect("an empty bundle");
    world.keyring.set_bundle(nobody);
    let ((seen_by_client, _), ..) = connect();
    assert_eq!(seen_by_client, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
}

#[test]
fn configurations_are_built_once_per_generation() {
    let world = World::new();
    let cache = ConfigCache::new(world.keyring.clone());
    let server = || cache.server(&id(A)).expect("a configuration");
    let client = |peers: &Peers| cache.client(&id(A), peers).expect("a configuration");
    let (to_b, any) = (Peers::one(id(B)), Peers::Any);
    let (first, first_client) = (server(), client(&to_b));
    assert!(Arc::ptr_eq(&first, &server()));
    assert!(Arc::ptr_eq(&first_client, &client(&Peers::one(id(B)))) && !Arc::ptr_eq(&first_client, &client(&any)));
    world.keyring.insert(world.root.issue(&id(B), now(), Duration::HOUR).expect("an SVID"));
    assert!(Arc::ptr_eq(&first, &server()), "another identity's rotation does not matter");
    world.keyring.insert(world.root.issue(&id(A), now(), Duration::HOUR).expect("an SVID"));
    assert!(!Arc::ptr_eq(&first, &server()) && !Arc::ptr_eq(&first_client, &client(&to_b)));
    world.keyring.remove(&id(A));
    assert!(matches!(cache.server(&id(A)), Err(super::ConfigError::NoSvid { .. })));
}

#[test]
fn an_svid_with_another_ones_key_is_refused() {
    let world = World::new();
    let mixed = Svid { key: world.svid(B).key.clone(), ..(*world.svid(A)).clone() };
    assert!(server_config(&world.keyring, &mixed).is_err());
    world.keyring.insert(mixed);
    let cache = ConfigCache::new(world.keyring.clone());
    assert!(matches!(cache.client(&id(A), &Peers::Any), Err(super::ConfigError::Tls(_))));
}
