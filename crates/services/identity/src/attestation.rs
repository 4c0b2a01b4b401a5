//! Which pod a connected process belongs to.

use crate::cgroup::{Cgroup, CgroupPath, NoCgroup2, Tree};
use crate::process::{Process, ProcessError};
use crate::program::Digests;
use crate::registry::{Place, Pod, Registry};
use crate::workload::Workload;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Finds the pod of a process by its cgroup.
#[derive(Debug, Clone)]
pub struct Attestor {
    registry: Registry,
    tree: Tree,
    /// The cgroup below which the runtime makes those of pods.
    pods: Option<CgroupPath>,
    digests: Arc<Digests>,
}

/// The process at the other end of a connection, and where it was when it connected.
#[derive(Debug)]
pub struct Caller {
    process: Process,
    /// Its cgroup when the connection was accepted; what it moves to later earns it nothing.
    cgroup: CgroupPath,
}

/// Why a caller belongs to no pod.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// Nothing is known about the process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// It runs in no registered pod.
    #[error("expected process {pid} in a pod of this node, its cgroup is {cgroup}")]
    NoPod {
        /// Its number.
        pid: u32,
        /// Its cgroup.
        cgroup: CgroupPath,
    },
    /// It has moved out of its pod's or container's cgroup since it connected.
    #[error("expected process {pid} where it connected from, in {before}, it is in {now}")]
    Moved {
        /// Its number.
        pid: u32,
        /// Its cgroup when it connected.
        before: CgroupPath,
        /// Its cgroup now.
        now: CgroupPath,
    },
    /// The path of the pod's cgroup is that of another cgroup by now.
    #[error("expected the cgroup {path} to be number {registered}, saw {}", found.map_or("none".to_owned(), |id| id.to_string()))]
    Replaced {
        /// The path.
        path: CgroupPath,
        /// The number that was registered.
        registered: u64,
        /// The number of what is there now.
        found: Option<u64>,
    },
}

impl Attestor {
    /// An attestor for the pods of `registry`; it finds the cgroup hierarchy by itself.
    ///
    /// # Errors
    /// No cgroup2 hierarchy is mounted.
    pub fn new(registry: Registry) -> Result<Self, NoCgroup2> {
        Ok(Self { registry, tree: Tree::find()?, pods: None, digests: Arc::default() })
    }

    /// Says where the runtime makes the cgroups of pods: a process below `pods` that is in no pod yet is taken to be in
    /// one that is being registered.
    #[must_use]
    pub fn with_pods_below(self, pods: CgroupPath) -> Self {
        Self { pods: Some(pods), ..self }
    }

    /// The pods that it knows.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The process that connected `socket`, as it is now. Call it when the connection is accepted.
    ///
    /// # Errors
    /// The kernel does not name it, it has ended, or its cgroup is not visible.
    pub fn caller(&self, socket: &impl AsFd) -> Result<Caller, AttestError> {
        let process = Process::of_peer(socket)?;
        let cgroup = process.cgroup()?;
        Ok(Caller { process, cgroup })
    }

    /// The process that has this number, as it is now, if it had started at `known` since boot. What is found out about it
    /// afterwards is about this process, whoever gets its number.
    ///
    /// # Errors
    /// No such process runs, or its cgroup is not visible.
    pub(crate) fn process(&self, pid: u32, known: Duration) -> Result<Caller, AttestError> {
        let process = Process::of_number(pid, known)?;
        let cgroup = process.cgroup()?;
        Ok(Caller { process, cgroup })
    }

    /// Whether a pod runs here: one of the cgroups that it was registered with is still there.
    pub(crate) fn runs(&self, pod: &Pod) -> bool {
        pod.is_registered() && pod.cgroups().iter().any(|place| self.check_number(&place.cgroup).is_ok())
    }

    /// The pod that `caller` belonged to when it connected, if it still runs and still belongs to it.
    ///
    /// # Errors
    /// It belongs to none, has ended, has moved to another cgroup, or the pod's cgroup has been replaced.
    pub fn pod_of(&self, caller: &Caller) -> Result<Arc<Pod>, AttestError> {
        self.place_of(caller).map(|(pod, _)| pod)
    }

    /// The process itself: its pod, its container and the identities that it is entitled to now. A pod that is just being
    /// registered is waited for, at most for `patience`.
    ///
    /// # Errors
    /// As [`pod_of`](Self::pod_of); a caller that is nowhere near a pod is told at once.
    pub async fn workload(&self, caller: &Arc<Caller>, patience: Duration) -> Result<Workload, AttestError> {
        let (pod, place) = self.place_of_soon(caller, patience).await?;
        let workload = Workload::of(pod, place, caller, &self.digests).await;
        // It may have moved while it was looked at.
        self.place_of(caller)?;
        Ok(workload)
    }

    fn place_of(&self, caller: &Caller) -> Result<(Arc<Pod>, Place), AttestError> {
        let pid = caller.process.pid();
        let now = caller.process.cgroup()?;
        let Some((pod, place)) = self.registry.pod_of_path(&caller.cgroup) else {
            return Err(AttestError::NoPod { pid, cgroup: caller.cgroup.clone() });
        };
        if now != caller.cgroup {
            let still = self.registry.pod_of_path(&now);
            if !still.is_some_and(|(still, there)| Arc::ptr_eq(&still, &pod) && there == place) {
                return Err(AttestError::Moved { pid, before: caller.cgroup.clone(), now });
            }
        }
        self.check_number(&place.cgroup)?;
        Ok((pod, place))
    }

    async fn place_of_soon(&self, caller: &Caller, patience: Duration) -> Result<(Arc<Pod>, Place), AttestError> {
        let deadline = Instant::now() + patience;
        let mut changes = self.registry.changes();
        loop {
            changes.mark_unchanged();
            let error = match self.place_of(caller) {
                Err(error) if self.may_be_early(&error) => error,
                said => return said,
            };
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => return Err(error),
            }
        }
    }

    /// Whether a caller is in no pod because its pod is not registered yet.
    fn may_be_early(&self, error: &AttestError) -> bool {
        let (AttestError::NoPod { cgroup, .. }, Some(pods)) = (error, &self.pods) else { return false };
        cgroup.is_below(pods)
    }

    /// A path can be taken over by a new cgroup; a number cannot.
    fn check_number(&self, Cgroup { path, id }: &Cgroup) -> Result<(), AttestError> {
        let found = self.tree.cgroup(path.clone()).ok().map(|cgroup| cgroup.id);
        if found == Some(*id) {
            Ok(())
        } else {
            Err(AttestError::Replaced { path: path.clone(), registered: *id, found })
        }
    }
}

impl Caller {
    /// The process.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Its cgroup when it connected.
    pub fn cgroup(&self) -> &CgroupPath {
        &self.cgroup
    }
}
