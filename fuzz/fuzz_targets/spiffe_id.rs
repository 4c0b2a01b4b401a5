//! A text is a SPIFFE ID that prints as it was read, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_model::{SpiffeId, TrustDomain};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<SpiffeId>() {
        assert_eq!(id.as_str(), text);
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), text);
        assert!(text.len() <= 2048 && !text.ends_with('/'));
        assert_eq!(id.trust_domain().as_str().parse::<TrustDomain>(), Ok(id.trust_domain()));
    }
});
