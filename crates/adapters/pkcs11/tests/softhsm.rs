//! A token of SoftHSM, as Debian has it. One test, since a module has one configuration in a process.
#![allow(unsafe_code)]

use lictor_pkcs11::{OpenError, Token, TokenOptions};
use lictor_pki::{Authorities, KeyStore, Keys, Kind, Usage, unix_time, verify, verify_token};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// A token that is empty; `SOFTHSM2_CONF` leads to it.
fn token(folder: &Path) -> TokenOptions {
    let tokens = folder.join("tokens");
    fs::create_dir(&tokens).expect("a folder");
    let config = folder.join("softhsm2.conf");
    fs::write(&config, format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display()))
        .expect("a file");
    // SAFETY: the one test of this program has not started a thread that reads the environment.
    unsafe { std::env::set_var("SOFTHSM2_CONF", &config) };
    let made = Command::new("softhsm2-util")
        .args(["--init-token", "--free", "--label", "lictor", "--so-pin", "123456", "--pin", "654321"])
        .output()
        .expect("this needs softhsm2");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    TokenOptions {
        module: PathBuf::from(MODULE),
        label: "lictor".to_owned(),
        pin: "654321".to_owned().into(),
        keeps: true,
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time")
}

fn proves(authorities: &Authorities) {
    let id = "spiffe://td.example/a".parse().expect("an identity");
    let bundle = authorities.bundle().expect("a bundle");
    for _ in 0..20 {
        let svid = authorities.signer().0.issue(&id, now(), Duration::MINUTE).expect("an SVID");
        assert_eq!(verify(&svid.chain, &bundle, unix_time(now()), Usage::Client), Ok(id.clone()));
        let token = authorities.tokens().issue(&id, &["x".to_owned()], now(), Duration::MINUTE).expect("a token");
        assert!(verify_token(&token, &bundle, "x", unix_time(now())).is_ok());
    }
}

#[test]
fn authorities_sign_with_keys_that_never_leave_the_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = token(folder.path());
    let open = |options: &TokenOptions| Token::open(options).map_err(|error| error.to_string());
    let wrong = open(&TokenOptions { pin: "000000".to_owned().into(), ..options.clone() }).expect_err("a refusal");
    assert!(wrong.starts_with("the token lictor does not open: "), "{wrong}");
    let wrong = open(&TokenOptions { label: "other".to_owned(), ..options.clone() }).expect_err("a refusal");
    assert_eq!(wrong, format!("{MODULE}: expected one token labelled other, saw 0"));
    let missing = Token::open(&TokenOptions { module: "/nowhere.so".into(), ..options.clone() });
    assert!(matches!(missing, Err(OpenError::Module { .. })));

    let token = open(&options).expect("a token");
    let keys = Keys::held_by(Arc::new(token.clone()));
    let domain: lictor_model::TrustDomain = "td.example".parse().expect("a trust domain");
    let mut own =
        Authorities::with_keys(keys.clone(), domain.clone(), None, Duration::HOUR, now()).expect("authorities");
    for kind in Kind::ALL {
        own.prepare(kind, now()).expect("another one");
        own.activate(kind, None, now()).expect("its turn");
    }
    proves(&own);
    assert_eq!(own.held_keys().len(), 4);
    let document = own.to_document().expect("a document");
    let back = |keys: &Keys| Authorities::from_document_with_keys(keys, &document, &domain, None, Duration::HOUR);
    proves(&back(&keys).expect("the same authorities"));

    // What others see: four pairs, none of which can be taken out.
    let listed = listed();
    assert_eq!(listed.matches("Private Key Object; EC").count(), 4, "{listed}");
    assert_eq!(listed.matches("sensitive, always sensitive, never extractable, local").count(), 4, "{listed}");

    let one = own.held_keys().into_iter().next().expect("a key");
    token.forget(&one).expect("gone");
    token.forget(&one).expect("gone already");
    let refused = back(&keys).map(|_| ()).expect_err("a refusal").to_string();
    assert!(refused.contains(&format!("expected one key {one} in the token lictor, saw 0")), "{refused}");
    assert!(token.find("x").is_err() && token.find(&"0".repeat(31)).is_err());

    // Without a store, nobody else has the keys, nor does anybody after the process.
    let passing = open(&TokenOptions { keeps: false, ..options }).expect("a token");
    let key = passing.make().expect("a key");
    assert_eq!(key.sign(b"x").expect("a signature").len(), 64);
    assert_eq!(self::listed().matches("Private Key Object; EC").count(), 3);
}

/// The objects of the token, as another program sees them.
fn listed() -> String {
    let listed = Command::new("pkcs11-tool")
        .args(["--module", MODULE, "--token-label", "lictor", "--login", "--pin", "654321", "--list-objects"])
        .output()
        .expect("this needs opensc");
    String::from_utf8_lossy(&listed.stdout).into_owned()
}
