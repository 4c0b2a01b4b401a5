//! What holds for the processes of pods.

use crate::setting::{PORT, Setting, block_on, eventually, is_alive, shell, stand_in, with_lab};
use lictor_lab::process::{
    Exit, Phase, Place, Restart, StateDir, Supervised, Target, Work, cleanup, pod_capabilities, supervise,
};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::Signal;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The line `NAME=...` of a log.
fn fact<'a>(log: &'a str, name: &str) -> &'a str {
    log.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
        .unwrap_or_else(|| panic!("no {name} in {log}"))
}

pub(crate) fn a_command_runs_in_its_pods_place() {
    with_lab("t-place", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let facts = "echo host=$(hostname); echo file=$(cat /etc/hostname); echo dns=$(cat /etc/resolv.conf); \
                     echo hosts=$(tail -n 1 /etc/hosts); echo cgroup=$(cat /proc/self/cgroup | grep ^0::); \
                     echo net=$(readlink /proc/self/ns/net); echo interfaces=$(ls /sys/class/net); echo pid=$$; \
                     echo first=$(tr '\\0' ' ' < /proc/1/cmdline | cut -c 1-5); echo name=$POD_NAME; echo path=$PATH; \
                     echo at=$PWD; echo caps=$(grep CapEff /proc/self/status) $(grep CapBnd /proc/self/status); exit 3";
        let running = pod.start(shell(facts)).await;
        assert_eq!(running.exited().await, Exit::Status(3));
        let log = pod.logged();
        assert_eq!((fact(&log, "host"), fact(&log, "file")), ("web", "web"));
        assert_eq!(fact(&log, "dns"), "nameserver 10.96.0.10");
        assert_eq!(fact(&log, "hosts"), "10.244.0.5 web");
        assert!(fact(&log, "cgroup").ends_with("/lictor-t-place/shop.web"), "{log}");
        let network = std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&*pod.network)));
        assert_eq!(fact(&log, "net"), network.expect("a link").to_string_lossy());
        assert_eq!(fact(&log, "interfaces"), "lo", "its own interfaces only");
        assert_eq!((fact(&log, "pid"), fact(&log, "first")), ("1", "sh -c"), "its own processes only");
        assert_eq!((fact(&log, "name"), fact(&log, "at")), ("web", "/"));
        assert!(fact(&log, "path").contains("/usr/bin"), "{log}");
        let caps = format!("{:016x}", pod_capabilities());
        assert_eq!(fact(&log, "caps"), format!("CapEff: {caps} CapBnd: {caps}"));
        pod.remove();
    });
}

pub(crate) fn a_pod_sees_neither_the_lab_nor_the_machine() {
    with_lab("t-hidden", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let base = setting.base().display().to_string();
        let script = format!(
            "echo state=$(cd {base} && find . -type f -o -type s | sort); echo cgroups=$(ls /sys/fs/cgroup 2>&1); \
             touch {base}/x 2>/dev/null && echo wrote=yes || echo wrote=no; \
             mount -t tmpfs none /mnt 2>/dev/null && echo mounts=yes || echo mounts=no; \
             umount /proc 2>/dev/null && echo unmounts=yes || echo unmounts=no; \
             echo x >> /etc/resolv.conf && echo edits=yes || echo edits=no; \
             ls /proc/{} >/dev/null 2>&1 && echo lab=seen || echo lab=unseen; \
             echo descriptors=$(ls /proc/self/fd)",
            std::process::id()
        );
        let running = pod.start(shell(&script)).await;
        assert_eq!(running.exited().await, Exit::Status(0));
        let log = pod.logged();
        assert_eq!(fact(&log, "state"), "./t-hidden/workload.sock");
        assert_eq!(fact(&log, "cgroups"), "");
        for name in ["wrote", "mounts", "unmounts", "edits"] {
            assert_eq!(fact(&log, name), "no", "{name}");
        }
        assert_eq!(fact(&log, "lab"), "unseen");
        // Of `ls` itself, 3 is the folder that it reads.
        assert_eq!(fact(&log, "descriptors"), "0 1 2 3");
        pod.remove();
    });
}

pub(crate) fn what_cannot_start_says_why() {
    with_lab("t-why", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let command = |arguments: &[&str]| Work::Command {
            arguments: arguments.iter().map(ToString::to_string).collect(),
            environment: Vec::new(),
        };
        let missing = pod.try_start(command(&["no-such-program"])).await.expect_err("missing");
        assert!(
            missing.starts_with("`no-such-program` is not a program on this machine, looked for in /usr/local/sbin:"),
            "{missing}"
        );
        assert_eq!(pod.try_start(command(&[])).await.expect_err("empty"), "no command is given");
        let long = pod.try_start(command(&["sh", &"x".repeat(200_000)])).await.expect_err("long");
        assert!(long.starts_with("expected a message of at most 131072 bytes, found "), "{long}");
        let first = pod.start(stand_in("web")).await;
        let taken = pod.try_start(stand_in("web")).await.expect_err("the port is taken");
        assert!(taken.starts_with("cannot listen on 8080/TCP: "), "{taken}");
        assert!(first.exit().is_none(), "the first one is not disturbed");
        drop(first);
        pod.remove();
    });
}

/// Talks to the stand-in of a namespace.
fn ask(network: &impl std::os::fd::AsFd, question: &[u8]) -> String {
    let network = network.as_fd().try_clone_to_owned().expect("a descriptor");
    let question = question.to_vec();
    let asked = std::thread::spawn(move || {
        setns(&network, CloneFlags::CLONE_NEWNET).expect("the namespace");
        let mut stream = TcpStream::connect(("127.0.0.1", PORT)).expect("it listens");
        stream.write_all(&question).expect("written");
        stream.shutdown(std::net::Shutdown::Write).expect("ended");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    });
    asked.join().expect("no panic")
}

pub(crate) fn a_stand_in_listens_once_it_is_started() {
    with_lab("t-standin", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        // The loopback of a new namespace is down; a pod's process may not raise it, the lab does.
        let network = pod.network.try_clone().expect("a descriptor");
        std::thread::spawn(move || {
            setns(&network, CloneFlags::CLONE_NEWNET).expect("the namespace");
            let status = Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip");
            assert!(status.success());
        })
        .join()
        .expect("no panic");
        let running = pod.start(stand_in("web")).await;
        assert!(ask(&*pod.network, b"WHOAMI\n").contains(r#"{"pod":"shop/web","peer":"127.0.0.1:"#));
        assert!(ask(&*pod.network, b"GET / HTTP/1.0\r\n\r\n").contains(r#""pod":"shop/web""#));
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid)).expect("it runs");
        assert_eq!(fact(&status.replace(":\t", "="), "Name"), "stand-in");
        assert_eq!(fact(&status.replace(":\t", "="), "CapEff"), format!("{:016x}", pod_capabilities()));
        assert_eq!(pod.cgroup.processes().expect("a list"), [running.pid]);
        pod.cgroup.kill().expect("killed");
        assert_eq!(running.exited().await, Exit::Signal(9));
        // The kernel kills what is born into a cgroup that was killed more often than the zygote's own.
        let again = pod.start(stand_in("web")).await;
        assert!(again.exit().is_none());
        assert_eq!(pod.cgroup.processes().expect("a list"), [again.pid]);
        pod.remove();
    });
}

fn supervised(setting: &Setting, pod: &crate::setting::Pod<'_>, work: Work, restart: Restart) -> Supervised {
    let place = Place { network: pod.network.clone(), cgroup: pod.cgroup.clone(), log: pod.log() };
    supervise(setting.zygote.clone(), pod.launch_of(work), place, restart)
}

pub(crate) fn a_command_beside_another_shares_its_sandbox() {
    with_lab("t-beside", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let running = supervised(&setting, &pod, stand_in("web"), Restart::Always);
        let mut phase = running.phase();
        phase.wait_for(|phase| matches!(phase, Phase::Running { .. })).await.expect("it starts");
        let control = running.control();
        let run = |script: &str, limit: Duration| {
            let arguments = ["sh", "-c", script].map(str::to_owned).to_vec();
            control.run_beside(arguments, vec![("WORD".to_owned(), "said".to_owned())], limit)
        };
        let long = Duration::from_secs(20);
        let same = "test $WORD = said && test $(hostname) = web && test -d /proc/1 && grep -q shop.web /proc/self/cgroup \
                    && test $(cat /proc/1/comm) = stand-in && grep -q 10.96.0.10 /etc/resolv.conf && test $$ != 1";
        assert_eq!(run(same, long).await.expect("run"), Some(Exit::Status(0)));
        assert_eq!(run("exit 7", long).await.expect("run"), Some(Exit::Status(7)));
        let before = Instant::now();
        assert_eq!(run("sleep 30", Duration::from_millis(200)).await.expect("run"), None);
        assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
        assert!(
            run("exit 0", long).await.expect("run").is_some_and(Exit::is_success),
            "the zygote is back in its own place"
        );
        drop(control);
        running.stop().await;
        drop(phase);
        pod.remove();
    });
}

pub(crate) fn exec_puts_a_command_into_the_pod() {
    with_lab("t-exec", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let running = pod.start(stand_in("web")).await;
        let environment = vec![("POD_NAME".to_owned(), "web".to_owned())];
        let target = Target { pid: running.pid, cgroup: pod.cgroup.path().to_owned(), environment };
        let exec = |target: &Target, command: &[&str]| {
            let program = std::env::current_exe().expect("this program");
            let text = serde_json::to_string(target).expect("JSON");
            let output = Command::new(program).arg("exec").arg(text).args(command).output().expect("it runs");
            let both = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
            (output.status.code(), both)
        };
        let script = "echo pod=$POD_NAME; echo host=$(hostname); echo first=$(cat /proc/1/comm); \
                      echo cgroup=$(grep ^0:: /proc/self/cgroup); echo caps=$(grep CapBnd /proc/self/status); exit 9";
        let (status, said) = exec(&target, &["sh", "-c", script]);
        assert_eq!(status, Some(9), "{said}");
        assert_eq!((fact(&said, "pod"), fact(&said, "host"), fact(&said, "first")), ("web", "web", "stand-in"));
        assert!(fact(&said, "cgroup").ends_with("/shop.web"), "{said}");
        assert_eq!(fact(&said, "caps"), format!("CapBnd: {:016x}", pod_capabilities()));
        assert_eq!(exec(&target, &["sh", "-c", "kill -9 $$"]).0, Some(137));
        let (status, said) = exec(&target, &["no-such-program"]);
        assert_eq!(status, Some(200));
        assert!(said.starts_with("cannot run `no-such-program` in the pod: "), "{said}");
        let other = Target { pid: std::process::id(), ..target.clone() };
        assert_eq!(exec(&other, &["true"]).1, format!("process {} is no longer the pod's\n", std::process::id()));
        running.signal(Signal::SIGKILL).expect("killed");
        running.exited().await;
        assert_eq!(exec(&target, &["true"]).1, format!("process {} is no longer the pod's\n", target.pid));
        pod.remove();
    });
}

pub(crate) fn a_process_that_ends_is_started_again() {
    with_lab("t-again", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let ends = supervised(&setting, &pod, shell("echo run; exit 4"), Restart::Always);
        let mut phase = ends.phase();
        let waits = phase.wait_for(|phase| matches!(phase, Phase::Waiting { .. })).await.expect("it ends").clone();
        let Phase::Waiting { why, pause, restarts } = waits else { unreachable!("waited for") };
        assert_eq!((&*why, pause, restarts), ("ended with status 4", Duration::from_secs(1), 0));
        let again = |phase: &Phase| matches!(phase, Phase::Waiting { restarts: 1, .. });
        let Phase::Waiting { pause, .. } = phase.wait_for(again).await.expect("again").clone() else {
            unreachable!("waited for")
        };
        assert_eq!(pause, Duration::from_secs(2));
        assert_eq!(pod.logged(), "run\nrun\n");
        ends.stop().await;
        assert!(matches!(*phase.borrow(), Phase::Stopped));

        let lives = supervised(&setting, &pod, stand_in("web"), Restart::Always);
        let mut phase = lives.phase();
        phase.wait_for(|phase| matches!(phase, Phase::Running { restarts: 0, .. })).await.expect("it starts");
        lives.control().restart().expect("killed");
        let first = phase.wait_for(|phase| matches!(phase, Phase::Waiting { .. })).await.expect("it ends").clone();
        assert!(matches!(first, Phase::Waiting { why, .. } if why == "ended by SIGKILL"));
        phase.wait_for(|phase| matches!(phase, Phase::Running { restarts: 1, .. })).await.expect("it starts again");
        lives.stop().await;

        let never = supervised(
            &setting,
            &pod,
            Work::Command { arguments: vec!["/no/program".to_owned()], environment: Vec::new() },
            Restart::Always,
        );
        let why =
            never.phase().wait_for(|phase| matches!(phase, Phase::Waiting { .. })).await.expect("it fails").clone();
        assert!(matches!(why, Phase::Waiting { why, .. } if why.starts_with("`/no/program` is not a program")));
        never.stop().await;
        drop((phase,));
        pod.remove();
    });
}

pub(crate) fn a_job_ends_once() {
    with_lab("t-job", async |setting: Arc<Setting>| {
        let pod = setting.pod("job");
        let job = supervised(&setting, &pod, shell("echo done"), Restart::Never);
        let mut phase = job.phase();
        let ended = phase.wait_for(|phase| matches!(phase, Phase::Ended(_))).await.expect("it ends").clone();
        assert!(matches!(ended, Phase::Ended(Exit::Status(0))));
        assert_eq!(pod.logged(), "done\n");
        job.stop().await;
        pod.remove();
    });
}

pub(crate) fn stopping_ends_it_and_its_children() {
    with_lab("t-stop", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let running =
            supervised(&setting, &pod, shell("trap '' TERM; setsid sleep 1000 & sleep 1000 & wait"), Restart::Always);
        let cgroup = pod.cgroup.clone();
        eventually("three processes", || cgroup.processes().is_ok_and(|processes| processes.len() == 3));
        running.stop().await;
        eventually("no process", || cgroup.processes().is_ok_and(|processes| processes.is_empty()));
        drop(cgroup);
        pod.remove();
    });
}

pub(crate) fn another_zygote_follows_a_killed_one() {
    with_lab("t-zygote", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let running = pod.start(stand_in("web")).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", running.pid)).expect("it runs");
        let parent: i32 = fact(&status.replace(":\t", "="), "PPid").parse().expect("a number");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), Signal::SIGKILL).expect("killed");
        assert_eq!(running.exited().await, Exit::Lost);
        eventually("the stand-in ends with its zygote", || !is_alive(running.pid));
        let next = pod.start(stand_in("web")).await;
        assert!(next.exit().is_none());
        drop(next);
        pod.remove();
    });
}

pub(crate) fn a_killed_lab_leaves_no_process() {
    let program = std::env::current_exe().expect("this program");
    let mut lab = Command::new(program).args(["lab", "t-killed"]).stdout(Stdio::piped()).spawn().expect("a lab");
    let mut line = String::new();
    BufReader::new(lab.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    let mut words = line.split_whitespace();
    let base = std::path::PathBuf::from(words.next().expect("a folder"));
    let processes: Vec<u32> = words.map(|word| word.parse().expect("a number")).collect();
    assert_eq!(processes.len(), 2, "{line}");
    assert!(processes.iter().all(|pid| is_alive(*pid)));
    lab.kill().expect("kill -9");
    lab.wait().expect("killed");
    eventually("its processes end", || processes.iter().all(|pid| !is_alive(*pid)));
    cleanup(&base, "t-killed").expect("cleaned");
    assert!(!base.exists());
    // Its name is free again, with nothing of the old one in it.
    block_on(async {
        let base = base.with_extension("next");
        let state = StateDir::claim(&base, "t-killed").expect("free");
        assert!(
            !lictor_lab::process::cgroup2_mount().expect("mounts").expect("cgroup v2").join("lictor-t-killed").exists()
        );
        state.remove().expect("removed");
    });
}
