//! The manifest reader takes any text: it answers with objects and findings, whose places lie in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let reading = lictor_manifest::read("fuzz.yaml", text);
    for finding in &reading.findings {
        let line = finding.position.line as usize;
        assert!(line <= text.lines().count() + 1, "line {line} of {} lines", text.lines().count());
    }
});
