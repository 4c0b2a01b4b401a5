//! Identities and mutual TLS between pods.

use crate::capture::Capture;
use crate::lab::{Lab, echo_pod, soon};
use crate::workload_client;
use std::fs;

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
fn nothing_that_enrolled_pods_say_is_on_the_bridge() {
    let folder = tempfile::tempdir().unwrap();
    let pods = ["inside", "outside"].map(|namespace| {
        let enrolled = namespace == "inside";
        echo_pod(namespace, "client", enrolled) + &echo_pod(namespace, "server", enrolled)
    });
    fs::write(folder.path().join("pods.yaml"), pods.concat()).unwrap();
    let lab = Lab::up("e2e-bridge", &[folder.path()]);
    let seen = |namespace: &str| {
        let server = lab.address(&format!("{namespace}/server"));
        let script = format!(
            "exec 3<>/dev/tcp/{server}/7000; for count in {{1..50}}; do echo open-sesame-$count >&3 && \
             read -t 2 back <&3 && [ $back = open-sesame-$count ] || exit 1; done"
        );
        let capture = Capture::on_the_node_of(&lab);
        let talk = lab.run(&["exec", &format!("{namespace}/client"), "--", "bash", "-c", &script]);
        assert!(talk.status.success(), "{namespace}: {}", String::from_utf8_lossy(&talk.stderr));
        capture.end()
    };
    let (inside, outside) = (seen("inside"), seen("outside"));
    println!("captured {} bytes of enrolled pods, {} bytes of others", inside.bytes(), outside.bytes());
    assert!(inside.bytes() > 5_000, "the words went over the bridge");
    assert_eq!(inside.count(b"open-sesame"), 0, "in the mesh nothing is readable");
    assert!(outside.count(b"open-sesame-50") >= 2, "outside it everything is, both ways");
}

#[test]
fn two_pods_never_get_each_others_svid() {
    let folder = tempfile::tempdir().unwrap();
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: ids}}\n---\n\
             apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: ids}}\nspec:\n  serviceAccountName: {name}\n  \
             containers:\n  - {{name: main, image: x, ports: [{{name: tcp, containerPort: 7000}}]}}\n---\n"
        )
    };
    fs::write(folder.path().join("pods.yaml"), pod("one") + &pod("two")).unwrap();
    let lab = Lab::up("e2e-ids", &[folder.path()]);
    let own = |name: &str| vec![format!("spiffe://cluster.local/ns/ids/sa/{name}")];
    for name in ["one", "two", "one"] {
        assert_eq!(workload_client::ids(&lab, &format!("ids/{name}"), "true"), own(name));
    }
    // What a process of a pod may try as root: the cgroup tree by a mount of its own, in namespaces of its own.
    let sneak = "mkdir -p /tmp/tree && mount -t cgroup2 none /tmp/tree && echo 0 > /tmp/tree/lictor-e2e-ids/ids.two/cgroup.procs";
    let walled = format!("unshare -Urm --propagation private sh -c '{sneak}'");
    let climb = "echo 0 > /sys/fs/cgroup/lictor-e2e-ids/ids.two/cgroup.procs; umount /sys";
    for attempt in [sneak, &walled, climb] {
        let tried = lab.run(&["exec", "ids/one", "--", "sh", "-c", attempt]);
        assert!(!tried.status.success(), "{attempt}: {}", String::from_utf8_lossy(&tried.stdout));
        assert_eq!(workload_client::ids(&lab, "ids/one", attempt), own("one"), "after `{attempt}`");
    }
    // The machine is outside every pod.
    assert_eq!(workload_client::ids_outside(&lab), ["PermissionDenied: no identity issued"]);
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
