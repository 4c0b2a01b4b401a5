//! Probes of real processes, from a network namespace that is the pod's own here.

use crate::setting::{PORT, Setting, shell, stand_in, with_lab};
use lictor_lab::process::{Phase, Place, Restart, Supervised, Work, supervise};
use lictor_lab::readiness::{ContainerProbes, PodHealth, PodProbes, ProbeKind, Prober};
use lictor_manifest::{Container, Probe, ProbeAction};
use lictor_model::Name;
use nix::sched::{CloneFlags, setns};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

fn probe(action: ProbeAction) -> Option<Probe> {
    let (period, timeout) = (Duration::from_secs(1), Duration::from_secs(5));
    Some(Probe { action, initial_delay: Duration::ZERO, period, timeout, failures: 1, successes: 1 })
}

fn exec(script: &str) -> Option<Probe> {
    probe(ProbeAction::Exec(["sh", "-c", script].map(str::to_owned).to_vec()))
}

fn raise_loopback(network: &OwnedFd) {
    let network = network.try_clone().expect("a descriptor");
    std::thread::spawn(move || {
        setns(&network, CloneFlags::CLONE_NEWNET).expect("the namespace");
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("ip").success());
    })
    .join()
    .expect("no panic");
}

struct Probed {
    running: Supervised,
    prober: Prober,
    health: watch::Receiver<BTreeMap<Name, PodHealth>>,
    name: Name,
}

impl Probed {
    fn new(setting: &Setting, pod: &crate::setting::Pod<'_>, work: Work, container: Container) -> Self {
        raise_loopback(&pod.network);
        let stand_in = matches!(work, Work::StandIn(_));
        let place = Place { network: pod.network.clone(), cgroup: pod.cgroup.clone(), log: pod.log() };
        let running = supervise(setting.zygote.clone(), pod.launch_of(work), place, Restart::Always);
        let address = "127.0.0.1".parse().expect("an address");
        let prober = Prober::start(pod.network.try_clone().expect("a descriptor"), &[address]).expect("a prober");
        let environment = vec![("WORD".to_owned(), "said".to_owned())];
        let container =
            ContainerProbes { container: Arc::new(container), control: running.control(), stand_in, environment };
        let health = prober.health();
        prober.watch(PodProbes { pod: pod.name.clone(), address, containers: vec![container] });
        Self { running, prober, health, name: pod.name.clone() }
    }

    async fn until(&mut self, ready: bool) -> PodHealth {
        let name = self.name.clone();
        let is = |all: &BTreeMap<Name, PodHealth>| all.get(&name).is_some_and(|health| health.ready == ready);
        self.health.wait_for(is).await.expect("it is probed")[&self.name].clone()
    }

    async fn end(self) {
        self.prober.forget(&self.name);
        let mut health = self.health;
        health.wait_for(BTreeMap::is_empty).await.expect("forgotten");
        drop(self.prober);
        self.running.stop().await;
        // The prober's thread drops its hands on the cgroup in its own time.
        while health.changed().await.is_ok() {}
    }
}

pub(crate) fn a_stand_in_is_ready_once_it_listens() {
    with_lab("t-ready", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let http = ProbeAction::Http { path: "/healthz".to_owned(), port: Ok(PORT), headers: Vec::new(), tls: false };
        let https = ProbeAction::Http { path: "/healthz".to_owned(), port: Ok(PORT), headers: Vec::new(), tls: true };
        let container = Container {
            startup: exec("exit 1"),
            readiness: probe(http),
            liveness: probe(https),
            ..Container::default()
        };
        let mut probed = Probed::new(&setting, &pod, stand_in("web"), container);
        assert_eq!(probed.until(true).await.problems, BTreeMap::new());
        pod.cgroup.kill().expect("killed");
        probed.until(false).await;
        probed.until(true).await;
        probed.end().await;
        pod.remove();
    });
}

pub(crate) fn a_command_is_ready_when_its_own_probe_says_so() {
    with_lab("t-exec-ready", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let flag = std::env::temp_dir().join(format!("lictor-ready-{}", std::process::id()));
        let container = Container {
            name: "main".into(),
            readiness: exec(&format!("test $WORD = said && test $(hostname) = web && test -e {}", flag.display())),
            ..Container::default()
        };
        let mut probed = Probed::new(&setting, &pod, shell("sleep 1000"), container);
        let says_why = |all: &BTreeMap<Name, PodHealth>| all.values().any(|health| !health.problems.is_empty());
        let health = probed.health.wait_for(says_why).await.expect("it is probed").clone();
        let problem = &health[&pod.name].problems[&("main".into(), ProbeKind::Readiness)];
        assert_eq!(problem, "the command ended with status 1");
        std::fs::write(&flag, "").expect("written");
        assert_eq!(probed.until(true).await.problems, BTreeMap::new());
        std::fs::remove_file(&flag).expect("removed");
        probed.until(false).await;
        probed.end().await;
        pod.remove();
    });
}

pub(crate) fn what_is_not_alive_is_started_again() {
    with_lab("t-alive", async |setting: Arc<Setting>| {
        let pod = setting.pod("web");
        let container = Container { liveness: probe(ProbeAction::Tcp(Ok(9))), ..Container::default() };
        let probed = Probed::new(&setting, &pod, stand_in("web"), container);
        let mut phase = probed.running.phase();
        let killed = |phase: &Phase| matches!(phase, Phase::Waiting { why, .. } if why == "ended by SIGKILL");
        phase.wait_for(killed).await.expect("it is supervised");
        phase.wait_for(|phase| matches!(phase, Phase::Running { restarts: 1, .. })).await.expect("it is started again");
        drop(phase);
        probed.end().await;
        pod.remove();
    });
}
