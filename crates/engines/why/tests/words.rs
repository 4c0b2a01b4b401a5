//! How the words of a question are understood, and what is said when they are not.

mod world;

use lictor_cluster::Snapshot;
use lictor_why::{EndKind, Question};
use world::{ask, pod, question, snapshot};

fn shop() -> Snapshot {
    let service = |name: &str, spec: &str| {
        format!("---\napiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: ns}}\nspec: {{{spec}}}\n")
    };
    let web = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: ns}\n\
               spec: {replicas: 2, selector: {matchLabels: {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: \
               [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}}}\n";
    let text = [
        web.to_owned(),
        service("web", "selector: {app: web}, ports: [{name: http, port: 80, targetPort: http}]"),
        service("front", "selector: {app: web}, ports: [{port: 443, targetPort: 8080}]"),
        service("alias", "type: ExternalName, externalName: example.com"),
        service("empty", "selector: {app: none}, ports: [{port: 80}]"),
        pod(
            "ns",
            "many",
            "app: many",
            "{name: a, containerPort: 1}, {name: b, containerPort: 2}, {name: b-udp, containerPort: 2, protocol: UDP}",
        ),
        pod("ns", "client", "app: client", ""),
        pod("m", "client", "app: client", ""),
    ];
    snapshot(&text.concat())
}

fn told(question: &Question) -> String {
    let flows: Vec<String> = question.flows().map(ToString::to_string).collect();
    format!("{:?} {}:{} {}", question.destination.kind, question.destination.text, question.port, flows.join(", "))
}

#[test]
fn names_are_found_as_pods_workloads_and_services() {
    let shop = shop();
    for (to, wanted) in [
        ("ns/web-1", "Pod ns/web-1:8080 ns/client -> ns/web-1:8080/TCP"),
        ("ns/web", "Workload(Deployment) ns/web:8080 ns/client -> ns/web-0:8080/TCP, ns/client -> ns/web-1:8080/TCP"),
        (
            "ns/deploy/web",
            "Workload(Deployment) ns/web:8080 ns/client -> ns/web-0:8080/TCP, ns/client -> ns/web-1:8080/TCP",
        ),
        ("ns/web:80", "Service ns/web:80 ns/client -> ns/web-0:8080/TCP, ns/client -> ns/web-1:8080/TCP"),
        ("ns/svc/web", "Service ns/web:80 ns/client -> ns/web-0:8080/TCP, ns/client -> ns/web-1:8080/TCP"),
        (
            "front.ns.svc.cluster.local",
            "Service ns/front:443 ns/client -> ns/web-0:8080/TCP, ns/client -> ns/web-1:8080/TCP",
        ),
        ("ns/many:a", "Pod ns/many:1 ns/client -> ns/many:1/TCP"),
        ("ns/many:2", "Pod ns/many:2 ns/client -> ns/many:2/TCP"),
        ("ns/many:2/udp", "Pod ns/many:2 ns/client -> ns/many:2/UDP"),
        ("ns/many:9", "Pod ns/many:9 ns/client -> ns/many:9/TCP"),
        ("198.51.100.7:53/UDP", "Address 198.51.100.7:53 ns/client -> 198.51.100.7:53/UDP"),
    ] {
        assert_eq!(told(&question(&shop, "ns/client", to)), wanted, "{to}");
    }
}

#[test]
fn a_virtual_address_is_its_service_and_an_identity_its_pods() {
    let shop = shop();
    let address = shop.services[&lictor_model::Name::new("ns", "web")].addresses[0];
    assert_eq!(question(&shop, "ns/client", &format!("{address}:80")).destination.kind, EndKind::Service);
    let source = question(&shop, "spiffe://cluster.local/ns/m/sa/client", "ns/web").source;
    assert_eq!((source.kind, source.peers.len()), (EndKind::Identity, 1));
}

#[test]
fn what_is_not_understood_is_told_with_what_may_have_been_meant() {
    let shop = shop();
    for (from, to, wanted, hint) in [
        ("ns/clent", "ns/web", "no pod, workload or service is named ns/clent", "did you mean ns/client?"),
        (
            "client",
            "ns/web",
            "no pod, workload or service is named default/client, and no such namespace is known",
            "did you mean m/client, ns/client?",
        ),
        ("x/q", "ns/web", "no pod, workload or service is named x/q, and no such namespace is known", ""),
        ("ns/client:80", "ns/web", "`ns/client:80` names a port; the port belongs to the second end", ""),
        (
            "ns/client",
            "ns/many",
            "ns/many has several ports; name the port: ns/many:PORT",
            "its ports: 1/TCP (a), 2/TCP (b), 2/UDP (b-udp)",
        ),
        ("ns/client", "m/client", "m/client has no declared port; name the port: m/client:PORT", ""),
        ("ns/client", "ns/web:https", "ns/web has no port `https`", "its ports: 8080/TCP (http)"),
        ("ns/client", "ns/front:80", "ns/front has no port `80`", "its ports: 443/TCP"),
        ("ns/client", "ns/web:70000", "expected a port from 1 to 65535 or a port name, found `70000`", ""),
        ("ns/client", "ns/web:80/ICMP", "expected TCP, UDP or SCTP, found `ICMP`", ""),
        (
            "ns/client",
            "ns/alias:80",
            "service ns/alias is an alias for example.com; ask about the address that this name resolves to",
            "",
        ),
        (
            "ns/client",
            "ns/empty",
            "service ns/empty has no backend on this port, so a connection to it goes nowhere",
            "",
        ),
        ("ns/client", "2001:db8::1", "2001:db8::1 has no declared port; name the port: 2001:db8::1:PORT", ""),
        ("ns/client", "[2001:db8::1]:80", "ns/client and 2001:db8::1 have no address family in common", ""),
        ("", "ns/web", "expected namespace/name, an address or a SPIFFE ID, found nothing", ""),
    ] {
        let unclear = ask(from, to, None).resolve(&shop).expect_err(to);
        assert_eq!(
            (unclear.to_string().as_str(), unclear.hint().unwrap_or_default().as_str()),
            (wanted, hint),
            "{from} {to}"
        );
    }
}
