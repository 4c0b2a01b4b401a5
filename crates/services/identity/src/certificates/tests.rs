use super::{CA_CERTIFICATE, CertificateError, Certificates, CertificatesOptions, Secret, TLS_CERTIFICATE, TLS_KEY};
use crate::ca::{Ca, CaError, CaOptions, StoreError, StoreOptions};
use lictor_certificates::{Issuers, Rules};
use lictor_cluster::{AddressPool, Node, Settings, Snapshot};
use lictor_manifest::read;
use lictor_model::{Labels, Name, Revision};
use lictor_pki::{KeyKind, Kind, LeafKey, LeafNames};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};

/// A trust domain, its Certificates, and a clock that is set by hand.
struct World {
    clock: Arc<AtomicI64>,
    ca: Ca,
    certificates: Certificates,
}

const START: i64 = 1_800_000_000;
const MISSION: &str = include_str!("../../../../base/manifest/testdata/whole/certificate-mission.yaml");

/// The published manifest, applied to its namespace.
fn mission() -> String {
    MISSION.replace("name: workload-cert", "name: workload-cert\n  namespace: production")
}

fn snapshot(manifests: &str) -> Snapshot {
    let reading = read("test.yaml", manifests);
    assert!(!reading.has_errors(), "{:?}", reading.findings);
    let settings = Settings::new(vec![Node { name: "n".into(), labels: Labels::default(), addresses: Vec::new() }]);
    Snapshot::build(&reading.objects, &settings, &mut AddressPool::default(), Revision(1)).0
}

impl World {
    fn new() -> Self {
        Self::open(None, Arc::new(AtomicI64::new(START))).expect("a world")
    }

    fn open(store: Option<&Path>, clock: Arc<AtomicI64>) -> Result<Self, CaError> {
        let secret = lictor_pki::Secret::from_key_file(&[7; 32]).expect("a key");
        let store = store.map(|path| StoreOptions { path: path.to_owned(), secret });
        let options = CaOptions {
            trust_domain: "cluster.local".parse().expect("a trust domain"),
            life: Duration::days(30),
            upstream: None,
            store: store.clone(),
        };
        let time = Arc::clone(&clock);
        let now = move || OffsetDateTime::from_unix_timestamp(time.load(Ordering::SeqCst)).expect("a time");
        let ca = Ca::start(options, Arc::new(now))?;
        let rules =
            Rules { issuers: Issuers::default(), has_authorities: true, cluster_domain: "cluster.local".into() };
        let certificates = Certificates::start(ca.clone(), CertificatesOptions { rules, store })?;
        Ok(Self { clock, ca, certificates })
    }

    fn set(&self, manifests: &str) {
        self.certificates.set(&snapshot(manifests));
        self.settle();
    }

    /// Does everything that is due; returns how long there is nothing more.
    fn settle(&self) -> Duration {
        for _ in 0..10 {
            let nap = self.certificates.step();
            if !nap.is_zero() {
                return nap;
            }
        }
        panic!("there is no end to it");
    }

    fn wait(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
        self.settle();
    }

    fn secret(&self) -> Secret {
        self.secret_of("workload-tls").expect("a Secret")
    }

    fn secret_of(&self, name: &str) -> Option<Secret> {
        self.certificates.secret(&Name::new("production", name))
    }

    /// `Ready reason` of each condition that holds, `!Ready reason` of each other, of the Certificate of a name.
    fn conditions(&self, name: &str) -> String {
        let list = self.certificates.list();
        let status = list.iter().find(|status| &*status.name.name == name).expect("a Certificate");
        let said = |one: &super::Condition| format!("{}{} {}", if one.holds { "" } else { "!" }, one.kind, one.reason);
        format!("{} r{}", status.conditions.iter().map(said).collect::<Vec<_>>().join(", "), status.revision)
    }

    fn mine(&self) -> String {
        self.conditions("workload-cert")
    }
}

fn text(secret: &Secret, key: &str) -> String {
    String::from_utf8(secret.data.get(key).map(|value| value.to_vec()).unwrap_or_default()).expect("a text")
}

fn key(secret: &Secret) -> LeafKey {
    LeafKey::from_pem(text(secret, TLS_KEY).as_bytes()).expect("a key")
}

fn names(secret: &Secret) -> LeafNames {
    LeafNames::from_pem(text(secret, TLS_CERTIFICATE).as_bytes()).expect("a certificate")
}

#[test]
fn the_published_manifest_fills_its_secret_as_cert_manager_would() {
    let world = World::new();
    world.set(&mission());
    assert_eq!(world.mine(), "Ready Ready r1");
    let secret = world.secret();
    assert_eq!(secret.labels, [("controller.cert-manager.io/fao".to_owned(), "true".to_owned())].into());
    let annotations: Vec<String> = secret.annotations.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let id = "spiffe://cluster.local/ns/production/sa/api-server";
    let expected = [
        "cert-manager.io/alt-names=".to_owned(),
        "cert-manager.io/certificate-name=workload-cert".to_owned(),
        "cert-manager.io/common-name=".to_owned(),
        "cert-manager.io/ip-sans=".to_owned(),
        "cert-manager.io/issuer-group=cert-manager.io".to_owned(),
        "cert-manager.io/issuer-kind=ClusterIssuer".to_owned(),
        "cert-manager.io/issuer-name=spiffe-issuer".to_owned(),
        format!("cert-manager.io/uri-sans={id}"),
    ];
    assert_eq!(annotations, expected);
    assert_eq!(secret.data.keys().collect::<Vec<_>>(), ["ca.crt", "tls.crt", "tls.key"]);
    assert!(text(&secret, TLS_KEY).starts_with("-----BEGIN RSA PRIVATE KEY-----\n"));
    assert_eq!(
        (key(&secret).kind(), names(&secret).public),
        (Some(KeyKind::Rsa(2048)), key(&secret).public_key_info())
    );
    assert_eq!(names(&secret).uris, [id]);
    let status = world.certificates.list().remove(0);
    let at = |time: Option<OffsetDateTime>| time.map(|time| time.unix_timestamp() - START);
    assert_eq!((at(status.not_before), at(status.not_after), at(status.renewal)), (Some(-60), Some(3600), Some(1800)));
    assert_eq!(format!("{secret:?}").matches("PRIVATE").count(), 0);
}

#[test]
fn it_is_renewed_when_its_time_has_come_with_a_new_key() {
    let world = World::new();
    world.set(&mission());
    let first = world.secret();
    world.wait(1799);
    assert_eq!(world.secret(), first, "not a second early");
    world.wait(1);
    let second = world.secret();
    assert_ne!(key(&first).public_key_info(), key(&second).public_key_info());
    assert_eq!(names(&second).not_after.unix_timestamp(), START + 1800 + 3600);
    assert_eq!(world.mine(), "Ready Ready r2");
    // A process that slept finds it expired, and issues once.
    world.wait(100_000);
    assert_eq!(world.mine(), "Ready Ready r3");
}

#[test]
fn a_longer_life_than_the_authority_has_ends_with_it_and_does_not_spin() {
    let world = World::new();
    world.set(&mission().replace("duration: 1h", "duration: 8760h").replace("renewBefore: 30m", "renewBefore: 8000h"));
    assert_eq!(world.mine(), "Ready Ready r1");
    assert_eq!(names(&world.secret()).not_after.unix_timestamp(), START + 30 * 86_400);
    world.wait(86_400);
    assert_eq!(world.mine(), "Ready Ready r1");
}

#[test]
fn an_edit_a_deletion_and_a_wish_issue_it_again() {
    let world = World::new();
    world.set(&mission());
    let mut before = world.secret();
    let mut changed = |what: &str| {
        let after = world.secret();
        assert_ne!(key(&before).public_key_info(), key(&after).public_key_info(), "{what}");
        before = after;
    };
    world.set(&mission().replace("duration: 1h", "duration: 2h"));
    changed("a longer life");
    assert_eq!(world.mine(), "Ready Ready r2");
    let ecdsa = mission().replace("duration: 1h", "duration: 2h\n  privateKey: {algorithm: ECDSA, encoding: PKCS8}");
    world.set(&ecdsa);
    changed("another kind of key");
    assert_eq!(key(&world.secret()).kind(), Some(KeyKind::Ecdsa(256)));
    assert!(text(&world.secret(), TLS_KEY).starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let name = Name::new("production", "workload-tls");
    world.certificates.delete_secret(&name).expect("deleted");
    assert!(world.certificates.secret(&name).is_none());
    assert_eq!(world.mine(), "!Ready DoesNotExist r3");
    world.settle();
    changed("a deleted Secret");
    world.certificates.renew(&Name::new("production", "workload-cert")).expect("a wish");
    world.settle();
    changed("somebody's wish");
    assert_eq!(world.mine(), "Ready Ready r5");
    world.set(&ecdsa);
    assert_eq!(world.mine(), "Ready Ready r5", "the same manifest changes nothing");
    let refusals = [
        world.certificates.renew(&Name::new("production", "x")).expect_err("none"),
        world.certificates.delete_secret(&Name::new("x", "workload-tls")).expect_err("none"),
    ];
    assert_eq!(refusals[0].to_string(), "there is no Certificate production/x");
    assert_eq!(refusals[1].to_string(), "there is no Secret x/workload-tls of a Certificate");
}

#[test]
fn what_needs_no_new_certificate_changes_beside_it() {
    let world = World::new();
    world.set(&mission());
    let before = key(&world.secret()).public_key_info();
    let template = "secretTemplate: {labels: {app: api}, annotations: {note: x}}\n  additionalOutputFormats: [{type: DER}, {type: CombinedPEM}]";
    world.set(&mission().replace("duration: 1h", &format!("duration: 1h\n  {template}")));
    let secret = world.secret();
    assert_eq!((key(&secret).public_key_info(), world.mine()), (before, "Ready Ready r1".to_owned()));
    assert_eq!((secret.labels["app"].as_str(), secret.annotations["note"].as_str()), ("api", "x"));
    let both = text(&secret, TLS_KEY) + "\n" + &text(&secret, TLS_CERTIFICATE);
    assert_eq!(text(&secret, "tls-combined.pem"), both);
    assert_eq!(secret.data["key.der"], LeafKey::der_of_pem(text(&secret, TLS_KEY).as_bytes()).expect("DER"));
    world.set(&mission());
    assert_eq!(world.secret().data.len(), 3, "what is asked for no more is gone");

    let roots = |world: &World| text(&world.secret(), CA_CERTIFICATE).matches("BEGIN CERTIFICATE").count();
    assert_eq!(roots(&world), 1);
    world.ca.prepare(Kind::X509).expect("another one");
    world.settle();
    assert_eq!((roots(&world), world.mine()), (2, "Ready Ready r1".to_owned()), "it is there before it signs");
}

#[test]
fn a_key_is_kept_where_rotation_is_never() {
    let world = World::new();
    let never = mission().replace("duration: 1h", "duration: 1h\n  privateKey: {rotationPolicy: Never}");
    world.set(&never);
    let first = key(&world.secret()).public_key_info();
    world.wait(1800);
    assert_eq!((key(&world.secret()).public_key_info(), world.mine()), (first.clone(), "Ready Ready r2".to_owned()));
    let larger = never.replace("Never", "Never, size: 4096");
    world.set(&larger);
    assert_eq!(world.mine(), "!Ready SecretMismatch, !Issuing CannotRegenerateKey r2");
    assert_eq!(key(&world.secret()).public_key_info(), first, "it waits for somebody to decide");
    let status = world.certificates.list().remove(0);
    assert!(status.conditions[1].message.contains("RSA 4096 is asked for, the key in Secret workload-tls is RSA 2048"));
    world.certificates.delete_secret(&Name::new("production", "workload-tls")).expect("deleted");
    world.settle();
    assert_eq!(world.mine(), "Ready Ready r3");
}

#[test]
fn what_a_tainted_authority_signed_is_replaced_and_only_then_it_is_revoked() {
    let world = World::new();
    world.set(&mission());
    let first = world.ca.status().authorities[0].id.to_string();
    world.ca.prepare(Kind::X509).expect("another one");
    world.ca.activate(Kind::X509, None).expect("its turn");
    assert_eq!(world.ca.status().holders.iter().sum::<usize>(), 1, "the Secret stands by one");
    world.ca.taint(Kind::X509, None).expect("no trust");
    let refused = world.ca.revoke(Kind::X509, None).expect_err("a refusal");
    assert!(matches!(refused, CaError::InUse { .. }), "{refused}");
    world.settle();
    assert_ne!(names(&world.secret()).authority.as_deref(), Some(&*first));
    assert_eq!(world.mine(), "Ready Ready r2");
    world.ca.revoke(Kind::X509, None).expect("nobody stands by it");
}

#[test]
fn a_refusal_keeps_the_secret_and_a_lost_right_takes_it_away() {
    let world = World::new();
    world.set(&mission());
    let first = world.secret();
    world.set(&mission().replace("duration: 1h", "duration: 1h\n  isCA: true"));
    assert_eq!((world.mine(), world.secret()), ("!Ready CANotAllowed r1".to_owned(), first.clone()));
    world.set(&mission().replace("spiffe-issuer", "letsencrypt"));
    assert_eq!((world.mine(), world.secret()), ("!Ready IssuerNotFound r1".to_owned(), first.clone()));
    let refused = world.certificates.renew(&Name::new("production", "workload-cert")).expect_err("a refusal");
    assert!(matches!(refused, CertificateError::Refused { .. }), "{refused}");
    world.set(&mission().replace("ns/production", "ns/staging"));
    assert_eq!((world.mine(), world.secret()), ("!Ready URINotAllowed r1".to_owned(), first.clone()));
    world.set(&mission());
    assert_eq!((world.mine(), world.secret()), ("Ready Ready r1".to_owned(), first));

    // An identity that registration gives, and then gives no more.
    let pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: production}\nspec: {containers: [{name: c, image: i}]}\n";
    let id = "---\napiVersion: spire.spiffe.io/v1alpha1\nkind: ClusterSPIFFEID\nmetadata: {name: web}\nspec: {spiffeIDTemplate: \"spiffe://cluster.local/web\"}\n";
    let web = mission().replace("ns/production/sa/api-server", "web");
    world.set(&(web.clone() + pod + id));
    assert_eq!(
        (world.mine(), names(&world.secret()).uris),
        ("Ready Ready r2".to_owned(), vec!["spiffe://cluster.local/web".to_owned()])
    );
    world.set(&(web + pod));
    assert_eq!(world.mine(), "!Ready URINotAllowed r2");
    assert!(world.secret_of("workload-tls").is_none());
    assert_eq!(world.ca.status().holders.iter().sum::<usize>(), 0);

    // A Secret that no Certificate names any more.
    world.set(&mission());
    world.set(&mission().replace("workload-tls", "other-tls"));
    assert!(world.secret_of("workload-tls").is_none() && world.secret_of("other-tls").is_some());
    world.set("---\n");
    assert!(world.secret_of("other-tls").is_none() && world.certificates.list().is_empty());
}

#[test]
fn of_two_that_name_one_secret_one_has_it_and_they_do_not_take_turns() {
    let world = World::new();
    let other = mission().replace("workload-cert", "a-rival").replace("sa/api-server", "sa/rival");
    world.set(&mission());
    world.set(&(mission() + "---\n" + &other));
    assert_eq!(
        (world.mine(), world.conditions("a-rival")),
        ("Ready Ready r1".into(), "!Ready IncorrectCertificate r0".into())
    );
    let refused = world.certificates.renew(&Name::new("production", "a-rival")).expect_err("a refusal");
    assert!(matches!(refused, CertificateError::NotOwner { .. }), "{refused}");
    world.wait(1800);
    assert_eq!(
        (world.mine(), world.conditions("a-rival")),
        ("Ready Ready r2".into(), "!Ready IncorrectCertificate r0".into())
    );
    world.set(&other);
    assert_eq!(world.conditions("a-rival"), "Ready Ready r1");
}

#[test]
fn secrets_outlive_the_process_in_the_store_and_nothing_is_shown_that_is_not_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("kept/authorities");
    std::fs::create_dir(folder.path().join("kept")).expect("a folder");
    let clock = Arc::new(AtomicI64::new(START));
    let open = || World::open(Some(&path), Arc::clone(&clock));
    let world = open().expect("a world");
    let usages = mission().replace(
        "duration: 1h",
        "duration: 1h\n  usages: [signing, client auth, server auth]\n  dnsNames: [a.production.svc]",
    );
    world.set(&usages);
    let secret = world.secret();
    let sealed = std::fs::read_to_string(folder.path().join("kept/authorities.secrets")).expect("a text");
    assert!(!sealed.contains("tls.key") && !sealed.contains("workload"), "nothing is readable: {sealed}");
    drop(world);

    let world = open().expect("the same world");
    assert_eq!(world.secret_of("workload-tls"), Some(secret.clone()), "before any Certificate is known");
    assert_eq!(world.ca.status().holders.iter().sum::<usize>(), 1);
    world.set(&usages);
    assert_eq!((world.secret(), world.mine()), (secret.clone(), "Ready Ready r1".to_owned()));
    std::fs::remove_dir_all(folder.path().join("kept")).expect("no folder");
    world.wait(1800);
    assert_eq!(world.secret(), secret, "what cannot be kept is not shown");
    assert_eq!(world.mine(), "Ready Ready, !Issuing Failed r1");
    let status = world.certificates.list().remove(0);
    assert_eq!((status.failed_attempts, status.last_failure.is_some()), (1, true));
    assert!(status.conditions[1].message.contains("is tried again in 10 s"), "{:?}", status.conditions);
    let refused = world.certificates.delete_secret(&Name::new("production", "workload-tls")).expect_err("a refusal");
    assert!(matches!(refused, CertificateError::Store(StoreError::Io { .. })), "{refused}");
    world.wait(9);
    assert_eq!(world.certificates.list()[0].failed_attempts, 1);
    std::fs::create_dir(folder.path().join("kept")).expect("a folder");
    world.wait(1);
    assert_eq!(world.mine(), "Ready Ready r2");
    drop(world);

    std::fs::copy(folder.path().join("kept/authorities.secrets"), &path).expect("another file");
    assert!(open().is_err(), "Secrets are no authorities");
}

#[test]
fn a_store_of_something_else_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authorities");
    drop(World::open(Some(&path), Arc::new(AtomicI64::new(START))).expect("a world"));
    std::fs::copy(&path, folder.path().join("authorities.secrets")).expect("a copy");
    let refused = World::open(Some(&path), Arc::new(AtomicI64::new(START))).map(|_| ()).expect_err("a refusal");
    assert!(matches!(&refused, CaError::Store(StoreError::Secrets { .. })), "{refused}");
}
