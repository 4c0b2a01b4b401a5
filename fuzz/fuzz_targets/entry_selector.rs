//! A selector is written as it was read, and no reader fails otherwise.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_manifest::EntrySelector;
use lictor_model::ProcessSelector;

fuzz_target!(|text: &str| {
    if let Ok(selector) = text.parse::<EntrySelector>() {
        assert_eq!(selector.to_string(), text);
        assert!(!selector.kind().is_empty() && !selector.value().is_empty());
    }
    if let Ok(selector) = text.parse::<ProcessSelector>() {
        assert_eq!(selector.to_string(), text);
        assert!(text.parse::<EntrySelector>().is_ok_and(|entry| entry.kind() == "unix"));
    }
});
