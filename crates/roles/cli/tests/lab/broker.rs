//! The SPIFFE Broker API of a lab: a pod that is a broker, one that is not, and a broker of the machine's own.

use crate::broker_client::{SOCKET, here, told_here, told_in};
use crate::lab::{Lab, soon};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

const PROGRAM: &str = env!("CARGO_BIN_EXE_lictor");
const PROXY: &str = "spiffe://cluster.local/ns/brk/sa/proxy";
const CLIENT: &str = "spiffe://cluster.local/ns/brk/sa/client";

fn pod(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: brk}}\n---\n\
         apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: brk, annotations: {{lictor.dev/run: host}}}}\n\
         spec: {{serviceAccountName: {name}, containers: [{{name: main, image: x, command: [sleep, infinity]}}]}}\n"
    )
}

/// Has a pod keep its SVID in files, and returns their folder.
fn files(lab: &Lab, folder: &Path, pod: &str) -> PathBuf {
    let files = folder.join(format!("files-{pod}"));
    let words = ["identity", "fetch", "x509", "--write", files.to_str().unwrap()];
    let output = lab.run(&[&["exec", &format!("brk/{pod}"), "--", PROGRAM], &words[..]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    files
}

/// The number of a process of a pod, as the machine counts.
fn process_of(lab: &Lab, pod: &str) -> u32 {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let root = fields.filter(|fields| fields[2] == "cgroup2").map(|fields| PathBuf::from(fields[1])).next().unwrap();
    let cgroup = root.join(format!("lictor-{}/brk.{pod}/main/cgroup.procs", lab.0));
    fs::read_to_string(cgroup).unwrap().lines().next().unwrap().parse().unwrap()
}

#[test]
fn a_broker_gets_what_the_pods_have_that_it_refers_to_and_nobody_else_does() {
    let folder = tempfile::tempdir().unwrap();
    let manifests = folder.path().join("manifests");
    fs::create_dir(&manifests).unwrap();
    for name in ["proxy", "client", "stranger"] {
        fs::write(manifests.join(format!("{name}.yaml")), pod(name)).unwrap();
    }
    let socket = folder.path().join("run/broker.sock");
    let broker = format!("{PROXY},type_url=*");
    let lab = Lab::up_with(
        "e2e-broker",
        &["--broker", &broker, "--broker-socket-path", socket.to_str().unwrap()],
        &[&manifests],
    );
    let proxy = files(&lab, folder.path(), "proxy");
    let ask = |about: &str| told_in(&lab, "brk/proxy", &proxy, "", about);
    assert_eq!(ask("brk/client 1"), [CLIENT]);
    assert_eq!(ask("brk/proxy 1"), [PROXY]);
    let missing = "NotFound: the referenced workload is not on this node";
    assert_eq!(ask("brk/nobody 1"), [missing]);
    assert_eq!(ask("lictor/broker-endpoint 1"), [missing]);

    // A pod counts processes for itself; the machine's own broker counts as the node does.
    let number = process_of(&lab, "client");
    let refused = ask(&format!("pid:{number} 1"));
    assert!(
        refused[0].starts_with("InvalidArgument: expected a reference to a process from the node's own"),
        "{refused:?}"
    );
    assert_eq!(told_here(&socket, &proxy, &format!("pid:{number} 1")), [CLIENT]);
    let own = told_here(&socket, &proxy, &format!("pid:{} 1", std::process::id()));
    assert_eq!(own, ["PermissionDenied: no identity is issued to the referenced workload"]);

    // Another pod is told neither where the socket is nor anything there.
    let variables = |pod: &str| {
        let output = lab.run(&["exec", &format!("brk/{pod}"), "--", "env"]);
        String::from_utf8_lossy(&output.stdout).contains(&format!("{SOCKET}=unix://{}", socket.display()))
    };
    assert_eq!((variables("proxy"), variables("stranger")), (true, false));
    let stranger = files(&lab, folder.path(), "stranger");
    let named = format!("{SOCKET}='unix://{}'", socket.display());
    let denied = ["PermissionDenied: the caller is no broker of this node"];
    assert_eq!(told_in(&lab, "brk/stranger", &stranger, &named, "brk/client 1"), denied);

    // Who had whose key is on record.
    let answers = fs::read_to_string(format!("/run/lictor/{}/brokers.jsonl", lab.0)).unwrap();
    let answers: Vec<serde_json::Value> = answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |caller: &str, code: &str, pod: &str| {
        let is = |answer: &&serde_json::Value| (&answer["caller"], &answer["code"]) == (&caller.into(), &code.into());
        answers.iter().filter(is).filter(|answer| answer["pod"].as_str().unwrap_or_default() == pod).count()
    };
    assert_eq!((told(PROXY, "Ok", "brk/client"), told(PROXY, "Ok", "brk/proxy")), (2, 1), "{answers:?}");
    assert_eq!((told(PROXY, "NotFound", ""), told(PROXY, "InvalidArgument", "")), (2, 1), "{answers:?}");
    assert_eq!(told("spiffe://cluster.local/ns/brk/sa/stranger", "PermissionDenied", ""), 1, "{answers:?}");

    // A stream goes on with what changes and ends with the pod.
    let mut watching = here(&socket, &proxy, "brk/client 9").spawn().unwrap();
    let mut told = BufReader::new(watching.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told = || told.find_map(|line| line.strip_prefix("answer ").map(str::to_owned));
    assert_eq!(told().as_deref(), Some(CLIENT));
    assert!(lab.run(&["identity", "ca", "prepare"]).status.success());
    assert_eq!(told().as_deref(), Some(CLIENT), "with one more authority");
    fs::remove_file(manifests.join("client.yaml")).unwrap();
    assert_eq!(told().as_deref(), Some(missing));
    watching.wait().unwrap();
    soon(|| ask("brk/client 1") == [missing]);

    drop(lab);
    assert!(!socket.exists());
}

#[test]
fn without_a_broker_there_is_no_endpoint() {
    let lab = Lab("e2e-broker-none");
    let refused = |words: &[&str]| {
        let output = lab.command(&[&["up"], words].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pod.yaml"), pod("client")).unwrap();
    let path = folder.path().to_str().unwrap();
    let said = refused(&["--broker-socket-path", "/tmp/b.sock", path]);
    assert!(said.contains("--broker <SPIFFE-ID,type_url=...>"), "{said}");
    let said = refused(&["--broker", &format!("{PROXY},type_url=*"), path]);
    assert!(said.contains("--broker-socket-path"), "{said}");
    let foreign = ["--broker", "spiffe://other.example/proxy,type_url=*", "--broker-socket-path", "/tmp/b.sock", path];
    let said = refused(&foreign);
    assert!(said.contains("a broker of the trust domain cluster.local"), "{said}");
    let beside = "/run/lictor/e2e-broker-none/broker.sock";
    let said = refused(&["--broker", &format!("{PROXY},type_url=*"), "--broker-socket-path", beside, path]);
    assert!(said.contains("cannot be in the folder of the Workload API's"), "{said}");
    // There is none to be taken down.
    std::mem::forget(lab);
}
