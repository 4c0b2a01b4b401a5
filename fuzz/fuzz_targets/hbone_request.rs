//! The target of a tunnel's request is an address and a port, or a refusal.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(uri) = http::Uri::try_from(bytes) else { return };
    if let Ok(target) = lictor_proxy::authority::connect_target(&uri) {
        let written = target.to_string();
        let again = written.parse::<http::Uri>().expect("an address and port are an authority");
        assert_eq!(lictor_proxy::authority::connect_target(&again).ok(), Some(target));
    }
});
