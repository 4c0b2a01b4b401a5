//! The same objects give the same snapshot, and nothing changes between equal ones.

use crate::{build_in, objects, pod, settings, workload};
use lictor_cluster::{AddressPool, Delta, Snapshot};
use lictor_manifest::Object;
use lictor_model::Revision;

fn some() -> Vec<Object> {
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n";
    objects(
        &(workload("Deployment", "web", "  replicas: 3\n")
            + &workload("Job", "web", "")
            + &workload("DaemonSet", "log", "")
            + &pod("x", "namespace: b", "nodeName: n9", "status: {hostIP: 10.0.0.9, podIP: 10.244.0.5}\n")
            + &pod("a", "namespace: b", "", "")
            + service),
    )
}

#[test]
fn the_order_of_objects_does_not_matter() {
    let forward = some();
    let backward: Vec<Object> = forward.iter().rev().cloned().collect();
    let (one, _) = build_in(&mut AddressPool::default(), &forward);
    let (other, _) = build_in(&mut AddressPool::default(), &backward);
    assert!(Delta::between(&one, &other).is_empty());
    assert_eq!((one.nodes, one.namespaces), (other.nodes, other.namespaces));
}

#[test]
fn a_change_is_told_by_name() {
    let mut pool = AddressPool::default();
    let mut snapshot = |objects: &[Object]| Snapshot::build(objects, &settings(), &mut pool, Revision(1)).0;
    let before = snapshot(&some());
    let fewer: Vec<Object> = some().into_iter().filter(|object| &*object.meta().name.name != "a").collect();
    let after = snapshot(&fewer);
    let delta = Delta::between(&before, &after);
    assert_eq!(delta.pods_removed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["b/a"]);
    assert!(
        delta.pods_added.is_empty() && delta.pods_changed.is_empty() && !delta.services && delta.policies.is_empty()
    );
    assert!(Delta::between(&after, &snapshot(&fewer)).is_empty());
}
