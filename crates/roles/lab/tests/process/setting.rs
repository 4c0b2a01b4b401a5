//! A lab without its network: a state folder, cgroups, a zygote, and namespaces for pods.

use lictor_lab::process::{
    Cgroup, Cgroups, Launch, PodFiles, Running, Stage, StateDir, Target, Work, Zygote, exec as enter,
};
use lictor_lab::standin::{Kind, Port, StandIn};
use lictor_model::{Name, Protocol};
use nix::sched::{CloneFlags, unshare};
use std::fs::{File, OpenOptions};
use std::future::Future;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) const PORT: u16 = 8080;

pub(crate) struct Setting {
    pub(crate) state: StateDir,
    pub(crate) cgroups: Cgroups,
    pub(crate) zygote: Arc<Zygote>,
    _workload: UnixListener,
    base: PathBuf,
}

/// A network namespace that lives as long as its descriptor, and a thread's work in it.
pub(crate) fn in_netns<T: Send + 'static>(work: impl FnOnce(&File) -> T + Send + 'static) -> T {
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: this test needs root");
        work(&File::open("/proc/thread-self/ns/net").expect("a network namespace"))
    });
    thread.join().expect("no panic")
}

pub(crate) fn netns() -> OwnedFd {
    in_netns(|file| file.try_clone().expect("a descriptor").into())
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let done = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), future).await });
    done.expect("done within a minute")
}

/// Runs a test in a lab of its own, of which nothing may be left afterwards.
pub(crate) fn with_lab<F: Future<Output = ()>>(lab: &str, test: impl FnOnce(Arc<Setting>) -> F) {
    let (base, root) = block_on(async {
        let setting = Arc::new(Setting::new(lab).await);
        let kept = (setting.base.clone(), setting.cgroups.root().to_owned());
        test(setting.clone()).await;
        let setting = Arc::into_inner(setting).expect("the test has ended");
        setting.state.remove().expect("removed");
        kept
    });
    assert!(!root.exists(), "{} is left", root.display());
    assert!(!base.exists(), "{} is left", base.display());
}

/// This program, wherever it lies: after a change of the root its path leads nowhere.
pub(crate) const THIS_PROGRAM: &str = "/proc/self/exe";

impl Setting {
    pub(crate) async fn new(lab: &str) -> Self {
        // Below the temporary folder, which has room; `/run` is memory.
        let base = std::env::temp_dir().join(format!("lictor-{lab}-{}", std::process::id()));
        let state = StateDir::claim(&base, lab).expect("this test needs root");
        let workload = UnixListener::bind(state.workload_socket()).expect("a socket");
        let stage = Stage { hidden: base.clone(), workload_socket: Some(state.workload_socket()), pods: state.pods() };
        let zygote = Zygote::start(THIS_PROGRAM, ["zygote"], stage).await.expect("a zygote");
        let cgroups = Cgroups::open(lab).expect("cgroup v2");
        Self { state, cgroups, zygote: Arc::new(zygote), _workload: workload, base }
    }

    /// What a pod named `shop/NAME` runs in; its files are written.
    pub(crate) fn pod(&self, name: &str) -> Pod<'_> {
        let pod = Name::new("shop", name);
        let files = PodFiles::new(
            "nameserver 10.96.0.10\n".to_owned(),
            name,
            None,
            &["10.244.0.5".parse().expect("an address")],
        );
        self.state.write_pod(&pod, &files).expect("written");
        Pod {
            setting: self,
            cgroup: Arc::new(self.cgroups.pod(&pod).expect("a cgroup")),
            network: Arc::new(netns()),
            name: pod,
        }
    }

    pub(crate) fn base(&self) -> &Path {
        &self.base
    }
}

pub(crate) struct Pod<'a> {
    setting: &'a Setting,
    pub(crate) name: Name,
    pub(crate) cgroup: Arc<Cgroup>,
    pub(crate) network: Arc<OwnedFd>,
}

impl Pod<'_> {
    pub(crate) fn launch_of(&self, work: Work) -> Launch {
        Launch { pod: StateDir::pod_folder(&self.name), hostname: self.name.name.to_string(), work }
    }

    pub(crate) async fn try_start(&self, work: Work) -> Result<Running, String> {
        let log = OpenOptions::new().append(true).create(true).open(self.log()).expect("a log");
        let started = self.setting.zygote.launch(self.launch_of(work), &*self.network, &*self.cgroup, log);
        started.await.map_err(|error| error.to_string())
    }

    pub(crate) async fn start(&self, work: Work) -> Running {
        self.try_start(work).await.expect("started")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.setting.state.log(&self.name, "main")
    }

    pub(crate) fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).expect("a log")
    }

    pub(crate) fn remove(self) {
        Arc::into_inner(self.cgroup).expect("unused").remove().expect("removed");
    }
}

pub(crate) fn shell(script: &str) -> Work {
    Work::Command {
        arguments: ["sh", "-c", script].map(str::to_owned).to_vec(),
        environment: vec![("POD_NAME".to_owned(), "web".to_owned())],
    }
}

pub(crate) fn stand_in(pod: &str) -> Work {
    let ports = vec![Port { port: PORT, protocol: Protocol::Tcp, kind: Kind::Detect }];
    Work::StandIn(StandIn { pod: format!("shop/{pod}"), ports })
}

pub(crate) fn is_alive(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

/// Waits until something holds; panics with `what` if it does not for ten seconds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// `lab NAME`: a lab with two stand-ins and a command that prints their numbers, then waits to be killed.
pub(crate) fn live_until_killed(name: &str) -> ExitCode {
    block_on(async {
        let setting = Setting::new(name).await;
        let (one, two) = (setting.pod("one"), setting.pod("two"));
        let running = [one.start(stand_in("one")).await, two.start(shell("sleep 1000 & sleep 1000")).await];
        let processes: Vec<_> = running.iter().map(|running| running.pid.to_string()).collect();
        println!("{} {}", setting.base().display(), processes.join(" "));
        std::future::pending::<()>().await;
    });
    ExitCode::SUCCESS
}

/// `exec TARGET COMMAND...`: what the command line does.
pub(crate) fn exec(target: &str, command: &[String]) -> ExitCode {
    let target: Target = serde_json::from_str(target).expect("a target");
    match enter(&target, command) {
        Ok(status) => ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(200)
        }
    }
}
