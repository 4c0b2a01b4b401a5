//! A running lab.

use crate::api;
use crate::broker::BrokerApi;
use crate::dns::{self, History, Upstreams, Zone};
use crate::identity::Identity;
use crate::journal::Journal;
use crate::network::Network;
use crate::pods::{LivePod, Workshop, dns_pod};
use crate::process::{Cgroups, STATE, Stage, StateDir, Zygote};
use crate::readiness::{self, Prober};
use anyhow::{Context, Result};
use lictor_cluster::registration::{Entry, Part};
use lictor_cluster::{AddressPool, Delta, Pod, Settings, Snapshot, UnknownNodes};
use lictor_datapath::capture::{PROBE_V4, PROBE_V6};
use lictor_identity::Tree;
use lictor_identity::certificates::Certificates;
use lictor_manifest::{Finding, Issuance, Object};
use lictor_model::{Name, PolicyRef, Revision};
use lictor_node::{Applied, FederationOptions, Node, NodeOptions};
use lictor_sources::{Cluster, Sources};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use time::OffsetDateTime;
use tokio::sync::{mpsc, watch};

/// What a lab is started with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The lab's name: its state lies below `/run/lictor/<name>`.
    pub name: String,
    /// Where the manifests come from, for `status`.
    pub sources: Vec<String>,
    /// The trust domain and the address blocks.
    pub cluster: Cluster,
    /// Who signs the pods' identities.
    pub identity: Identity,
    /// With whom the trust domain is federated.
    pub federation: FederationOptions,
    /// Who may ask for the identities of others, if anybody may.
    pub broker_api: Option<BrokerApi>,
    /// Who answers names outside the cluster; this machine's own resolvers if nobody is named.
    pub resolvers: Vec<SocketAddr>,
    /// The program that becomes the pods' processes, and its arguments that make it one.
    pub zygote: (PathBuf, Vec<OsString>),
}

/// A running lab; see [`Lab::start`].
pub struct Lab {
    pub(crate) options: Options,
    pub(crate) started: OffsetDateTime,
    pub(crate) node: Node,
    /// Nothing where there is nobody to sign them.
    pub(crate) certificates: Option<Certificates>,
    pub(crate) journal: Journal,
    pub(crate) workshop: Workshop,
    pub(crate) pods: tokio::sync::Mutex<BTreeMap<Name, LivePod>>,
    pub(crate) said: Mutex<Said>,
    pub(crate) history: Mutex<History>,
    settings: Settings,
    pool: Mutex<AddressPool>,
    pub(crate) snapshots: watch::Sender<Arc<Snapshot>>,
    prober: Prober,
    zones: watch::Sender<Arc<Zone>>,
    pub(crate) stop: watch::Sender<bool>,
}

/// What putting objects in force came to.
#[derive(Debug)]
pub struct Change {
    /// What is different now.
    pub delta: Delta,
    /// What was found beyond what reading the objects had found.
    pub findings: Vec<Finding>,
}

/// What there is to say about the manifests in force.
#[derive(Debug, Default)]
pub(crate) struct Said {
    /// About the last reading that was put in force.
    pub(crate) findings: Vec<Finding>,
    /// Why the reading after it was not.
    pub(crate) refused: Option<String>,
    /// The policies that it would have changed.
    pub(crate) waiting: BTreeSet<PolicyRef>,
    /// The state of each policy that has one.
    pub(crate) applied: Applied,
}

impl Said {
    /// Every policy, what became of it, and how many pods it speaks for. One that was to change and could not says so:
    /// what it said before, if it did, is in force.
    pub(crate) fn policies(&self) -> Vec<(PolicyRef, String, usize)> {
        let why = self.refused.as_deref().unwrap_or("another one could not be");
        let known = self.applied.policies.iter().map(|known| {
            let state = match self.waiting.contains(&known.policy) {
                true => format!("in force as it was before; {why}"),
                false => known.state.to_string(),
            };
            (known.policy.clone(), state, known.pods)
        });
        let old: BTreeSet<&PolicyRef> = self.applied.policies.iter().map(|known| &known.policy).collect();
        let new = self.waiting.iter().filter(|policy| !old.contains(policy));
        known.chain(new.map(|policy| (policy.clone(), format!("not in force; {why}"), 0))).collect()
    }
}

impl Lab {
    /// Claims the lab's name, starts its services and its DNS; it has no pod of the manifests yet.
    ///
    /// What an earlier lab of this name left behind is removed first. Needs root.
    pub async fn start(options: Options) -> Result<Arc<Self>> {
        let mut pool = options.cluster.pool();
        let mut settings = options.cluster.settings();
        settings.unknown_nodes = UnknownNodes::Absent;
        for node in &mut settings.nodes {
            node.addresses.extend([IpAddr::from(PROBE_V4), IpAddr::from(PROBE_V6)]);
        }
        options.broker_api.as_ref().map(|api| api.check(&Path::new(STATE).join(&options.name))).transpose()?;
        let state = StateDir::claim(Path::new(STATE), &options.name)?;
        let cgroups = Cgroups::open(&options.name)?;
        let network = Network::new(&pool)?;
        let journal = Journal::start(&state.decisions()).context("the decision log cannot be written")?;
        let workload_api = lictor_identity::workload_api::bind(&state.workload_socket())?;
        let broker_api = options.broker_api.as_ref().map(|api| api.bind(state.broker_answers())).transpose()?;
        let stage =
            Stage { hidden: PathBuf::from(STATE), workload_socket: Some(state.workload_socket()), pods: state.pods() };
        let zygote = Zygote::start(&options.zygote.0, options.zygote.1.clone(), stage).await?;

        let (snapshot, _) = Snapshot::build(&[], &settings, &mut pool, Revision::default());
        let snapshot = Arc::new(snapshot);
        let sink = {
            let journal = journal.clone();
            Arc::new(move |record| journal.record(record))
        };
        let node = Node::start(NodeOptions {
            namespace: &network.node,
            cgroup: cgroups.root(),
            snapshot: Arc::clone(&snapshot),
            issuance: options.identity.issuance(&options.cluster.trust_domain)?,
            workload_api,
            broker_api,
            federation: options.federation.clone(),
            sink,
        })
        .await?;

        let certificates = options.identity.certificates(node.issuance(), &options.cluster)?;
        let prober = Prober::start(network.node.to_fd()?, &[PROBE_V4.into(), PROBE_V6.into()])?;
        let domain = options.cluster.registration.cluster_domain.to_string();
        let zone = Zone::new(&snapshot, &domain, &BTreeSet::new())?;
        let workshop = Workshop {
            network,
            cgroups,
            state,
            zygote: Arc::new(zygote),
            tree: Tree::find()?,
            dns: options.cluster.dns().to_vec(),
            broker_api: options.broker_api.clone(),
            domain,
        };
        let lab = Arc::new(Self {
            started: OffsetDateTime::now_utc(),
            node,
            certificates,
            journal,
            workshop,
            pods: tokio::sync::Mutex::default(),
            said: Mutex::default(),
            history: Mutex::default(),
            settings,
            pool: Mutex::new(pool),
            snapshots: watch::channel(snapshot).0,
            prober,
            zones: watch::channel(Arc::new(zone)).0,
            stop: watch::channel(false).0,
            options,
        });
        lab.apply(&[], Vec::new()).await?;
        lab.serve_dns().await?;
        tokio::spawn(Arc::clone(&lab).follow_health());
        if let Some(certificates) = lab.certificates.clone() {
            tokio::spawn(certificates.run(std::future::pending()));
        }
        let listener = api::listen(&lab.workshop.state.api_socket())?;
        tokio::spawn(api::serve(listener, Arc::clone(&lab)));
        Ok(lab)
    }

    /// Puts objects in force: pods come and go, policies change.
    ///
    /// `findings` are what reading the objects found; they are kept for `status`. Errors: the kernel does not take the
    /// policies (then nothing has changed), or a pod cannot be made.
    pub async fn apply(&self, objects: &[Object], mut findings: Vec<Finding>) -> Result<Change> {
        let mut pods = self.pods.lock().await;
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let objects = self.options.cluster.objects(objects);
        let old = self.snapshot();
        let (mut new, built) = Snapshot::build(&objects, &self.settings, &mut pool, old.revision.next());
        new.names.clone_from(&old.names);
        // What a pod has learnt goes with it.
        let kept: BTreeSet<Name> = (old.pods.iter())
            .filter(|(name, before)| new.pods.get(*name).is_some_and(|after| !is_restarted(before, after)))
            .map(|(name, _)| name.clone())
            .collect();
        let mut history = self.history().clone();
        history.retain(|pod| kept.contains(pod));
        new.names.retain(|pod| kept.contains(pod));
        let new = Arc::new(new);
        let delta = Delta::between(&old, &new);

        let applied = match self.node.apply(Arc::clone(&new)) {
            Ok(applied) => applied,
            Err(refused) => {
                self.said().waiting = delta.policies;
                return Err(refused);
            }
        };
        self.snapshots.send_replace(Arc::clone(&new));
        // The first snapshot is the lab's own. It has nobody's Certificates yet, so the Secrets of a store wait for the next one.
        if let Some(certificates) = self.certificates.as_ref().filter(|_| old.revision != Revision::default()) {
            certificates.set(&new);
        }
        *self.history() = history;
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = pool;
        let mut found: Vec<Finding> = built.into_iter().chain(applied.findings.iter().cloned()).collect();
        found.extend(lictor_certificates::findings(&new, &self.options.identity.rules(&self.options.cluster)));
        found.extend(self.options.identity.findings(&objects, &new));
        findings.extend(found.iter().cloned());
        *self.said() = Said { findings, applied, ..Said::default() };

        let again: Vec<Name> = delta.pods_changed.iter().filter(|name| !kept.contains(*name)).cloned().collect();
        for name in delta.pods_removed.iter().chain(&again) {
            if let Some(live) = pods.remove(name) {
                self.prober.forget(name);
                self.workshop.end(live, &self.node).await.with_context(|| format!("cannot end {name}"))?;
            }
        }
        for name in delta.pods_changed.iter().filter(|name| !again.contains(name)) {
            if let (Some(live), Some(pod)) = (pods.get_mut(name), new.pods.get(name)) {
                live.pod = Arc::clone(pod);
                self.node.update(pod);
            }
        }
        let made = self.make(delta.pods_added.iter().chain(&again), &new).await?;
        for (_, live) in &made {
            if let Some(probes) = self.workshop.probes(live) {
                self.prober.watch(probes);
            }
        }
        pods.extend(made);
        self.publish()?;
        Ok(Change { delta, findings: found })
    }

    /// The snapshot that a folder's manifests would give, with the addresses that pods would get. Nothing changes.
    ///
    /// Errors: what is there cannot be read, or has errors.
    pub(crate) fn would_be(&self, folder: &Path) -> Result<Snapshot> {
        let loaded = Sources::new([folder.to_owned()])?.load();
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let objects = self.options.cluster.objects(&loaded.objects);
        let (mut new, built) = Snapshot::build(&objects, &self.settings, &mut pool, self.snapshot().revision.next());
        let mut findings = loaded.findings.iter().chain(&built);
        if let Some(error) = findings.find(|finding| finding.is_error()) {
            anyhow::bail!("{error}; nothing is compared with half of the manifests");
        }
        new.names.clone_from(&self.snapshot().names);
        Ok(new)
    }

    /// Makes pods: all networks first, then their services, then their processes.
    async fn make(&self, names: impl Iterator<Item = &Name>, snapshot: &Snapshot) -> Result<Vec<(Name, LivePod)>> {
        let wanted = names.filter_map(|name| snapshot.pods.get(name)).filter(|pod| !pod.host_network);
        let mut made =
            wanted.map(|pod| Ok((pod.name.clone(), self.workshop.make(pod)?))).collect::<Result<Vec<_>>>()?;
        for (_, live) in &made {
            self.workshop.enroll(live, &self.node).await?;
        }
        self.workshop.network.wait_until_up(&made.iter().map(|(_, live)| &live.joined).collect::<Vec<_>>())?;
        for (_, live) in &mut made {
            self.workshop.start(live, snapshot)?;
        }
        Ok(made)
    }

    /// Waits until every process has been started once.
    pub async fn all_started(&self) {
        for live in self.pods.lock().await.values() {
            live.started().await;
        }
    }

    /// Answers DNS in the network of the built-in pod; nothing where the manifests bring their own.
    async fn serve_dns(self: &Arc<Self>) -> Result<()> {
        let pods = self.pods.lock().await;
        let Some(live) = pods.get(&dns_pod()) else { return Ok(()) };
        let sockets = live.joined.netns.run(|| dns::Sockets::bind(&live.pod.addresses, 53))?;
        let upstreams = match &*self.options.resolvers {
            [] => Upstreams::of_resolv_conf(&std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default()),
            named => Upstreams::new(named.iter().copied()),
        };
        let (learner, learnt) = mpsc::channel(64);
        let journal = self.journal.clone();
        let sink: dns::Sink = Arc::new(move |record| journal.record(record));
        let gate = dns::Gate { views: self.node.views(), learner, sink, ids: self.node.decision_ids() };
        tokio::spawn(dns::serve(sockets, self.zones.subscribe(), upstreams, Some(gate)));
        drop(pods);
        tokio::spawn(Arc::clone(self).learn_names(learnt));
        Ok(())
    }

    /// Publishes again whenever a pod becomes ready or is no longer.
    async fn follow_health(self: Arc<Self>) {
        let mut health = self.prober.health();
        let mut known = self.unready();
        while health.changed().await.is_ok() {
            let now = readiness::unready(&health.borrow_and_update());
            if now != known {
                if let Err(error) = self.publish() {
                    tracing::error!(%error, "services do not follow the pods' readiness");
                }
                known = now;
            }
        }
    }

    /// Lets services and DNS lead to the pods that are ready.
    fn publish(&self) -> Result<()> {
        let (snapshot, unready) = (self.snapshot(), self.unready());
        self.node.set_services(&readiness::published(&snapshot, &unready))?;
        self.zones.send_replace(Arc::new(Zone::new(&snapshot, &self.workshop.domain, &unready)?));
        Ok(())
    }

    /// The pods that have probes and are not ready.
    pub(crate) fn unready(&self) -> BTreeSet<Name> {
        readiness::unready(&self.prober.health().borrow())
    }

    /// The snapshot in force.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&self.snapshots.borrow())
    }

    /// Keeps why a reading was not tried, for `status`.
    pub fn refuse(&self, why: String) {
        let mut said = self.said();
        (said.refused, said.waiting) = (Some(why), BTreeSet::new());
    }

    pub(crate) fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when somebody asks the lab to stop (`lictor down`).
    pub async fn stopped(&self) {
        // The sender lives as long as the lab.
        self.stop.subscribe().wait_for(|stop| *stop).await.ok();
    }

    /// Ends every pod and removes what the lab keeps on disk. Namespaces, links and programs end with the process.
    pub async fn end(&self) -> Result<()> {
        let pods = std::mem::take(&mut *self.pods.lock().await);
        for live in pods.into_values() {
            self.workshop.end(live, &self.node).await?;
        }
        if let Some(BrokerApi { socket, .. }) = &self.options.broker_api {
            // Whoever removed it before has done the same.
            std::fs::remove_file(socket).ok();
        }
        Ok(self.workshop.state.sweep()?)
    }
}

/// Whether a pod is another one than before, as far as its processes and what they have learnt go.
fn is_restarted(before: &Pod, after: &Pod) -> bool {
    let run = |pod: &Pod| pod.annotations.get(lictor_cluster::RUN_ANNOTATION).cloned();
    // Whom it federates with, and the DNS names of its entries, are told to the processes that run.
    let issuance = |entry: &Entry| Issuance { federates_with: Vec::new(), ..(*entry.issuance).clone() };
    let ids = |pod: &Pod| -> Vec<_> {
        match &*pod.entries {
            [] => vec![(pod.identity.clone(), Issuance::default())],
            entries => entries.iter().map(|entry| (entry.id.clone(), issuance(entry))).collect(),
        }
    };
    let parts = |pod: &Pod| -> Vec<_> {
        let part = |part: &Part| (part.entry.id.clone(), issuance(&part.entry), part.scope.clone());
        pod.parts.iter().map(part).collect()
    };
    before.spec != after.spec
        || before.addresses != after.addresses
        || before.enrolled != after.enrolled
        || before.identity != after.identity
        || ids(before) != ids(after)
        || parts(before) != parts(after)
        || run(before) != run(after)
}
