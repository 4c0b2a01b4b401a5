//! From a reference to a workload, and how long a broker has its states.
//!
//! A reference is resolved once, when a request comes; from then on it is about that process or that pod and no later one
//! with its number or name. A process is held by its pidfd, and what is read about it counts only if it still runs after
//! the reading; one that started after the request came is not the one that was meant. A pod is held as it was registered:
//! what replaces it is another one.
//!
//! Source: SPIFFE Broker API, sections 3.1.1, 3.1.2, 4.8 and 4.9.

use super::gate::Broker;
use super::reference::{KubernetesObject, Reference};
use super::refusal::{Reason, not_entitled, not_found, of_attestation, unavailable};
use crate::attestation::Attestor;
use crate::process::since_boot;
use crate::registry::Pod;
use crate::workload::Workload;
use crate::workload_api::connection::Peer;
use crate::workload_api::states::{FIRST, Right};
use lictor_model::Name;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tonic::Status;

/// A broker's right to the states of a workload: its certificate holds, and the workload is there.
pub(super) struct Brokered {
    broker: Broker,
    target: Target,
    attestor: Arc<Attestor>,
}

/// What a reference was found to stand for.
enum Target {
    /// A process; it is watched.
    Process(Peer),
    /// A pod as a whole.
    Pod,
}

impl Brokered {
    /// Finds the workload that `broker` refers to, judges what it is entitled to, and says on what the right to it stands.
    ///
    /// # Errors
    /// The broker may not use this type of reference, or the workload is not there or entitled to nothing.
    pub(super) async fn resolve(
        broker: Broker,
        reference: &Reference,
        attestor: &Arc<Attestor>,
    ) -> Result<(Workload, Self), Status> {
        let kind = reference.kind();
        if !broker.types.contain(kind) {
            return Err(Status::permission_denied(format!("the caller may not use references of type {kind}")));
        }
        let (workload, target) = match reference {
            Reference::Pid(pid) => process(&broker, *pid, attestor).await?,
            Reference::Object(object) => pod(object, attestor)?,
        };
        if workload.identities.is_empty() {
            return Err(not_entitled());
        }
        Ok((workload, Self { broker, target, attestor: Arc::clone(attestor) }))
    }
}

async fn process(broker: &Broker, pid: NonZeroU32, attestor: &Attestor) -> Result<(Workload, Target), Status> {
    // What the broker counts in another pid namespace is the number of another process here.
    if !broker.client.numbers_as_we_do {
        return Err(Reason::Invalid.status("expected a reference to a process from the node's own pid namespace"));
    }
    let asked = since_boot().map_err(|_| unavailable())?;
    let watched = Peer::watch(attestor.process(pid.get(), asked).map_err(of_attestation)?);
    let caller = watched.caller().ok_or_else(unavailable)?;
    let workload = tokio::select! {
        biased;
        workload = attestor.workload(caller, FIRST) => workload.map_err(of_attestation)?,
        () = watched.ended() => return Err(not_found()),
    };
    Ok((workload, Target::Process(watched)))
}

/// Identities are issued to the pods that run here, so nothing else can be found.
fn pod(object: &KubernetesObject, attestor: &Attestor) -> Result<(Workload, Target), Status> {
    if !object.is_pod() {
        return Err(Reason::NotEntitled.status("identities are issued to pods alone"));
    }
    let registry = attestor.registry();
    let pod = match (&object.key, &object.uid) {
        (Some((namespace, name)), _) => registry.pod(&Name::new(namespace.as_str(), name.as_str())),
        (None, Some(uid)) => registry.pod_of_uid(uid),
        (None, None) => None,
    };
    let is_meant = |pod: &Arc<Pod>| object.uid.is_none() || object.uid.as_deref() == pod.uid();
    let pod = pod.filter(is_meant).filter(|pod| attestor.runs(pod)).ok_or_else(not_found)?;
    Ok((Workload::of_pod(pod), Target::Pod))
}

impl Right for Brokered {
    fn stands(&self, workload: &Workload) -> Result<(), Status> {
        self.broker.check()?;
        if workload.pod.is_registered() { Ok(()) } else { Err(self.without_pod()) }
    }

    async fn look(&self, workload: &Workload) -> Result<Workload, Status> {
        self.broker.check()?;
        let now = match &self.target {
            Target::Pod if self.attestor.runs(&workload.pod) => Workload::of_pod(Arc::clone(&workload.pod)),
            Target::Pod => return Err(not_found()),
            Target::Process(process) => {
                let caller = process.caller().ok_or_else(unavailable)?;
                self.attestor.workload(caller, Duration::ZERO).await.map_err(of_attestation)?
            }
        };
        if now.follows(workload) { Ok(now) } else { Err(not_entitled()) }
    }

    fn lost(&self) -> Status {
        not_entitled()
    }

    async fn end(&self, workload: &Workload) -> Status {
        let ended = async {
            match &self.target {
                Target::Process(process) => process.ended().await,
                Target::Pod => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = ended => not_found(),
            () = workload.pod.removed() => self.without_pod(),
            status = self.broker.end() => status,
        }
    }
}

impl Brokered {
    /// A pod that is removed is gone; a process of it may go on, and is entitled to nothing.
    fn without_pod(&self) -> Status {
        match &self.target {
            Target::Process(process) if process.caller().is_some_and(|caller| caller.process().is_running()) => {
                not_entitled()
            }
            _ => not_found(),
        }
    }
}
