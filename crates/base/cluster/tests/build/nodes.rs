//! Which nodes there are.

use crate::{build, objects, pod, settings};
use lictor_cluster::{AddressPool, Settings, Snapshot, UnknownNodes};
use lictor_model::Revision;

#[test]
fn a_dumped_pod_brings_its_node() {
    let status = "status: {hostIP: 172.18.0.3, podIP: 10.244.1.7}\n";
    let manifests = pod("a", "", "nodeName: worker", status) + &pod("b", "", "", "") + &pod("c", "", "", status);
    let (snapshot, findings) =
        build(&manifests.replace("10.244.1.7", "10.244.1.8").replacen("10.244.1.8", "10.244.1.7", 1));
    let nodes: Vec<String> =
        snapshot.nodes.values().map(|node| format!("{} {:?}", node.name, node.addresses)).collect();
    assert_eq!(nodes, ["n1 [192.168.0.1]", "worker [172.18.0.3]"]);
    let on: Vec<&str> = snapshot.pods.values().map(|pod| &*pod.node).collect();
    assert_eq!(on, ["worker", "n1", "worker"]);
    assert_eq!(findings, ["LIC1111: node worker is not known; the pod is taken to be on one of that name"]);
}

#[test]
fn where_there_are_no_other_nodes_a_pod_that_names_one_is_on_the_first() {
    let status = "status: {hostIP: 172.18.0.3, podIP: 10.244.1.7}\n";
    let manifests = pod("a", "", "nodeName: worker", status) + &pod("b", "", "nodeName: worker", "");
    let settings = Settings { unknown_nodes: UnknownNodes::Absent, ..settings() };
    let (snapshot, findings) =
        Snapshot::build(&objects(&manifests), &settings, &mut AddressPool::default(), Revision(1));
    assert_eq!(snapshot.nodes.keys().map(|name| &**name).collect::<Vec<_>>(), ["n1"]);
    assert!(snapshot.pods.values().all(|pod| &*pod.node == "n1"));
    let said: Vec<&str> = findings.iter().map(|finding| &*finding.message).collect();
    assert_eq!(said, ["node worker is not here; its pods are on n1"]);
}
