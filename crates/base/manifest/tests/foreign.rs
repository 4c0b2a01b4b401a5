//! Manifests that nobody here wrote are read without an error.
//!
//! They are the public suites' own, found by `LICTOR_CONFORMANCE` or beside the workspace; where there is no such
//! folder the test says so.

use lictor_manifest::{Code, read};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn conformance() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/conformance");
    std::env::var_os("LICTOR_CONFORMANCE").map_or(beside, PathBuf::from)
}

fn files_below(folder: &Path, wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            files_below(&path, wanted, found);
        } else if wanted(&path) {
            found.push(path);
        }
    }
}

/// Reads every wanted file below a suite's folder; no error is allowed, and no warning but those of `allowed`.
fn reads_cleanly(suite: &str, wanted: &dyn Fn(&Path) -> bool, allowed: &[Code], least: usize) {
    let folder = conformance().join(suite);
    let mut files = Vec::new();
    files_below(&folder, wanted, &mut files);
    if files.is_empty() {
        println!("{suite}: not run, there is no such folder");
        return;
    }
    files.sort();
    let (mut objects, mut counts, mut wrong) = (0, BTreeMap::<Code, usize>::new(), Vec::new());
    for file in &files {
        let name = file.strip_prefix(&folder).unwrap_or(file).display().to_string();
        let reading = read(&name, &std::fs::read_to_string(file).expect("the suite's files can be read"));
        objects += reading.objects.len();
        for finding in &reading.findings {
            *counts.entry(finding.code).or_default() += 1;
            if finding.is_error() || !allowed.contains(&finding.code) {
                wrong.push(finding.to_string());
            }
        }
    }
    println!("{suite}: read {objects} objects of {} files; findings {counts:?}", files.len());
    assert!(objects >= least, "{suite}: {objects} objects");
    assert!(wrong.is_empty(), "{suite}:\n{}", wrong.join("\n"));
}

#[test]
fn applications_of_netpol_analyzer() {
    let manifest = |path: &Path| {
        let text = path.to_string_lossy();
        text.contains("/manifests/") && [".yaml", ".yml", ".json"].iter().any(|end| text.ends_with(end))
    };
    // The suite leaves out names that the API server asks for, and has kinds that are not acted on.
    let allowed = [Code::NotActedOn, Code::MissingField, Code::TemplateMismatch, Code::NotAnObject, Code::InvalidPort];
    reads_cleanly("netpol-analyzer", &manifest, &allowed, 500);
}

#[test]
fn policies_of_istio() {
    let named = |name: &'static str| move |path: &Path| path.file_name().is_some_and(|file| file == name);
    reads_cleanly("istio-authz/semantic", &named("policies.yaml"), &[Code::NotActedOn, Code::DoubtfulIstioPolicy], 30);
    reads_cleanly("istio-authz/ambient-convert", &named("in.yaml"), &[], 12);
}
