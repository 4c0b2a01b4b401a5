//! Processes that want to be what they are not, on the real kernel: none gets what another pod is entitled to.

use crate::lab::{Lab, soon};
use crate::workload_client::{CONNECTED, FORKS, WAITS, answers, process_in};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

const VICTIM: &str = "spiffe://cluster.local/ns/spoof/sa/victim";
const ATTACKER: &str = "spiffe://cluster.local/ns/spoof/sa/attacker";
const DENIED: &str = "PermissionDenied: no identity issued";

/// A lab with a victim and an attacker, and a cgroup outside of it.
struct World {
    lab: Lab,
    folder: tempfile::TempDir,
    outside: PathBuf,
}

impl World {
    fn up(name: &'static str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pod = |name: &str| {
            format!(
                "apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: spoof}}\n---\n\
                 apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: spoof, annotations: {{lictor.dev/run: host}}}}\n\
                 spec: {{serviceAccountName: {name}, containers: [{{name: main, image: x, command: [sleep, infinity]}}]}}\n"
            )
        };
        for name in ["victim", "attacker"] {
            fs::write(folder.path().join(format!("{name}.yaml")), pod(name)).unwrap();
        }
        let lab = Lab::up(name, &[folder.path()]);
        let outside = mounted().join(format!("lictor-{name}-outside"));
        fs::create_dir_all(&outside).unwrap();
        Self { lab, folder, outside }
    }

    fn cgroup(&self, pod: &str) -> PathBuf {
        mounted().join(format!("lictor-{}", self.lab.0)).join(format!("spoof.{pod}"))
    }

    fn container(&self, pod: &str) -> PathBuf {
        self.cgroup(pod).join("main")
    }

    /// What a process in a cgroup is told, after a command of its own.
    fn told(&self, cgroup: &Path, before: &str) -> Vec<String> {
        answers(&process_in(&self.lab, cgroup, before, &[]).output().unwrap())
    }

    /// A process that has connected from a cgroup and waits for `go`; its number then.
    fn connected(&self, cgroup: &Path, go: &Path, variables: &[(&str, &str)]) -> (Child, u32) {
        let variables = [&[(WAITS, go.to_str().unwrap())], variables].concat();
        let mut child = process_in(&self.lab, cgroup, "", &variables).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
        let pid = lines.find_map(|line| line.unwrap().strip_prefix(CONNECTED).map(|pid| pid.parse().unwrap()));
        (child, pid.unwrap())
    }
}

impl Drop for World {
    fn drop(&mut self) {
        fs::write(self.outside.join("cgroup.kill"), "1").ok();
        remove(&self.outside);
    }
}

fn remove(cgroup: &Path) {
    for below in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&below.path());
        }
    }
    // A killed process leaves its cgroup a moment later.
    soon(|| fs::remove_dir(cgroup).is_ok() || !cgroup.exists());
}

fn mounted() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup tree");
    PathBuf::from(line.split(' ').nth(1).unwrap())
}

fn rest(mut child: Child) -> Vec<String> {
    let mut text = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
    child.wait().unwrap();
    answers(&std::process::Output { status: Default::default(), stdout: text.into_bytes(), stderr: Vec::new() })
}

#[test]
fn mounts_and_names_of_cgroups_deceive_nobody() {
    let world = World::up("e2e-spoof-mount");
    let (victim, attacker) = (world.container("victim"), world.container("attacker"));
    assert_eq!(world.told(&victim, ""), [VICTIM]);
    assert_eq!(world.told(&attacker, ""), [ATTACKER]);

    // Its own mounts show the victim's cgroup in place of its own, and the victim's lines in place of its own.
    let lines = world.folder.path().join("lines");
    fs::write(&lines, format!("0::/lictor-{}/spoof.victim/main\n", world.lab.0)).unwrap();
    let mounts = |own: &Path| {
        format!(
            "exec unshare -m sh -c 'mount --bind {} {} && mount --bind {} /proc/$$/cgroup && \
             grep -q victim /proc/$$/cgroup && exec \"$@\"' --",
            victim.display(),
            own.display(),
            lines.display()
        )
    };
    assert_eq!(world.told(&attacker, &mounts(&attacker)), [ATTACKER], "what it is, and no more");
    assert_eq!(world.told(&world.outside, &mounts(&world.outside)), [DENIED]);
    // A cgroup namespace of its own renames what it sees, not what the node sees.
    assert_eq!(world.told(&world.outside, "exec unshare -C"), [DENIED]);
    assert_eq!(world.told(&attacker, "exec unshare -C"), [ATTACKER]);

    // Cgroups of its own making, called like the victim's.
    for base in [&attacker, &world.outside, &world.cgroup("attacker")] {
        let nested = base.join(format!("lictor-{}", world.lab.0)).join("spoof.victim/main");
        fs::create_dir_all(&nested).unwrap();
        let expected = if *base == attacker { ATTACKER } else { DENIED };
        assert_eq!(world.told(&nested, ""), [expected], "{}", nested.display());
    }
    // One in the victim's pod that is no container of it, and one beside the pods.
    for path in [world.cgroup("victim").join("other"), world.cgroup("victim2").join("main"), world.cgroup("victim")] {
        fs::create_dir_all(&path).unwrap();
        assert_eq!(world.told(&path, ""), [DENIED], "{}", path.display());
    }
}

#[test]
fn neither_a_number_nor_a_connection_is_inherited() {
    let world = World::up("e2e-spoof-heir");
    let (victim, go) = (world.container("victim"), world.folder.path().join("go"));
    // The process that connected ends; its child holds the connection, and a process of the victim gets the number.
    let (mut heir, pid) = world.connected(&victim, &go, &[(FORKS, "1")]);
    heir.wait().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    let mut taker = taker(pid);
    fs::write(victim.join("cgroup.procs"), pid.to_string()).unwrap();
    fs::write(&go, "").unwrap();
    assert_eq!(rest(heir), [DENIED], "the number is a process of the victim's now");
    taker.kill().unwrap();
    taker.wait().unwrap();

    // A stranger connects and leaves the connection to a process that is in the victim's pod by then.
    fs::remove_file(&go).unwrap();
    let (mut stranger, _) = world.connected(&world.outside, &go, &[(FORKS, "1")]);
    stranger.wait().unwrap();
    let heirs = fs::read_to_string(world.outside.join("cgroup.procs")).unwrap();
    for heir in heirs.lines() {
        fs::write(victim.join("cgroup.procs"), heir).unwrap();
    }
    assert_eq!(heirs.lines().count(), 1);
    fs::write(&go, "").unwrap();
    assert_eq!(rest(stranger), [DENIED]);
}

/// A process of this number, which is free: the kernel is told which one it gave last. Others may be quicker.
fn taker(pid: u32) -> Child {
    for _ in 0..500 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        if child.id() == pid {
            return child;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    panic!("no process was given the number {pid}");
}

#[test]
fn what_a_pod_had_ends_with_it() {
    let world = World::up("e2e-spoof-gone");
    let (victim, go) = (world.container("victim"), world.folder.path().join("go"));
    let (survivor, pid) = world.connected(&victim, &go, &[]);
    // Out of the pod, so that it outlives it.
    fs::write(world.outside.join("cgroup.procs"), pid.to_string()).unwrap();
    fs::remove_file(world.folder.path().join("victim.yaml")).unwrap();
    soon(|| !world.cgroup("victim").exists());
    fs::write(&go, "").unwrap();
    assert_eq!(rest(survivor), [DENIED], "its pod is gone");
    // The path is made again, by somebody else.
    fs::create_dir_all(&victim).unwrap();
    assert_eq!(world.told(&victim, ""), [DENIED], "the path is that of a pod that was");
}
