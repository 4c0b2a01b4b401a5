//! Two trust domains on the loopback device.

use lictor_identity::federation::{
    Endpoint, EndpointUrl, Federation, FileCertificate, Issuer, Profile, Relation, Settings, serve,
};
use lictor_pki::tls::endpoint::{EndpointCertificate, SvidCertificate};
use lictor_pki::{Bundle, CertificateAuthority, Keyring};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer as Signer, KeyPair, KeyUsagePurpose};
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::net::TcpListener;

pub(crate) const ENDPOINT: &str = "spiffe://other.example/lictor/bundle-endpoint";

/// What the endpoints say as hint; these clients ask sooner.
pub(crate) const HINT: u64 = 300;

/// The trust domain `td.example`, which asks.
pub(crate) struct Here {
    pub(crate) keyring: Keyring,
    pub(crate) federation: Federation,
}

impl Here {
    /// It asks again at once.
    pub(crate) fn new() -> Self {
        Self::every(Duration::from_millis(30))
    }

    /// It asks after each such time.
    pub(crate) fn every(turn: Duration) -> Self {
        let keyring = Keyring::new(authority("td.example").bundle(1));
        let settings = Settings { interval: turn, shortest: turn, longest: turn, first_retry: turn };
        Self { federation: Federation::new(keyring.clone(), settings), keyring }
    }

    /// The relation to `other.example`, whose endpoint is at `at`.
    pub(crate) fn relation(&self, at: &str, profile: Profile, first: Option<Bundle>) -> Relation {
        self.relation_to("other.example", at, profile, first)
    }

    #[allow(clippy::unused_self)] // It is this trust domain's.
    pub(crate) fn relation_to(&self, domain: &str, at: &str, profile: Profile, first: Option<Bundle>) -> Relation {
        let url: EndpointUrl = at.parse().unwrap();
        Relation { trust_domain: domain.parse().unwrap(), url, profile, first }
    }

    pub(crate) fn foreign(&self, domain: &str) -> Option<Bundle> {
        self.keyring.foreign().get(&domain.parse().unwrap()).map(|bundle| (**bundle).clone())
    }

    /// Why the last attempt failed.
    pub(crate) fn error(&self, domain: &str) -> Option<String> {
        let statuses = self.federation.statuses();
        statuses.into_iter().find(|status| status.relation.trust_domain.as_str() == domain)?.error
    }
}

/// A trust domain with endpoints.
pub(crate) struct There {
    domain: String,
    pub(crate) keyring: Keyring,
}

impl There {
    pub(crate) fn new(domain: &str) -> Self {
        let authority = authority(domain);
        let keyring = Keyring::new(authority.bundle(1));
        keyring.set_tokens(Arc::clone(authority.tokens()));
        let there = Self::of(keyring);
        there.issue(&authority);
        there
    }

    /// With a keyring of its own.
    pub(crate) fn of(keyring: Keyring) -> Self {
        Self { domain: keyring.bundle().trust_domain().to_string(), keyring }
    }

    fn issue(&self, authority: &CertificateAuthority) {
        let id = format!("spiffe://{}/lictor/bundle-endpoint", self.domain).parse().unwrap();
        self.keyring.insert(authority.issue(&id, OffsetDateTime::now_utc(), time::Duration::HOUR).unwrap());
    }

    pub(crate) fn bundle(&self) -> Bundle {
        (*self.keyring.bundle()).clone()
    }

    /// Another authority, believed from now on as well.
    pub(crate) fn announce_next(&self) -> CertificateAuthority {
        let next = authority(&self.domain);
        let both = [self.bundle().authorities(), next.bundle(1).authorities()].concat();
        self.keyring.set_bundle(Bundle::new(self.domain.parse().unwrap(), both, 2).unwrap());
        next
    }

    /// The next authority signs, and is believed alone.
    pub(crate) fn switch_to(&self, next: &CertificateAuthority) {
        self.issue(next);
        self.keyring.set_bundle(next.bundle(3));
    }

    pub(crate) fn certificate(&self) -> Arc<dyn EndpointCertificate> {
        let id = format!("spiffe://{}/lictor/bundle-endpoint", self.domain).parse().unwrap();
        Arc::new(SvidCertificate::new(self.keyring.clone(), id))
    }

    /// Serves the bundle by `https_spiffe`; the URL.
    pub(crate) async fn serve_by_svid(&self) -> String {
        self.serve_with(self.certificate()).await
    }

    /// Serves the bundle by `https_web`; the URL.
    pub(crate) async fn serve_by_web(&self, web: &Web) -> String {
        self.serve_with(web.certificate()).await
    }

    pub(crate) async fn serve_with(&self, certificate: Arc<dyn EndpointCertificate>) -> String {
        let at = self.serve_as(certificate, None).await;
        format!("https://{at}/")
    }

    pub(crate) async fn serve_as(
        &self,
        certificate: Arc<dyn EndpointCertificate>,
        issuer: Option<Issuer>,
    ) -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        let refresh_hint = Duration::from_secs(HINT);
        let endpoint = Endpoint { certificate, keyring: self.keyring.clone(), refresh_hint, issuer };
        tokio::spawn(serve(listener, endpoint, std::future::pending()));
        at
    }
}

pub(crate) fn authority(domain: &str) -> CertificateAuthority {
    CertificateAuthority::new(domain.parse().unwrap(), OffsetDateTime::now_utc(), time::Duration::DAY).unwrap()
}

/// A PKI of the web: its root in a file, a server's certificate in two others.
pub(crate) struct Web {
    folder: tempfile::TempDir,
}

impl Web {
    pub(crate) fn new() -> Self {
        let web = Self { folder: tempfile::tempdir().unwrap() };
        web.renew(&["127.0.0.1", "localhost"]);
        web
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn roots(&self) -> PathBuf {
        self.path("roots.pem")
    }

    /// Another root, and a certificate below it for these names, in the files of the ones before.
    pub(crate) fn renew(&self, names: &[&str]) {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = root.self_signed(&root_key).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &Signer::new(root, root_key)).unwrap();
        for (name, text) in
            [("roots.pem", certificate.pem()), ("cert.pem", leaf.pem()), ("key.pem", key.serialize_pem())]
        {
            fs::write(self.path(name), text).unwrap();
        }
    }

    pub(crate) fn spoil(&self) {
        fs::write(self.path("cert.pem"), "no certificate").unwrap();
    }

    pub(crate) fn certificate(&self) -> Arc<dyn EndpointCertificate> {
        Arc::new(FileCertificate::open(self.path("cert.pem"), self.path("key.pem")).unwrap())
    }
}

/// Waits until something is there.
pub(crate) async fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(it) = there() {
            return it;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}
