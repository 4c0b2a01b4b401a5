//! Random clusters: workloads in two namespaces, and policies of every kind about them.

use proptest::prelude::*;
use std::fmt::Write;

/// The ports that workloads have and policies speak of.
pub(crate) const PORTS: [u16; 3] = [80, 443, 8080];

/// A cluster as a text.
pub(crate) fn cluster() -> impl Strategy<Value = String> {
    let pods = prop::collection::vec((0..2usize, 0..3usize, 0..2usize, any::<bool>(), 1..3u32, any::<bool>()), 2..5);
    let network = prop::collection::vec(network_policy(), 0..4);
    let cilium = prop::collection::vec(cilium_policy(), 0..3);
    let authorization = prop::collection::vec(authorization_policy(), 0..3);
    let peers = prop::collection::vec(peer_authentication(), 0..3);
    let stances = prop::collection::vec((0..2usize, prop::sample::select(vec!["Observe", "Audit", "Enforce"])), 0..2);
    (pods, network, cilium, authorization, peers, stances).prop_map(|(pods, network, cilium, authorization, peers, stances)| {
        let mut text = String::new();
        for (at, (namespace, app, tier, enrolled, replicas, owned)) in pods.into_iter().enumerate() {
            let labels = format!("{{app: a{app}, tier: t{tier}}}, annotations: {{lictor.dev/enroll: '{enrolled}'}}");
            let spec = format!(
                "{{serviceAccountName: w{at}, containers: [{{name: c, image: i, ports: [{{name: web, containerPort: 80}}, \
                 {{containerPort: 8080}}, {{containerPort: 443, protocol: UDP}}]}}]}}"
            );
            if owned {
                let _ = write!(
                    text,
                    "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: w{at}, namespace: n{namespace}}}\n\
                     spec: {{replicas: {replicas}, selector: {{matchLabels: {{app: a{app}}}}}, template: {{metadata: {{labels: \
                     {labels}}}, spec: {spec}}}}}\n"
                );
                continue;
            }
            for one in 0..=replicas {
                let _ = write!(
                    text,
                    "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: w{at}-{one}, namespace: n{namespace}, labels: {labels}}}\n\
                     spec: {spec}\n"
                );
            }
        }
        for (at, policy) in network.iter().chain(&cilium).chain(&authorization).chain(&peers).enumerate() {
            let _ = write!(text, "---\n{}", policy.replace("NAME", &format!("p{at}")));
        }
        for (at, (namespace, mode)) in stances.into_iter().enumerate() {
            let _ = write!(
                text,
                "---\napiVersion: lictor.dev/v1alpha1\nkind: Stance\nmetadata: {{name: s{at}, namespace: n{namespace}}}\n\
                 spec: {{layers: [segmentation, authorization], mode: {mode}}}\n"
            );
        }
        text
    })
}

fn selector() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("{}".to_owned()),
        (0..3usize).prop_map(|app| format!("{{matchLabels: {{app: a{app}}}}}")),
        (0..2usize).prop_map(|tier| format!("{{matchLabels: {{tier: t{tier}}}}}")),
    ]
}

fn network_policy() -> impl Strategy<Value = String> {
    let peer = prop_oneof![
        selector().prop_map(|pods| format!("{{podSelector: {pods}}}")),
        (0..2usize, selector()).prop_map(|(namespace, pods)| {
            format!(
                "{{namespaceSelector: {{matchLabels: {{kubernetes.io/metadata.name: n{namespace}}}}}, podSelector: {pods}}}"
            )
        }),
        Just("{ipBlock: {cidr: 10.244.0.0/29}}".to_owned()),
        Just("{ipBlock: {cidr: 0.0.0.0/0, except: [10.244.0.4/31]}}".to_owned()),
    ];
    let port = prop_oneof![
        prop::sample::select(PORTS.to_vec()).prop_map(|port| format!("{{port: {port}}}")),
        Just("{port: web}".to_owned()),
        Just("{protocol: UDP}".to_owned()),
        Just("{port: 80, endPort: 500}".to_owned()),
    ];
    let rule = (prop::collection::vec(peer, 0..3), prop::collection::vec(port, 0..2));
    let rules = prop::collection::vec(rule, 0..3);
    (0..2usize, selector(), any::<bool>(), any::<bool>(), rules.clone(), rules).prop_map(
        |(namespace, pods, ingress, egress, into, out)| {
            let list = |field: &str, rules: &[(Vec<String>, Vec<String>)]| {
                let rules: Vec<String> = rules
                    .iter()
                    .map(|(peers, ports)| format!("{{{field}: [{}], ports: [{}]}}", peers.join(", "), ports.join(", ")))
                    .collect();
                rules.join(", ")
            };
            let mut types = Vec::new();
            let mut spec = format!("podSelector: {pods}");
            if ingress || !egress {
                types.push("Ingress");
                let _ = write!(spec, ", ingress: [{}]", list("from", &into));
            }
            if egress {
                types.push("Egress");
                let _ = write!(spec, ", egress: [{}]", list("to", &out));
            }
            format!(
                "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: NAME, namespace: n{namespace}}}\n\
                 spec: {{{spec}, policyTypes: [{}]}}\n",
                types.join(", ")
            )
        },
    )
}

fn cilium_policy() -> impl Strategy<Value = String> {
    let peer = prop_oneof![
        selector().prop_map(|pods| ("Endpoints", pods)),
        (0..2usize).prop_map(|namespace| {
            ("Endpoints", format!("{{matchLabels: {{'k8s:io.kubernetes.pod.namespace': n{namespace}}}}}"))
        }),
        Just(("CIDR", "10.244.0.0/30".to_owned())),
        Just(("CIDRSet", "{cidr: 10.244.0.0/24, except: [10.244.0.2/32]}".to_owned())),
        prop::sample::select(vec!["cluster", "world", "all"]).prop_map(|entity| ("Entities", entity.to_owned())),
    ];
    let port = prop::option::of(prop::sample::select(PORTS.to_vec()));
    let rule = (peer, port).prop_map(|((kind, peer), port)| {
        let ports = port.map(|port| format!(", toPorts: [{{ports: [{{port: '{port}', protocol: TCP}}]}}]"));
        (kind, peer, ports.unwrap_or_default())
    });
    let rules = prop::option::weighted(0.6, prop::collection::vec(rule.clone(), 1..3));
    let deny = prop::option::weighted(0.3, prop::collection::vec(rule, 1..2));
    (0..2usize, selector(), any::<[bool; 2]>(), [rules.clone(), rules], deny).prop_map(
        |(namespace, pods, default_deny, [into, out], deny)| {
            let mut spec = format!("endpointSelector: {pods}");
            for (field, peers, rules) in [("ingress", "from", into), ("egress", "to", out), ("ingressDeny", "from", deny)] {
                let rule = |(kind, peer, ports): &(&str, String, String)| format!("{{{peers}{kind}: [{peer}]{ports}}}");
                let rules: Vec<String> = rules.iter().flatten().map(rule).collect();
                // A spec without a rule is refused.
                if !rules.is_empty() || field == "ingress" {
                    let rules = if rules.is_empty() { "{}".to_owned() } else { rules.join(", ") };
                    let _ = write!(spec, ", {field}: [{rules}]");
                }
            }
            if default_deny[0] {
                let _ = write!(spec, ", enableDefaultDeny: {{ingress: {}}}", default_deny[1]);
            }
            format!(
                "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: NAME, namespace: n{namespace}}}\nspec: {{{spec}}}\n"
            )
        },
    )
}

fn authorization_policy() -> impl Strategy<Value = String> {
    let source = prop_oneof![
        (0..2usize, 0..4usize).prop_map(|(namespace, account)| {
            format!("{{principals: [cluster.local/ns/n{namespace}/sa/w{account}]}}")
        }),
        (0..2usize).prop_map(|namespace| format!("{{namespaces: [n{namespace}]}}")),
        Just("{ipBlocks: [10.244.0.0/30]}".to_owned()),
        Just("{notPrincipals: [cluster.local/ns/n0/sa/w0]}".to_owned()),
    ];
    let rule =
        (prop::option::of(source), prop::option::of(prop::sample::select(PORTS.to_vec()))).prop_map(|(from, port)| {
            let mut parts = Vec::new();
            parts.extend(from.map(|from| format!("from: [{{source: {from}}}]")));
            parts.extend(port.map(|port| format!("to: [{{operation: {{ports: ['{port}']}}}}]")));
            format!("{{{}}}", parts.join(", "))
        });
    let action = prop::sample::select(vec!["ALLOW", "ALLOW", "DENY", "AUDIT"]);
    (0..2usize, selector(), action, prop::collection::vec(rule, 1..3)).prop_map(|(namespace, pods, action, rules)| {
        let selector = if pods == "{}" { String::new() } else { format!("selector: {pods}, ") };
        format!(
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: NAME, namespace: n{namespace}}}\n\
             spec: {{{selector}action: {action}, rules: [{}]}}\n",
            rules.join(", ")
        )
    })
}

fn peer_authentication() -> impl Strategy<Value = String> {
    let mode = || prop::sample::select(vec!["STRICT", "PERMISSIVE", "DISABLE", "UNSET"]);
    let namespace = prop::sample::select(vec!["n0", "n1", "istio-system"]);
    (namespace, prop::option::of((0..3usize, mode())), mode()).prop_map(|(namespace, workload, mode)| {
        let workload = workload.filter(|_| namespace != "istio-system").map(|(app, port)| {
            format!("selector: {{matchLabels: {{app: a{app}}}}}, portLevelMtls: {{'80': {{mode: {port}}}}}, ")
        });
        format!(
            "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: NAME, namespace: {namespace}}}\n\
             spec: {{{}mtls: {{mode: {mode}}}}}\n",
            workload.unwrap_or_default()
        )
    })
}
