//! `netpol-analyzer`: the connectivity lists of np-guard's analyzer and the differences between them, in the mode that
//! speaks its words.

use crate::report::{Deviation, SuiteReport};
use lictor_manifest::{Object, read, values};
use lictor_why::{guard_diff, guard_list};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A case's file, as far as it is read here.
#[derive(Debug, Deserialize)]
struct CaseFile {
    #[serde(default)]
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    mode: String,
    format: String,
    #[serde(default)]
    flags: BTreeMap<String, serde_json::Value>,
    expected: PathBuf,
}

impl Run {
    /// The workloads that the list is about; empty for all.
    fn focus(&self) -> Vec<String> {
        let named = self.flags.get("focusworkload").and_then(|value| value.as_array());
        named.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
    }
}

/// A difference's file.
#[derive(Debug, Deserialize)]
struct DiffFile {
    case: String,
    format: String,
    dir1: String,
    dir2: String,
    expected: PathBuf,
}

/// A line of a list, as JSON.
#[derive(Debug, Deserialize)]
struct Line {
    src: String,
    dst: String,
    conn: String,
}

impl Line {
    fn text(&self) -> String {
        format!("{} => {} : {}", self.src, self.dst, self.conn)
    }
}

/// Where this suite's answers are another's for a reason.
const DEVIATIONS: &str = include_str!("../deviations.yaml");

/// Judges every connectivity list of the suite, and every difference between two.
pub fn run(suite: &Path) -> SuiteReport {
    let mut report = SuiteReport::new("netpol-analyzer");
    for folder in folders(suite) {
        let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(folder.join("case.yaml")) else { continue };
        let file = values(&text).ok().and_then(|all| serde_json::from_value::<CaseFile>(all.into_iter().next()?).ok());
        let Some(file) = file else {
            report.broken(format!("netpol-analyzer/{case}"), "its case.yaml cannot be read");
            continue;
        };
        for run in file.runs.iter().filter(|run| run.mode == "list") {
            let what = format!("netpol-analyzer/{case} {}", run.expected.display());
            match (fs::read_to_string(folder.join(&run.expected)), objects(&folder.join("manifests"))) {
                (Ok(expected), Ok(objects)) => {
                    let wanted = match run.format.as_str() {
                        "json" => lines(
                            serde_json::from_str::<Vec<Line>>(&expected).unwrap_or_default().iter().map(Line::text),
                        ),
                        _ => lines(expected.lines().map(str::to_owned)),
                    };
                    let got = lines(guard_list(&objects, &run.focus()).iter().map(ToString::to_string));
                    report.check(what, compared(&wanted, &got), compared(&got, &wanted));
                }
                (Err(error), _) => report.broken(what, error),
                (_, Err(error)) => report.broken(what, error),
            }
        }
    }
    differences(suite, &mut report);
    let written = values(DEVIATIONS).ok().and_then(|all| all.into_iter().next()).unwrap_or_default();
    match serde_json::from_value::<Vec<Deviation>>(written) {
        // A folder may hold a part of the suite.
        Ok(reasons) => report.excuse(reasons.into_iter().filter(|reason| is_there(suite, &reason.case)).collect()),
        Err(error) => report.broken("the written deviations", error),
    }
    report
}

/// Compares the differences between two folders.
fn differences(suite: &Path, report: &mut SuiteReport) {
    let entries = fs::read_dir(suite.join("_diff")).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(".case.yaml")).collect();
    files.sort();
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let file = values(&text).ok().and_then(|all| serde_json::from_value::<DiffFile>(all.into_iter().next()?).ok());
        let Some(file) = file.filter(|file| file.format == "txt") else {
            report.broken(path.display(), "a difference that is not text, or cannot be read");
            continue;
        };
        let of = |folder: &str| objects(&suite.join(folder).join("manifests"));
        match (fs::read_to_string(suite.join("_diff").join(&file.expected)), of(&file.dir1), of(&file.dir2)) {
            (Ok(expected), Ok(old), Ok(new)) => {
                let wanted = lines(expected.lines().skip(1).map(str::to_owned));
                let got = lines(guard_diff(&old, &new).iter().map(ToString::to_string));
                report.check(&file.case, compared(&wanted, &got), compared(&got, &wanted));
            }
            (Err(error), ..) => report.broken(&file.case, error),
            (_, Err(error), _) | (_, _, Err(error)) => report.broken(&file.case, error),
        }
    }
}

fn is_there(suite: &Path, case: &str) -> bool {
    case.split_once('/').is_some_and(|(_, folder)| suite.join(folder).is_dir())
}

/// The lines that the other list does not have, or that there are none.
fn compared(these: &BTreeSet<String>, others: &BTreeSet<String>) -> String {
    let more: Vec<&str> = these.difference(others).map(String::as_str).collect();
    if more.is_empty() { "the same".to_owned() } else { more.join("\n         ") }
}

fn lines(text: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let trimmed = text.into_iter().map(|line| line.trim().to_owned());
    trimmed.filter(|line| !line.is_empty()).collect()
}

fn folders(suite: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(suite).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn objects(folder: &Path) -> Result<Vec<Object>, String> {
    let mut objects = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") {
                let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
                let reading = read(&path.display().to_string(), &text);
                if let Some(error) = reading.findings.iter().find(|finding| finding.is_error()) {
                    return Err(error.to_string());
                }
                objects.extend(reading.objects);
            }
        }
    }
    Ok(objects)
}
