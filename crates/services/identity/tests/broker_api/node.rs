//! A node: cgroups, a registry, a keyring, the endpoint, and the processes of its pods.

use crate::cgroups::{Cgroups, enter};
use crate::{BY_OBJECT, BY_PID, PROXY};
use lictor_identity::broker_api::{self, Answer, AnswerSink, Brokers, ReferenceType, ReferenceTypes, Settings};
use lictor_identity::{Attestor, Cgroup, Identity, Place, Registration, Registry};
use lictor_model::{Name, SpiffeId, TrustDomain};
use lictor_pki::{Bundle, CertificateAuthority, Keyring, Svid};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Nothing here takes long; a test that waits this long has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// As whom the endpoint proves itself.
pub(crate) const ENDPOINT: &str = "spiffe://td.example/lictor/broker-endpoint";

pub(crate) struct Node {
    cgroups: Cgroups,
    folder: tempfile::TempDir,
    authority: CertificateAuthority,
    pub(crate) registry: Registry,
    pub(crate) keyring: Keyring,
    answers: Arc<Mutex<Vec<Answer>>>,
    server: Option<Server>,
}

struct Server {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), broker_api::ServeError>>,
}

impl Node {
    /// A node with the three brokers.
    pub(crate) async fn start(name: &str) -> Self {
        let own = "td.example".parse().unwrap();
        let mut brokers = Brokers::default();
        let only = |one| ReferenceTypes::These([one].into());
        for (id, types) in [
            (PROXY, ReferenceTypes::Any),
            (BY_PID, only(ReferenceType::Pid)),
            (BY_OBJECT, only(ReferenceType::KubernetesObject)),
        ] {
            brokers.insert(&own, id.parse().unwrap(), types).unwrap();
        }
        Self::start_with(name, brokers).await
    }

    pub(crate) async fn start_with(name: &str, brokers: Brokers) -> Self {
        let cgroups = Cgroups::new("broker", name);
        let domain: TrustDomain = "td.example".parse().unwrap();
        let authority = CertificateAuthority::new(domain, now(), time::Duration::DAY).unwrap();
        let (registry, keyring) = (Registry::new(), Keyring::new(authority.bundle(1)));
        keyring.set_tokens(Arc::clone(authority.tokens()));
        let folder = tempfile::tempdir().unwrap();
        let listener = broker_api::bind(&folder.path().join("run/broker.sock")).unwrap();
        let made = cgroups.path("made").parse().unwrap();
        let attestor = Attestor::new(registry.clone()).unwrap().with_pods_below(made);
        let answers = Arc::<Mutex<Vec<Answer>>>::default();
        let sink: AnswerSink = {
            let answers = Arc::clone(&answers);
            Arc::new(move |answer| answers.lock().unwrap().push(answer))
        };
        let endpoint = ENDPOINT.parse().unwrap();
        let settings = Settings { attestor, keyring: keyring.clone(), endpoint, brokers, sink };
        let (stop, stopped) = oneshot::channel();
        let serving = broker_api::serve(listener, settings, async { drop(stopped.await) });
        let server = Some(Server { stop, serving: tokio::spawn(serving) });
        let node = Self { cgroups, folder, authority, registry, keyring, answers, server };
        node.renew(ENDPOINT);
        node
    }

    /// What was answered since the last call.
    pub(crate) fn answers(&self) -> Vec<Answer> {
        std::mem::take(&mut *self.answers.lock().unwrap())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("run/broker.sock")
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    pub(crate) fn cgroup(&self, below: &str) -> Cgroup {
        self.cgroups.make(below)
    }

    /// Another cgroup in the place of this one.
    pub(crate) fn recreate(&self, cgroup: &Cgroup) -> Cgroup {
        self.cgroups.recreate(cgroup)
    }

    /// A pod `shop/<name>` whose SVID is issued.
    pub(crate) fn pod(&self, name: &str, uid: &str, id: &str) -> Cgroup {
        self.renew(id);
        self.pod_of_containers(name, Some(uid), &[""], vec![identity(id)]).remove(0)
    }

    /// A pod with these identities in a cgroup for each container; the one without a name is the pod's own.
    pub(crate) fn pod_of_containers(
        &self,
        name: &str,
        uid: Option<&str>,
        containers: &[&str],
        ids: Vec<Identity>,
    ) -> Vec<Cgroup> {
        let cgroups: Vec<_> = containers
            .iter()
            .map(|container| self.cgroup(format!("{name}/{container}").trim_end_matches('/')))
            .collect();
        let place = |(cgroup, container): (&Cgroup, &&str)| Place {
            cgroup: cgroup.clone(),
            container: (!container.is_empty()).then(|| (*container).into()),
        };
        let places = cgroups.iter().zip(containers).map(place).collect();
        self.register(name, uid, ids, places);
        cgroups
    }

    pub(crate) fn register(&self, name: &str, uid: Option<&str>, ids: Vec<Identity>, cgroups: Vec<Place>) {
        let (pod, uid) = (Name::new("shop", name), uid.map(Into::into));
        self.registry.add(Registration { pod, uid, ids, federates_with: BTreeSet::new(), cgroups }).unwrap();
    }

    pub(crate) fn remove(&self, name: &str) {
        assert!(self.registry.remove(&Name::new("shop", name)));
    }

    /// Has a pod federate with these trust domains, and no others.
    pub(crate) fn federate_pod(&self, name: &str, trust_domains: &[&str]) {
        let federates_with = trust_domains.iter().map(|name| name.parse().unwrap()).collect();
        self.registry.set_federates_with(&Name::new("shop", name), &federates_with);
    }

    /// Issues an SVID of the trust domain.
    pub(crate) fn issue(&self, id: &str, lifetime: time::Duration) -> Svid {
        self.authority.issue(&id.parse().unwrap(), now(), lifetime).unwrap()
    }

    pub(crate) fn renew(&self, id: &str) {
        self.keyring.insert(self.issue(id, time::Duration::HOUR));
    }

    pub(crate) fn bundle(&self) -> Bundle {
        self.authority.bundle(1)
    }

    pub(crate) async fn stop(&mut self) {
        let Server { stop, serving } = self.server.take().unwrap();
        stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, serving).await.expect("an end in time").unwrap().unwrap();
    }

    /// A process in this cgroup that does nothing.
    pub(crate) fn process(&self, place: &Cgroup) -> Process {
        let child = Command::new("sleep").arg("1000").spawn().unwrap();
        let process = Process { child };
        process.enter(place);
        process
    }

    /// The same with this number, which must be free. The kernel is told which number it gave last; others of this
    /// machine may be quicker, so it takes a few attempts.
    pub(crate) fn process_numbered(&self, place: &Cgroup, pid: i32) -> Process {
        for _ in 0..500 {
            fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("a kernel with checkpoint/restore");
            let process = self.process(place);
            if process.pid() == pid {
                return process;
            }
        }
        panic!("no process was given the number {pid}");
    }
}

/// A process of a pod; it is killed and buried when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// Moves it to another cgroup.
    pub(crate) fn enter(&self, place: &Cgroup) {
        enter(&self.child, place);
    }

    /// Ends it; its number stays taken by the zombie.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        let stat = format!("/proc/{}/stat", self.child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn identity(id: &str) -> Identity {
    id.parse::<SpiffeId>().unwrap().into()
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
