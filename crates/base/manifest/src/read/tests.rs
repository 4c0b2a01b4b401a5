use super::{Reading, read, read_in};
use crate::{
    Action, Code, Endpoints, MtlsMode, Object, Owner, PeerTerm, PortMatch, ProbeAction, ServiceType, TargetPort,
    Workload, WorkloadKind,
};
use lictor_model::{Direction, Mode, Protocol};
use std::time::Duration;

/// Reads a text that must give no finding at all.
fn clean(text: &str) -> Vec<Object> {
    let Reading { objects, findings } = read("t.yaml", text);
    assert!(findings.is_empty(), "{findings:?}");
    objects
}

fn workloads(text: &str) -> Vec<Workload> {
    let workload = |object: Object| match object {
        Object::Workload(workload) => Some(Workload::clone(&workload)),
        _ => None,
    };
    clean(text).into_iter().filter_map(workload).collect()
}

fn names(reading: &Reading) -> Vec<String> {
    reading.objects.iter().map(|object| object.meta().name.to_string()).collect()
}

#[test]
fn policy_types_default_as_the_api_defines() {
    use Direction::{Egress, Ingress};
    let cases: &[(&str, &[Direction])] = &[
        ("", &[Ingress]),
        ("spec: {}", &[Ingress]),
        ("spec: {podSelector: {}}", &[Ingress]),
        ("spec: {podSelector: {}, policyTypes: []}", &[Ingress]),
        ("spec: {podSelector: {}, policyTypes: null, egress: null}", &[Ingress]),
        ("spec: {podSelector: {}, egress: []}", &[Ingress]),
        ("spec: {podSelector: {}, egress: [{}]}", &[Ingress, Egress]),
        ("spec: {podSelector: {}, policyTypes: [Egress]}", &[Egress]),
        ("spec: {podSelector: {}, policyTypes: [Egress, Ingress]}", &[Ingress, Egress]),
    ];
    for (spec, wanted) in cases {
        let text = format!("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: p}}\n{spec}\n");
        let objects = clean(&text);
        let [Object::NetworkPolicy(policy)] = &objects[..] else { panic!("{objects:?}") };
        let isolated = [policy.ingress.as_ref().map(|_| Ingress), policy.egress.as_ref().map(|_| Egress)];
        assert_eq!(isolated.into_iter().flatten().collect::<Vec<_>>(), *wanted, "{spec}");
    }
}

#[test]
fn every_form_of_peer_and_port_is_read() {
    let objects = clean(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: ns}
spec:
  podSelector: {matchLabels: {app: db}, matchExpressions: [{key: tier, operator: NotIn, values: [test, dev]}]}
  ingress:
  - from:
    - podSelector: {}
    - namespaceSelector: {}
    - {namespaceSelector: {matchLabels: {a: b}}, podSelector: {matchExpressions: [{key: c, operator: Exists}]}}
    - ipBlock: {cidr: 10.1.2.3/8, except: [10.9.0.0/16]}
    - ipBlock: {cidr: '2001:db8::/32'}
    ports: [{}, {port: 80}, {port: http, protocol: TCP}, {port: 53, protocol: UDP}, {port: 1, endPort: 9, protocol: SCTP}]
  - {}
",
    );
    let [Object::NetworkPolicy(policy)] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!(policy.pod_selector.to_string(), "app=db,tier notin (dev,test)");
    let rules = policy.ingress.as_deref().unwrap_or_default();
    let told = |term: &PeerTerm| match term {
        PeerTerm::Pods { namespaces, pods } => {
            let told = |selector: &Option<lictor_model::Selector>| {
                selector.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string)
            };
            format!("{} {}", told(namespaces), told(pods))
        }
        PeerTerm::Block(block) => block.to_string(),
    };
    let peers: Vec<_> = rules[0].peers.iter().map(told).collect();
    assert_eq!(peers, ["- <all>", "<all> -", "a=b c", "10.0.0.0/8 except 10.9.0.0/16", "2001:db8::/32"]);
    let told = |port: &PortMatch| match port {
        PortMatch::Any => "any".to_owned(),
        PortMatch::Range(range) => range.to_string(),
        PortMatch::Named(name) => name.to_string(),
    };
    let ports: Vec<_> = rules[0].ports.iter().map(|term| format!("{}/{}", told(&term.port), term.protocol)).collect();
    assert_eq!(ports, ["any/TCP", "80/TCP", "http/TCP", "53/UDP", "1-9/SCTP"]);
    assert!(rules[1].peers.is_empty() && rules[1].ports.is_empty());
    assert_eq!(policy.meta.origin.position("spec.ingress[0].from[2]").to_string(), "t.yaml:10:7");
}

#[test]
fn every_workload_kind_is_read_in_every_version() {
    let template = "template: {metadata: {labels: {app: a}}, spec: {containers: [{name: c}]}}";
    let cases = [
        (
            "apps/v1",
            "Deployment",
            WorkloadKind::Deployment,
            format!("replicas: 3, selector: {{matchLabels: {{app: a}}}}, {template}"),
            3,
        ),
        ("apps/v1beta1", "Deployment", WorkloadKind::Deployment, template.to_owned(), 1),
        ("extensions/v1beta1", "Deployment", WorkloadKind::Deployment, template.to_owned(), 1),
        ("apps/v1", "StatefulSet", WorkloadKind::StatefulSet, format!("replicas: 0, serviceName: s, {template}"), 0),
        ("apps/v1", "DaemonSet", WorkloadKind::DaemonSet, template.to_owned(), 1),
        ("apps/v1", "ReplicaSet", WorkloadKind::ReplicaSet, format!("replicas: 2, {template}"), 2),
        (
            "v1",
            "ReplicationController",
            WorkloadKind::ReplicationController,
            format!("selector: {{app: a}}, {template}"),
            1,
        ),
        ("batch/v1", "Job", WorkloadKind::Job, format!("parallelism: 4, {template}"), 1),
        (
            "batch/v1",
            "CronJob",
            WorkloadKind::CronJob,
            format!("schedule: '* * * * *', jobTemplate: {{spec: {{{template}}}}}"),
            1,
        ),
        (
            "batch/v1beta1",
            "CronJob",
            WorkloadKind::CronJob,
            format!("schedule: '@daily', jobTemplate: {{spec: {{{template}}}}}"),
            1,
        ),
    ];
    for (version, name, kind, spec, replicas) in cases {
        let read =
            workloads(&format!("apiVersion: {version}\nkind: {name}\nmetadata: {{name: w}}\nspec: {{{spec}}}\n"));
        let [workload] = &read[..] else { panic!("{version} {name}: {read:?}") };
        assert_eq!((workload.kind, workload.replicas), (kind, replicas), "{version} {name}");
        assert_eq!(workload.template.labels.to_string(), "app=a", "{version} {name}");
        assert_eq!(&*workload.template.spec.service_account, "default");
        assert_eq!(workload.kind.as_str(), name);
    }
}

#[test]
fn a_dumped_pod_keeps_its_addresses_and_its_owner() {
    let read = workloads(
        "apiVersion: v1
kind: Pod
metadata:
  generateName: api-
  labels: {app: api}
  annotations: {lictor.dev/run: host}
  creationTimestamp: '2026-01-31T12:00:00Z'
  ownerReferences:
  - {apiVersion: v1, kind: Node, name: node, uid: u}
  - {apiVersion: apps/v1, kind: ReplicaSet, name: api-7d, uid: u, controller: true, blockOwnerDeletion: true}
spec:
  serviceAccount: old
  serviceAccountName: api
  hostNetwork: true
  nodeName: worker-1
  volumes: [{name: v, emptyDir: {anything: goes}}]
  initContainers:
  - {name: migrate, image: i}
  - {name: sidecar, restartPolicy: Always, ports: [{containerPort: 9901}]}
  containers:
  - name: api
    image: shop/api:1
    command: [serve]
    args: [--port, '8080']
    env: [{name: A, value: b}, {name: S, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: E}]
    ports: [{containerPort: 8080, name: http}, {containerPort: 53, protocol: UDP, hostPort: 53}]
    readinessProbe: {httpGet: {port: http, httpHeaders: [{name: X, value: z}]}, periodSeconds: 0}
    livenessProbe: {tcpSocket: {port: 8080}, timeoutSeconds: 5, failureThreshold: 1}
    startupProbe: {exec: {command: [check]}, initialDelaySeconds: 2}
status: {phase: Running, hostIP: 192.168.1.1, podIP: 10.0.0.7, podIPs: [{ip: 10.0.0.7}, {ip: 'fd00::7'}],
  containerStatuses: [{name: api, image: 'docker.io/shop/api:1', imageID: 'docker.io/shop/api@sha256:ab', ready: true}, {name: new}],
  initContainerStatuses: [{name: migrate, image: i, imageID: i}, {name: sidecar, image: s, imageID: 's@sha256:cd'}]}
",
    );
    let [pod] = &read[..] else { panic!("{read:?}") };
    let name = &pod.meta.name.name;
    assert!(name.starts_with("api-") && name.len() == 9, "{name}");
    assert_eq!(pod.owner, Some(Owner { kind: "ReplicaSet".into(), name: "api-7d".into(), uid: Some("u".into()) }));
    assert_eq!(pod.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.7", "fd00::7"]);
    assert_eq!(pod.host_address.map(|address| address.to_string()).as_deref(), Some("192.168.1.1"));
    assert_eq!(pod.meta.created.map(time::OffsetDateTime::unix_timestamp), Some(1_769_860_800));
    let spec = &pod.template.spec;
    assert_eq!((&*spec.service_account, spec.host_network, spec.node_name.as_deref()), ("api", true, Some("worker-1")));
    let containers: Vec<_> = spec.containers.iter().map(|container| &*container.name).collect();
    assert_eq!(containers, ["api", "sidecar"]);
    let images: Vec<_> = spec.containers.iter().map(|container| container.image_names().join(" ")).collect();
    assert_eq!(images, ["docker.io/shop/api:1 docker.io/shop/api@sha256:ab", "s s@sha256:cd"]);
    assert_eq!((spec.init_images.clone(), spec.containers[1].sidecar), (vec![vec!["i".to_owned()]], true));
    let api = &spec.containers[0];
    assert_eq!(api.command, ["serve", "--port", "8080"]);
    assert_eq!(api.env, [("A".to_owned(), "b".to_owned()), ("E".to_owned(), String::new())]);
    let ports: Vec<_> = api.ports.iter().map(|port| (&*port.name, port.port, port.protocol)).collect();
    assert_eq!(ports, [("http", 8080, Protocol::Tcp), ("", 53, Protocol::Udp)]);
    let readiness = api.readiness.as_ref().expect("a probe");
    let ProbeAction::Http { path, port, headers, tls } = &readiness.action else { panic!("{readiness:?}") };
    assert_eq!((&**path, port, headers.len(), *tls), ("/", &Err("http".into()), 1, false));
    let seconds = Duration::from_secs;
    assert_eq!((readiness.period, readiness.timeout, readiness.failures), (seconds(10), seconds(1), 3));
    let liveness = api.liveness.as_ref().expect("a probe");
    assert_eq!((liveness.timeout, liveness.failures, &liveness.action), (seconds(5), 1, &ProbeAction::Tcp(Ok(8080))));
    assert_eq!(api.startup.as_ref().map(|probe| probe.initial_delay), Some(seconds(2)));
}

#[test]
fn every_form_of_service_is_read() {
    let cases: &[(&str, &str)] = &[
        ("ports: [{port: 80}]", "Cluster([]) - 80->80/TCP"),
        ("selector: {app: a}, ports: [{port: 80, targetPort: http}]", "Cluster([]) app=a 80->http/TCP"),
        ("selector: {}, ports: [{port: 53, targetPort: 5353, protocol: UDP}]", "Cluster([]) - 53->5353/UDP"),
        ("clusterIP: None, selector: {app: a}", "Headless app=a"),
        ("clusterIP: '', ports: [{port: 1}]", "Cluster([]) - 1->1/TCP"),
        (
            "clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9, 'fd00::9'], ports: [{port: 1}]",
            "Cluster([10.96.0.9, fd00::9]) - 1->1/TCP",
        ),
        ("type: NodePort, ports: [{port: 1, nodePort: 30001, targetPort: 0}]", "Cluster([]) - 1->1/TCP"),
        ("type: ExternalName, externalName: db.example.com.", "External(\"db.example.com\") -"),
    ];
    for (spec, wanted) in cases {
        let objects = clean(&format!("apiVersion: v1\nkind: Service\nmetadata: {{name: s}}\nspec: {{{spec}}}\n"));
        let [Object::Service(service)] = &objects[..] else { panic!("{objects:?}") };
        let kind = match &service.kind {
            ServiceType::Cluster(addresses) => format!("Cluster({addresses:?})"),
            other => format!("{other:?}"),
        };
        let mut told =
            format!("{kind} {}", service.selector.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string));
        for port in &service.ports {
            let target = match &port.target {
                TargetPort::Number(number) => number.to_string(),
                TargetPort::Named(name) => name.to_string(),
            };
            told += &format!(" {}->{target}/{}", port.port, port.protocol);
        }
        assert_eq!(told, *wanted, "{spec}");
    }
}

#[test]
fn endpoints_and_slices_give_the_same_backends() {
    let objects = clean(
        "apiVersion: v1
kind: Endpoints
metadata: {name: legacy}
subsets:
- {addresses: [{ip: 192.0.2.1, hostname: a}, {ip: 192.0.2.2}], notReadyAddresses: [{ip: 192.0.2.3}], ports: [{port: 80, name: http}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: legacy-x, labels: {kubernetes.io/service-name: legacy}}
addressType: IPv4
endpoints:
- {addresses: [192.0.2.1], hostname: a, conditions: {ready: true, serving: true}}
- {addresses: [192.0.2.2], conditions: {}, targetRef: {kind: Pod, name: p}}
- {addresses: [192.0.2.3], conditions: {ready: false}}
ports: [{port: 80, name: http, protocol: TCP}]
",
    );
    let [Object::Endpoints(classic), Object::Endpoints(slice)] = &objects[..] else { panic!("{objects:?}") };
    let parts = |endpoints: &Endpoints| (endpoints.service.clone(), endpoints.subsets.clone());
    assert_eq!(parts(classic), parts(slice));
    assert_eq!(classic.subsets[0].0.len(), 2);
}

#[test]
fn istio_and_stance_are_read_as_written() {
    let objects = clean(
        "apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: default, namespace: ns}
spec: {selector: {matchLabels: {app: a}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: DISABLE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: a, annotations: {istio.io/dry-run: 'true'}}
spec:
  action: DENY
  rules:
  - from: [{source: {notPrincipals: ['*'], ipBlocks: [10.0.0.1, 10.0.0.0/8, 'fd00::1']}}]
    to: [{operation: {ports: ['80'], methods: [GET], paths: [/a/*]}}]
    when: [{key: 'request.headers[x]', values: [a], notValues: [b]}]
---
apiVersion: lictor.dev/v1alpha1
kind: Stance
metadata: {name: s}
spec: {layers: [segmentation, transport], mode: Audit, established: keep, selector: {matchLabels: {app: a}}}
",
    );
    let [Object::PeerAuthentication(peer), Object::AuthorizationPolicy(policy), Object::Stance(stance)] = &objects[..]
    else {
        panic!("{objects:?}")
    };
    assert_eq!((peer.mode, peer.ports.get(&8080)), (MtlsMode::Strict, Some(&MtlsMode::Disable)));
    assert!(policy.dry_run && policy.action == Action::Deny && !policy.has_target_refs);
    let blocks: Vec<_> = policy.rules[0].from[0].ip_blocks.iter().map(ToString::to_string).collect();
    assert_eq!(blocks, ["10.0.0.1/32", "10.0.0.0/8", "fd00::1/128"]);
    assert_eq!((&policy.rules[0].to[0].ports[..], policy.rules[0].when[0].not_values.len()), (&[80][..], 1));
    assert_eq!((stance.layers.len(), stance.mode), (2, Mode::Audit));
}

#[test]
fn stored_values_are_decoded_and_not_printed() {
    let objects = clean(
        "{apiVersion: v1, kind: Secret, metadata: {name: s}, type: Opaque, data: {a: aHVudGVy}, stringData: {b: two}}
---
{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: one}, binaryData: {b: AAE=}}
",
    );
    let [Object::Stored(secret), Object::Stored(map)] = &objects[..] else { panic!("{objects:?}") };
    assert_eq!((secret.data["a"].as_slice(), secret.data["b"].as_slice()), (&b"hunter"[..], &b"two"[..]));
    assert_eq!((map.data["a"].as_slice(), map.data["b"].as_slice()), (&b"one"[..], &[0, 1][..]));
    let printed = format!("{secret:?}");
    assert!(!printed.contains("hunter") && !printed.contains("aHVudGVy"), "{printed}");
}

#[test]
fn documents_lists_and_namespaces() {
    let account = "apiVersion: v1, kind: ServiceAccount";
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("---\n---\n# nothing\n", &[]),
        ("{apiVersion: v1, kind: Namespace, metadata: {name: ns, namespace: ignored}}", &["ns"]),
        (&format!("{{{account}, metadata: {{name: a}}}}"), &["home/a"]),
        (
            &format!(
                "{{{account}, metadata: {{name: a, namespace: ''}}}}\n---\n{{{account}, metadata: {{name: b, namespace: ns}}}}"
            ),
            &["home/a", "ns/b"],
        ),
        (
            &format!(
                "apiVersion: v1\nkind: List\nitems:\n- {{{account}, metadata: {{name: a}}}}\n- apiVersion: v1\n  kind: List\n  items: [{{{account}, metadata: {{name: b}}}}]\n"
            ),
            &["home/a", "home/b"],
        ),
        (
            "{apiVersion: v1, kind: ServiceAccountList, metadata: {resourceVersion: ''}, items: [{metadata: {name: a}}]}",
            &["home/a"],
        ),
        ("{apiVersion: v1, kind: PodList, items: []}", &[]),
        ("{apiVersion: v1, kind: PodList, items: null}", &[]),
        (
            "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"ServiceAccount\",\n\t\"metadata\": {\"name\": \"a\"}\n}",
            &["home/a"],
        ),
    ];
    for (text, wanted) in cases {
        let reading = read_in("t.yaml", text, "home");
        assert!(reading.findings.is_empty(), "{text}: {:?}", reading.findings);
        assert_eq!(names(&reading), *wanted, "{text}");
    }
}

#[test]
fn what_is_broken_does_not_cost_what_is_not() {
    let reading = read(
        "t.yaml",
        "{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: A}}
---
a: 1
a: 2
---
{apiVersion: cilium.io/v2, kind: CiliumEgressGatewayPolicy, metadata: {name: c}, spec: {any: thing}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: b}, secretz: []}
---
{
",
    );
    assert_eq!(names(&reading), ["default/a", "c", "default/b"]);
    let codes: Vec<_> = reading.findings.iter().map(|finding| finding.code).collect();
    let wanted = [Code::InvalidName, Code::DuplicateKey, Code::NotActedOn, Code::UnknownField, Code::YamlSyntax];
    assert_eq!(codes, wanted);
    let Object::Other(kind, _) = &reading.objects[1] else { panic!("{:?}", reading.objects) };
    assert_eq!(&**kind, "CiliumEgressGatewayPolicy.cilium.io");
}

#[test]
fn a_flood_of_findings_is_cut_and_still_tells_of_an_error() {
    let mut text = "a: 1\n---\n".repeat(5000);
    text += "{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p}, spec: {x: 1}}\n";
    let reading = read("t.yaml", &text);
    assert!(reading.findings.len() < 1100 && reading.has_errors() && reading.objects.is_empty());
    let fields: String = (0..5000).map(|n| format!("  x{n}: 1\n")).collect();
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n";
    let reading = read("t.yaml", &format!("{policy}{fields}"));
    assert!(reading.findings.len() < 300 && reading.has_errors());
    assert!(reading.findings.iter().any(|finding| finding.code == Code::MoreFindings));
}
