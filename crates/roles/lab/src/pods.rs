//! The pods of a lab: from a pod of the snapshot to a namespace, a cgroup and a process, and back.

use crate::broker::BrokerApi;
use crate::network::{Joined, Network};
use crate::process::{
    Cgroups, Launch, Phase, Place, PodFiles, Restart, Running, StateDir, Supervised, Work, Zygote, command, supervise,
};
use crate::readiness::{ContainerProbes, PodProbes};
use crate::standin::{self, StandIn};
use anyhow::{Context, Result};
use lictor_cluster::{BUILT_IN_ANNOTATION, Pod, RUN_ANNOTATION, Snapshot};
use lictor_identity::{self as identity, Tree};
use lictor_manifest::{Container, WorkloadKind};
use lictor_model::Name;
use lictor_node::{Node, PodPlace};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// The pod whose network lictor's own DNS server answers in.
pub(crate) fn dns_pod() -> Name {
    Name::new("kube-system", "kube-dns")
}

/// Whether a pod's containers run their commands on this machine, instead of a stand-in.
fn runs_on_host(pod: &Pod) -> bool {
    pod.annotations.get(RUN_ANNOTATION).map(String::as_str) == Some("host")
}

/// The containers of a pod that run their command on this machine.
fn commanded(pod: &Pod) -> impl Iterator<Item = &Container> {
    let runs = runs_on_host(pod);
    pod.spec.containers.iter().filter(move |container| runs && !container.command.is_empty())
}

/// What pods are made with.
pub(crate) struct Workshop {
    pub(crate) network: Network,
    pub(crate) cgroups: Cgroups,
    pub(crate) state: StateDir,
    pub(crate) zygote: Arc<Zygote>,
    pub(crate) tree: Tree,
    /// Where cluster DNS is asked.
    pub(crate) dns: Vec<IpAddr>,
    /// The domain of the cluster's names.
    pub(crate) domain: String,
    /// Where pods that are brokers ask for the identities of others.
    pub(crate) broker_api: Option<BrokerApi>,
}

/// A pod that runs.
#[derive(Debug)]
pub(crate) struct LivePod {
    pub(crate) pod: Arc<Pod>,
    pub(crate) joined: Joined,
    cgroup: Arc<crate::process::Cgroup>,
    /// Those of its containers that run a command of their own, by container.
    containers: BTreeMap<String, Arc<crate::process::Cgroup>>,
    /// One for each container that runs; none for the pod that lictor serves itself.
    pub(crate) processes: Vec<Supervised>,
}

impl Workshop {
    /// Makes the network of a pod; it is not judged and runs nothing yet.
    pub(crate) fn make(&self, pod: &Arc<Pod>) -> Result<LivePod> {
        let joined = self.network.join(pod)?;
        let cgroup = Arc::new(self.cgroups.pod(&pod.name).with_context(|| format!("no cgroup for {}", pod.name))?);
        let mut containers = BTreeMap::new();
        for container in commanded(pod) {
            let name = container.name.to_string();
            let own = cgroup.container(&name).with_context(|| format!("no cgroup for {name} of {}", pod.name))?;
            containers.insert(name, Arc::new(own));
        }
        Ok(LivePod { pod: Arc::clone(pod), joined, cgroup, containers, processes: Vec::new() })
    }

    /// Hands a pod to the node's services: from now on it has an identity and its traffic is judged.
    pub(crate) async fn enroll(&self, live: &LivePod, node: &Node) -> Result<()> {
        let LivePod { pod, joined, .. } = live;
        let place = PodPlace { pod, namespace: &joined.netns, link: joined.link, cgroups: self.places(live)? };
        node.add(place).await.with_context(|| format!("the node's services do not take {}", pod.name))
    }

    /// Starts what runs in a pod.
    pub(crate) fn start(&self, live: &mut LivePod, snapshot: &Snapshot) -> Result<()> {
        let pod = &live.pod;
        let hostname = pod.spec.hostname.as_deref().unwrap_or(&pod.name.name).to_owned();
        let subdomain = pod.spec.subdomain.as_deref();
        let domain = subdomain.map(|service| format!("{service}.{}.svc.{}", pod.name.namespace, self.domain));
        let resolv_conf = crate::dns::resolv_conf(&pod.name.namespace, &self.dns, &self.domain);
        self.state.write_pod(&pod.name, &PodFiles::new(resolv_conf, &hostname, domain.as_deref(), &pod.addresses))?;
        if pod.annotations.contains_key(BUILT_IN_ANNOTATION) {
            return Ok(());
        }
        let network = Arc::new(live.joined.netns.to_fd()?);
        for (container, work) in self.works(pod, snapshot) {
            let launch = Launch { pod: StateDir::pod_folder(&pod.name), hostname: hostname.clone(), work };
            let place = Place {
                network: Arc::clone(&network),
                cgroup: Arc::clone(live.containers.get(&container).unwrap_or(&live.cgroup)),
                log: self.state.log(&pod.name, &container),
            };
            let job = matches!(pod.workload.kind, WorkloadKind::Job | WorkloadKind::CronJob);
            let restart = if job { Restart::Never } else { Restart::Always };
            live.processes.push(supervise(Arc::clone(&self.zygote), launch, place, restart));
        }
        Ok(())
    }

    /// What is to be probed of a pod that has been started; nothing when none of its containers has a probe.
    pub(crate) fn probes(&self, live: &LivePod) -> Option<PodProbes> {
        let pod = &live.pod;
        let has_probe = |container: &&Container| {
            container.readiness.is_some() || container.liveness.is_some() || container.startup.is_some()
        };
        let runs_commands = runs_on_host(pod);
        let mut processes = live.processes.iter();
        let mut containers = Vec::new();
        for container in &pod.spec.containers {
            // One stand-in plays every container; a command is its container's own.
            let process = match runs_commands {
                true if container.command.is_empty() => None,
                true => processes.next(),
                false => live.processes.first(),
            };
            if let (Some(process), Some(container)) = (process, Some(container).filter(has_probe)) {
                containers.push(ContainerProbes {
                    container: Arc::new(container.clone()),
                    control: process.control(),
                    stand_in: !runs_commands,
                    environment: self.environment(pod),
                });
            }
        }
        let address = *pod.addresses.first()?;
        (!containers.is_empty()).then(|| PodProbes { pod: pod.name.clone(), address, containers })
    }

    /// Ends a pod and takes its network away.
    pub(crate) async fn end(&self, live: LivePod, node: &Node) -> Result<()> {
        node.remove(&live.pod.name).await?;
        for process in live.processes {
            process.stop().await;
        }
        self.network.leave(&live.joined, &live.pod.addresses)?;
        self.state.remove_pod(&live.pod.name)?;
        match Arc::try_unwrap(live.cgroup) {
            Ok(cgroup) => Ok(tokio::task::spawn_blocking(|| cgroup.remove()).await??),
            Err(cgroup) => Ok(cgroup.kill()?),
        }
    }

    /// What runs in a pod, by container name: its commands on this machine where it asks for that, else one
    /// stand-in for all of its declared ports.
    fn works(&self, pod: &Pod, snapshot: &Snapshot) -> Vec<(String, Work)> {
        if runs_on_host(pod) {
            return commanded(pod)
                .map(|container| (container.name.to_string(), command(container, self.environment(pod))))
                .collect();
        }
        let stand_in = StandIn { pod: pod.name.to_string(), ports: standin::ports(pod, snapshot) };
        vec![("stand-in".to_owned(), Work::StandIn(stand_in))]
    }

    /// The environment of every process of a pod.
    pub(crate) fn environment(&self, pod: &Pod) -> Vec<(String, String)> {
        let hostname = pod.spec.hostname.as_deref().unwrap_or(&pod.name.name);
        let address = pod.addresses.first().map(ToString::to_string).unwrap_or_default();
        let is_broker = |api: &&BrokerApi| pod.identities().any(|id| api.brokers.types_of(id).is_some());
        let broker_api = self.broker_api.as_ref().filter(is_broker);
        // SPIFFE Broker Endpoint, section 4.
        let broker_api = broker_api.map(|api| ("SPIFFE_BROKER_SOCKET", format!("unix://{}", api.socket.display())));
        let pairs = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME", "/root".to_owned()),
            ("HOSTNAME", hostname.to_owned()),
            ("POD_NAME", pod.name.name.to_string()),
            ("POD_NAMESPACE", pod.name.namespace.to_string()),
            ("POD_IP", address),
            ("SPIFFE_ENDPOINT_SOCKET", format!("unix://{}", self.state.workload_socket().display())),
        ];
        pairs.into_iter().chain(broker_api).map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Where a pod's processes are: each in its container's cgroup; a stand-in, which plays every container, in the pod's.
    fn places(&self, live: &LivePod) -> Result<Vec<identity::Place>> {
        let place = |cgroup: &crate::process::Cgroup, container: Option<&str>| {
            Ok(identity::Place { cgroup: self.identity_cgroup(cgroup.path())?, container: container.map(Arc::from) })
        };
        if runs_on_host(&live.pod) {
            return live.containers.iter().map(|(name, cgroup)| place(cgroup, Some(name))).collect();
        }
        let only = match &*live.pod.spec.containers {
            [only] => Some(&*only.name),
            _ => None,
        };
        Ok(vec![place(&live.cgroup, only)?])
    }

    fn identity_cgroup(&self, path: &Path) -> Result<identity::Cgroup> {
        let path = self.tree.path(path).context("a cgroup outside of the cgroup tree")?;
        Ok(self.tree.cgroup(path)?)
    }
}

impl LivePod {
    /// The first of its processes that runs, or that of a container, and its cgroup.
    pub(crate) fn running(&self, container: Option<&str>) -> Option<(Arc<Running>, &crate::process::Cgroup)> {
        let wanted = container.and_then(|name| self.containers.get(name)).map(|cgroup| cgroup.path());
        let of = |process: &&Supervised| container.is_none() || wanted == Some(process.cgroup().path());
        self.processes.iter().filter(of).find_map(|process| Some((process.running()?, process.cgroup())))
    }

    /// The containers that have processes of their own.
    pub(crate) fn containers(&self) -> impl Iterator<Item = &str> {
        self.containers.keys().map(String::as_str)
    }

    /// What state its processes are in, in kubectl's words.
    pub(crate) fn phase(&self) -> (&'static str, u32) {
        let mut word = "Running";
        let mut restarted = 0;
        for process in &self.processes {
            match &*process.phase().borrow() {
                Phase::Starting => word = "ContainerCreating",
                Phase::Running { restarts, .. } => restarted += restarts,
                Phase::Waiting { restarts, .. } => {
                    word = "CrashLoopBackOff";
                    restarted += restarts;
                }
                Phase::Ended(exit) if exit.is_success() => word = "Completed",
                Phase::Ended(_) => word = "Error",
                Phase::Stopped => word = "Terminating",
            }
        }
        (word, restarted)
    }

    /// Waits until none of its processes is being started.
    pub(crate) async fn started(&self) {
        for process in &self.processes {
            let mut phase = process.phase();
            // The supervisor may have ended already.
            phase.wait_for(|phase| !matches!(phase, Phase::Starting)).await.ok();
        }
    }
}
