//! Who gets a tunnel, and what a tunnel's client may ask for.

use crate::tests::bench::{Bench, DB, SIDE, WEB, echo, run, until};
use crate::{hbone, ports};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use lictor_model::{By, Layer, SpiffeId, Verdict};
use lictor_pki::tls::{self, Peers};
use lictor_pki::{CertificateAuthority, PrivateKey, Svid};
use rcgen::{CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, ClientConfig, DigitallySignedStruct, Error, NamedGroup, ProtocolVersion, SignatureScheme,
};
use std::net::SocketAddr;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Believes any server: these tests are about what the server believes.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn client(provider: CryptoProvider, svid: Option<&Svid>, alpn: &[&str]) -> ClientConfig {
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
    let mut config = match svid {
        Some(svid) => {
            let key = PrivateKeyDer::Pkcs8(svid.key.pkcs8().to_vec().into());
            builder.with_client_auth_cert(svid.chain.clone(), key).expect("a key")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

async fn handshake(bench: &Bench, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    TlsConnector::from(Arc::new(config)).connect(tls::no_name(), bench.dial(WEB).await).await
}

/// The alert that ends a client's connection, during the handshake or with the first read.
async fn alert(bench: &Bench, svid: Option<&Svid>, alpn: &[&str]) -> Option<AlertDescription> {
    let error = match handshake(bench, client(aws_lc_rs::default_provider(), svid, alpn)).await {
        Err(error) => error,
        Ok(mut stream) => stream.read_to_end(&mut Vec::new()).await.err()?,
    };
    match error.into_inner()?.downcast_ref::<Error>()? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

fn svid(bench: &Bench, account: &str) -> Svid {
    bench.authority.issue(&bench.id(account), OffsetDateTime::now_utc(), Duration::HOUR).expect("an SVID")
}

#[test]
fn the_key_exchange_is_hybrid_and_falls_back() {
    run(async {
        let bench = Bench::new("").await;
        let svid = svid(&bench, "web");
        let classical =
            CryptoProvider { kx_groups: vec![aws_lc_rs::kx_group::X25519], ..aws_lc_rs::default_provider() };
        let ours = tls::client_config(&bench.keyring, &svid, &Peers::one(bench.id("db"))).expect("a configuration");
        for (config, group) in
            [(ours, NamedGroup::X25519MLKEM768), (client(classical, Some(&svid), &["h2"]), NamedGroup::X25519)]
        {
            let stream = handshake(&bench, config).await.expect("a handshake");
            let session = stream.get_ref().1;
            assert_eq!(session.negotiated_key_exchange_group().map(|agreed| agreed.name()), Some(group));
            assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
        }
    });
}

#[test]
fn each_refusal_has_its_alert() {
    run(async {
        let bench = Bench::new("").await;
        let (now, id) = (OffsetDateTime::now_utc(), bench.id("web"));
        let elsewhere: SpiffeId = "spiffe://elsewhere/ns/shop/sa/web".parse().expect("an identity");
        let other = CertificateAuthority::new(elsewhere.trust_domain(), now, Duration::DAY).expect("an authority");
        let foreign = other.issue(&elsewhere, now, Duration::HOUR).expect("an SVID");
        let impostor = CertificateAuthority::new(id.trust_domain(), now, Duration::DAY).expect("an authority");
        let impostor = impostor.issue(&id, now, Duration::HOUR).expect("an SVID");
        let expired = bench.authority.issue(&id, now - Duration::HOUR, Duration::minutes(30)).expect("an SVID");
        let twice = two_names(&bench, &id, &bench.id("db"));
        for (what, svid, wanted) in [
            ("another trust domain", Some(&foreign), AlertDescription::UnknownCA),
            ("another authority of the same name", Some(&impostor), AlertDescription::UnknownCA),
            ("an expired certificate", Some(&expired), AlertDescription::CertificateExpired),
            ("no certificate", None, AlertDescription::CertificateRequired),
            ("two URI names", Some(&twice), AlertDescription::BadCertificate),
        ] {
            assert_eq!(alert(&bench, svid, &["h2"]).await, Some(wanted), "{what}");
        }
        let good = svid(&bench, "web");
        assert_eq!(alert(&bench, Some(&good), &["http/1.1"]).await, Some(AlertDescription::NoApplicationProtocol));
        assert_eq!(alert(&bench, Some(&good), &[]).await, None, "closed without one, and without a word");
        assert_eq!(bench.proxy.metrics().tunnels_accepted.value(), 0);
        until(|| (bench.proxy.metrics().accepting_handshakes_failed.value() == 7).then_some(())).await;
    });
}

/// A leaf with two URI names, below an authority that the bench believes from now on.
fn two_names(bench: &Bench, one: &SpiffeId, two: &SpiffeId) -> Svid {
    let key = KeyPair::generate().expect("a key");
    let mut root = CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let certificate = root.self_signed(&key).expect("a root");
    let mut believed = bench.authority.bundle(1).authorities().to_vec();
    believed.push(certificate.der().clone());
    let bundle = lictor_pki::Bundle::new(one.trust_domain(), believed, 2).expect("a bundle");
    bench.keyring.set_bundle(bundle);
    let issuer = rcgen::Issuer::new(root, key);
    let leaf_key = KeyPair::generate().expect("a key");
    let mut leaf = CertificateParams::default();
    leaf.distinguished_name = DistinguishedName::new();
    leaf.subject_alt_names =
        [one, two].map(|id| SanType::URI(id.as_str().try_into().expect("a name"))).into_iter().collect();
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = leaf.signed_by(&leaf_key, &issuer).expect("a leaf");
    let now = OffsetDateTime::now_utc();
    Svid {
        id: one.clone(),
        chain: vec![certificate.der().clone()],
        key: PrivateKey::from_pkcs8(leaf_key.serialize_der()),
        not_before: now,
        not_after: now + Duration::HOUR,
    }
}

#[test]
fn the_server_has_to_be_who_was_meant() {
    run(async {
        let bench = Bench::new("").await;
        let svid = svid(&bench, "web");
        for (expected, wanted) in [("db", true), ("web", false)] {
            let peers = Peers::one(bench.id(expected));
            let config = tls::client_config(&bench.keyring, &svid, &peers).expect("a configuration");
            let at = SocketAddr::new(DB, ports::TUNNEL);
            let tunnel = hbone::Tunnel::open(bench.dial(WEB).await, at, Arc::new(config)).await;
            assert_eq!(tunnel.is_ok(), wanted, "{expected}");
        }
    });
}

/// What a tunnel's client is answered.
async fn ask(bench: &Bench, source: std::net::IpAddr, method: Method, target: &str) -> StatusCode {
    let config = client(aws_lc_rs::default_provider(), Some(&svid(bench, "web")), &["h2"]);
    let stream = TlsConnector::from(Arc::new(config)).connect(tls::no_name(), bench.dial(source).await).await;
    let (mut requests, connection) = h2::client::handshake(stream.expect("a handshake")).await.expect("HTTP/2");
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    let request = Request::builder().method(method).uri(target).version(http::Version::HTTP_2).body(());
    futures::future::poll_fn(|cx| requests.poll_ready(cx)).await.expect("room");
    let (response, mut send) = requests.send_request(request.expect("a request"), false).expect("room");
    let _ = send.send_data(Bytes::new(), true);
    response.await.expect("an answer").status()
}

#[test]
fn a_request_is_a_connect_to_a_port_of_the_pod() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        let (connect, get) = (Method::CONNECT, Method::GET);
        for (method, target, status) in [
            (&connect, "127.1.0.12:5432", 200),
            (&get, "http://127.1.0.12:5432/", 400),
            (&connect, "127.1.0.11:5432", 400),
            (&connect, "127.0.0.1:5432", 400),
            (&connect, "127.1.0.12:15001", 400),
            (&connect, "127.1.0.12:15006", 400),
            (&connect, "127.1.0.12:15008", 400),
            (&connect, "127.1.0.12:0", 400),
            (&connect, "db.shop.svc:5432", 400),
            (&connect, "x@127.1.0.12:5432", 400),
            (&connect, "127.1.0.12:5999", 503),
        ] {
            assert_eq!(ask(&bench, WEB, method.clone(), target).await, status, "{method} {target}");
        }
        assert_eq!(bench.proxy.metrics().malformed_requests.value(), 9);
        assert_eq!(bench.decisions().len(), 2, "malformed requests are no connections");
    });
}

#[test]
fn an_identity_is_believed_only_from_its_own_address() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        // An address that no pod has: nothing contradicts the certificate.
        let unknown = std::net::IpAddr::from([127, 1, 0, 99]);
        assert_eq!(ask(&bench, unknown, Method::CONNECT, "127.1.0.12:5432").await, 200);
        assert_eq!(ask(&bench, SIDE, Method::CONNECT, "127.1.0.12:5432").await, 401);
        let decision = bench.decisions().pop().expect("a decision");
        assert_eq!((decision.layer, decision.verdict), (Layer::Transport, Verdict::Deny));
        let why = "spiffe://cluster.local/ns/shop/sa/web came from 127.1.0.13, which is out/side";
        assert!(matches!(&decision.by, By::Unknown(by) if by.starts_with(why)), "{:?}", decision.by);
    });
}
