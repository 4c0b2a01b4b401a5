//! Laws that hold of every input, as the fuzz targets have them, on fewer inputs.

use crate::{DOMAIN, at, now};
use lictor_model::{SpiffeId, TrustDomain};
use lictor_pki::{Bundle, CertificateAuthority, Usage, verify, verify_token};
use proptest::prelude::*;
use std::sync::LazyLock;
use time::Duration;

struct World {
    bundle: Bundle,
    leaf: Vec<u8>,
    token: String,
    jwks: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let root = CertificateAuthority::new(domain(), now(), Duration::DAY).expect("a root");
    let id = "spiffe://td.example/a".parse().expect("an identity");
    let leaf = root.issue(&id, now(), Duration::HOUR).expect("an SVID").chain[0].to_vec();
    let token = root.tokens().issue(&id, &["x".to_owned()], now(), Duration::HOUR).expect("a token");
    let bundle = root.bundle(1).with_refresh_hint(Some(300));
    let jwks = bundle.to_jwks().expect("a key set");
    World { bundle, leaf, token, jwks }
});

fn domain() -> TrustDomain {
    DOMAIN.parse().expect("a trust domain")
}

/// Other bytes in the place of some.
fn changed(text: &[u8], place: prop::sample::Index, instead: &[u8]) -> Vec<u8> {
    let from = place.index(text.len());
    let to = text.len().min(from + instead.len());
    [&text[..from], instead, &text[to..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_identity_is_the_text_that_it_was_read_from(text in "spiffe://[a-z.:/@%?]{1,9}[a-zA-Z0-9._/%#-]{0,12}") {
        if let Ok(id) = text.parse::<SpiffeId>() {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        }
    }

    #[test]
    fn a_changed_token_proves_nothing(place: prop::sample::Index, instead in "[A-Za-z0-9._{}\"-]{1,6}") {
        let token = String::from_utf8(changed(WORLD.token.as_bytes(), place, instead.as_bytes())).expect("ASCII");
        let seen = verify_token(&token, &WORLD.bundle, "x", at(0));
        prop_assert_eq!(seen.is_ok(), token == WORLD.token, "{}", token);
    }

    #[test]
    fn a_changed_leaf_proves_nothing(place: prop::sample::Index, instead in prop::collection::vec(any::<u8>(), 1..4)) {
        let leaf = changed(&WORLD.leaf, place, &instead);
        let same = leaf == WORLD.leaf;
        prop_assert_eq!(verify(&[leaf.into()], &WORLD.bundle, at(0), Usage::Server).is_ok(), same);
    }

    #[test]
    fn a_changed_bundle_is_written_as_it_was_read(place: prop::sample::Index, instead in "[\\PC]{0,6}") {
        let text = changed(WORLD.jwks.as_bytes(), place, instead.as_bytes());
        if let Ok(read) = Bundle::from_jwks(domain(), &text) {
            // Bits of the base64 may change the signature of a self-signed certificate, which nobody looks at; what is
            // believed is written as it was read.
            let Ok(written) = read.bundle.to_jwks() else { return Ok(()) };
            let again = Bundle::from_jwks(domain(), written.as_bytes()).expect("the same bundle");
            prop_assert_eq!(again.bundle, read.bundle);
        }
    }

    #[test]
    fn rubbish_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,60}") {
        prop_assert!(verify(&[bytes.clone().into()], &WORLD.bundle, at(0), Usage::Client).is_err());
        prop_assert!(verify_token(&text, &WORLD.bundle, "x", at(0)).is_err());
        prop_assert!(Bundle::new(domain(), vec![bytes.clone().into()], 1).is_err());
        prop_assert!(Bundle::from_jwks(domain(), &bytes).is_err());
    }
}
