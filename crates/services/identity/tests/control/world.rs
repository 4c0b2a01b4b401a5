//! A control on a real socket, whose clock is turned by hand, and nodes that speak to it over TLS.

use hyper_util::rt::TokioIo;
use lictor_cluster::{AddressPool, Node, Settings, Snapshot, UnknownNodes};
use lictor_identity::control::{ControlOptions, Members, NodeName, control_id, serve};
use lictor_identity::{Ca, CaOptions, Clock};
use lictor_model::{Labels, Revision, SpiffeId, TrustDomain};
use lictor_pki::tls::{no_name, node};
use lictor_pki::{Bundle, Keyring, PrivateKey, SigningRequest, Svid};
use lictor_wire::node::join_request::Evidence;
use lictor_wire::node::node_control_client::NodeControlClient;
use lictor_wire::node::{Certificate, JoinRequest, JoinResponse, JoinToken, Pod, Wanted};
use rustls_pki_types::CertificateDer;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use time::{Duration, OffsetDateTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) const NODE_LIFETIME: Duration = Duration::hours(1);

const OBJECTS: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {tier: front}}
spec: {nodeName: n1, serviceAccountName: web, containers: [{name: main, image: x}]}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop}
spec: {nodeName: n2, serviceAccountName: db, containers: [{name: main, image: x}]}
---
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: front}
spec: {spiffeIDTemplate: 'spiffe://td.example/front', podSelector: {matchLabels: {tier: front}}, ttl: 10m}
";

pub(crate) type Api = NodeControlClient<Channel>;

pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) members: Members,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    pub(crate) address: SocketAddr,
    pub(crate) domain: TrustDomain,
    pub(crate) seconds: Arc<AtomicI64>,
    options: ControlOptions,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

pub(crate) fn id(path: &str) -> SpiffeId {
    format!("spiffe://td.example/{path}").parse().unwrap()
}

pub(crate) fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

pub(crate) fn snapshot(objects: &str) -> Arc<Snapshot> {
    let node = |name: &str| Node { name: name.into(), labels: Labels::default(), addresses: Vec::new() };
    let settings = Settings {
        trust_domain: "td.example".parse().unwrap(),
        unknown_nodes: UnknownNodes::Absent,
        ..Settings::new(vec![node("n1"), node("n2")])
    };
    let mut pool = AddressPool::new(&["10.1.0.0/16".parse().unwrap()], &[]);
    let objects = lictor_manifest::read("test.yaml", objects).objects;
    Arc::new(Snapshot::build(&objects, &settings, &mut pool, Revision(1)).0)
}

impl World {
    pub(crate) async fn new() -> Self {
        let seconds = Arc::new(AtomicI64::new(0));
        let domain: TrustDomain = "td.example".parse().unwrap();
        let options = CaOptions { trust_domain: domain.clone(), life: Duration::days(30), upstream: None, store: None };
        let ca = Ca::start(options, clock(&seconds, Duration::ZERO)).unwrap();
        let members = Members::open(None, clock(&seconds, Duration::ZERO)).unwrap();
        let snapshots = watch::Sender::new(snapshot(OBJECTS));
        let options = ControlOptions {
            ca: ca.clone(),
            members: members.clone(),
            snapshots: snapshots.subscribe(),
            svid_lifetime: Duration::minutes(30),
            node_lifetime: NODE_LIFETIME,
        };
        let address = "127.0.0.1:0".parse().unwrap();
        let mut world = Self { ca, members, snapshots, address, domain, seconds, options, running: None };
        world.start().await;
        world
    }

    /// Starts control where it was before, if it was somewhere.
    pub(crate) async fn start(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, self.options.clone(), async {
            stopped.await.ok();
        });
        self.running = Some((stop, tokio::spawn(async { serving.await.unwrap() })));
    }

    /// Ends control; its authorities and members are kept, as a store would.
    pub(crate) async fn stop(&mut self) {
        let (stop, serving) = self.running.take().unwrap();
        stop.send(()).unwrap();
        serving.await.unwrap();
    }

    pub(crate) fn wait(&self, time: Duration) {
        self.seconds.fetch_add(time.whole_seconds(), Ordering::Relaxed);
    }

    pub(crate) fn token(&self, node: Option<&str>) -> String {
        self.members.generate(node.map(name), Duration::minutes(10)).unwrap().0.text().to_owned()
    }

    /// A connection that shows an SVID, from a machine whose clock is ahead by so much.
    pub(crate) async fn connect_at(&self, svid: Option<Svid>, ahead: Duration) -> Result<Api, String> {
        let keyring = Keyring::new((*self.ca.keyring().bundle()).clone());
        let control = control_id(&self.domain).unwrap();
        let clock = clock(&self.seconds, ahead);
        let config = node::client_config(&node::Trusted::Keyring(&keyring), &control, svid.as_ref(), clock).unwrap();
        let (config, address) = (Arc::new(config), self.address);
        let connector = tower::service_fn(move |_| {
            let config = Arc::clone(&config);
            async move {
                let stream = TcpStream::connect(address).await?;
                TlsConnector::from(config).connect(no_name(), stream).await.map(TokioIo::new)
            }
        });
        let channel = Endpoint::from_static("http://control").connect_with_connector(connector).await;
        channel.map(NodeControlClient::new).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            cause.unwrap_or_else(|| error.to_string())
        })
    }

    pub(crate) async fn connect(&self, svid: Option<Svid>) -> Api {
        self.connect_at(svid, Duration::ZERO).await.unwrap()
    }

    pub(crate) async fn join(&self, node: &str, token: &str) -> Result<(JoinResponse, PrivateKey), Status> {
        let request = SigningRequest::new().unwrap();
        let evidence = Some(Evidence::JoinToken(JoinToken { token: token.to_owned() }));
        let asked = JoinRequest { node: node.to_owned(), csr: request.der().to_vec(), now: 0, evidence };
        let joined = self.connect(None).await.join(asked).await?;
        Ok((joined.into_inner(), request.key()))
    }

    /// A node that has joined, by its SVID.
    pub(crate) async fn node(&self, node: &str) -> Svid {
        let (joined, key) = self.join(node, &self.token(Some(node))).await.unwrap();
        let now = self.ca.now();
        svid(name(node).identity(&self.domain).unwrap(), &joined.svid.unwrap(), key, now)
    }

    pub(crate) fn bundle(&self) -> Arc<Bundle> {
        self.ca.keyring().bundle()
    }
}

pub(crate) fn clock(seconds: &Arc<AtomicI64>, ahead: Duration) -> Clock {
    let seconds = Arc::clone(seconds);
    Arc::new(move || OffsetDateTime::now_utc() + ahead + Duration::seconds(seconds.load(Ordering::Relaxed)))
}

pub(crate) fn chain(certificate: &Certificate) -> Vec<CertificateDer<'static>> {
    certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect()
}

pub(crate) fn svid(id: SpiffeId, certificate: &Certificate, key: PrivateKey, now: OffsetDateTime) -> Svid {
    Svid { id, chain: chain(certificate), key, not_before: now, not_after: now + NODE_LIFETIME }
}

pub(crate) fn pod(name: &str) -> Option<Pod> {
    Some(Pod { namespace: "shop".to_owned(), name: name.to_owned(), uid: String::new() })
}

pub(crate) fn wanted(pod_name: &str, id: &SpiffeId, request: &SigningRequest) -> Wanted {
    Wanted { pod: pod(pod_name), spiffe_id: id.to_string(), csr: request.der().to_vec(), dns_names: Vec::new() }
}
