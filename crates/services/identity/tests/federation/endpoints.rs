//! What our endpoint answers, and to whom.

use crate::world::{HINT, Here, There, Web, until};
use lictor_identity::federation::{Profile, Roots};
use lictor_pki::Bundle;
use lictor_pki::tls::endpoint::web_client_config;
use rustls::{ClientConfig, ProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What a client of the web gets for a request line, with the version of TLS that was spoken.
pub(crate) async fn ask(at: SocketAddr, config: ClientConfig, line: &str) -> (String, ProtocolVersion) {
    let name = ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(at).await.unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap();
    stream.write_all(format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).await.unwrap();
    (String::from_utf8(text).unwrap(), stream.get_ref().1.protocol_version().unwrap())
}

pub(crate) fn trusting(web: &Web) -> ClientConfig {
    web_client_config(CertificateDer::pem_file_iter(web.roots()).unwrap().map(Result::unwrap)).unwrap()
}

fn body(text: &str) -> &str {
    text.split_once("\r\n\r\n").unwrap().1
}

#[tokio::test]
async fn the_bundle_is_there_for_everyone_who_asks_with_get() {
    let (there, web) = (There::new("other.example"), Web::new());
    let at = there.serve_as(web.certificate(), None).await;
    let (text, version) = ask(at, trusting(&web), "GET /").await;
    assert!(text.starts_with("HTTP/1.1 200 ") && text.contains("content-type: application/json\r\n"), "{text}");
    assert_eq!(version, ProtocolVersion::TLSv1_3);
    let read = Bundle::from_jwks("other.example".parse().unwrap(), body(&text).as_bytes()).unwrap();
    assert_eq!((read.bundle, read.ignored), (there.bundle().with_refresh_hint(Some(HINT)), Vec::new()));

    for method in ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"] {
        let (text, _) = ask(at, trusting(&web), &format!("{method} /")).await;
        assert!(text.starts_with("HTTP/1.1 405 ") && text.contains("allow: GET\r\n"), "{method}: {text}");
    }
    for path in ["/x", "/keys", "/.well-known/openid-configuration", "//", "/..", "*"] {
        let (text, _) = ask(at, trusting(&web), &format!("GET {path}")).await;
        assert!(text.starts_with("HTTP/1.1 404 ") || text.starts_with("HTTP/1.1 400 "), "{path}: {text}");
    }
}

/// Section 5.2: the intermediate recommendations of Mozilla have TLS 1.2.
#[tokio::test]
async fn a_client_without_tls_1_3_is_served() {
    let (there, web) = (There::new("other.example"), Web::new());
    let at = there.serve_as(web.certificate(), None).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(web.roots()).unwrap().map(Result::unwrap));
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (text, version) = ask(at, config, "GET /").await;
    assert!(text.starts_with("HTTP/1.1 200 ") && version == ProtocolVersion::TLSv1_2, "{version:?}: {text}");
}

#[tokio::test]
async fn certificates_in_files_are_read_again_when_they_change() {
    let (there, web) = (There::new("other.example"), Web::new());
    let at = there.serve_by_web(&web).await;
    let here = Here::new();
    let relation = here.relation(&at, Profile::Web(Roots::File(web.roots())), None);
    here.federation.add(relation).unwrap();
    until(|| here.foreign("other.example")).await;
    // Another root and another certificate: both ends read them again.
    web.renew(&["127.0.0.1"]);
    there.keyring.set_bundle(there.bundle().numbered(2));
    until(|| (here.foreign("other.example")?.sequence() == 2).then_some(())).await;
    // What is no certificate leaves the one before in place.
    web.spoil();
    there.keyring.set_bundle(there.bundle().numbered(3));
    until(|| (here.foreign("other.example")?.sequence() == 3).then_some(())).await;
}
