//! Machines that are not as they should be: each is a mount namespace that this program enters and goes on in.

use crate::setting::{Setting, THIS_PROGRAM, block_on, shell};
use lictor_lab::process::{Exit, cgroup2_mount, own_mounts};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, ExitCode};

pub(crate) fn a_machine_without_its_files_in_etc_will_do() {
    go_into("bare-etc");
}

pub(crate) fn a_machine_without_a_cgroup_tree_gets_one() {
    go_into("no-cgroups");
}

pub(crate) fn a_chroot_will_do_and_nothing_shows_outside() {
    go_into("chroot");
}

fn go_into(room: &str) {
    let program = std::env::current_exe().expect("this program");
    let status = Command::new(program).args(["room", room]).status().expect("it runs");
    assert!(status.success(), "{room}: {status}");
}

/// `room NAME`: makes the machine so, and runs a pod in it.
pub(crate) fn enter(room: &str) -> ExitCode {
    own_mounts().expect("mounts: this test needs root");
    match room {
        "bare-etc" => {
            mount(Some("tmpfs"), "/etc", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mounted");
            fs::write("/etc/passwd", "root:x:0:0::/root:/bin/sh\n").expect("written");
            symlink("/run/nowhere/resolv.conf", "/etc/resolv.conf").expect("linked");
            run_a_pod(&["root:x:0:0::/root:/bin/sh"]);
            assert!(!Path::new("/etc/hosts").exists(), "the machine's own folder is left as it was");
        }
        "no-cgroups" => {
            while let Some(tree) = cgroup2_mount().expect("mounts") {
                umount2(&tree, MntFlags::MNT_DETACH).expect("unmounted");
            }
            let passwd = fs::read_to_string("/etc/passwd").expect("a file");
            run_a_pod(&passwd.lines().collect::<Vec<_>>());
            assert_eq!(cgroup2_mount().expect("mounts"), None, "what was mounted is unmounted");
        }
        "chroot" => in_a_chroot(),
        other => panic!("no room {other}"),
    }
    ExitCode::SUCCESS
}

/// A chroot in a plain folder of a mount whose changes show elsewhere, as the root of most machines is.
fn in_a_chroot() {
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path();
    mount(Some("tmpfs"), root, Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("mounted");
    mount_on(None, root, MsFlags::MS_SHARED);
    let root = root.join("debian");
    for name in ["usr", "bin", "lib", "lib64", "sbin", "dev", "etc"] {
        let from = Path::new("/").join(name);
        match fs::read_link(&from) {
            Ok(target) => symlink(target, root.join(name)).expect("linked"),
            Err(_) if from.is_dir() => {
                fs::create_dir_all(root.join(name)).expect("a folder");
                mount_on(Some(&from), root.join(name), MsFlags::MS_BIND);
            }
            Err(_) => {}
        }
    }
    for (kind, name) in [("proc", "proc"), ("sysfs", "sys"), ("cgroup2", "sys/fs/cgroup"), ("tmpfs", "tmp")] {
        let target = root.join(name);
        fs::create_dir_all(&target).expect("a folder");
        mount(Some(kind), &target, Some(kind), MsFlags::empty(), None::<&str>).expect("mounted");
    }
    let inside = root.join("tmp/program");
    fs::copy(THIS_PROGRAM, &inside).expect("copied");
    let mounts = || fs::read_to_string("/proc/self/mounts").expect("mounts").lines().count();
    let before = mounts();
    let status = Command::new("chroot").arg(&root).args(["/tmp/program", "a_pod_sees"]).status().expect("chroot");
    assert!(status.success(), "{status}");
    assert_eq!(mounts(), before, "nothing that the pods have mounted shows outside");
}

fn mount_on(source: Option<&Path>, target: impl AsRef<Path>, flags: MsFlags) {
    mount(source, target.as_ref(), None::<&str>, flags, None::<&str>).expect("mounted");
}

/// Runs a pod that has its files in `/etc`, with the machine's `passwd` beside them.
fn run_a_pod(passwd: &[&str]) {
    block_on(async {
        let setting = Setting::new("t-room").await;
        let pod = setting.pod("web");
        let running = pod.start(shell("cat /etc/hostname /etc/resolv.conf /etc/passwd; tail -n 1 /etc/hosts")).await;
        assert_eq!(running.exited().await, Exit::Status(0));
        let wanted = [&["web", "nameserver 10.96.0.10"], passwd, &["10.244.0.5\tweb"]].concat();
        assert_eq!(pod.logged().lines().collect::<Vec<_>>(), wanted);
        pod.remove();
        setting.state.remove().expect("removed");
    });
}
