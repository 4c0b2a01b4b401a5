//! Which nodes there are.

use crate::{build, pod};

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
