//! A lab of its own for a benchmark, and commands in its pods.

use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A running lab; it goes down when dropped.
pub(crate) struct Lab {
    name: String,
    lictor: PathBuf,
    /// The process that runs it.
    pub(crate) pid: u32,
    _manifests: tempfile::TempDir,
}

impl Lab {
    /// Brings a lab up on these manifests and waits until it is ready.
    pub(crate) fn up(name: &str, manifests: &str) -> Result<Self> {
        let lictor = std::env::current_exe()?.parent().map(|dir| dir.join("lictor")).context("no folder")?;
        ensure!(lictor.exists(), "{} is missing: build it first", lictor.display());
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("bench.yaml"), manifests)?;
        let up = Command::new(&lictor).args(["up", "--detach", "--lab", name]).arg(folder.path()).output()?;
        ensure!(up.status.success(), "the lab did not come up: {}", String::from_utf8_lossy(&up.stderr));
        let status = Command::new(&lictor).args(["status", "--lab", name, "-o", "json"]).output()?;
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).context("status is no JSON")?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).context("status without a pid")?;
        Ok(Self { name: name.to_owned(), lictor, pid, _manifests: folder })
    }

    /// Runs this program inside a pod.
    pub(crate) fn exec(&self, pod: &str, args: &[&str]) -> Result<String> {
        let output = self.start(pod, args)?.wait_with_output()?;
        text(pod, output)
    }

    /// Starts this program inside a pod.
    pub(crate) fn start(&self, pod: &str, args: &[&str]) -> Result<std::process::Child> {
        let own = own_path()?;
        let mut command = Command::new(&self.lictor);
        command.args(["exec", "--lab", &self.name, pod, "--"]).arg(own).args(args);
        Ok(command.stdout(std::process::Stdio::piped()).spawn()?)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if let Err(error) = Command::new(&self.lictor).args(["down", "--lab", &self.name]).output() {
            eprintln!("cannot take the lab down: {error}");
        }
    }
}

/// Where this program lies, for a pod's command.
pub(crate) fn own_path() -> Result<String> {
    let own: PathBuf = std::env::current_exe()?;
    Ok(Path::new(&own).display().to_string())
}

fn text(pod: &str, output: Output) -> Result<String> {
    ensure!(output.status.success(), "in {pod}: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
