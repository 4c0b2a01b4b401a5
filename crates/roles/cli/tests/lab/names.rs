//! Names that policies speak of: who may ask for them, and what their answers open. The outside has its own DNS server here.

use crate::lab::{Lab, soon};
use std::collections::HashMap;
use std::fs;
use std::net::UdpSocket;
use std::thread;

const POLICY: &str = "
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: names, labels: {app: client}, annotations: {lictor.dev/enroll: \"false\"}}
spec: {containers: [{name: main, image: x}]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: names, namespace: names}
spec:
  endpointSelector: {matchLabels: {app: client}}
  egress:
  - toEndpoints:
    - matchLabels: {k8s:io.kubernetes.pod.namespace: kube-system, k8s-app: kube-dns}
    toPorts:
    - ports: [{port: '53', protocol: ANY}]
      rules: {dns: [{matchPattern: '*.example.test'}, {matchName: seen.test}]}
  - toFQDNs: [{matchPattern: '*.example.test'}]
    toPorts:
    - ports: [{port: '80', protocol: TCP}]
";

/// Answers questions for IPv4 addresses of these names, and knows no other.
fn answering(names: HashMap<&'static str, [u8; 4]>) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut message = [0; 512];
        while let Ok((length, client)) = socket.recv_from(&mut message) {
            let question = &message[12..length];
            let (mut name, mut at) = (String::new(), 0);
            while question[at] != 0 {
                let label = &question[at + 1..=at + usize::from(question[at])];
                name += &format!("{}.", String::from_utf8_lossy(label));
                at += label.len() + 1;
            }
            let end = 12 + at + 5;
            let found = names.get(name.as_str()).filter(|_| question[at + 2] == 1);
            let code = if names.contains_key(name.as_str()) { 0 } else { 3 };
            let mut answer = message[..2].to_vec();
            answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
            answer.extend(&message[12..end]);
            if let Some(address) = found {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

/// Whether a connection out of the pod is let out, by the record of it: nothing is there to answer.
fn is_let_out(lab: &Lab, address: &str) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}", address.replace(':', "/"));
    lab.run(&["exec", "names/client", "--", "timeout", "0.4", "bash", "-c", &script]);
    let line = || {
        let flows = String::from_utf8_lossy(&lab.run(&["flows"]).stdout).into_owned();
        let of = |line: &&str| line.contains(&format!("-> {address}/TCP"));
        flows.lines().rfind(of).map(str::to_owned)
    };
    soon(|| line().is_some());
    let line = line().unwrap_or_default();
    assert!(line.contains("DENIED") != line.contains("ALLOWED"), "{line}");
    line.contains("ALLOWED")
}

fn look_up(lab: &Lab, name: &str) -> String {
    let output = lab.run(&["exec", "names/client", "--", "getent", "ahostsv4", name]);
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn an_answer_opens_what_the_policy_says_of_its_name_and_nothing_else() {
    let server = answering(HashMap::from([
        ("www.example.test.", [203, 0, 113, 5]),
        ("seen.test.", [203, 0, 113, 6]),
        ("other.test.", [203, 0, 113, 7]),
    ]));
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("m.yaml"), POLICY).unwrap();
    let lab = Lab::up_with("e2e-names", &["--dns-upstream", &server], &[folder.path()]);

    assert!(!is_let_out(&lab, "203.0.113.5:80"), "nobody has asked for the name");
    assert_eq!(look_up(&lab, "www.example.test."), "203.0.113.5");
    soon(|| is_let_out(&lab, "203.0.113.5:80"));
    assert!(!is_let_out(&lab, "203.0.113.5:81"), "the answer has opened the port of the rule only");

    assert_eq!(look_up(&lab, "seen.test."), "203.0.113.6", "a name may be asked for");
    assert!(!is_let_out(&lab, "203.0.113.6:80"), "and not be gone to");

    assert_eq!(look_up(&lab, "other.test."), "", "this one may not be asked for");
    soon(|| {
        let flows = String::from_utf8_lossy(&lab.run(&["flows"]).stdout).into_owned();
        flows.lines().any(|line| line.contains("DENIED") && line.contains("DNS other.test"))
    });
}
