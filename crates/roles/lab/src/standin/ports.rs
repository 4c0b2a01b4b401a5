//! Which ports a pod's stand-in serves.

use super::config::{Kind, Port, kind};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{Container, ProbeAction};
use lictor_model::Protocol;
use std::collections::BTreeMap;

/// The ports that a pod's own server would have open: those that its containers declare, those that Services
/// lead to, and those that its probes ask.
///
/// What a Service says of a port counts before its container's name for it, as in Istio; a port that is asked
/// over plain HTTP or gRPC answers that, whatever it is called.
pub fn ports(pod: &Pod, snapshot: &Snapshot) -> Vec<Port> {
    let mut ports: BTreeMap<(u16, Protocol), Kind> = BTreeMap::new();
    let own = snapshot.services.iter().filter(|(name, _)| name.namespace == pod.name.namespace);
    for port in own.flat_map(|(_, service)| &service.ports) {
        let spoken = kind(&port.port.name, port.port.app_protocol.as_deref(), port.port.protocol);
        for backend in port.backends.iter().filter(|backend| backend.pod.as_ref() == Some(&pod.name)) {
            say(&mut ports, backend.port, port.port.protocol, spoken);
        }
    }
    for port in &pod.ports {
        say(&mut ports, port.port, port.protocol, kind(&port.name, None, port.protocol));
    }
    for container in &pod.spec.containers {
        for (number, http) in probed(container) {
            let spoken = ports.entry((number, Protocol::Tcp)).or_insert(Kind::Detect);
            if http && *spoken == Kind::Tcp {
                *spoken = Kind::Detect;
            }
        }
    }
    ports.into_iter().map(|((port, protocol), kind)| Port { port, protocol, kind }).collect()
}

/// Notes what is spoken on a port, unless something definite has been said before.
fn say(ports: &mut BTreeMap<(u16, Protocol), Kind>, port: u16, protocol: Protocol, spoken: Kind) {
    let known = ports.entry((port, protocol)).or_insert(spoken);
    if *known == Kind::Detect {
        *known = spoken;
    }
}

/// The ports that a container's probes ask, and whether in plain HTTP or gRPC.
fn probed(container: &Container) -> impl Iterator<Item = (u16, bool)> {
    let probes = [&container.startup, &container.readiness, &container.liveness].into_iter().flatten();
    probes.filter_map(|probe| match &probe.action {
        // A port that is asked by name is a declared one.
        ProbeAction::Http { port, tls, .. } => number(port, container).map(|port| (port, !tls)),
        ProbeAction::Tcp(port) => number(port, container).map(|port| (port, false)),
        ProbeAction::Grpc(port, _) => Some((*port, true)),
        ProbeAction::Exec(_) => None,
    })
}

fn number(port: &Result<u16, std::sync::Arc<str>>, container: &Container) -> Option<u16> {
    match port {
        Ok(number) => Some(*number),
        Err(name) => container.ports.iter().find(|port| port.name == *name).map(|port| port.port),
    }
}

#[cfg(test)]
mod tests {
    use super::ports;
    use crate::testing::snapshot;
    use lictor_model::Name;

    #[test]
    fn declared_served_and_probed_ports_are_open_once() {
        let manifests = "
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec:
  containers:
  - name: a
    image: i
    ports: [{containerPort: 8080}, {name: http-admin, containerPort: 8081}, {name: redis, containerPort: 6379}, {name: dns, containerPort: 53, protocol: UDP}, {containerPort: 53}]
    readinessProbe: {httpGet: {path: /, port: redis}}
  - name: b
    image: i
    ports: [{name: grpc, containerPort: 9000}]
    livenessProbe: {httpGet: {path: /, port: 9001}}
    startupProbe: {tcpSocket: {port: 9002}}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: other, port: 81, targetPort: 7000}, {name: tcp, port: 82, targetPort: 9000}]
";
        let snapshot = snapshot(manifests);
        let pod = &snapshot.pods[&Name::new("shop", "web")];
        let ports: Vec<_> = ports(pod, &snapshot)
            .iter()
            .map(|port| format!("{}/{} {:?}", port.port, port.protocol, port.kind))
            .collect();
        let wanted = [
            "53/TCP Detect",
            "53/UDP Udp",
            "6379/TCP Detect",
            "7000/TCP Detect",
            "8080/TCP Http",
            "8081/TCP Http",
            "9000/TCP Tcp",
            "9001/TCP Detect",
            "9002/TCP Detect",
        ];
        assert_eq!(ports, wanted);
    }
}
