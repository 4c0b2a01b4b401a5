//! What every cluster of ours brings along: its DNS.

use lictor_cluster::BUILT_IN_ANNOTATION;
use lictor_manifest::{Object, read};
use std::net::IpAddr;

/// The pod and Service of the cluster's DNS, at these addresses; nothing when the objects have a Service of that name.
pub(crate) fn dns(objects: &[Object], pods: &[IpAddr], services: &[IpAddr]) -> Vec<Object> {
    let own = |object: &Object| {
        let name = &object.meta().name;
        matches!(object, Object::Service(_)) && (&*name.namespace, &*name.name) == ("kube-system", "kube-dns")
    };
    if objects.iter().any(own) { Vec::new() } else { read("built-in kube-dns", &manifest(pods, services)).objects }
}

fn manifest(pods: &[IpAddr], services: &[IpAddr]) -> String {
    let list =
        |addresses: &[IpAddr], item: fn(&IpAddr) -> String| addresses.iter().map(item).collect::<Vec<_>>().join(", ");
    let pod_ips = list(pods, |address| format!("{{ip: \"{address}\"}}"));
    let cluster_ips = list(services, |address| format!("\"{address}\""));
    format!(
        r#"apiVersion: v1
kind: ServiceAccount
metadata: {{name: kube-dns, namespace: kube-system}}
---
apiVersion: v1
kind: Pod
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {{k8s-app: kube-dns}}
  annotations:
    {BUILT_IN_ANNOTATION}: "true"
    lictor.dev/enroll: "false"
spec:
  serviceAccountName: kube-dns
  containers:
    - name: dns
      image: lictor
      ports:
        - {{name: dns, containerPort: 53, protocol: UDP}}
        - {{name: dns-tcp, containerPort: 53}}
status:
  podIPs: [{pod_ips}]
---
apiVersion: v1
kind: Service
metadata:
  name: kube-dns
  namespace: kube-system
  labels: {{k8s-app: kube-dns}}
spec:
  selector: {{k8s-app: kube-dns}}
  clusterIPs: [{cluster_ips}]
  ports:
    - {{name: dns, port: 53, protocol: UDP, targetPort: dns}}
    - {{name: dns-tcp, port: 53, targetPort: dns-tcp}}
"#
    )
}
