//! Manifests change while a lab runs.

use crate::lab::{Lab, echo_pod, soon};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Instant;

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

/// What `status` says became of a policy.
fn state(lab: &Lab, policy: &str) -> String {
    let status = lab.status();
    let policies = status["policies"].as_array().unwrap();
    let known = policies.iter().find(|known| known["policy"]["name"] == policy).unwrap();
    known["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_policy_whose_rules_fail_closed_says_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("pods.yaml"), echo_pod("closed", "server", false)).unwrap();
    let policy = "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: some, namespace: closed}\n\
                  spec: {endpointSelector: {}, ingress: [{toPorts: [{ports: [{port: '9092', protocol: TCP}], rules: \
                  {kafka: [{role: produce}]}}]}, {toPorts: [{ports: [{port: '7000', protocol: TCP}]}]}]}\n";
    fs::write(folder.path().join("policy.yaml"), policy).unwrap();
    let lab = Lab::up("e2e-closed", &[folder.path()]);
    assert_eq!(state(&lab, "closed/some"), "enforced, but 1 rule asks for what is not done and fails closed");
}

#[test]
fn policies_that_do_not_fit_say_so_and_the_old_ones_stay() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("pods.yaml", &(echo_pod("room", "client", false) + &echo_pod("room", "server", false)));
    let policy = |rules: &str| {
        format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: some, namespace: room}}\n\
             spec: {{podSelector: {{}}, ingress: [{rules}]}}\n"
        )
    };
    write("policy.yaml", &policy("{ports: [{port: 7000}]}"));
    let lab = Lab::up("e2e-room", &[folder.path()]);
    let server = lab.address("room/server");
    let state = || state(&lab, "room/some");
    assert_eq!((state().as_str(), lab.reaches("room/client", &server, 7000)), ("enforced", true));

    // 600 blocks at 600 ports are 360,000 entries.
    let blocks: String =
        (0..600).map(|at| format!("{{ipBlock: {{cidr: 198.18.{}.{}/32}}}}, ", at / 200, at % 200)).collect();
    let ports: String = (0..600).map(|at| format!("{{port: {}}}, ", 10_000 + 2 * at)).collect();
    write("policy.yaml", &policy(&format!("{{from: [{blocks}], ports: [{ports}]}}")));
    soon(|| state() != "enforced");
    let said = state();
    println!("{said}");
    assert!(said.starts_with("in force as it was before; not applied: ") && said.contains("there is room for 262144"));
    assert!(lab.status()["refused"].as_str().unwrap().contains("there is room for 262144"));
    assert!(lab.reaches("room/client", &server, 7000), "what was in force stays");

    write("policy.yaml", &policy("{ports: [{port: 7001}]}"));
    soon(|| state() == "enforced");
    assert!(!lab.reaches("room/client", &server, 7000), "what fits is in force");
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
