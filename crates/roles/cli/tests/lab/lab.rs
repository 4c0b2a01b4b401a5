//! A lab that a test brings up with the program itself, as a user would.
#![allow(dead_code)] // Each test program uses its part.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A lab of this name; taken down, without a trace, when it is dropped.
pub(crate) struct Lab(pub(crate) &'static str);

impl Lab {
    pub(crate) fn up(name: &'static str, sources: &[&Path]) -> Self {
        Self::up_with(name, &[], sources)
    }

    pub(crate) fn up_with(name: &'static str, options: &[&str], sources: &[&Path]) -> Self {
        let lab = Self(name);
        let output = lab.command(&["up", "--detach"]).args(options).args(sources).output().unwrap();
        assert!(output.status.success(), "up (this needs root): {}", String::from_utf8_lossy(&output.stderr));
        lab
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        Self::command_of(self.0, words)
    }

    /// A command to what runs under a name, lab or not.
    pub(crate) fn command_of(name: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
        command.args(words.iter().take(1)).args(["--lab", name]).args(words.iter().skip(1));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Fails when a real connection does not do what the engine predicts.
    pub(crate) fn assert_predictions_hold(&self) {
        let output = self.run(&["probe"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("; 0 disagreements"), "{}: {said}", self.0);
        println!("{}: {}", self.0, said.lines().last().unwrap_or_default());
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.run(&["status", "-o", "json"]).stdout).unwrap()
    }

    /// What status says of a pod.
    pub(crate) fn state(&self, pod: &str) -> serde_json::Value {
        let status = self.status();
        let workloads = status["workloads"].as_array().unwrap();
        let mut states = workloads.iter().flat_map(|workload| workload["states"].as_array().unwrap());
        states.find(|state| state["pod"] == pod).unwrap_or_else(|| panic!("no {pod}")).clone()
    }

    pub(crate) fn address(&self, pod: &str) -> String {
        self.state(pod)["addresses"][0].as_str().unwrap().to_owned()
    }

    /// Whether a pod's own `getent` and shell can open a TCP connection.
    pub(crate) fn reaches(&self, pod: &str, address: &str, port: u16) -> bool {
        let script = format!("exec 3<>/dev/tcp/{address}/{port} && echo WHOAMI >&3 && read -t 2 answer <&3");
        self.run(&["exec", pod, "--", "timeout", "3", "bash", "-c", &script]).status.success()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let down = self.run(&["down"]);
        if !std::thread::panicking() {
            assert!(down.status.success(), "{}", String::from_utf8_lossy(&down.stderr));
            assert!(!Path::new("/run/lictor").join(self.0).exists(), "nothing is left behind");
        }
    }
}

/// One of the example folders.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples").join(name)
}

/// Waits until something holds, at most ten seconds.
pub(crate) fn soon(holds: impl FnMut() -> bool) -> Duration {
    soon_within(Duration::from_secs(10), holds)
}

/// Waits until something holds, at most so long.
pub(crate) fn soon_within(limit: Duration, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < limit, "it does not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

/// A pod with an echo server on port 7000.
pub(crate) fn echo_pod(namespace: &str, name: &str, enrolled: bool) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, annotations: {{lictor.dev/enroll: \"{enrolled}\"}}}}\n\
         spec:\n  containers:\n  - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
    )
}
