//! The manifest reader takes any text: it answers with objects and findings, whose places lie in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let reading = lictor_manifest::read("fuzz.yaml", text);
    // A lone carriage return ends a line, too (YAML 1.2, section 5.4).
    let lines = text.replace("\r\n", "\n").split(['\n', '\r']).count();
    for finding in &reading.findings {
        let line = finding.position.line as usize;
        assert!(line <= lines, "line {line} of {lines} lines");
    }
});
