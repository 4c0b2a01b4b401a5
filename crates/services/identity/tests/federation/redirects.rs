//! Redirects: `https` only, ten at most, and every server on the way proves itself as the first one does.

use crate::world::{ENDPOINT, Here, There, Web, until};
use lictor_identity::federation::{Profile, Roots};
use lictor_pki::tls::endpoint::{EndpointCertificate, server_config};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// A server that gives the same answer to whatever it is asked.
pub(crate) struct Scripted {
    at: SocketAddr,
    text: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    pub(crate) async fn start(certificate: Arc<dyn EndpointCertificate>, text: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let tls = TlsAcceptor::from(Arc::new(server_config(certificate).unwrap()));
        let text = Arc::new(Mutex::new(text.to_owned()));
        let asked = Arc::<AtomicUsize>::default();
        let (texts, count) = (Arc::clone(&text), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(client).await else { continue };
                let _ = stream.read(&mut [0; 4096]).await;
                count.fetch_add(1, Ordering::Relaxed);
                let text = texts.lock().unwrap().clone();
                let _ = stream.write_all(text.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        Self { at, text, asked }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.at)
    }

    fn say(&self, text: &str) {
        text.clone_into(&mut self.text.lock().unwrap());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// A whole answer with its length.
pub(crate) fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn redirect(status: &str, to: &str) -> String {
    format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

#[tokio::test]
async fn redirects_of_every_kind_are_followed_and_none_is_remembered() {
    let there = There::new("other.example");
    let target = there.serve_by_svid().await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let server = Scripted::start(there.certificate(), &redirect(status, &target)).await;
        let here = Here::new();
        let spiffe = Profile::Spiffe(ENDPOINT.parse().unwrap());
        here.federation.add(here.relation(&server.url("/a"), spiffe, Some(there.bundle()))).unwrap();
        until(|| here.foreign("other.example")?.refresh_hint()).await;
        let before = server.asked();
        until(|| (server.asked() > before + 1).then_some(())).await;
    }
}

#[tokio::test]
async fn a_redirect_leads_to_nobody_who_does_not_prove_himself_in_the_same_way() {
    let (there, web, other_web) = (There::new("other.example"), Web::new(), Web::new());
    let stranger = There::new("other.example");
    let third = There::new("third.example");
    let (by_web, by_other_web) = (there.serve_by_web(&web).await, there.serve_by_web(&other_web).await);
    let (by_stranger, by_third) = (stranger.serve_by_svid().await, third.serve_by_svid().await);
    let by_svid = there.serve_by_svid().await;
    let insecure = by_svid.replace("https", "http");
    let user = by_svid.replace("https://", "https://user@");
    for (from_spiffe, to, reason) in [
        (true, &by_web, "no handshake"),
        (true, &by_stranger, "no handshake"),
        (true, &by_third, "no handshake"),
        (true, &insecure, "begins with https://"),
        (true, &user, "without a user"),
        (true, &String::new(), "no bundle endpoint"),
        (false, &by_svid, "no handshake"),
        (false, &by_other_web, "no handshake"),
        (false, &by_web.replace("https", "http"), "begins with https://"),
    ] {
        let (certificate, profile) = match from_spiffe {
            true => (there.certificate(), Profile::Spiffe(ENDPOINT.parse().unwrap())),
            false => (web.certificate(), Profile::Web(Roots::File(web.roots()))),
        };
        let server = Scripted::start(certificate, &redirect("302 Found", to)).await;
        let here = Here::new();
        // Both are known, as they are to someone who is federated with both.
        here.federation.set_bundle(third.bundle()).unwrap();
        here.federation.add(here.relation(&server.url("/"), profile, Some(there.bundle()))).unwrap();
        let why = until(|| here.error("other.example")).await;
        assert!(why.contains(reason), "{to}: {why}");
        assert_eq!(here.foreign("other.example"), Some(there.bundle()), "{to}");
    }
}

#[tokio::test]
async fn ten_redirects_are_followed_and_no_more() {
    let (there, web) = (There::new("other.example"), Web::new());
    let server = Scripted::start(web.certificate(), &redirect("302 Found", "/again")).await;
    let profile = Profile::Web(Roots::File(web.roots()));
    let once = Here::every(Duration::from_secs(60));
    once.federation.add(once.relation(&server.url("/"), profile.clone(), None)).unwrap();
    let why = until(|| once.error("other.example")).await;
    assert!(why.contains("at most 10 redirects"), "{why}");
    assert_eq!(server.asked(), 11);
    let here = Here::new();
    here.federation.add(here.relation(&server.url("/"), profile, None)).unwrap();
    // A redirect that says nothing.
    server.say("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n");
    until(|| here.error("other.example")?.contains("where to").then_some(())).await;
    server.say(&answer("200 OK", &there.bundle().to_jwks().unwrap()));
    until(|| here.foreign("other.example")).await;
}
