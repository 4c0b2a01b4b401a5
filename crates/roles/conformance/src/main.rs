//! `lictor-conformance DIR... [--json]`: runs every suite below the folders; exit 1 on a failure.

use anyhow::{Result, ensure};
use lictor_conformance::SuiteReport;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match reports() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// Prints the reports; whether everything passed.
fn reports() -> Result<bool> {
    let (flags, folders): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.starts_with("--"));
    ensure!(!folders.is_empty() && flags.iter().all(|flag| flag == "--json"), "usage: conformance DIR... [--json]");
    let mut reports: Vec<SuiteReport> = Vec::new();
    for folder in folders.into_iter().map(PathBuf::from) {
        ensure!(folder.is_dir(), "{} is not a folder", folder.display());
        let found = lictor_conformance::run(&folder);
        ensure!(!found.is_empty(), "no suite that is known here is in {}", folder.display());
        reports.extend(found);
    }
    if flags.is_empty() {
        reports.iter().for_each(|report| println!("{report}"));
    } else {
        println!("{}", serde_json::to_string_pretty(&reports)?);
    }
    Ok(reports.iter().all(|report| report.failed.is_empty()))
}
