//! Which pods workloads become.

use crate::{build, pod, workload};

fn names(manifests: &str) -> Vec<String> {
    let (snapshot, findings) = build(manifests);
    assert_eq!(findings, [] as [&str; 0]);
    snapshot.pods.keys().map(|name| name.name.to_string()).collect()
}

#[test]
fn each_replica_has_a_name_that_stays() {
    for kind in ["Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"] {
        assert_eq!(names(&workload(kind, "web", "  replicas: 3\n")), ["web-0", "web-1", "web-2"], "{kind}");
    }
    assert_eq!(names(&workload("Job", "web", "")), ["web-0"]);
    assert_eq!(names(&workload("DaemonSet", "web", "")), ["web-0"]);
    assert_eq!(names(&pod("web", "", "", "")), ["web"]);
}

#[test]
fn a_daemon_set_has_a_pod_on_each_node() {
    let manifests = workload("DaemonSet", "web", "") + &pod("other", "", "nodeName: n2", "");
    let (snapshot, _) = build(&manifests);
    let nodes: Vec<String> = snapshot.pods.values().map(|pod| format!("{} on {}", pod.name.name, pod.node)).collect();
    assert_eq!(nodes, ["other on n2", "web-n1 on n1", "web-n2 on n2"]);
}

#[test]
fn what_runs_nothing_is_suspended() {
    let cron = "---
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: '0 0 * * *'
  jobTemplate: {spec: {template: {spec: {containers: [{name: c, image: i}]}}}}
";
    let (snapshot, _) = build(&(cron.to_owned() + &workload("Deployment", "idle", "  replicas: 0\n")));
    assert!(snapshot.pods.is_empty());
    let suspended: Vec<&str> = snapshot.suspended.iter().map(|workload| &*workload.name.name).collect();
    assert_eq!(suspended, ["idle", "nightly"]);
}

#[test]
fn a_stateful_sets_pods_are_known_below_its_service() {
    let (snapshot, _) = build(&workload("StatefulSet", "db", "  serviceName: peers\n  replicas: 2\n"));
    let hosts: Vec<_> =
        snapshot.pods.values().map(|pod| (pod.spec.hostname.as_deref(), pod.spec.subdomain.as_deref())).collect();
    assert_eq!(hosts, [(Some("db-0"), Some("peers")), (Some("db-1"), Some("peers"))]);
}

#[test]
fn a_dump_is_not_doubled_and_its_pods_know_their_controller() {
    let owned = |kind: &str, name: &str| {
        format!("ownerReferences: [{{apiVersion: apps/v1, kind: {kind}, name: {name}, uid: u, controller: true}}]")
    };
    let hash = "labels: {app: web, pod-template-hash: 5d4f}";
    let replica_set = workload("ReplicaSet", "web-5d4f", "  replicas: 2\n")
        .replace("{name: web-5d4f}", &format!("{{name: web-5d4f, {}}}", owned("Deployment", "web")));
    let in_web = pod("web-5d4f-x1", &format!("{hash}, {}", owned("ReplicaSet", "web-5d4f")), "", "");
    let workloads = |manifests: &str| {
        let (snapshot, _) = build(manifests);
        let each = snapshot
            .pods
            .values()
            .map(|pod| format!("{} {} {}", pod.name.name, pod.workload.kind.as_str(), pod.workload.name.name));
        each.collect::<Vec<_>>()
    };
    let deployment = workload("Deployment", "web", "  replicas: 2\n");
    // All three kinds, without the ReplicaSet, without the Deployment, the ReplicaSet without pods.
    assert_eq!(workloads(&(deployment.clone() + &replica_set + &in_web)), ["web-5d4f-x1 Deployment web"]);
    assert_eq!(workloads(&in_web), ["web-5d4f-x1 Deployment web"]);
    assert_eq!(workloads(&(replica_set.clone() + &in_web)), ["web-5d4f-x1 Deployment web"]);
    assert_eq!(workloads(&(deployment + &replica_set)), ["web-5d4f-0 Deployment web", "web-5d4f-1 Deployment web"]);
    // Without the label the name alone says nothing; a kind that is not known here makes no workload.
    let bare = pod("web-5d4f-x1", &owned("ReplicaSet", "web-5d4f"), "", "");
    assert_eq!(workloads(&bare), ["web-5d4f-x1 ReplicaSet web-5d4f"]);
    assert_eq!(workloads(&pod("p", &owned("Rollout", "web"), "", "")), ["p Pod p"]);
}

#[test]
fn two_kinds_of_one_name_both_get_their_pods() {
    let manifests =
        workload("Deployment", "web", "") + &workload("Job", "web", "") + &workload("StatefulSet", "web", "");
    assert_eq!(names(&manifests), ["web-0", "web-deployment-0", "web-job-0"]);
    assert_eq!(names(&(pod("web-0", "", "", "") + &workload("Deployment", "web", ""))), ["web-0", "web-deployment-0"]);
    let taken = pod("web-0", "", "", "") + &pod("web-deployment-0", "", "", "") + &workload("Deployment", "web", "");
    let (snapshot, findings) = build(&taken);
    assert_eq!(snapshot.pods.len(), 2);
    assert_eq!(findings, ["LIC1101: Deployment default/web would make a pod default/web-0, which is there already"]);
}

#[test]
fn a_mistyped_replica_count_ends_at_the_limit() {
    let (snapshot, findings) = build(&workload("Deployment", "web", "  replicas: 2000000000\n"));
    assert!(snapshot.pods.len() < 65_536);
    assert!(findings[0].starts_with("LIC1112: expected at most 262144 pods in all"), "{findings:?}");
    assert!(findings[1].starts_with("LIC1106: default/web-"), "{findings:?}");
    assert_eq!(findings.len(), 2);
}

#[test]
fn of_two_objects_with_one_name_the_first_is_kept() {
    let (snapshot, findings) =
        build(&(workload("Deployment", "web", "  replicas: 2\n") + &workload("Deployment", "web", "")));
    assert_eq!(snapshot.pods.len(), 2);
    assert_eq!(findings, ["LIC1101: Deployment default/web is declared twice; the one at test.yaml:4:12 is kept"]);
}
