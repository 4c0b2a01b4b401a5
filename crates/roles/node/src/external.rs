//! External authorization for the Envoys of this node's pods, on the Workload API's socket.

use crate::RecordSink;
use anyhow::{Result, bail};
use lictor_cluster::Snapshot;
use lictor_ext_authz::{Settings, View, service};
use lictor_identity::{Attestor, workload_api};
use lictor_model::DecisionIds;
use lictor_rego::Program;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::service::Routes;

/// What is in force, to be replaced, and the service that answers by it.
pub(crate) fn start(
    attestor: &Attestor,
    snapshot: Arc<Snapshot>,
    sink: &RecordSink,
    ids: &Arc<DecisionIds>,
) -> Result<(watch::Sender<Arc<View>>, Routes)> {
    let policies = compile(&snapshot, &Program::default())?;
    let (sender, views) = watch::channel(Arc::new(View { snapshot, policies }));
    let attestor = attestor.clone();
    let service = service(Settings {
        caller: Arc::new(move |request| workload_api::caller_of(request, &attestor).map(|pod| pod.name().clone())),
        views,
        sink: Arc::clone(sink),
        ids: Arc::clone(ids),
    })?;
    Ok((sender, Routes::new(service)))
}

/// The policies of a snapshot; what did not change since `before` is taken over.
pub(crate) fn compile(snapshot: &Snapshot, before: &Program) -> Result<Arc<Program>> {
    match Program::compile(snapshot.policies.rego.values(), before) {
        Ok(program) => Ok(Arc::new(program)),
        Err(findings) => {
            let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
            bail!("{}", told.join("; "))
        }
    }
}
