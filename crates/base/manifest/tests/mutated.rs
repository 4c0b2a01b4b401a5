//! Nothing panics, whatever the bytes: manifests with bytes changed, cut, doubled and swapped are read to an end.
//!
//! Each case begins with a manifest of `testdata`, or with several joined, so that most of them are still YAML and the
//! kinds' own readers are reached, not only the parser.

use lictor_manifest::{Reading, read, render};
use proptest::prelude::*;
use std::path::Path;
use std::sync::LazyLock;

static SEEDS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut files: Vec<_> = ["broken", "whole"]
        .iter()
        .flat_map(|name| std::fs::read_dir(folder.join(name)).expect("the folder"))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a file")).collect()
});

/// What a mutation may put in: the characters that mean something to YAML, and some that mean nothing.
const PIECES: &[&str] = &[
    ":",
    "- ",
    "{",
    "}",
    "[",
    "]",
    "\"",
    "'",
    "\n",
    "\t",
    "#",
    "&a ",
    "*a",
    "<<: *a",
    "!!int ",
    "|",
    ">",
    "---\n",
    "...",
    "%YAML 1.1\n",
    "? ",
    ",",
    "null",
    "~",
    "-1",
    "99999999999999999999",
    "0x",
    "1e999",
    ".inf",
    "\u{feff}",
    "\u{0}",
    "ü",
    "\u{10ffff}",
    "\\",
    "\r",
    "    ",
    "kind: List\nitems:\n",
    "spec:",
    "metadata:",
];

#[derive(Debug, Clone)]
enum Change {
    Insert(prop::sample::Index, prop::sample::Index),
    Remove(prop::sample::Index, u8),
    Flip(prop::sample::Index, u8),
    Double(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => (index(), index()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        2 => (index(), 1..20_u8).prop_map(|(at, count)| Change::Remove(at, count)),
        2 => (index(), any::<u8>()).prop_map(|(at, bits)| Change::Flip(at, bits)),
        1 => (index(), index()).prop_map(|(from, to)| Change::Double(from, to)),
        1 => index().prop_map(Change::Cut),
    ]
}

fn apply(mut bytes: Vec<u8>, change: &Change) -> Vec<u8> {
    let place = |index: &prop::sample::Index, length: usize| index.index(length + 1);
    match change {
        Change::Insert(at, piece) => {
            let at = place(at, bytes.len());
            bytes.splice(at..at, piece.get(PIECES).bytes());
        }
        Change::Remove(at, count) => {
            let at = place(at, bytes.len());
            bytes.drain(at..(at + usize::from(*count)).min(bytes.len()));
        }
        Change::Flip(at, bits) => {
            let at = place(at, bytes.len());
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= bits);
        }
        Change::Double(from, to) => {
            let (from, to) = (place(from, bytes.len()), place(to, bytes.len()));
            let part = bytes[from.min(to)..from.max(to)].to_vec();
            bytes.splice(to..to, part);
        }
        Change::Cut(at) => bytes.truncate(place(at, bytes.len())),
    }
    bytes
}

/// Reads a text, asks for every position that could be asked for and prints every finding.
fn exercise(text: &str) -> Reading {
    let reading = read("mutated.yaml", text);
    for object in &reading.objects {
        let position = object.meta().origin.position("spec.ingress[0].from[1]");
        assert!(position.line > 0, "{position}");
        assert!(format!("{object:?}").contains("mutated.yaml"));
    }
    for finding in reading.findings.iter().take(20) {
        assert!(!finding.message.is_empty());
        assert!(!render(finding, Some(text), false).is_empty());
    }
    reading
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_mutated_manifest_is_read_to_an_end(
        first in any::<prop::sample::Index>(),
        more in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        changes in prop::collection::vec(change(), 0..8),
    ) {
        let mut bytes = first.get(SEEDS.as_slice()).clone();
        for seed in more {
            bytes.extend_from_slice(b"\n---\n");
            let seed: &Vec<u8> = seed.get(SEEDS.as_slice());
            bytes.extend_from_slice(seed);
        }
        let bytes = changes.iter().fold(bytes, apply);
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_text_is_read_to_an_end(text in "\\PC{0,200}") {
        exercise(&text);
    }
}

#[test]
fn whole_manifests_are_read_without_a_finding() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/whole");
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        let reading = exercise(&std::fs::read_to_string(&path).expect("a text"));
        assert!(
            reading.findings.is_empty() && !reading.objects.is_empty(),
            "{}: {:?}",
            path.display(),
            reading.findings
        );
    }
}
