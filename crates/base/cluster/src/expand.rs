//! From workloads to the pods that they make.

use crate::inventory::Inventory;
use crate::notice;
use crate::pod::WorkloadRef;
use lictor_manifest::{Finding, Owner, Workload, WorkloadKind};
use lictor_model::Name;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// More pods than this in one snapshot are refused: a mistyped replica count must not take the machine down.
const MAX_PODS: usize = 1 << 18;

/// A pod before it has addresses.
pub(crate) struct Draft {
    /// The workload that the pod belongs to: the controller at the top.
    pub(crate) workload: WorkloadRef,
    /// The object with its template.
    pub(crate) object: Arc<Workload>,
    /// The node that it is bound to.
    pub(crate) node: Option<Arc<str>>,
}

/// The pods of all workloads.
pub(crate) struct Expansion {
    pub(crate) drafts: BTreeMap<Name, Draft>,
    /// Workloads that run nothing now.
    pub(crate) suspended: Vec<WorkloadRef>,
}

/// Makes the pods of every workload, in names that stay: a Pod's own, `web-0`, `web-1`, … for a controller's
/// replicas, `web-<node>` for a DaemonSet on several nodes.
///
/// A controller whose children are among the objects (a dump of a cluster has Deployment, ReplicaSet and Pods)
/// makes none of its own. Where two kinds would make a pod of one name, Pod and StatefulSet keep theirs, since
/// theirs are the names that Kubernetes gives, and the others put their kind in: `web-deployment-0`.
pub(crate) fn expand(inventory: &Inventory, nodes: &[Arc<str>], findings: &mut Vec<Finding>) -> Expansion {
    let parents: HashSet<(WorkloadKind, Name)> =
        inventory.workloads.values().filter_map(|child| owner(child)).collect();
    let mut expansion = Expansion { drafts: BTreeMap::new(), suspended: Vec::new() };
    let mut ranked: Vec<&Arc<Workload>> = inventory.workloads.values().collect();
    ranked.sort_by_key(|object| (rank(object.kind), object.kind, &object.meta.name));
    for object in ranked {
        let own = WorkloadRef { kind: object.kind, name: object.meta.name.clone() };
        if object.kind == WorkloadKind::CronJob {
            expansion.suspended.push(own);
            continue;
        }
        if parents.contains(&(object.kind, object.meta.name.clone())) {
            continue;
        }
        let replicas = replicas(object, nodes);
        if replicas.is_empty() {
            if object.owner.is_none() {
                expansion.suspended.push(own);
            }
            continue;
        }
        let workload = top(inventory, object);
        for (suffix, node) in replicas {
            if expansion.drafts.len() >= MAX_PODS {
                findings.push(notice::too_many_pods(&object.meta, MAX_PODS));
                return expansion;
            }
            let draft = Draft { workload: workload.clone(), object: Arc::clone(object), node };
            if let Err(name) = expansion.place(&suffix, draft) {
                findings.push(notice::pod_name_taken(&object.meta, object.kind, &name));
            }
        }
    }
    expansion.suspended.sort();
    expansion
}

impl Expansion {
    /// Keeps a pod under its name, or under the one with its kind in it; the name, if both are taken.
    fn place(&mut self, suffix: &str, draft: Draft) -> Result<(), Name> {
        let Name { namespace, name } = draft.object.meta.name.clone();
        let kind = draft.object.kind.as_str().to_lowercase();
        let (plain, long) = match suffix {
            "" => (name.to_string(), format!("{name}-{kind}")),
            suffix => (format!("{name}-{suffix}"), format!("{name}-{kind}-{suffix}")),
        };
        let free = [plain.as_str(), long.as_str()]
            .into_iter()
            .map(|name| Name::new(namespace.clone(), name))
            .find(|name| !self.drafts.contains_key(name));
        match free {
            Some(name) => {
                self.drafts.insert(name, draft);
                Ok(())
            }
            None => Err(Name::new(namespace, plain)),
        }
    }
}

/// The suffix and the node of each pod that an object makes.
fn replicas(object: &Workload, nodes: &[Arc<str>]) -> Vec<(String, Option<Arc<str>>)> {
    let bound = object.template.spec.node_name.clone();
    match object.kind {
        WorkloadKind::CronJob => Vec::new(),
        WorkloadKind::Pod => vec![(String::new(), bound)],
        WorkloadKind::DaemonSet if nodes.len() > 1 => {
            nodes.iter().map(|node| (node.to_string(), Some(Arc::clone(node)))).collect()
        }
        WorkloadKind::DaemonSet => vec![("0".to_owned(), bound)],
        _ => {
            let most = u32::try_from(MAX_PODS).unwrap_or(u32::MAX).saturating_add(1);
            (0..object.replicas.min(most)).map(|ordinal| (ordinal.to_string(), bound.clone())).collect()
        }
    }
}

/// Which kinds get the short names first.
fn rank(kind: WorkloadKind) -> u8 {
    match kind {
        WorkloadKind::Pod => 0,
        WorkloadKind::StatefulSet => 1,
        _ => 2,
    }
}

/// The controller that an object names as its owner, if it is of a kind that is known here.
fn owner(object: &Workload) -> Option<(WorkloadKind, Name)> {
    let Owner { kind, name, .. } = object.owner.as_ref()?;
    let kind = WORKLOAD_KINDS.into_iter().find(|known| known.as_str() == &**kind)?;
    Some((kind, Name::new(object.meta.name.namespace.clone(), name.clone())))
}

const WORKLOAD_KINDS: [WorkloadKind; 8] = [
    WorkloadKind::Pod,
    WorkloadKind::Deployment,
    WorkloadKind::StatefulSet,
    WorkloadKind::DaemonSet,
    WorkloadKind::ReplicaSet,
    WorkloadKind::ReplicationController,
    WorkloadKind::Job,
    WorkloadKind::CronJob,
];

/// The controller at the top of an object's owners, or the object itself.
///
/// A ReplicaSet that is not among the objects stands for the Deployment that made it when the pod's
/// `pod-template-hash` label is the end of its name, which is how Deployments name them.
fn top(inventory: &Inventory, object: &Workload) -> WorkloadRef {
    const HOPS: usize = 4;
    let hash = object.template.labels.get("pod-template-hash");
    let mut current = WorkloadRef { kind: object.kind, name: object.meta.name.clone() };
    let mut next = owner(object);
    for _ in 0..HOPS {
        let Some((kind, name)) = next else { break };
        let known = inventory.workloads.get(&(kind, name.clone()));
        let deployment = hash.and_then(|hash| name.name.strip_suffix(hash)?.strip_suffix('-'));
        current = match (kind, known, deployment) {
            (WorkloadKind::ReplicaSet, None, Some(deployment)) => {
                WorkloadRef { kind: WorkloadKind::Deployment, name: Name::new(name.namespace.clone(), deployment) }
            }
            _ => WorkloadRef { kind, name },
        };
        next = known.and_then(|known| owner(known));
    }
    current
}
