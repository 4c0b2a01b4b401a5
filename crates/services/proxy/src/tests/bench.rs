//! Everything that a connection needs, from manifests.

use crate::neighbours::Neighbours;
use crate::netns::Namespace;
use crate::pod::{Known, Pod, PodSockets};
use crate::policy::View;
use crate::proxy::Proxy;
use crate::record::{RecordSink, Recorder};
use crate::settings::Settings;
use crate::socket::Reach;
use crate::worker::Worker;
use crate::{Metrics, outbound, plaintext, ports, socket};
use lictor_authz::Capabilities;
use lictor_cluster::{AddressPool, Node, Settings as Cluster, Snapshot, UnknownNodes};
use lictor_model::{Close, Decision, DecisionIds, Labels, Name, Record, Revision, SpiffeId};
use lictor_pki::tls::ConfigCache;
use lictor_pki::{CertificateAuthority, Keyring};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;

pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// Two pods of the mesh, `shop/web` and `shop/db`, and `out/side` outside of it.
pub(crate) const PODS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: out, annotations: {lictor.dev/enroll: 'false'}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: web, namespace: shop}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: db, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {serviceAccountName: web, containers: [{name: c, image: i}]}
status: {podIP: 127.1.0.11, podIPs: [{ip: 127.1.0.11}, {ip: 'fd01::11'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec:
  serviceAccountName: db
  containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}, {name: tcp, containerPort: 5432}, {name: any, containerPort: 9000}]}]
status: {podIP: 127.1.0.12, podIPs: [{ip: 127.1.0.12}, {ip: 'fd01::12'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: side, namespace: out, labels: {app: side}}
spec: {containers: [{name: c, image: i}]}
status: {podIP: 127.1.0.13, podIPs: [{ip: 127.1.0.13}, {ip: 'fd01::13'}]}
";

pub(crate) const WEB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 1, 0, 11));
pub(crate) const DB: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 1, 0, 12));
pub(crate) const SIDE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 1, 0, 13));

/// The second address of a pod.
pub(crate) fn ipv6(of: IpAddr) -> IpAddr {
    let host = match of {
        SIDE => 0x13,
        DB => 0x12,
        _ => 0x11,
    };
    Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, host).into()
}

/// A small node: a namespace, a proxy with `shop/db` on it, and a worker for what other pods open.
pub(crate) struct Bench {
    pub(crate) namespace: Namespace,
    pub(crate) authority: CertificateAuthority,
    pub(crate) keyring: Keyring,
    pub(crate) proxy: Proxy,
    pub(crate) worker: Rc<Worker>,
    policy: watch::Sender<Arc<View>>,
    records: Arc<Mutex<Vec<Record>>>,
    revision: std::cell::Cell<u64>,
}

/// What policies there are, compiled.
pub(crate) fn view(policies: &str, revision: u64) -> Arc<View> {
    let reading = lictor_manifest::read("test.yaml", &format!("{PODS}---\n{policies}"));
    assert!(!reading.has_errors(), "{:#?}", reading.findings);
    let [pods, more_pods, services] =
        ["127.1.0.0/16", "fd01::/64", "10.96.0.0/16"].map(|block| block.parse().expect("a block"));
    let mut addresses = AddressPool::new(&[pods, more_pods], &[services]);
    let node = Node { name: "node".into(), labels: Labels::default(), addresses: vec![[192, 0, 2, 1].into()] };
    let cluster = Cluster {
        trust_domain: "cluster.local".parse().expect("a trust domain"),
        root_namespace: "istio-system".into(),
        default_namespace: "default".into(),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
        registration: lictor_cluster::RegistrationSettings::default(),
    };
    let (snapshot, _) = Snapshot::build(&reading.objects, &cluster, &mut addresses, Revision(revision));
    let (authorization, _) = lictor_authz::Program::compile(&snapshot, Capabilities::default());
    let network = lictor_network::compile(&snapshot);
    Arc::new(View {
        snapshot: Arc::new(snapshot),
        network: Arc::new(network),
        authorization: Arc::new(authorization),
        federated: Arc::default(),
    })
}

/// Runs a test on one thread, with tasks that need not be sent.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(LocalSet::new().run_until(async {
        tokio::time::timeout(Duration::from_secs(120), test).await.expect("the test takes too long");
    }));
}

impl Bench {
    pub(crate) async fn new(policies: &str) -> Self {
        Self::with(policies, Settings { workers: 1, ..Settings::default() }).await
    }

    pub(crate) async fn with(policies: &str, settings: Settings) -> Self {
        let namespace = crate::tests::net::namespace();
        let now = OffsetDateTime::now_utc();
        let first = view(policies, 1);
        let domain = first.snapshot.trust_domain.clone();
        let authority = CertificateAuthority::new(domain, now, time::Duration::DAY).expect("an authority");
        let keyring = Keyring::new(authority.bundle(1));
        for pod in first.snapshot.pods.values() {
            keyring.insert(authority.issue(&pod.identity, now, time::Duration::HOUR).expect("an SVID"));
        }
        let records = Arc::<Mutex<Vec<Record>>>::default();
        let sink: RecordSink = {
            let records = Arc::clone(&records);
            Arc::new(move |record| records.lock().expect("the records").push(record))
        };
        let (policy, followed) = watch::channel(first);
        let ids = Arc::<DecisionIds>::default();
        let proxy = Proxy::start(settings, keyring.clone(), followed.clone(), Arc::clone(&sink), Arc::clone(&ids))
            .expect("a proxy");
        let metrics = Arc::<Metrics>::default();
        let recorder = Recorder::new(sink, ids, Arc::clone(&metrics));
        let tls = Arc::new(ConfigCache::new(keyring.clone()));
        let worker = Worker::new(settings, tls, followed, recorder, metrics, Neighbours::default());
        tokio::task::spawn_local(Rc::clone(&worker).follow_policy());
        let revision = std::cell::Cell::new(1);
        let bench = Self { namespace, authority, keyring, proxy, worker, policy, records, revision };
        bench.proxy.add_pod(bench.sockets("shop/db")).await.expect("listeners");
        bench
    }

    /// What another worker needs.
    pub(crate) fn parts(&self) -> (Arc<ConfigCache>, watch::Receiver<Arc<View>>, Recorder) {
        (Arc::clone(&self.worker.tls), self.policy.subscribe(), self.worker.recorder.clone())
    }

    pub(crate) fn sockets(&self, name: &str) -> PodSockets {
        let name = Name::parse(name, "default");
        let view = self.policy.borrow();
        let pod = view.snapshot.pods.get(&name).expect("a pod of the manifests");
        PodSockets {
            name,
            identity: pod.identity.clone(),
            addresses: pod.addresses.clone(),
            namespace: self.namespace.try_clone().expect("a descriptor"),
        }
    }

    /// Other policies from now on.
    pub(crate) fn apply(&self, policies: &str) {
        self.revision.set(self.revision.get() + 1);
        let next = view(policies, self.revision.get());
        self.policy.send_modify(|view| {
            let federated = Arc::clone(&view.federated);
            *view = Arc::new(View { federated, ..(*next).clone() });
        });
    }

    /// Believes these foreign trust domains, and no others, from now on.
    pub(crate) fn federate(&self, bundles: &[lictor_pki::Bundle]) {
        for gone in self.keyring.foreign().keys() {
            self.keyring.remove_foreign(gone);
        }
        for bundle in bundles {
            self.keyring.set_foreign(bundle.clone()).expect("a foreign bundle");
        }
        let federated = Arc::new(bundles.iter().map(|bundle| bundle.trust_domain().clone()).collect());
        self.policy.send_modify(|view| *view = Arc::new(View { federated, ..(**view).clone() }));
    }

    /// An application of `shop/db`.
    pub(crate) fn application(&self, port: u16) -> TcpListener {
        self.listener(SocketAddr::new(DB, port))
    }

    pub(crate) fn listener(&self, at: SocketAddr) -> TcpListener {
        let listener = self.namespace.within(|| std::net::TcpListener::bind(at)).expect("a listener");
        listener.set_nonblocking(true).expect("a listener that does not block");
        TcpListener::from_std(listener).expect("a listener")
    }

    /// A connection that a pod opens to somewhere, as the redirection hands it to the pod's proxy.
    pub(crate) async fn open_from(&self, pod: &str, destination: SocketAddr) -> TcpStream {
        let pod = Rc::new(Pod::new(u64::from(destination.port()), Known::new(self.sockets(pod))));
        let source = pod.address_like(destination.ip()).expect("an address of that family");
        let (client, accepted) = self.pair(source).await;
        let peer = socket::canonical(accepted.peer_addr().expect("an address"));
        let serve = outbound::serve(Rc::clone(&self.worker), Rc::clone(&pod), accepted, peer, destination);
        tokio::task::spawn_local(async move {
            serve.await;
            drop(pod);
        });
        client
    }

    /// A plaintext connection into `shop/db`, as the redirection hands it to the pod's proxy.
    pub(crate) async fn plaintext_from(&self, source: IpAddr, port: u16) -> TcpStream {
        let to = if source.is_ipv4() { DB } else { ipv6(DB) };
        let pod = Rc::new(Pod::new(1, Known::new(self.sockets("shop/db"))));
        let (client, accepted) = self.pair(source).await;
        let peer = accepted.peer_addr().expect("an address");
        let serve = plaintext::serve(Rc::clone(&self.worker), pod, accepted, peer, SocketAddr::new(to, port));
        tokio::task::spawn_local(serve);
        client
    }

    async fn pair(&self, source: IpAddr) -> (TcpStream, TcpStream) {
        let loopback = if source.is_ipv4() { IpAddr::from([127, 0, 0, 1]) } else { Ipv6Addr::LOCALHOST.into() };
        let listener = self.listener(SocketAddr::new(loopback, 0));
        let at = listener.local_addr().expect("an address");
        let connect = socket::connect(&self.namespace, Some(source), at, Reach::Anywhere, LIMIT);
        let (client, accepted) = tokio::join!(connect, listener.accept());
        let accepted = accepted.expect("a connection").0;
        socket::prepare(&accepted);
        (client.expect("a connection"), accepted)
    }

    /// A bare connection to the tunnel port of `shop/db`.
    pub(crate) async fn dial(&self, source: IpAddr) -> TcpStream {
        let at = SocketAddr::new(DB, ports::TUNNEL);
        socket::connect(&self.namespace, Some(source), at, Reach::Anywhere, LIMIT).await.expect("a connection")
    }

    pub(crate) fn id(&self, account: &str) -> SpiffeId {
        self.policy.borrow().snapshot.trust_domain.workload("shop", account).expect("an identity")
    }

    pub(crate) fn decisions(&self) -> Vec<Decision> {
        let records = self.records.lock().expect("the records");
        let decisions = records.iter().filter_map(|record| match record {
            Record::Decision(decision) => Some(decision.clone()),
            Record::Close(_) => None,
        });
        decisions.collect()
    }

    /// The close of a decision, waited for.
    pub(crate) async fn close_of(&self, id: u64) -> Close {
        until(|| {
            let records = self.records.lock().expect("the records");
            records.iter().find_map(|record| match record {
                Record::Close(close) if close.id == id => Some(close.clone()),
                _ => None,
            })
        })
        .await
    }

    /// The one decision there is, waited for.
    pub(crate) async fn decision(&self) -> Decision {
        let decisions = until(|| Some(self.decisions()).filter(|decisions| !decisions.is_empty())).await;
        assert_eq!(decisions.len(), 1, "{decisions:#?}");
        decisions.into_iter().next().expect("one")
    }
}

/// Waits until something is there.
pub(crate) async fn until<T>(mut there: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(it) = there() {
            return it;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}

/// Answers every connection with what it sends, until its end.
pub(crate) fn echo(listener: TcpListener) {
    tokio::task::spawn_local(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::task::spawn_local(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
}

/// Sends a text and reads everything that comes back.
pub(crate) async fn exchange(mut stream: TcpStream, text: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(text).await?;
    stream.shutdown().await?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(all)
}
