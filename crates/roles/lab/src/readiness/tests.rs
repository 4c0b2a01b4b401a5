//! The state machine case by case, and real questions to real servers. The latter need root.

use super::{Asker, Health, PodHealth, ProbeKind, published, unready};
use crate::standin::{Kind, Port, StandIn, run};
use crate::testing::{in_new_netns, snapshot};
use lictor_manifest::{Container, ContainerPort, Probe, ProbeAction};
use lictor_model::{Name, Protocol};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn probe(action: ProbeAction) -> Probe {
    Probe { action, initial_delay: seconds(0), period: seconds(10), timeout: seconds(1), failures: 3, successes: 1 }
}

fn exec(initial_delay: u64, failures: u32, successes: u32) -> Option<Probe> {
    let action = ProbeAction::Exec(vec!["true".to_owned()]);
    Some(Probe { initial_delay: seconds(initial_delay), failures, successes, ..probe(action) })
}

/// A container's health with a clock in seconds.
struct Clock {
    health: Health,
    zero: Instant,
}

impl Clock {
    fn new(container: &Container) -> Self {
        Self { health: Health::new(container), zero: Instant::now() }
    }

    fn begins(&mut self, at: u64) {
        self.health.begins(self.zero + seconds(at));
    }

    fn due(&mut self, at: u64) -> Vec<ProbeKind> {
        self.health.due(self.zero + seconds(at)).into_iter().map(|(kind, _)| kind).collect()
    }

    /// A probe that is due now and answered at once; whether the container has to be started again.
    fn answers(&mut self, at: u64, kind: ProbeKind, passed: bool) -> bool {
        assert_eq!(self.due(at), [kind], "at {at} s");
        let now = self.zero + seconds(at);
        self.health.report(kind, passed, now, now)
    }

    fn next(&self) -> Option<u64> {
        self.health.next_due().map(|due| (due - self.zero).as_secs())
    }
}

use ProbeKind::{Liveness, Readiness, Startup};

#[test]
fn without_probes_it_is_ready_while_it_runs() {
    let mut clock = Clock::new(&Container::default());
    assert!(!clock.health.is_ready());
    clock.begins(1);
    assert!(clock.health.is_ready() && clock.next().is_none());
    clock.health.ends();
    assert!(!clock.health.is_ready());
}

#[test]
fn readiness_turns_at_its_thresholds() {
    let mut clock = Clock::new(&Container { readiness: exec(5, 2, 3), ..Container::default() });
    clock.begins(0);
    assert_eq!((clock.next(), clock.due(4)), (Some(5), vec![]));
    for (at, passed, ready) in [
        (5, true, false),
        (15, true, false),
        (25, true, true),
        (35, false, true),
        (45, true, true),
        (55, false, true),
        (65, false, false),
        (75, true, false),
        (85, false, false),
        (95, true, false),
        (105, true, false),
        (115, true, true),
    ] {
        assert!(!clock.answers(at, Readiness, passed), "readiness restarts nothing");
        assert_eq!(clock.health.is_ready(), ready, "at {at} s");
    }
    clock.begins(120);
    assert!(!clock.health.is_ready(), "after a restart it has to be shown anew");
    assert_eq!(clock.next(), Some(125));
}

#[test]
fn liveness_restarts_after_failures_in_a_row() {
    let mut clock = Clock::new(&Container { liveness: exec(0, 3, 1), ..Container::default() });
    clock.begins(0);
    assert!(clock.health.is_ready(), "alive until shown otherwise");
    for (at, passed, restart) in [
        (0, false, false),
        (10, false, false),
        (20, true, false),
        (30, false, false),
        (40, false, false),
        (50, false, true),
    ] {
        assert_eq!(clock.answers(at, Liveness, passed), restart, "at {at} s");
    }
    assert_eq!((clock.next(), clock.health.is_ready()), (None, false), "nothing is asked of a process that is ending");
    clock.begins(60);
    assert!(!clock.answers(60, Liveness, false), "failures count anew");
}

#[test]
fn the_others_wait_for_the_startup_probe() {
    let container = Container {
        startup: exec(2, 3, 1),
        readiness: exec(0, 3, 1),
        liveness: exec(30, 3, 1),
        ..Container::default()
    };
    let mut clock = Clock::new(&container);
    clock.begins(0);
    assert!(!clock.answers(2, Startup, false));
    assert!(!clock.answers(12, Startup, true));
    assert!(clock.health.is_started() && !clock.health.is_ready());
    assert!(!clock.answers(12, Readiness, true));
    assert!(clock.health.is_ready());
    assert_eq!(clock.next(), Some(22));
    assert!(!clock.answers(22, Readiness, true));
    assert_eq!(clock.due(32), [Readiness, Liveness], "its delay counts from the process' beginning");

    clock.begins(40);
    for (at, restart) in [(42, false), (52, false), (62, true)] {
        assert_eq!(clock.answers(at, Startup, false), restart, "at {at} s");
    }
    assert_eq!(clock.next(), None);
}

#[test]
fn a_slow_answer_does_not_bring_two_at_once() {
    let mut clock = Clock::new(&Container { readiness: exec(0, 3, 1), ..Container::default() });
    clock.begins(0);
    assert_eq!(clock.due(0), [Readiness]);
    assert_eq!((clock.next(), clock.due(100)), (None, vec![]), "one is under way");
    clock.health.report(Readiness, true, clock.zero, clock.zero + seconds(25));
    assert_eq!(clock.next(), Some(25), "the next one is late already");
}

const HTTP: u16 = 8080;
const TEAPOT: u16 = 8081;
const DEAF: u16 = 8082;
const CLOSED: u16 = 8083;
const TLS: u16 = 8443;

/// Asks servers in a namespace of their own: a stand-in, one that refuses, one that never answers, one with TLS.
fn ask(cases: Vec<(ProbeAction, Result<(), &'static str>)>) {
    in_new_netns(move || {
        let (listening, listens) = mpsc::channel();
        let stand_in = StandIn {
            pod: "a/b".to_owned(),
            ports: vec![Port { port: HTTP, protocol: Protocol::Tcp, kind: Kind::Detect }],
        };
        std::thread::spawn(move || run(&stand_in, |_| listening.send(()).expect("the test waits")));
        listens.recv().expect("it listens");
        let listener = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a port");
        let _deaf = listener(DEAF);
        let teapot = listener(TEAPOT);
        std::thread::spawn(move || {
            for stream in teapot.incoming() {
                let mut stream = stream.expect("a connection");
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(b"HTTP/1.1 418 I'm a teapot\r\ncontent-length: 0\r\n\r\n");
            }
        });
        let tls = listener(TLS);
        std::thread::spawn(move || serve_tls(&tls));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let local = IpAddr::from(Ipv4Addr::LOCALHOST);
        let asker = Asker::new(&[local]).expect("an asker");
        let port = ContainerPort { name: "web".into(), port: HTTP, protocol: Protocol::Tcp };
        let container = Container { ports: vec![port], ..Container::default() };
        for (action, wanted) in cases {
            let probe = Probe { timeout: Duration::from_millis(500), ..probe(action) };
            let answer = runtime.block_on(asker.ask(&probe, &container, local)).map_err(|problem| problem.to_string());
            match (&answer, wanted) {
                (Ok(()), Ok(())) => {}
                (Err(problem), Err(wanted)) if problem.starts_with(wanted) => {}
                _ => panic!("{:?}: expected {wanted:?}, found {answer:?}", probe.action),
            }
        }
    });
}

/// A server with a certificate that nobody vouches for; it answers every request with 204.
fn serve_tls(listener: &TcpListener) {
    let rcgen::CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["nobody".to_owned()]).expect("a certificate");
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key.into())
        .expect("a certificate");
    let config = Arc::new(config);
    for stream in listener.incoming() {
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).expect("a connection");
        let mut stream = rustls::StreamOwned::new(connection, stream.expect("a connection"));
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
    }
}

fn get(path: &str, port: u16) -> ProbeAction {
    ProbeAction::Http { path: path.to_owned(), port: Ok(port), headers: Vec::new(), tls: false }
}

#[test]
fn http_is_well_from_200_to_399() {
    let header = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let with = |headers| ProbeAction::Http { path: "/".to_owned(), port: Ok(HTTP), headers, tls: false };
    ask(vec![
        (get("/healthz", HTTP), Ok(())),
        (get("healthz?status=399", HTTP), Ok(())),
        (get("/?status=400", HTTP), Err("expected a status from 200 to 399, found 400")),
        (get("/", TEAPOT), Err("expected a status from 200 to 399, found 418")),
        (get("/", CLOSED), Err("cannot connect to 127.0.0.1:8083: Connection refused")),
        (get("/", DEAF), Err("no answer within 500ms")),
        (get("/a b", HTTP), Err("the request cannot be made: ")),
        (with(header("Host", "shop")), Ok(())),
        (with(header("x y", "z")), Err("the request cannot be made: ")),
        (ProbeAction::Http { path: "/".to_owned(), port: Err("web".into()), headers: Vec::new(), tls: false }, Ok(())),
        (
            ProbeAction::Http { path: "/".to_owned(), port: Err("api".into()), headers: Vec::new(), tls: false },
            Err("no port of the container is named `api`"),
        ),
    ]);
}

#[test]
fn https_is_asked_without_verifying() {
    let https = |port| ProbeAction::Http { path: "/".to_owned(), port: Ok(port), headers: Vec::new(), tls: true };
    ask(vec![(https(TLS), Ok(())), (https(HTTP), Err("no TLS: "))]);
}

#[test]
fn tcp_is_well_when_it_connects() {
    ask(vec![
        (ProbeAction::Tcp(Ok(DEAF)), Ok(())),
        (ProbeAction::Tcp(Err("web".into())), Ok(())),
        (ProbeAction::Tcp(Ok(CLOSED)), Err("cannot connect to 127.0.0.1:8083: Connection refused")),
    ]);
}

#[test]
fn grpc_is_well_when_it_serves() {
    ask(vec![
        (ProbeAction::Grpc(HTTP, String::new()), Ok(())),
        (ProbeAction::Grpc(HTTP, "shop.Cart".to_owned()), Ok(())),
        (ProbeAction::Grpc(TEAPOT, String::new()), Err("no HTTP answer: ")),
        (ProbeAction::Grpc(DEAF, String::new()), Err("no answer within 500ms")),
    ]);
}

#[test]
fn a_pod_that_is_not_ready_leaves_its_services() {
    let manifests = "
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}, {port: 81, name: other}]}
---
apiVersion: v1
kind: Service
metadata: {name: early, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, publishNotReadyAddresses: true, ports: [{port: 80}]}
";
    let snapshot = snapshot(manifests);
    let pod = |name: &str| Name::new("shop", name);
    let health = BTreeMap::from([
        (pod("a"), PodHealth { ready: true, ..PodHealth::default() }),
        (pod("b"), PodHealth::default()),
    ]);
    let unready = unready(&health);
    assert_eq!(unready, BTreeSet::from([pod("b")]));
    let published_one = published(&snapshot, &unready);
    let backends = |name: &str| {
        let ports = &published_one.services[&pod(name)].ports;
        ports
            .iter()
            .map(|port| port.backends.iter().filter_map(|backend| backend.pod.clone()).collect())
            .collect::<Vec<Vec<_>>>()
    };
    assert_eq!(backends("web"), [[pod("a")], [pod("a")]]);
    assert_eq!(backends("early"), [[pod("a"), pod("b")]]);
    let all_ready = published(&snapshot, &BTreeSet::new());
    assert!(
        Arc::ptr_eq(&all_ready.services[&pod("web")], &snapshot.services[&pod("web")]),
        "nothing is copied for nothing"
    );
}
