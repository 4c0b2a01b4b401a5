//! Names that policies speak of: who may ask for them, what their answers open, for whom and for how long. The outside has
//! its own DNS server here.

use crate::capture::node_of;
use crate::lab::{Lab, soon};
use lictor_datapath::link;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const POLICY: &str = "
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

fn client(name: &str, enrolled: bool) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: names, labels: {{app: client}}, \
         annotations: {{lictor.dev/enroll: \"{enrolled}\"}}}}\nspec: {{containers: [{{name: main, image: x}}]}}\n"
    )
}

/// A lab with these pods, whose questions go to a server that knows these names; and the folder that it follows.
fn lab(name: &'static str, pods: &[String], known: fn(&str) -> Option<[u8; 4]>, ttl: u8) -> (Lab, TempDir) {
    let server = answering(known, ttl);
    let folder = tempfile::tempdir().unwrap();
    write(&folder, pods);
    (Lab::up_with(name, &["--dns-upstream", &server], &[folder.path()]), folder)
}

fn write(folder: &TempDir, pods: &[String]) {
    fs::write(folder.path().join("m.yaml"), POLICY.to_owned() + &pods.concat()).unwrap();
}

/// Answers questions for the IPv4 addresses of the names that it knows.
fn answering(known: fn(&str) -> Option<[u8; 4]>, ttl: u8) -> String {
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
            let found = known(&name).filter(|_| question[at + 2] == 1);
            let code = if known(&name).is_some() { 0 } else { 3 };
            let mut answer = message[..2].to_vec();
            answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(found.is_some()), 0, 0, 0, 0]);
            answer.extend(&message[12..end]);
            if let Some(address) = found {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, ttl, 0, 4]);
                answer.extend(address);
            }
            socket.send_to(&answer, client).unwrap();
        }
    });
    address
}

/// Lets someone outside the cluster answer at these addresses on port 80, with whatever it is told.
fn echo_outside(lab: &Lab, addresses: impl IntoIterator<Item = [u8; 4]>) {
    let node = node_of(lab);
    for address in addresses {
        link::add_address(&node, "lictor0", Ipv4Addr::from(address).into(), 32).unwrap();
    }
    let listener = node.run(|| TcpListener::bind("0.0.0.0:80")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut said = [0; 64];
                while let Ok(length @ 1..) = stream.read(&mut said) {
                    stream.write_all(&said[..length]).unwrap();
                }
            });
        }
    });
}

/// Whether a connection out of the pod is let out, by the record of it: nothing is there to answer.
fn is_let_out(lab: &Lab, address: &str) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}", address.replace(':', "/"));
    lab.run(&["exec", "names/client", "--", "timeout", "0.4", "bash", "-c", &script]);
    let line = || flows(lab).lines().rfind(|line| line.contains(&format!("-> {address}/TCP"))).map(str::to_owned);
    soon(|| line().is_some());
    let line = line().unwrap_or_default();
    assert!(line.contains("DENIED") != line.contains("ALLOWED"), "{line}");
    line.contains("ALLOWED")
}

fn flows(lab: &Lab) -> String {
    String::from_utf8_lossy(&lab.run(&["flows"]).stdout).into_owned()
}

fn look_up(lab: &Lab, pod: &str, name: &str) -> String {
    let output = lab.run(&["exec", pod, "--", "getent", "ahostsv4", name]);
    String::from_utf8_lossy(&output.stdout).split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn an_answer_opens_what_the_policy_says_of_its_name_and_nothing_else() {
    let known = |name: &str| match name {
        "www.example.test." => Some([203, 0, 113, 5]),
        "seen.test." => Some([203, 0, 113, 6]),
        "other.test." => Some([203, 0, 113, 7]),
        _ => None,
    };
    let (lab, _folder) = lab("e2e-names", &[client("client", false)], known, 60);

    assert!(!is_let_out(&lab, "203.0.113.5:80"), "nobody has asked for the name");
    assert_eq!(look_up(&lab, "names/client", "www.example.test."), "203.0.113.5");
    soon(|| is_let_out(&lab, "203.0.113.5:80"));
    assert!(!is_let_out(&lab, "203.0.113.5:81"), "the answer has opened the port of the rule only");

    assert_eq!(look_up(&lab, "names/client", "seen.test."), "203.0.113.6", "a name may be asked for");
    assert!(!is_let_out(&lab, "203.0.113.6:80"), "and not be gone to");

    assert_eq!(look_up(&lab, "names/client", "other.test."), "", "this one may not be asked for");
    soon(|| flows(&lab).lines().any(|line| line.contains("DENIED") && line.contains("DNS other.test")));
}

#[test]
fn an_answer_opens_for_the_pod_that_got_it_and_for_its_time() {
    let known = |name: &str| match name {
        "www.example.test." => Some([203, 0, 113, 5]),
        "idle.example.test." => Some([203, 0, 113, 6]),
        _ => None,
    };
    let pods = [client("client", false), client("meshed", true), client("other", false)];
    let (lab, _folder) = lab("e2e-names-time", &pods, known, 1);
    echo_outside(&lab, [[203, 0, 113, 5], [203, 0, 113, 6]]);
    let (www, idle) = ("203.0.113.5", "203.0.113.6");
    let may = |pod: &str| lab.run(&["why", pod, &format!("{www}:80")]).status.success();

    let askers = ["names/client", "names/meshed"];
    for pod in askers {
        assert_eq!(look_up(&lab, pod, "www.example.test."), www);
        assert!(lab.reaches(pod, www, 80) && may(pod), "{pod} has asked");
    }
    assert!(!lab.reaches("names/other", www, 80) && !may("names/other"), "this one has not");

    // Longer than an answer holds that nobody uses.
    let held = Duration::from_secs(20);
    let script = format!(
        "exec 3<>/dev/tcp/{www}/80; for ((i = 0; i < {}; i++)); do echo $i >&3; read -t 2 got <&3; [ \"$got\" = $i ] || exit 1; sleep 1; done",
        held.as_secs()
    );
    for pod in askers {
        look_up(&lab, pod, "www.example.test.");
    }
    let began = Instant::now();
    let holding = askers.map(|pod| lab.command(&["exec", pod, "--", "bash", "-c", &script]).spawn().unwrap());

    assert_eq!(look_up(&lab, "names/client", "idle.example.test."), idle);
    assert!(lab.reaches("names/client", idle, 80));
    assert!(!lab.reaches("names/meshed", idle, 80), "it has asked for another name");
    soon(|| !lab.reaches("names/client", idle, 80));
    assert!(began.elapsed() < held, "the other connections are still open");
    for pod in askers {
        assert!(lab.reaches(pod, www, 80), "what {pod} is connected with stays open");
    }
    for (pod, mut holding) in askers.into_iter().zip(holding) {
        assert!(holding.wait().unwrap().success(), "the connection of {pod} has outlived the answer");
    }
    for pod in askers {
        soon(|| !lab.reaches(pod, www, 80));
        assert!(!may(pod), "{pod} has to ask again");
    }
    assert_eq!(look_up(&lab, "names/client", "www.example.test."), www);
    assert!(lab.reaches("names/client", www, 80));
}

#[test]
fn a_pod_gets_an_answer_after_the_kernel_knows_it() {
    const NAMES: u8 = 30;
    let known = |name: &str| {
        let number = name.strip_suffix(".example.test.")?.strip_prefix('n')?.parse().ok()?;
        (number < NAMES).then_some([203, 0, 113, number])
    };
    let (lab, _folder) = lab("e2e-names-first", &[client("client", false)], known, 60);
    echo_outside(&lab, (0..NAMES).map(|number| [203, 0, 113, number]));
    // The shell looks the name up and opens the connection at once. A first packet that is dropped would be on record.
    let script = format!(
        "for ((i = 0; i < {NAMES}; i++)); do exec 3<>/dev/tcp/n$i.example.test./80 || exit 1; echo salve >&3; read got <&3; done"
    );
    assert!(lab.run(&["exec", "names/client", "--", "bash", "-c", &script]).status.success());
    soon(|| flows(&lab).matches("-> 203.0.113.").count() >= usize::from(NAMES));
    let refused: Vec<String> = flows(&lab).lines().filter(|line| line.contains("DENIED")).map(str::to_owned).collect();
    assert_eq!(refused, Vec::<String>::new());
}

#[test]
fn what_a_pod_has_learnt_goes_with_it_and_stays_when_others_change() {
    let known = |name: &str| (name == "www.example.test.").then_some([203, 0, 113, 5]);
    let other = |app: &str| client("other", false).replace("app: client", &format!("app: {app}"));
    let (lab, folder) = lab("e2e-names-gone", &[client("client", false), other("client")], known, 255);
    echo_outside(&lab, [[203, 0, 113, 5]]);
    assert_eq!(look_up(&lab, "names/client", "www.example.test."), "203.0.113.5");
    assert!(lab.reaches("names/client", "203.0.113.5", 80));

    write(&folder, &[client("client", false), other("free")]);
    soon(|| lab.reaches("names/other", "203.0.113.5", 80));
    assert!(lab.reaches("names/client", "203.0.113.5", 80), "no policy selects the other pod any more, that is all");

    // Another specification: the pod is made again, with the address that it had.
    let again = client("client", false).replace("image: x", "image: another");
    let pid = || lab.state("names/client")["pid"].as_u64();
    let (before, address) = (pid(), lab.address("names/client"));
    write(&folder, &[again, other("free")]);
    soon(|| pid().is_some_and(|now| Some(now) != before));
    assert_eq!(lab.address("names/client"), address);
    assert!(!lab.reaches("names/client", "203.0.113.5", 80), "it has not asked");
    assert_eq!(look_up(&lab, "names/client", "www.example.test."), "203.0.113.5");
    assert!(lab.reaches("names/client", "203.0.113.5", 80));
}
