//! Broken manifests: each yields its message at its place, and never an object that has an error.
//!
//! The first line of each file below `testdata/broken` says what is expected: `#! LINE:COLUMN CODE MESSAGE`, the hint
//! behind the message in parentheses where there is one. A message of the YAML parser is compared by its beginning.

use lictor_manifest::{Code, read, render};
use std::path::Path;

#[test]
fn each_broken_manifest_has_its_message_and_position() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/broken");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).expect("the folder").flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut wrong = Vec::new();
    for file in &files {
        let name = file.file_name().expect("a file").to_string_lossy();
        let text = std::fs::read_to_string(file).expect("a text");
        let expected = text.lines().next().and_then(|line| line.strip_prefix("#! ")).expect("an expectation");
        let reading = read(&name, &text);
        let found: Vec<String> = reading
            .findings
            .iter()
            .map(|finding| {
                let hint = finding.hint.as_ref().filter(|_| finding.code.number() > 1003);
                let hint = hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
                let place = &finding.position;
                format!("{}:{} {} {}{hint}", place.line, place.column, finding.code, finding.message)
            })
            .collect();
        let syntax = expected.contains(&Code::YamlSyntax.to_string());
        let same = |found: &String| found == expected || (syntax && found.starts_with(expected));
        if !matches!(&found[..], [one] if same(one)) {
            wrong.push(format!("{name}\n  wanted {expected}\n  found  {}", found.join("\n         ")));
        }
        if reading.has_errors() && !reading.objects.is_empty() {
            wrong.push(format!("{name}: an object with an error is kept"));
        }
        for finding in &reading.findings {
            assert!(render(finding, Some(&text), true).contains(&finding.message));
        }
    }
    assert!(files.len() >= 30, "{} files", files.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), files.len(), wrong.join("\n"));
}
