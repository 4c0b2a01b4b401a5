//! What a lab leaves on the machine: nothing. Needs root, and a program of its own, as it looks at the whole machine.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "lab/lab.rs"]
mod lab;

use lab::{Lab, example, soon};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn down_and_a_kill_leave_nothing_that_the_next_lab_does_not_clean() {
    let name = "e2e-left";
    let before = machine();
    let lab = Lab::up(name, &[&example("shop")]);
    let running: Vec<String> = machine().difference(&before).cloned().collect();
    let kinds: BTreeSet<&str> = running.iter().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        ["bpf", "cgroup", "file", "netns", "process", "unix"],
        "a lab that runs is seen: {running:#?}"
    );
    drop(lab);
    soon(|| machine().is_subset(&before));

    let killed = Lab::up(name, &[&example("shop")]);
    let pid = killed.status()["pid"].to_string();
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    soon(|| !Path::new("/proc").join(&pid).exists());
    std::mem::forget(killed);
    let left: Vec<String> = machine().difference(&before).cloned().collect();
    println!("a killed lab leaves {} things for the next", left.len());

    let next = Lab::up(name, &[&example("shop")]);
    assert_eq!(next.status()["workloads"].as_array().unwrap().len(), 10);
    drop(next);
    soon(|| machine().is_subset(&before));
}

/// Everything on this machine of the kinds that a lab makes, a line each.
fn machine() -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut note = |kind: &str, what: &str| {
        seen.insert(format!("{kind} {what}"));
    };
    for process in fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap()) {
        let path = process.path();
        if let Ok(namespace) = fs::read_link(path.join("ns/net")) {
            note("netns", &namespace.to_string_lossy());
        }
        let of_a_lab = fs::read_to_string(path.join("cgroup")).is_ok_and(|cgroup| cgroup.contains("/lictor-"))
            || fs::read_link(path.join("exe")).is_ok_and(|exe| exe == Path::new(env!("CARGO_BIN_EXE_lictor")));
        if of_a_lab {
            note("process", &process.file_name().to_string_lossy());
        }
    }
    for line in fs::read_to_string("/proc/self/net/dev").unwrap().lines() {
        if let Some((link, _)) = line.split_once(':') {
            note("link", link.trim());
        }
    }
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        let point = line.split(' ').nth(4).unwrap();
        note("mount", point);
        if line.contains(" - cgroup2 ") {
            walk(Path::new(point), &mut |path| note("cgroup", &path.to_string_lossy()));
        }
    }
    for line in fs::read_to_string("/proc/self/net/unix").unwrap().lines() {
        if let Some(path) = line.split(' ').next_back().filter(|path| path.contains("lictor")) {
            note("unix", path);
        }
    }
    walk(Path::new("/sys/fs/bpf"), &mut |path| note("pin", &path.to_string_lossy()));
    walk(Path::new("/run/lictor"), &mut |path| note("file", &path.to_string_lossy()));
    for program in aya::programs::loaded_programs().flatten() {
        note("bpf", &format!("program {} {}", program.id(), program.name_as_str().unwrap_or_default()));
    }
    for map in aya::maps::loaded_maps().flatten() {
        note("bpf", &format!("map {} {}", map.id(), map.name_as_str().unwrap_or_default()));
    }
    seen
}

/// Each folder below one, and each file that is not one of a cgroup's own.
fn walk(folder: &Path, see: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if directory || !entry.file_name().to_string_lossy().starts_with("cgroup.") {
            see(&entry.path());
        }
        if directory {
            walk(&entry.path(), see);
        }
    }
}
