//! No bytes are a certificate of an authority that has not signed them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_pki::{Bundle, CertificateAuthority, Usage, identity_of, unix_time, verify};
use rustls_pki_types::CertificateDer;
use std::sync::LazyLock;
use time::{Duration, OffsetDateTime};

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

struct World {
    leaf: Vec<u8>,
    bundle: Bundle,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let domain = "td".parse().expect("a trust domain");
    let root = CertificateAuthority::new(domain, now(), Duration::HOUR).expect("a root");
    let id = "spiffe://td/a".parse().expect("an identity");
    let svid = root.issue(&id, now(), Duration::MINUTE).expect("an SVID");
    World { leaf: svid.chain[0].to_vec(), bundle: root.bundle(1) }
});

// Bytes from nothing as leaf, intermediate and authority, and the proper leaf with others in the place of some.
fuzz_target!(|input: (&[u8], u16, &[u8])| {
    let (bytes, at, instead) = input;
    let now = unix_time(now());
    let rubbish = CertificateDer::from(bytes);
    let proper = CertificateDer::from(WORLD.leaf.as_slice());
    let _ = identity_of(&rubbish);
    assert!(verify(std::slice::from_ref(&rubbish), &WORLD.bundle, now, Usage::Client).is_err());
    assert!(verify(&[proper.clone(), rubbish.clone()], &WORLD.bundle, now, Usage::Client).is_ok());
    if let Ok(bundle) = Bundle::new("td".parse().expect("a trust domain"), vec![rubbish.into_owned()], 1) {
        assert!(verify(&[proper], &bundle, now, Usage::Client).is_err());
    }
    let mut changed = WORLD.leaf.clone();
    let at = usize::from(at) % changed.len();
    let end = changed.len().min(at + instead.len());
    changed[at..end].copy_from_slice(&instead[..end - at]);
    let same = changed == WORLD.leaf;
    assert_eq!(verify(&[changed.into()], &WORLD.bundle, now, Usage::Client).is_ok(), same);
});
