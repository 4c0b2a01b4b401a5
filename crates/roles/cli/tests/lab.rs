//! The lab from outside, as a user has it: real namespaces, kernel verdicts, mutual TLS. Needs root.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

struct Lab(&'static str);

impl Lab {
    fn up(name: &'static str, sources: &[&Path]) -> Self {
        let lab = Self(name);
        let output = lab.command(&["up", "--detach"]).args(sources).output().unwrap();
        assert!(output.status.success(), "up (this needs root): {}", String::from_utf8_lossy(&output.stderr));
        lab
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lictor"));
        command.args(words.iter().take(1)).args(["--lab", self.0]).args(words.iter().skip(1));
        command
    }

    fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    /// Fails when a real connection does not do what the engine predicts.
    fn assert_predictions_hold(&self) {
        let output = self.run(&["probe"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("; 0 disagreements"), "{}: {said}", self.0);
        println!("{}: {}", self.0, said.lines().last().unwrap_or_default());
    }

    fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.run(&["status", "-o", "json"]).stdout).unwrap()
    }

    /// What status says of a pod.
    fn state(&self, pod: &str) -> serde_json::Value {
        let status = self.status();
        let workloads = status["workloads"].as_array().unwrap();
        let mut states = workloads.iter().flat_map(|workload| workload["states"].as_array().unwrap());
        states.find(|state| state["pod"] == pod).unwrap_or_else(|| panic!("no {pod}")).clone()
    }

    fn address(&self, pod: &str) -> String {
        self.state(pod)["addresses"][0].as_str().unwrap().to_owned()
    }

    /// Whether a pod's own `getent` and shell can open a TCP connection.
    fn reaches(&self, pod: &str, address: &str, port: u16) -> bool {
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

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples").join(name)
}

/// Waits until something holds, at most ten seconds.
fn soon(mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not come to hold");
        std::thread::sleep(Duration::from_millis(20));
    }
    began.elapsed()
}

#[test]
fn the_shop_does_what_is_predicted() {
    Lab::up("e2e-shop", &[&example("shop")]).assert_predictions_hold();
}

#[test]
fn the_shop_with_its_fixes_does_what_is_predicted() {
    let lab = Lab::up("e2e-fixed", &[&example("shop"), &example("shop-fixes")]);
    lab.assert_predictions_hold();
    assert!(lab.run(&["why", "production/api", "production/db:5432"]).status.success(), "the fix lets the api in");
}

#[test]
fn applications_of_others_do_what_is_predicted() {
    let suites = std::env::var_os("LICTOR_CONFORMANCE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../shared/conformance"), PathBuf::from);
    let folder = suites.join("netpol-analyzer");
    if !folder.is_dir() {
        println!("netpol-analyzer was not found: 0 of 3 applications run");
        return;
    }
    let applications = [
        ("e2e-boutique", "onlineboutique_workloads"),
        ("e2e-minimal", "netpol-analysis-example-minimal"),
        ("e2e-ports", "test_with_named_ports"),
    ];
    for (lab, application) in applications {
        Lab::up(lab, &[&folder.join(application).join("manifests")]).assert_predictions_hold();
    }
}

#[test]
fn an_edit_is_applied_and_a_broken_file_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: edit, labels: {{app: {name}}}}}\nspec:\n  containers:\n  \
             - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
        )
    };
    write("pods.yaml", &(pod("client") + &pod("server")));
    let lab = Lab::up("e2e-edit", &[folder.path()]);
    let server = lab.address("edit/server");
    assert!(lab.reaches("edit/client", &server, 7000), "nothing isolates the server");

    let before = lab.status()["revision"].as_u64().unwrap();
    write(
        "deny.yaml",
        "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: edit}\nspec: {podSelector: {}}\n",
    );
    let took = soon(|| lab.status()["revision"].as_u64().unwrap() > before);
    println!("an edit was applied after {} ms", took.as_millis());
    assert!(!lab.reaches("edit/client", &server, 7000), "the policy isolates the server");

    let before = lab.status()["revision"].as_u64().unwrap();
    write("broken.yaml", "apiVersion: v1\nkind: [\n");
    soon(|| lab.status()["refused"].as_str().is_some_and(|refused| refused.contains("broken.yaml:")));
    assert_eq!(lab.status()["revision"].as_u64().unwrap(), before, "a broken file changes nothing");
    assert!(!lab.reaches("edit/client", &server, 7000), "the policy still holds");

    fs::remove_file(folder.path().join("broken.yaml")).unwrap();
    fs::remove_file(folder.path().join("deny.yaml")).unwrap();
    soon(|| lab.status()["revision"].as_u64().unwrap() > before);
    assert!(lab.reaches("edit/client", &server, 7000), "the policy is gone");
}

#[test]
fn a_killed_lab_is_cleaned_by_the_next() {
    let name = "e2e-killed";
    let first = Lab::up(name, &[&example("shop")]);
    let pid = first.status()["pid"].as_u64().unwrap().to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    soon(|| !Path::new("/proc").join(&pid).exists());
    std::mem::forget(first);
    let second = Lab::up(name, &[&example("shop")]);
    assert_eq!(second.status()["workloads"].as_array().unwrap().len(), 10);
}

/// A pod with an echo server on port 7000.
fn echo_pod(namespace: &str, name: &str, enrolled: bool) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}, annotations: {{lictor.dev/enroll: \"{enrolled}\"}}}}\n\
         spec:\n  containers:\n  - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
    )
}

#[test]
fn a_pod_outside_the_mesh_is_refused_under_strict_and_served_under_permissive() {
    let folder = tempfile::tempdir().unwrap();
    let mode = |mode: &str| {
        let policy = format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: default, namespace: istio-system}}\nspec: {{mtls: {{mode: {mode}}}}}\n"
        );
        fs::write(folder.path().join("mode.yaml"), policy).unwrap();
    };
    let pods =
        echo_pod("mode", "outside", false) + &echo_pod("mode", "inside", true) + &echo_pod("mode", "server", true);
    fs::write(folder.path().join("pods.yaml"), pods).unwrap();
    mode("STRICT");
    let lab = Lab::up("e2e-mode", &[folder.path()]);
    let server = lab.address("mode/server");
    assert!(lab.reaches("mode/inside", &server, 7000), "the mesh speaks mutual TLS");
    assert!(!lab.reaches("mode/outside", &server, 7000), "STRICT refuses plaintext");

    let before = lab.status()["revision"].as_u64().unwrap();
    mode("PERMISSIVE");
    soon(|| lab.status()["revision"].as_u64().unwrap() > before);
    assert!(lab.reaches("mode/outside", &server, 7000), "PERMISSIVE takes plaintext");
    assert!(lab.reaches("mode/inside", &server, 7000), "and mutual TLS");
}

#[test]
fn an_open_connection_ends_when_its_policy_goes_and_not_before() {
    // Says a line every 20 ms and wants it back; succeeds as soon as one does not come, fails after a thousand.
    const TALK: &str = "exec 3<>/dev/tcp/$0/7000 && echo open; for count in {1..1000}; do \
                        echo line >&3 && read -t 1 back <&3 && echo $back || exit 0; sleep 0.02; done; exit 1";
    let policy = |ports: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: some, namespace: talk}}\n\
             spec: {{podSelector: {{}}, ingress: [{{ports: [{ports}]}}]}}\n"
        )
    };
    for (name, enrolled) in [("e2e-talk-kernel", false), ("e2e-talk-proxy", true)] {
        let folder = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| fs::write(folder.path().join(file), text).unwrap();
        write("pods.yaml", &(echo_pod("talk", "client", enrolled) + &echo_pod("talk", "server", enrolled)));
        write("policy.yaml", &policy("{port: 7000}"));
        let lab = Lab::up(name, &[folder.path()]);
        let edit = |text: &str| {
            let before = lab.status()["revision"].as_u64().unwrap();
            write("policy.yaml", text);
            soon(|| lab.status()["revision"].as_u64().unwrap() > before);
        };
        let mut talk = lab.command(&["exec", "talk/client", "--", "bash", "-c", TALK, &lab.address("talk/server")]);
        let mut talk = talk.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(talk.stdout.take().unwrap()).lines();
        assert_eq!(said.next().unwrap().unwrap(), "open");
        edit(&policy("{port: 7000}, {port: 7001}"));
        for _ in 0..20 {
            assert_eq!(said.next().expect("the connection is not disturbed").unwrap(), "line");
        }
        edit(&policy("{port: 7001}"));
        let began = Instant::now();
        let late = said.count();
        println!(
            "{name}: the last of {late} lines after the edit came, and the end was seen, in {:?}",
            began.elapsed()
        );
        assert!(talk.wait().unwrap().success(), "the connection ends");
    }
}

#[test]
fn svids_rotate_while_pods_speak() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pods.yaml"), echo_pod("turn", "client", true) + &echo_pod("turn", "server", true))
        .unwrap();
    let lab = Lab("e2e-turn");
    let output = lab.command(&["up", "--detach"]).args(["--svid-ttl", "10s"]).arg(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let server = lab.address("turn/server");
    let expires = || lab.state("turn/server")["svidExpires"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let before = expires();
        assert!(lab.reaches("turn/client", &server, 7000), "with the SVID that expires at {before}");
        soon(|| expires() > before);
    }
    assert!(lab.reaches("turn/client", &server, 7000), "with the SVID after two rotations");
}

#[test]
fn an_ipv6_lab_does_what_is_predicted() {
    let lab = Lab("e2e-six");
    let blocks = ["--pod-cidr", "fd00:10:244::/64", "--service-cidr", "fd00:10:96::/112"];
    let output = lab.command(&["up", "--detach"]).args(blocks).arg(example("shop")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lab.assert_predictions_hold();
}

#[test]
fn probes_say_which_pods_are_ready() {
    let folder = tempfile::tempdir().unwrap();
    let pod = |name: &str, annotations: &str, probe: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: probes, labels: {{app: web}}, annotations: {{{annotations}}}}}\n\
             spec:\n  containers:\n  - name: main\n    image: x\n    command: [sleep, infinity]\n    ports: [{{name: http, \
             containerPort: 8080}}]\n    readinessProbe: {{{probe}, periodSeconds: 1}}\n---\n"
        )
    };
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: probes}\n\
                   spec: {clusterIP: None, selector: {app: web}, ports: [{port: 8080}]}\n";
    let text = pod("good", "", "httpGet: {path: /, port: http}")
        + &pod("exec", "lictor.dev/run: host", "exec: {command: [\"true\"]}")
        + &pod("bad", "lictor.dev/run: host", "tcpSocket: {port: 8080}")
        + service;
    fs::write(folder.path().join("probes.yaml"), text).unwrap();
    let lab = Lab::up("e2e-probes", &[folder.path()]);
    let ready = |pod: &str| {
        let status = lab.status();
        let states =
            status["workloads"].as_array().unwrap().iter().flat_map(|workload| workload["states"].as_array().unwrap());
        states.filter(|state| state["pod"] == format!("probes/{pod}")).any(|state| state["ready"] == true)
    };
    soon(|| ready("good") && ready("exec"));
    assert!(!ready("bad"), "nobody listens there");
    let known = |name: &str| lab.run(&["exec", "probes/good", "--", "getent", "ahostsv4", name]).stdout;
    let addresses = String::from_utf8(known("web")).unwrap();
    let addresses: std::collections::BTreeSet<&str> =
        addresses.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(addresses.len(), 2, "a headless service answers with the ready ones: {addresses:?}");
}
