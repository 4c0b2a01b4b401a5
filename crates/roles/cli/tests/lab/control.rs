//! Control and a lab that is its node, as two processes: it joins, control is killed and comes back, the node starts again.

use crate::authorities::{Traffic, pods};
use crate::lab::{Lab, soon, soon_within};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A control of this name, whose authorities and members are in a store: killed and started again, it goes on.
struct Control {
    name: &'static str,
    folder: PathBuf,
    manifests: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Control {
    fn new(name: &'static str, folder: &Path, manifests: &Path) -> Self {
        fs::write(folder.join("key"), [7; 32]).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (folder, manifests) = (folder.to_owned(), manifests.to_owned());
        let mut control = Self { name, folder, manifests, port, process: None };
        control.start();
        control
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.folder.join("control.log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
        command.args(["control", "--lab", self.name, "--listen", &self.address(), "--svid-ttl", "20s"]);
        command.arg("-f").arg(&self.manifests);
        command.arg("--identity-store").arg(self.folder.join("store"));
        command.arg("--identity-key-file").arg(self.folder.join("key"));
        self.process = Some(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        soon(|| self.run(&["identity", "node", "list"]).status.success());
    }

    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    fn run(&self, words: &[&str]) -> Output {
        Lab::command_of(self.name, words).output().unwrap()
    }

    fn text(&self, words: &[&str]) -> String {
        let output = self.run(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Writes a new join token where the lab looks for one.
    fn token(&self, words: &[&str]) {
        let made = self.text(&[&["identity", "token", "generate"], words].concat());
        fs::write(self.folder.join("token"), made.strip_prefix("Token: ").unwrap()).unwrap();
    }

    /// A lab that is a node of this control.
    fn lab(&self, name: &'static str) -> Output {
        let at = |file: &str| self.folder.join(file).display().to_string();
        let (bundle, token, state) = (at("bundle.json"), at("token"), at("node"));
        let words = [
            "up",
            "--detach",
            "--control",
            &self.address(),
            "--control-bundle",
            &bundle,
            "--join-token-file",
            &token,
            "--node-state",
            &state,
        ];
        Lab::command_of(name, &words).arg(&self.manifests).output().unwrap()
    }

    fn up(&self, name: &'static str) -> Lab {
        let output = self.lab(name);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}\n{}", fs::read_to_string(self.folder.join("control.log")).unwrap());
        Lab(name)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        if self.process.is_some() {
            drop(self.run(&["down"]));
            self.process.take().map(|mut process| process.wait());
        }
    }
}

fn membership(lab: &Lab) -> serde_json::Value {
    serde_json::from_slice(&lab.run(&["identity", "membership", "-o", "json"]).stdout).unwrap()
}

#[test]
fn a_lab_is_a_node_of_control_which_may_go_and_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = pods("node");
    let elsewhere = "apiVersion: v1\nkind: Pod\nmetadata: {name: far, namespace: node}\nspec: {nodeName: n2, serviceAccountName: far, containers: [{name: main, image: x}]}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: far, namespace: node}\n";
    fs::write(manifests.path().join("far.yaml"), elsewhere).unwrap();
    let mut control = Control::new("e2e-control", folder.path(), manifests.path());
    fs::write(folder.path().join("bundle.json"), control.text(&["identity", "bundle", "show"])).unwrap();
    control.token(&["--node", "lab", "--ttl", "5m"]);
    assert!(control.text(&["identity", "token", "list"]).contains("lab"));
    let lab = control.up("e2e-node");
    assert_eq!(control.text(&["identity", "token", "list"]).lines().count(), 1, "it is used up");
    assert!(control.text(&["identity", "node", "list"]).contains("lab"));

    // The pods of this node have what they need, the one that control knows elsewhere has nothing.
    let has = |pod: &str| lab.state(pod)["svidExpires"].is_string();
    soon(|| has("node/client") && has("node/server"));
    assert!(!has("node/far"));
    soon(|| membership(&lab)["faults"].to_string().contains("expected a pod that runs on node lab, node/far does not"));
    let program = env!("CARGO_BIN_EXE_lictor");
    let fetched = lab.run(&["exec", "node/client", "--", program, "identity", "fetch", "jwt", "--audience", "vault"]);
    assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));

    // Killed and back, under traffic: nothing that was issued ends before its time, and renewal takes up again.
    let traffic = Traffic::start(&lab, "node/client", &lab.address("node/server"));
    std::thread::sleep(Duration::from_secs(2));
    control.kill();
    soon(|| membership(&lab)["connected"] == false);
    std::thread::sleep(Duration::from_secs(5));
    control.start();
    std::thread::sleep(Duration::from_secs(25));
    traffic.end(&lab).assert_none_failed(100);
    assert_eq!(membership(&lab)["connected"], true);

    // Away for longer than an SVID lives: it ends, and comes back without a restart.
    control.kill();
    soon_within(Duration::from_secs(30), || !has("node/client") && !has("node/server"));
    assert!(!lab.reaches("node/client", &lab.address("node/server"), 7000), "nobody proves anything");
    control.start();
    soon_within(Duration::from_secs(60), || has("node/client") && has("node/server"));
    assert!(lab.reaches("node/client", &lab.address("node/server"), 7000));

    // The node starts again: by what it kept, and not by the token that it had.
    drop(lab);
    let lab = control.up("e2e-node");
    soon(|| lab.state("node/client")["svidExpires"].is_string());
    drop(lab);
    fs::remove_file(folder.path().join("node")).unwrap();
    let refused = control.lab("e2e-node");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("it was used, revoked, or never made"), "{said}");

    // Who is evicted needs a token, and takes it up without a restart.
    control.token(&["--node", "lab"]);
    let lab = control.up("e2e-node");
    control.text(&["identity", "node", "evict", "lab"]);
    soon(|| membership(&lab)["faults"].to_string().contains("it needs a new join token"));
    control.token(&[]);
    soon_within(Duration::from_secs(60), || membership(&lab)["connected"] == true);
}
