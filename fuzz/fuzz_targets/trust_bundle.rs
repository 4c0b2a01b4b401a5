//! A JWK set is a bundle that is written as it was read, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_pki::Bundle;

fuzz_target!(|text: &[u8]| {
    let domain = || "td".parse().expect("a trust domain");
    let Ok(read) = Bundle::from_jwks(domain(), text) else { return };
    if let Ok(written) = read.bundle.to_jwks() {
        let again = Bundle::from_jwks(domain(), written.as_bytes()).expect("what was written can be read");
        assert!(again.ignored.is_empty());
        assert_eq!(again.bundle, read.bundle);
    }
});
