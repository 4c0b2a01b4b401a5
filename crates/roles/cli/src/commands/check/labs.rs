//! The labs of this machine: those that run, how they are, and what others left behind.

use crate::client::{Client, Query};
use http::Method;
use lictor_report::{CheckRow, CheckState};
use serde_json::Value;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Where labs keep their state.
const STATE: &str = "/run/lictor";

pub(super) fn rows() -> Vec<CheckRow> {
    let entries = match std::fs::read_dir(STATE) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let row =
                CheckRow::failed(CheckState::Unknown, "the labs of this machine are well", "check again with sudo");
            return vec![row.seeing(error.to_string())];
        }
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names.iter().flat_map(|name| lab(name)).collect()
}

fn lab(name: &str) -> Vec<CheckRow> {
    let socket = Path::new(STATE).join(name).join("api.sock");
    match UnixStream::connect(&socket) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let sentence = format!("the lab `{name}` is well");
            return vec![CheckRow::failed(CheckState::Unknown, sentence, "it belongs to root; check again with sudo")];
        }
        Err(_) => {
            let sentence = format!("nothing is left of the lab `{name}`");
            let hint = format!("it ended without cleaning up; `lictor up DIR --lab {name}` does so first");
            return vec![CheckRow::failed(CheckState::Warning, sentence, hint).seeing(format!("{STATE}/{name}"))];
        }
    }
    let sentence = format!("the lab `{name}` answers");
    let status = Client::of(name).ask(Method::GET, "/v1/status", &Query::default().with("output", "json"));
    match status.map(|answer| serde_json::from_str::<Value>(&answer.text)) {
        Ok(Ok(status)) => [vec![CheckRow::passed(sentence)], health(name, &status)].concat(),
        Ok(Err(error)) => vec![failed(sentence, &error.to_string())],
        Err(error) => vec![failed(sentence, &format!("{error:#}"))],
    }
}

fn failed(sentence: String, seen: &str) -> CheckRow {
    CheckRow::failed(CheckState::Failed, sentence, "`lictor down` and `lictor up` start it anew").seeing(seen)
}

/// What a lab's status says of its pods and manifests.
fn health(name: &str, status: &Value) -> Vec<CheckRow> {
    let workloads = || status["workloads"].as_array().into_iter().flatten();
    let ready: u64 = workloads().filter_map(|workload| workload["ready"].as_u64()).sum();
    let pods: usize = workloads().filter_map(|workload| workload["pods"].as_array()).map(Vec::len).sum();
    let seen = format!("{ready} of {pods}");
    let all = format!("all pods of `{name}` are ready");
    let in_force = format!("the manifests of `{name}` are in force");
    vec![
        match usize::try_from(ready) == Ok(pods) {
            true => CheckRow::passed(all).seeing(seen),
            false => {
                let hint = format!("lictor status --lab {name} -o wide");
                CheckRow::failed(CheckState::Warning, all, hint).seeing(seen)
            }
        },
        match status["refused"].as_str() {
            None => CheckRow::passed(in_force),
            Some(_) => {
                CheckRow::failed(CheckState::Warning, in_force, format!("lictor status --lab {name} says why not"))
            }
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::health;
    use lictor_report::CheckState::{Passed, Warning};
    use serde_json::json;

    #[test]
    fn a_lab_is_well_when_all_pods_are_ready_and_its_manifests_are_in_force() {
        let states = |status| health("lab", &status).into_iter().map(|row| row.state).collect::<Vec<_>>();
        let well = json!({"workloads": [{"ready": 2, "pods": ["a/b-0", "a/b-1"]}, {"ready": 1, "pods": ["a/c-0"]}]});
        assert_eq!(states(well), [Passed, Passed]);
        let ill = json!({"workloads": [{"ready": 1, "pods": ["a/b-0", "a/b-1"]}], "refused": "a.yaml:1:1 ..."});
        assert_eq!(states(ill), [Warning, Warning]);
    }
}
