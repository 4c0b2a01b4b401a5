use super::{Ca, CaError, CaOptions, StoreError, StoreOptions};
use lictor_model::SpiffeId;
use lictor_pki::{Kind, Secret, Usage, unix_time, verify};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

fn start() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

fn open(path: &Path, domain: &str, secret: Secret, at: OffsetDateTime) -> Result<Ca, CaError> {
    let options = CaOptions {
        trust_domain: domain.parse().expect("a trust domain"),
        life: Duration::hours(6),
        upstream: None,
        store: Some(StoreOptions { path: path.to_owned(), secret }),
    };
    Ca::start(options, Arc::new(move || at))
}

fn key(octet: u8) -> Secret {
    Secret::from_key_file(&[octet; 32]).expect("a key")
}

fn states(ca: &Ca) -> Vec<(String, String)> {
    ca.status().authorities.into_iter().map(|one| (one.id.to_string(), one.state.to_string())).collect()
}

#[test]
fn authorities_outlive_the_process_in_a_file_for_the_owner_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authorities");
    let first = open(&path, "td", key(1), start()).expect("new authorities");
    let id: SpiffeId = "spiffe://td/ns/shop/sa/a".parse().expect("an identity");
    first.renew(&id.clone().into(), Duration::HOUR).expect("an SVID");
    let (svid, _) = first.keyring().svid(&id).expect("an SVID");
    for kind in Kind::ALL {
        first.prepare(kind).expect("another one");
        first.activate(kind, None).expect("its turn");
    }
    first.prepare(Kind::X509).expect("another one");
    let (before, bundle) = (states(&first), first.keyring().bundle());
    assert_eq!(before.len(), 5);
    let mode = fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = fs::read_to_string(&path).expect("a text");
    assert!(!text.contains("certificates") && !text.contains(&before[0].0), "nothing is readable: {text}");

    let refused = open(&path, "td", key(1), start()).map(|_| ()).expect_err("a refusal");
    assert!(matches!(refused, CaError::Store(StoreError::Locked { .. })), "{refused}");
    drop(first);
    let again = open(&path, "td", key(1), start() + Duration::MINUTE).expect("the same authorities");
    assert_eq!((states(&again), again.keyring().bundle()), (before, bundle.clone()));
    let seen = verify(&svid.chain, &again.keyring().bundle(), unix_time(start()), Usage::Client);
    assert_eq!(seen, Ok(id.clone()));
    again.renew(&id.clone().into(), Duration::HOUR).expect("an SVID");
    let (svid, _) = again.keyring().svid(&id).expect("an SVID");
    let now = unix_time(start() + Duration::MINUTE);
    assert_eq!(
        verify(&svid.chain, &bundle, now, Usage::Client),
        Ok(id.clone()),
        "who had the bundle before believes it"
    );
    drop(again);

    let late = open(&path, "td", key(1), start() + Duration::days(9)).expect("the same authorities, over");
    late.step();
    late.renew(&id.clone().into(), Duration::HOUR).expect("an SVID of a new one");
}

#[test]
fn a_store_that_is_not_ours_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("authorities");
    drop(open(&path, "td", key(1), start()).expect("new authorities"));
    let text = fs::read_to_string(&path).expect("a text");
    let refusal = |domain: &str, secret: Secret| {
        let said = open(&path, domain, secret, start()).map(|_| ()).expect_err("a refusal").to_string();
        said.strip_prefix(&format!("{}: ", path.display())).expect("the file's name").to_owned()
    };
    assert_eq!(refusal("td", key(2)), "it does not open with this key: another one sealed it, or it was changed since");
    let passphrase = Secret::from_passphrase_file(b"correct horse").expect("a passphrase");
    assert_eq!(refusal("td", passphrase), "it is sealed with a key, and a passphrase was given");
    assert_eq!(refusal("other", key(1)), "expected the authorities of other, saw those of td");
    assert_eq!(fs::read_to_string(&path).expect("a text"), text);
    fs::write(&path, "").expect("a file");
    assert!(refusal("td", key(1)).starts_with("expected a sealed store (lictor-sealed/1)"));
    assert_eq!(fs::read_to_string(&path).expect("a text"), "", "an empty file is no new store");
}

#[test]
fn what_cannot_be_kept_is_not_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("there/authorities");
    fs::create_dir(folder.path().join("there")).expect("a folder");
    let ca = open(&path, "td", key(1), start()).expect("new authorities");
    let (before, bundle) = (states(&ca), ca.keyring().bundle());
    fs::remove_dir_all(folder.path().join("there")).expect("no folder");
    let refused = ca.prepare(Kind::X509).expect_err("a refusal");
    assert!(matches!(refused, CaError::Store(StoreError::Io { .. })), "{refused}");
    assert_eq!((states(&ca), ca.keyring().bundle()), (before, bundle), "nobody heard of it");
}
