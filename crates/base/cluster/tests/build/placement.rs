//! Which addresses and identities pods get.

use crate::{build, build_in, objects, pod, pods, workload};
use lictor_cluster::AddressPool;
use lictor_model::Cidr;

fn block(text: &str) -> Cidr {
    text.parse().expect("a block")
}

#[test]
fn pods_get_addresses_in_the_order_of_their_names_from_each_block() {
    let manifests = objects(&(workload("Deployment", "web", "  replicas: 2\n") + &pod("api", "", "", "")));
    let mut pool = AddressPool::new(&[block("fd00::/64"), block("10.9.0.0/24")], &[]);
    let (snapshot, _) = build_in(&mut pool, &manifests);
    assert_eq!(
        pods(&snapshot),
        ["default/api 10.9.0.2,fd00::2", "default/web-0 10.9.0.3,fd00::3", "default/web-1 10.9.0.4,fd00::4"]
    );
    let found = snapshot.pod_at("fd00::3".parse().expect("an address")).map(|pod| pod.name.to_string());
    assert_eq!(found.as_deref(), Some("default/web-0"));
}

#[test]
fn a_pod_that_stays_keeps_its_address() {
    let mut pool = AddressPool::default();
    build_in(&mut pool, &objects(&workload("Deployment", "web", "  replicas: 2\n")));
    let more = workload("Deployment", "web", "") + &pod("api", "", "", "");
    let (snapshot, _) = build_in(&mut pool, &objects(&more));
    assert_eq!(pods(&snapshot), ["default/api 10.244.0.4", "default/web-0 10.244.0.2"]);
}

#[test]
fn a_stated_address_is_taken_and_nobody_else_gets_it() {
    let status = |address: &str| format!("status: {{podIP: {address}, podIPs: [{{ip: {address}}}]}}\n");
    let manifests =
        pod("a", "", "", "") + &pod("b", "", "", &status("10.244.0.2")) + &pod("c", "", "", &status("172.17.0.9"));
    let (snapshot, findings) = build(&manifests);
    assert_eq!(pods(&snapshot), ["default/a 10.244.0.3", "default/b 10.244.0.2", "default/c 172.17.0.9"]);
    assert_eq!(findings, [] as [&str; 0]);
}

#[test]
fn an_address_that_another_has_is_not_given_twice() {
    let status = |address: &str| format!("status: {{podIP: {address}}}\n");
    for (address, holder) in [
        ("10.244.0.9", "default/a"),
        ("192.168.0.1", "node n1"),
        ("10.244.0.1", "the node's end of the link or an older pod"),
    ] {
        let first = if holder == "default/a" { status(address) } else { String::new() };
        let (snapshot, findings) = build(&(pod("a", "", "", &first) + &pod("b", "", "", &status(address))));
        let wanted = format!("LIC1107: default/b asks for address {address}, which {holder} has; it gets another one");
        assert_eq!(findings, [wanted]);
        assert!(snapshot.pods.values().all(|pod| pod.addresses.len() == 1));
    }
}

#[test]
fn a_pod_for_which_no_address_is_left_is_left_out() {
    let mut pool = AddressPool::new(&[block("10.9.0.0/30")], &[]);
    let (snapshot, findings) = build_in(&mut pool, &objects(&workload("Deployment", "web", "  replicas: 3\n")));
    assert_eq!(pods(&snapshot), ["default/web-0 10.9.0.2"]);
    assert_eq!(findings, ["LIC1106: default/web-1 gets no address: no address is left in 10.9.0.0/30"]);
}

#[test]
fn a_host_network_pod_has_its_nodes_address_and_is_not_found_by_it() {
    let (snapshot, _) = build(&pod("agent", "", "hostNetwork: true", ""));
    assert_eq!(pods(&snapshot), ["default/agent 192.168.0.1"]);
    let address = "192.168.0.1".parse().expect("an address");
    assert!(snapshot.pod_at(address).is_none() && snapshot.node_at(address).is_some());
    assert!(snapshot.pods.values().all(|pod| pod.host_network && !pod.enrolled));
}

#[test]
fn a_pod_or_a_namespace_may_stay_outside_the_mesh() {
    let out = "annotations: {lictor.dev/enroll: \"false\"}";
    let outside = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: outside, annotations: {lictor.dev/enroll: \"false\"}}\n";
    let manifests = outside.to_owned()
        + &pod("in", "", "", "")
        + &pod("out", out, "", "")
        + &pod("there", "namespace: outside, annotations: {lictor.dev/enroll: \"true\"}", "", "")
        + &pod("dns", "namespace: kube-system", "", "");
    let (snapshot, _) = build(&manifests);
    let enrolled: Vec<String> =
        snapshot.pods.values().filter(|pod| pod.enrolled).map(|pod| pod.name.to_string()).collect();
    assert_eq!(enrolled, ["default/in", "kube-system/dns"]);
}

#[test]
fn an_identity_is_the_service_account_in_its_namespace() {
    let account = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: api}\n";
    let (snapshot, findings) =
        build(&(account.to_owned() + &pod("a", "", "serviceAccountName: api", "") + &pod("b", "", "", "")));
    let identities: Vec<&str> = snapshot.pods.values().map(|pod| pod.identity.as_str()).collect();
    assert_eq!(
        identities,
        ["spiffe://cluster.local/ns/default/sa/api", "spiffe://cluster.local/ns/default/sa/default"]
    );
    assert_eq!(findings, [] as [&str; 0]);
    let (_, findings) = build(&pod("a", "", "serviceAccountName: api", ""));
    assert_eq!(findings, ["LIC1103: service account default/api is not declared"]);
}

#[test]
fn pods_can_change_places() {
    let stated = |name: &str, address: &str| pod(name, "", "", &format!("status: {{podIP: {address}}}\n"));
    let mut pool = AddressPool::default();
    build_in(&mut pool, &objects(&(stated("b", "10.244.0.9") + &stated("c", "10.244.0.10"))));
    let (snapshot, findings) =
        build_in(&mut pool, &objects(&(stated("a", "10.244.0.9") + &stated("b", "10.244.0.10"))));
    assert_eq!(pods(&snapshot), ["default/a 10.244.0.9", "default/b 10.244.0.10"]);
    assert_eq!(findings, [] as [&str; 0]);
}
