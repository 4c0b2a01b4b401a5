//! The authorities behind the pods' identities change while pods speak.

use crate::lab::{Lab, echo_pod, soon};
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Two pods in the mesh, each with an identity of its own.
pub(crate) fn pods(namespace: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let pod = |name: &str| {
        let account =
            format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: {namespace}}}\n---\n");
        let pod = echo_pod(namespace, name, true).replace("spec:\n", &format!("spec:\n  serviceAccountName: {name}\n"));
        account + &pod
    };
    fs::write(folder.path().join("pods.yaml"), pod("client") + &pod("server")).unwrap();
    folder
}

/// A pod's process that speaks to another pod all the time: over connections that stay open, and over a new one each time.
pub(crate) struct Traffic(Child);

/// What came of it.
#[derive(Debug)]
pub(crate) struct Spoken {
    kept: u64,
    new: u64,
    failed: Vec<String>,
}

impl Traffic {
    /// Until the file `/tmp/lictor-stop-NAME` is there.
    pub(crate) fn start(lab: &Lab, from: &str, address: &str) -> Self {
        let stop = stop_file(lab);
        let _ = fs::remove_file(&stop);
        let script = format!(
            r#"exec 3<>/dev/tcp/{address}/7000 || {{ echo failed first connection; exit 1; }}
               kept=0; new=0
               while ! [ -e {stop} ]; do
                 echo kept-$kept >&3 && read -t 3 back <&3 && [ "$back" = kept-$kept ] && kept=$((kept+1)) || {{ echo failed kept $kept at $(date +%T); exit 1; }}
                 if {{ exec 4<>/dev/tcp/{address}/7000; }} 2>/dev/null && echo new-$new >&4 && read -t 3 back <&4 && [ "$back" = new-$new ]; then new=$((new+1)); else echo failed new $new at $(date +%T); fi
                 exec 4>&-
                 sleep 0.05
               done
               echo kept $kept; echo new $new"#
        );
        let mut command = lab.command(&["exec", from, "--", "bash", "-c", &script]);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub(crate) fn end(self, lab: &Lab) -> Spoken {
        fs::write(stop_file(lab), "").unwrap();
        let output = self.0.wait_with_output().unwrap();
        let _ = fs::remove_file(stop_file(lab));
        let said = String::from_utf8_lossy(&output.stdout);
        let count = |word: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(word)?.trim().parse().ok());
            line.unwrap_or_default()
        };
        let failed = said.lines().filter(|line| line.starts_with("failed")).map(str::to_owned).collect();
        Spoken { kept: count("kept "), new: count("new "), failed }
    }
}

fn stop_file(lab: &Lab) -> String {
    format!("/tmp/lictor-stop-{}", lab.0)
}

impl Spoken {
    pub(crate) fn assert_none_failed(&self, at_least: u64) {
        assert!(self.failed.is_empty(), "{self:?}");
        assert!(self.kept >= at_least && self.new >= at_least, "{self:?}");
        println!("{} requests on a connection that stayed, {} on new ones, none failed", self.kept, self.new);
    }
}

/// A step of an authority's life; returns what was said.
fn step(lab: &Lab, words: &[&str]) -> String {
    let output = lab.run(&[&["identity", "ca"], words].concat());
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What `lictor identity ca show` says.
pub(crate) fn show(lab: &Lab) -> serde_json::Value {
    serde_json::from_str(&step(lab, &["show", "-o", "json"])).unwrap()
}

fn authorities(lab: &Lab) -> Vec<serde_json::Value> {
    let shown = show(lab);
    shown["authorities"].as_array().unwrap().iter().filter(|one| one["kind"] == "x509").cloned().collect()
}

/// The name of the authority for certificates in a state, and how many identities stand by it.
fn in_state(lab: &Lab, state: &str) -> Option<(String, u64)> {
    let one = authorities(lab).into_iter().find(|one| one["state"] == state)?;
    Some((one["id"].as_str()?.to_owned(), one["inUse"].as_u64()?))
}

#[test]
fn every_step_of_an_authoritys_life_leaves_traffic_alone() {
    let folder = pods("steps");
    let lab = Lab::up_with("e2e-steps", &["--svid-ttl", "10s"], &[folder.path()]);
    let traffic = Traffic::start(&lab, "steps/client", &lab.address("steps/server"));
    std::thread::sleep(Duration::from_secs(1));
    let (first, holders) = in_state(&lab, "active").unwrap();
    for kind in ["x509", "jwt"] {
        step(&lab, &["prepare", "--kind", kind]);
        step(&lab, &["activate", "--kind", kind]);
        step(&lab, &["taint", "--kind", kind]);
        if kind == "x509" {
            soon(|| in_state(&lab, "tainted") == Some((first.clone(), 0)));
        }
        step(&lab, &["revoke", "--kind", kind]);
    }
    let now = authorities(&lab);
    assert_eq!(now.len(), 1, "{now:?}");
    assert_eq!((now[0]["state"].as_str(), now[0]["inUse"].as_u64()), (Some("active"), Some(holders)));
    assert_ne!(now[0]["id"].as_str(), Some(&*first));
    // Through a renewal of every SVID by the new one.
    std::thread::sleep(Duration::from_secs(7));
    traffic.end(&lab).assert_none_failed(20);
    let refused = lab.run(&["identity", "ca", "revoke"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("a tainted x509 authority; there are none"));
}

/// SVIDs of ten seconds and authorities of a minute, under traffic; after `first`, the one that signs then is tainted.
fn rotation(name: &'static str, namespace: &str, first: Duration, length: Duration) {
    let folder = pods(namespace);
    let lab = Lab::up_with(name, &["--svid-ttl", "10s", "--ca-ttl", "60s"], &[folder.path()]);
    let (client, server) = (format!("{namespace}/client"), format!("{namespace}/server"));
    let traffic = Traffic::start(&lab, &client, &lab.address(&server));
    let began = Instant::now();
    let mut signers = std::collections::BTreeSet::new();
    let mut look = |until: Duration| {
        while began.elapsed() < until {
            signers.extend(in_state(&lab, "active").map(|(id, _)| id));
            std::thread::sleep(Duration::from_millis(500));
        }
    };
    look(first);
    let (before, _) = in_state(&lab, "active").unwrap();
    step(&lab, &["prepare"]);
    step(&lab, &["activate"]);
    let tainted = Instant::now();
    step(&lab, &["taint", &before]);
    let moved = soon(|| in_state(&lab, "tainted").is_none_or(|(_, holders)| holders == 0));
    println!("every SVID was of the new authority {:.2} s after the taint", tainted.elapsed().as_secs_f64());
    assert!(moved < Duration::from_secs(15));
    step(&lab, &["revoke", &before]);
    look(length);
    let spoken = traffic.end(&lab);
    println!("{} authorities signed in {} s", signers.len(), began.elapsed().as_secs());
    spoken.assert_none_failed(length.as_secs());
    assert!(signers.len() as u64 > length.as_secs() / 60 + 1, "{signers:?}");
}

#[test]
fn authorities_rotate_while_pods_speak() {
    // Past the first hand-over of the schedule, at 50 seconds.
    rotation("e2e-rotate", "rotate", Duration::from_secs(55), Duration::from_secs(70));
}

/// The issue's own figure: five minutes. `cargo test -p lictor --test lab five_minutes -- --ignored --nocapture`.
#[test]
#[ignore = "five minutes long"]
fn authorities_rotate_for_five_minutes_while_pods_speak() {
    rotation("e2e-rotate5", "rotate5", Duration::from_secs(150), Duration::from_secs(300));
}

#[test]
fn a_lab_that_starts_again_goes_on_with_its_authorities() {
    let folder = pods("stored");
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (store, key) = (at("store"), at("key"));
    fs::write(&key, [7; 32]).unwrap();
    let options = ["--identity-store", &store, "--identity-key-file", &key];
    let sources = folder.path().join("pods.yaml");
    let told = || {
        let lab = Lab::up_with("e2e-stored", &options, &[&sources]);
        assert!(lab.reaches("stored/client", &lab.address("stored/server"), 7000));
        let now = in_state(&lab, "active").unwrap().0;
        step(&lab, &["prepare"]);
        (now, step(&lab, &["activate"]))
    };
    let (first, activated) = told();
    let (second, _) = told();
    assert!(activated.contains(&second) && first != second, "{activated}: {second}");

    fs::write(&key, [8; 32]).unwrap();
    let up = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
        let output =
            command.args(["up", "--detach", "--lab", "e2e-stored"]).args(words).arg(&sources).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8(output.stderr).unwrap()
    };
    let refused = up(&options);
    let why = format!("{store}: it does not open with this key: another one sealed it, or it was changed since");
    assert!(refused.contains(&why), "{refused}");
    let refused = up(&options[..2]);
    assert!(refused.contains("--identity-key-file <FILE>|--identity-passphrase-file <FILE>"), "{refused}");
}
