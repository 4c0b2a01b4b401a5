//! A lab for peers, and their programs in its pods.

use super::build::cache;
use crate::cargo::{is_root, target_directory};
use crate::demo::run_lictor;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The trust domain of every lab here.
pub(super) const TRUST_DOMAIN: &str = "interop.test";

/// The pods of every lab here: whoever asks, whoever answers, and one that nobody accepts. Each has an echo server.
pub(super) const PODS: [&str; 3] = ["client", "server", "stranger"];

/// How long an SVID lives, so that renewals are seen.
pub(super) const SVID_SECONDS: u64 = 12;

/// A running lab of this name; it is taken down when dropped.
pub(super) struct Lab {
    name: &'static str,
    program: PathBuf,
    folder: PathBuf,
}

impl Lab {
    /// Brings one up that issues its identities itself.
    pub(super) fn up(name: &'static str) -> Result<Self> {
        Self::up_with(name, &["--svid-ttl", &format!("{SVID_SECONDS}s")], "")
    }

    /// Brings one up with these words for `lictor up` and more manifests beside the pods'.
    pub(super) fn up_with(name: &'static str, options: &[&str], more: &str) -> Result<Self> {
        let program = target_directory()?.join("debug/lictor");
        let folder = cache()?.join("labs").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let lab = Self { name, program, folder };
        let manifests = lab.folder.join("pods.yaml");
        fs::write(&manifests, PODS.map(pod).concat() + more)?;
        lab.lictor(&["down"]).output()?;
        let mut up = lab.lictor(&["up", "--detach", "--trust-domain", TRUST_DOMAIN]);
        let up = up.args(options).arg(&manifests).output()?;
        ensure!(up.status.success(), "lictor up: {}", String::from_utf8_lossy(&up.stderr));
        Ok(lab)
    }

    /// `lictor` with these words, about this lab.
    pub(super) fn lictor(&self, words: &[&str]) -> Command {
        let (verb, rest) = words.split_first().unwrap_or((&"status", &[]));
        let mut command = run_lictor(self.program.as_os_str(), &[verb, "--lab", self.name]);
        command.args(rest);
        command
    }

    /// A folder that pods see, for files of a run.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The socket of the lab's Workload API.
    pub(super) fn socket(&self) -> String {
        format!("/run/lictor/{}/workload.sock", self.name)
    }

    /// The address of a pod.
    pub(super) fn address(&self, pod: &str) -> Result<String> {
        let status = self.lictor(&["status", "-o", "json"]).output()?;
        let status: Value = serde_json::from_slice(&status.stdout).context("lictor status printed no JSON")?;
        let workloads = status["workloads"].as_array().context("lictor status without workloads")?;
        let mut states = workloads.iter().filter_map(|workload| workload["states"].as_array()).flatten();
        let name = format!("interop/{pod}");
        let state = states.find(|state| state["pod"] == name.as_str()).with_context(|| format!("no {name}"))?;
        Ok(state["addresses"][0].as_str().with_context(|| format!("{name} has no address"))?.to_owned())
    }

    /// What a pod's echo server answers to a process of another pod: who it is and whom it saw; nothing when the
    /// connection does not come about or is closed.
    pub(super) fn ask(&self, pod: &str, host: &str, port: u16) -> Result<String> {
        let script = format!("exec 3<>/dev/tcp/{host}/{port} && echo WHOAMI >&3 && timeout 3 head -n 2 <&3 || true");
        let mut command = self.in_pod(pod, Path::new("timeout"));
        let output = command.args(["5", "bash", "-c", &script]).output()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A command in a pod; it ends after two minutes at the latest.
    pub(super) fn exec(&self, pod: &str, program: &Path, words: &[&str]) -> Command {
        let mut command = self.in_pod(pod, Path::new("timeout"));
        command.arg("120").arg(program).args(words);
        command
    }

    /// Starts a command in a pod and waits until it prints a line that has this in it.
    pub(super) fn start(&self, pod: &str, program: &Path, words: &[&str], ready: &str) -> Result<Running> {
        // Nothing stands between `lictor exec` and the program, which so ends when that does.
        Running::start(self.in_pod(pod, program).args(words), ready)
    }

    fn in_pod(&self, pod: &str, program: &Path) -> Command {
        let mut command = self.lictor(&["exec", &format!("interop/{pod}"), "--"]);
        command.arg(program);
        command
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        match self.lictor(&["down"]).output() {
            Ok(down) if down.status.success() => {}
            Ok(down) => eprintln!("lictor down: {}", String::from_utf8_lossy(&down.stderr)),
            Err(error) => eprintln!("lictor down: {error}"),
        }
    }
}

/// The SPIFFE ID of a pod.
pub(super) fn id(pod: &str) -> String {
    format!("spiffe://{TRUST_DOMAIN}/ns/interop/sa/{pod}")
}

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: interop, labels: {{app: {name}}}}}\nspec:\n  serviceAccountName: {name}\n  \
         containers:\n  - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
    )
}

/// A process that runs until it is dropped.
pub(super) struct Running(Child);

impl Running {
    /// Starts it and waits, at most half a minute, until a line of its output or errors has this in it.
    pub(super) fn start(command: &mut Command, ready: &str) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let (tell, lines) = std::sync::mpsc::channel();
        let output = child.stdout.take().map(|output| Box::new(output) as Box<dyn std::io::Read + Send>);
        let errors = child.stderr.take().map(|errors| Box::new(errors) as Box<dyn std::io::Read + Send>);
        for stream in [output, errors].into_iter().flatten() {
            let tell = tell.clone();
            // Reads on to the end, so that the process never waits for a full pipe.
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
        drop(tell);
        let running = Self(child);
        let until = Instant::now() + Duration::from_secs(30);
        let mut said = Vec::new();
        while let Ok(line) = lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            if line.contains(ready) {
                return Ok(running);
            }
            said.push(line);
        }
        bail!("{command:?} did not say `{ready}` but: {}", said.join(" | "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if is_root() {
            let _ = self.0.kill();
        } else {
            // It is sudo's, which passes on what another process of root sends it.
            let _ = Command::new("sudo").args(["kill", &self.0.id().to_string()]).status();
        }
        let _ = self.0.wait();
    }
}

/// Waits until something holds, at most so many seconds.
pub(super) fn within(seconds: u64, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let until = Instant::now() + Duration::from_secs(seconds);
    while !holds()? {
        ensure!(Instant::now() < until, "it does not come to hold in {seconds} s");
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

/// What a command printed, standard output and errors; an error when it failed.
pub(super) fn said(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(output.status.success(), "{}: {}", output.status, both(&output));
    Ok(both(&output))
}

/// What a command that has to fail said of it.
pub(super) fn refusal(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    ensure!(!output.status.success(), "it was not refused, it said: {}", both(&output));
    Ok(both(&output))
}

fn both(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|stream| String::from_utf8_lossy(stream).trim().to_owned());
    text.join("\n").trim().to_owned()
}
