//! What stands behind a Service.

use crate::{build, build_in, objects, pod, workload};
use lictor_cluster::{AddressPool, Snapshot};

fn service(name: &str, spec: &str) -> String {
    format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{{spec}}}\n")
}

/// `service addresses | port: backend backend | …` for each Service; a backend with its pod and host name.
fn shown(snapshot: &Snapshot) -> Vec<String> {
    let each = snapshot.services.iter().map(|(name, service)| {
        let addresses: Vec<String> = service.addresses.iter().map(ToString::to_string).collect();
        let mut text = format!("{} {}", name.name, addresses.join(","));
        for port in &service.ports {
            text += &format!(" | {}:", port.port.port);
            for backend in &port.backends {
                text += &format!(" {}:{}", backend.address, backend.port);
                text += &backend.pod.as_ref().map(|pod| format!("={}", pod.name)).unwrap_or_default();
                text += &if backend.hostname.is_empty() { String::new() } else { format!("({})", backend.hostname) };
            }
        }
        text
    });
    each.collect()
}

const WEB: &str = "---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web, tier: front}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web2, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 9090}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: other, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 1}]}]}
";

#[test]
fn a_selector_finds_pods_of_its_own_namespace_and_a_name_their_port() {
    let manifests = WEB.to_owned()
        + &service("a", "selector: {app: web}, ports: [{name: x, port: 80, targetPort: http}, {name: z, port: 81}]")
        + &service(
            "b",
            "clusterIP: 10.96.7.7, selector: {app: web, tier: front}, ports: [{port: 80, targetPort: 8080}]",
        )
        + &service("c", "clusterIP: None, selector: {app: web}, ports: [{port: 80}]")
        + &service("d", "type: ExternalName, externalName: example.org");
    let (snapshot, _) = build(&manifests);
    assert_eq!(
        shown(&snapshot),
        [
            "a 10.96.0.2 | 80: 10.244.0.2:8080=web 10.244.0.3:9090=web2 | 81: 10.244.0.2:81=web 10.244.0.3:81=web2",
            "b 10.96.7.7 | 80: 10.244.0.2:8080=web",
            "c  | 80: 10.244.0.2:80=web 10.244.0.3:80=web2",
            "d ",
        ]
    );
}

#[test]
fn without_a_selector_endpoints_and_slices_count_together() {
    let manifests = pod("web", "", "", "")
        + &service("a", "ports: [{name: http, port: 80}, {name: other, port: 81}]")
        + "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: a}\nsubsets: [{addresses: [{ip: 10.244.0.2}, {ip: 203.0.113.9, hostname: h}], ports: [{name: http, port: 8080}]}]\n"
        + "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: a-1, labels: {kubernetes.io/service-name: a}}\nendpoints: [{addresses: [10.244.0.2]}]\nports: [{name: http, port: 8080}]\n"
        + "---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: alone}\nsubsets: []\n";
    let (snapshot, findings) = build(&manifests);
    assert_eq!(shown(&snapshot), ["a 10.96.0.2 | 80: 10.244.0.2:8080=web 203.0.113.9:8080(h) | 81:"]);
    assert_eq!(findings, ["LIC1109: default/alone belongs to Service default/alone, which is not declared"]);
}

#[test]
fn a_stateful_sets_pods_have_host_names_below_their_headless_service() {
    let manifests = workload("StatefulSet", "db", "  serviceName: peers\n  replicas: 2\n")
        + &service("peers", "clusterIP: None, selector: {app: db}, ports: [{port: 5432}]")
        + &service("reads", "clusterIP: None, selector: {app: db}, ports: [{port: 5432}]");
    let (snapshot, _) = build(&manifests);
    assert_eq!(
        shown(&snapshot),
        [
            "peers  | 5432: 10.244.0.2:5432=db-0(db-0) 10.244.0.3:5432=db-1(db-1)",
            "reads  | 5432: 10.244.0.2:5432=db-0 10.244.0.3:5432=db-1",
        ]
    );
}

#[test]
fn a_virtual_address_forwards_within_its_family() {
    let block = |text: &str| text.parse().expect("a block");
    let mut pool =
        AddressPool::new(&[block("10.244.0.0/16"), block("fd00::/64")], &[block("10.96.0.0/16"), block("fd96::/112")]);
    let manifests = WEB.to_owned()
        + &service("both", "selector: {tier: front}, ports: [{port: 80}]")
        + &service("four", "clusterIP: 10.96.0.9, selector: {tier: front}, ports: [{port: 80}]");
    let (snapshot, _) = build_in(&mut pool, &objects(&manifests));
    assert_eq!(
        shown(&snapshot),
        ["both 10.96.0.2,fd96::2 | 80: 10.244.0.2:80=web fd00::2:80=web", "four 10.96.0.9 | 80: 10.244.0.2:80=web",]
    );
}

#[test]
fn what_a_service_misses_is_said() {
    let manifests = WEB.to_owned()
        + &service("none", "selector: {app: api}, ports: [{port: 80}]")
        + &service("port", "selector: {app: web}, ports: [{port: 80, targetPort: metrics}]")
        + &service("first", "clusterIP: 10.96.0.5, selector: {app: web}, ports: [{port: 80}]")
        + &service("second", "clusterIP: 10.96.0.5, selector: {app: web}, ports: [{port: 80}]");
    let (snapshot, findings) = build(&manifests);
    assert_eq!(
        findings,
        [
            "LIC1102: namespace other is used but not declared; it is made without labels of its own",
            "LIC1107: default/second asks for address 10.96.0.5, which default/first has; it gets another one",
            "LIC1105: Service default/none selects no pod",
            "LIC1110: no pod that Service default/port selects has a container port named `metrics`",
        ]
    );
    assert_eq!(snapshot.services.values().filter(|service| service.addresses.len() == 1).count(), 4);
}
