//! A lab whose one manifest is replaced, again and again: what was there goes, what is new comes, as after an edit.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) struct Stage {
    lab: &'static str,
    folder: TempDir,
    shown: String,
}

impl Stage {
    /// A lab of this name with nothing in it.
    pub(crate) fn new(lab: &'static str, options: &[&str]) -> Self {
        let stage = Self { lab, folder: tempfile::tempdir().unwrap(), shown: String::new() };
        stage.write("---\n");
        let up = stage.command("up").args(options).arg("--detach").arg(stage.folder.path()).output().unwrap();
        assert!(up.status.success(), "up (this needs root): {}", String::from_utf8_lossy(&up.stderr));
        stage
    }

    /// Replaces the manifest, and waits until it is in force and every pod is ready.
    pub(crate) fn show(&mut self, manifest: &str) -> Result<(), String> {
        if self.shown == manifest {
            return Ok(());
        }
        let before = self.status()["revision"].as_u64().unwrap();
        self.write(manifest);
        self.shown = manifest.to_owned();
        let began = Instant::now();
        loop {
            let status = self.status();
            if let Some(refused) = status["refused"].as_str() {
                return Err(refused.to_owned());
            }
            let states =
                status["workloads"].as_array().unwrap().iter().flat_map(|one| one["states"].as_array().unwrap());
            if status["revision"].as_u64().unwrap() > before && states.clone().all(|state| state["ready"] == true) {
                return Ok(());
            }
            assert!(began.elapsed() < Duration::from_secs(20), "the manifest does not come into force: {status:#}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What a pod's process prints.
    pub(crate) fn exec(&self, pod: &str, words: &[&str]) -> Output {
        self.command("exec").arg(pod).arg("--").args(words).output().unwrap()
    }

    /// Real connections for every pair of workloads, with what the engine had said of each.
    pub(crate) fn probe(&self) -> Value {
        json(&self.command("probe").args(["-o", "json"]).output().unwrap())
    }

    fn status(&self) -> Value {
        json(&self.command("status").args(["-o", "json"]).output().unwrap())
    }

    /// Written aside and put in place at once, so that no half of it is ever read.
    fn write(&self, manifest: &str) {
        let aside = self.folder.path().join("manifest.new");
        fs::write(&aside, manifest).unwrap();
        fs::rename(aside, self.folder.path().join("manifest.yaml")).unwrap();
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
        command.args([verb, "--lab", self.lab]);
        command
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let down = self.command("down").output().unwrap();
        if !std::thread::panicking() {
            assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
            assert!(!Path::new("/run/lictor").join(self.lab).exists(), "nothing is left behind");
        }
    }
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}
