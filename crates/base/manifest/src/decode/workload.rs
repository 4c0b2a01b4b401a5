//! Pods, and the kinds that make them.

use super::accept_type;
use super::metadata::Metadata;
use super::pod::{check_selector, pod_spec, status, template, workload_selector};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{PodTemplate, Workload, WorkloadKind};
use std::sync::Arc;

/// A Pod, Deployment, StatefulSet, DaemonSet, ReplicaSet, ReplicationController, Job or CronJob.
pub(crate) fn workload(object: &Field<'_>, kind: WorkloadKind, metadata: Metadata) -> Option<Workload> {
    let Metadata { meta, owner } = metadata;
    object.attempt(|record| {
        accept_type(record);
        let (mut addresses, mut host_address) = (Vec::new(), None);
        let (replicas, template) = match kind {
            WorkloadKind::Pod => {
                let mut spec = record.need("spec").and_then(|field| pod_spec(&field))?;
                let status = record.get("status").and_then(|field| status(&field)).unwrap_or_default();
                status.complete(&mut spec);
                (addresses, host_address) = (status.addresses, status.host);
                let (labels, annotations) = (meta.labels.clone(), meta.annotations.clone());
                (1, PodTemplate { labels, annotations, spec })
            }
            WorkloadKind::CronJob => {
                let spec = record.need("spec")?;
                (1, spec.attempt(job_template)?)
            }
            _ => {
                let spec = record.need("spec")?;
                spec.attempt(|record| replicated(record, kind))?
            }
        };
        Some(Workload { meta, kind, replicas, template, addresses, host_address, owner })
    })
}

/// The `spec` of a kind with a pod template: how many pods, and what each is.
fn replicated(record: &mut Record<'_>, kind: WorkloadKind) -> Option<(u32, PodTemplate)> {
    accept_rest_of_spec(record, kind);
    let scales = !matches!(kind, WorkloadKind::DaemonSet | WorkloadKind::Job);
    let replicas = scales.then(|| record.get("replicas")).flatten();
    let replicas =
        replicas.and_then(|field| field.integer(Code::InvalidValue, 0..=i32::MAX.unsigned_abs())).unwrap_or(1);
    let mut template = record.need("template").and_then(|field| template(&field))?;
    if kind == WorkloadKind::StatefulSet {
        // The controller sets it on every pod: their records stand below this Service.
        template.spec.subdomain = record.text("serviceName").filter(|name| !name.is_empty()).map(Arc::from);
    }
    if let Some(field) = record.get("selector") {
        let selector = workload_selector(&field, kind == WorkloadKind::ReplicationController);
        // A Job's selector is made by its controller, and so is the label that it selects.
        if kind != WorkloadKind::Job {
            check_selector(&field, selector.as_ref(), &template);
        }
    }
    Some((replicas, template))
}

fn accept_rest_of_spec(record: &mut Record<'_>, kind: WorkloadKind) {
    record.accept(match kind {
        WorkloadKind::Pod => &[],
        WorkloadKind::Deployment => {
            &["minReadySeconds", "paused", "progressDeadlineSeconds", "revisionHistoryLimit", "rollbackTo", "strategy"]
        }
        WorkloadKind::StatefulSet => &[
            "minReadySeconds",
            "ordinals",
            "persistentVolumeClaimRetentionPolicy",
            "podManagementPolicy",
            "revisionHistoryLimit",
            "updateStrategy",
            "volumeClaimTemplates",
        ],
        WorkloadKind::DaemonSet => &["minReadySeconds", "revisionHistoryLimit", "updateStrategy", "templateGeneration"],
        WorkloadKind::ReplicaSet | WorkloadKind::ReplicationController => &["minReadySeconds"],
        WorkloadKind::Job => &[
            "activeDeadlineSeconds",
            "backoffLimit",
            "backoffLimitPerIndex",
            "completionMode",
            "completions",
            "managedBy",
            "manualSelector",
            "maxFailedIndexes",
            "parallelism",
            "podFailurePolicy",
            "podReplacementPolicy",
            "successPolicy",
            "suspend",
            "ttlSecondsAfterFinished",
        ],
        WorkloadKind::CronJob => &[
            "concurrencyPolicy",
            "failedJobsHistoryLimit",
            "schedule",
            "startingDeadlineSeconds",
            "successfulJobsHistoryLimit",
            "suspend",
            "timeZone",
        ],
    });
}

fn job_template(record: &mut Record<'_>) -> Option<PodTemplate> {
    accept_rest_of_spec(record, WorkloadKind::CronJob);
    let template = record.need("jobTemplate")?.attempt(|record| {
        record.accept(&["metadata"]);
        record.need("spec")?.attempt(|record| replicated(record, WorkloadKind::Job))
    })?;
    Some(template.1)
}
