//! The services of one node, driven by snapshots.
//!
//! **Purpose.** [`Node`] wires identity, proxy and datapath together: it compiles each [`Snapshot`] once, puts the
//! network program in force in the kernel, hands the same program and the authorization program to the proxy, keeps
//! SVIDs for the pods that run here, and turns kernel events into decision records.
//!
//! **Invariants.**
//! - The kernel and the proxy answer from programs of the same snapshot; when the kernel refuses one, the proxy
//!   keeps the old one as well.
//! - A pod has its identity and its gates before its first process starts.
//!
//! **Not here.** Where objects and pods come from: the lab and the cluster role each bring their own.

mod brokers;
mod external;
mod federation;
mod issuance;
mod kernel_record;
mod open_flows;
mod relations;
mod services;
mod standing;
mod trust;

pub use brokers::{BrokerOptions, broker_endpoint_id};
pub use federation::{EndpointOptions, EndpointProfile, FederationOptions, endpoint_id};
pub use issuance::Issuance;
pub use relations::{Relations, Unchangeable};

use anyhow::{Context, Result};
use lictor_authz::{Capabilities, PolicyStatus};
use lictor_cluster::{Pod, Snapshot};
use lictor_datapath::{Datapath, Limits, capture, netns::Netns};
use lictor_identity::{Attestor, Place, Registration, Registry, Tree, identities_of};
use lictor_manifest::Finding;
use lictor_model::{DecisionIds, Name, Record};
use lictor_network::{Compiler, Program};
use lictor_pki::{Keyring, Subscription};
use lictor_proxy::{PodSockets, Proxy, View};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Where records go; called on the data path, so it must not block.
pub type RecordSink = Arc<dyn Fn(Record) + Send + Sync>;

/// What a node needs to start.
pub struct NodeOptions<'a> {
    /// The namespace that holds the pods' links.
    pub namespace: &'a Netns,
    /// The cgroup whose processes get service addresses translated; those of the pods are made below it.
    pub cgroup: &'a Path,
    /// The first snapshot; it may be without pods.
    pub snapshot: Arc<Snapshot>,
    /// Who issues the pods' identities.
    pub issuance: Issuance,
    /// Where the Workload API is served.
    pub workload_api: UnixListener,
    /// Where the Broker API is served, if it is.
    pub broker_api: Option<BrokerOptions>,
    /// With whom the trust domain is federated.
    pub federation: FederationOptions,
    /// Where decisions go.
    pub sink: RecordSink,
}

/// A pod that is about to run here.
pub struct PodPlace<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// Its network namespace.
    pub namespace: &'a Netns,
    /// The index of the node's end of its link.
    pub link: u32,
    /// Its cgroups, as the Workload API is to know its processes and those of its containers.
    pub cgroups: Vec<Place>,
}

/// What came of putting a snapshot in force.
#[derive(Debug, Default)]
pub struct Applied {
    /// What the authorization policies are not enforced for, and other things to know.
    pub findings: Vec<Finding>,
    /// The state of each policy.
    pub policies: Vec<PolicyStatus>,
}

/// The services of one node.
pub struct Node {
    datapath: Arc<Mutex<Datapath>>,
    compiler: Mutex<Compiler>,
    proxy: Proxy,
    registry: Registry,
    issuance: Issuance,
    relations: Relations,
    view: watch::Sender<Arc<View>>,
    external: watch::Sender<Arc<lictor_ext_authz::View>>,
    ids: Arc<DecisionIds>,
    _trust: Subscription,
    _tasks: JoinSet<()>,
}

impl Node {
    /// Starts every service with nothing but the first snapshot in force.
    pub async fn start(options: NodeOptions<'_>) -> Result<Self> {
        let NodeOptions { namespace, cgroup, snapshot, issuance, workload_api, broker_api, federation, sink } = options;
        federation.check(&issuance)?;
        let keyring = issuance.keyring().clone();
        let registry = Registry::new();
        let pods = Tree::find()?.path(cgroup).context("the pods' cgroup is outside of the cgroup tree")?;
        let attestor = Attestor::new(registry.clone())?.with_pods_below(pods);

        let mut datapath = Datapath::load(namespace, cgroup, Limits::default())
            .context("the kernel does not take the policy programs (`lictor check` says what is missing)")?;
        let events = datapath.events()?;
        let datapath = Arc::new(Mutex::new(datapath));

        let mut compiler = Compiler::default();
        let (authorization, _) = lictor_authz::Program::compile(&snapshot, Capabilities::default());
        let first = Arc::new(View {
            network: Arc::new(compiler.compile(&snapshot)),
            authorization: Arc::new(authorization),
            federated: Arc::default(),
            snapshot,
        });
        let (view, views) = watch::channel(first);
        let trust = trust::follow(&keyring, &view);
        let ids = Arc::new(DecisionIds::default());
        let proxy = Proxy::start(
            lictor_proxy::Settings::default(),
            keyring.clone(),
            views.clone(),
            Arc::clone(&sink),
            Arc::clone(&ids),
        )?;

        let (external, checks) = external::start(&attestor, views.borrow().snapshot.clone(), &sink, &ids)?;
        let mut tasks = JoinSet::new();
        issuance.start(&registry, &mut tasks).await?;
        let relations = federation::start(federation, &issuance, &registry, &mut tasks).await?;
        if let Some(options) = broker_api {
            brokers::start(options, &attestor, &issuance, &mut tasks)?;
        }
        let serving = lictor_identity::workload_api::serve(
            workload_api,
            attestor,
            keyring.clone(),
            issuance.tokens(),
            checks,
            std::future::pending(),
        );
        tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "the Workload API is not served any more");
            }
        });
        tasks.spawn(kernel_record::record(events, views, Arc::clone(&ids), sink));
        tasks.spawn(sweep(Arc::clone(&datapath)));
        Ok(Self {
            datapath,
            compiler: Mutex::new(compiler),
            proxy,
            registry,
            issuance,
            relations,
            view,
            external,
            ids,
            _trust: trust,
            _tasks: tasks,
        })
    }

    /// Takes a pod in: its identity, its gates, and the capture of its traffic if it is enrolled.
    ///
    /// The snapshot that holds it has to be in force already.
    pub async fn add(&self, place: PodPlace<'_>) -> Result<()> {
        let PodPlace { pod, namespace, link, cgroups } = place;
        let registration = Registration {
            pod: pod.name.clone(),
            uid: Some(Arc::clone(&pod.uid)),
            ids: identities_of(pod),
            federates_with: pod.federates_with(),
            cgroups,
        };
        self.registry.add(registration)?;
        self.kernel().attach_pod(&pod.name, link, namespace)?;
        if pod.enrolled {
            capture::install(namespace)?;
            let addresses = pod.addresses.clone();
            let (name, identity) = (pod.name.clone(), pod.identity.clone());
            self.proxy.add_pod(PodSockets { name, identity, addresses, namespace: namespace.to_fd()? }).await?;
        }
        Ok(())
    }

    /// Takes up what is new about a pod that goes on running: the DNS names of its identities, and whom it federates with.
    pub fn update(&self, pod: &Pod) {
        self.registry.set_identities(&pod.name, identities_of(pod));
        self.registry.set_federates_with(&pod.name, &pod.federates_with());
    }

    /// Lets a pod go: its connections end, its identity is withdrawn.
    pub async fn remove(&self, pod: &Name) -> Result<()> {
        self.registry.remove(pod);
        self.proxy.remove_pod(pod).await?;
        self.kernel().detach_pod(pod)?;
        Ok(())
    }

    /// Puts a snapshot in force, in the kernel, in the proxy, and in the relations to other trust domains. When the kernel
    /// refuses it, nothing changes. Call it within a runtime.
    pub fn apply(&self, snapshot: Arc<Snapshot>) -> Result<Applied> {
        let (authorization, mut findings) = lictor_authz::Program::compile(&snapshot, Capabilities::default());
        findings.extend(lictor_network::findings(&snapshot));
        let authorization = Arc::new(authorization);
        let policies = external::compile(&snapshot, &self.external.borrow().policies)?;
        let network = self.put(Arc::clone(&snapshot), Arc::clone(&authorization))?;
        findings.extend(self.relations.follow(&snapshot.registrations.federated));
        self.external.send_replace(Arc::new(lictor_ext_authz::View { snapshot: Arc::clone(&snapshot), policies }));
        let policies = standing::policies(&snapshot, &network, &authorization.status);
        Ok(Applied { findings, policies })
    }

    /// Puts a snapshot in force that differs from the last one in what pods have learnt of names alone. When the kernel
    /// refuses it, nothing changes.
    pub fn apply_names(&self, snapshot: Arc<Snapshot>) -> Result<()> {
        let authorization = Arc::clone(&self.view.borrow().authorization);
        self.put(Arc::clone(&snapshot), authorization)?;
        let policies = Arc::clone(&self.external.borrow().policies);
        self.external.send_replace(Arc::new(lictor_ext_authz::View { snapshot, policies }));
        Ok(())
    }

    fn put(&self, snapshot: Arc<Snapshot>, authorization: Arc<lictor_authz::Program>) -> Result<Arc<Program>> {
        let mut compiler = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        let before = Arc::clone(&self.view.borrow());
        let network = Arc::new(compiler.next(&before.network, &before.snapshot, &snapshot));
        if let Err(refused) = self.kernel().apply(&network) {
            compiler.forget();
            return Err(refused.into());
        }
        let program = Arc::clone(&network);
        self.view.send_modify(|view| {
            let federated = Arc::clone(&view.federated);
            *view = Arc::new(View { snapshot, network: program, authorization, federated });
        });
        Ok(network)
    }

    /// Puts the services of a snapshot in force: their virtual addresses lead to these backends from now on.
    pub fn set_services(&self, published: &Snapshot) -> Result<()> {
        Ok(self.kernel().set_services(&services::virtual_services(published))?)
    }

    /// The peers of the open connections that these pods have opened.
    pub fn peers_in_use(&self, pods: &BTreeSet<Name>) -> Result<BTreeSet<(Name, IpAddr)>> {
        Ok(self.kernel().peers_in_use(pods)?)
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.view.borrow().snapshot)
    }

    /// The network program in force.
    pub fn program(&self) -> Arc<Program> {
        Arc::clone(&self.view.borrow().network)
    }

    /// Everything in force, as it changes.
    pub fn views(&self) -> watch::Receiver<Arc<View>> {
        self.view.subscribe()
    }

    /// Where the numbers of this node's decisions come from.
    pub fn decision_ids(&self) -> Arc<DecisionIds> {
        Arc::clone(&self.ids)
    }

    /// The SVIDs of the identities that run here.
    pub fn keyring(&self) -> &Keyring {
        self.issuance.keyring()
    }

    /// Who issues them.
    pub fn issuance(&self) -> &Issuance {
        &self.issuance
    }

    /// The relations to other trust domains.
    pub fn relations(&self) -> &Relations {
        &self.relations
    }

    fn kernel(&self) -> MutexGuard<'_, Datapath> {
        self.datapath.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets idle connections, and tells of their end.
async fn sweep(datapath: Arc<Mutex<Datapath>>) {
    let mut tick = tokio::time::interval(std::time::Duration::from_secs(10));
    loop {
        tick.tick().await;
        let swept = datapath.lock().unwrap_or_else(PoisonError::into_inner).sweep();
        if let Err(error) = swept {
            tracing::warn!(%error, "idle connections cannot be swept");
        }
    }
}
