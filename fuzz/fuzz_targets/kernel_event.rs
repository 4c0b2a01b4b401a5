//! What the kernel's ring buffer holds becomes an event or nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = lictor_datapath::Event::decode(bytes);
});
