//! The tiers before and after the NetworkPolicies, one small table each.

mod world;

use world::check;

fn tier(name: &str, tier: &str, priority: u16, subject: &str, rules: &str) -> String {
    format!(
        "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: {name}}}\n\
         spec: {{tier: {tier}, priority: {priority}, subject: {subject}, {rules}}}\n"
    )
}

const IN_A: &str = "{namespaces: {matchLabels: {kubernetes.io/metadata.name: a}}}";
const FROM_B: &str = "[{namespaces: {matchLabels: {kubernetes.io/metadata.name: b}}}]";
const ISOLATED: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: a}\n\
                        spec: {podSelector: {}, ingress: [{ports: [{port: 5432}]}]}\n";

fn ingress(action: &str) -> String {
    format!("ingress: [{{action: {action}, from: {FROM_B}}}]")
}

#[test]
fn the_admin_tier_is_asked_before_network_policies_and_the_baseline_after() {
    for (admin, baseline, network, expected) in [
        ("", "Deny", "", ["- low spec.ingress[0]", "- low spec.ingress[0]"]),
        ("", "Deny", ISOLATED, ["+ a/np spec.ingress[0]", "- default, isolated by a/np"]),
        ("", "Accept", ISOLATED, ["+ a/np spec.ingress[0]", "- default, isolated by a/np"]),
        ("Deny", "Accept", ISOLATED, ["- high spec.ingress[0]", "- high spec.ingress[0]"]),
        ("Accept", "Deny", ISOLATED, ["+ high spec.ingress[0]", "+ high spec.ingress[0]"]),
        ("Pass", "Deny", ISOLATED, ["+ a/np spec.ingress[0]", "- default, isolated by a/np"]),
        ("Pass", "Deny", "", ["- low spec.ingress[0]", "- low spec.ingress[0]"]),
        ("Pass", "Pass", "", ["+ default, no policy applies", "+ default, no policy applies"]),
    ] {
        let high = if admin.is_empty() { String::new() } else { tier("high", "Admin", 5, IN_A, &ingress(admin)) };
        let low = tier("low", "Baseline", 5, IN_A, &ingress(baseline));
        let [open, other] = expected;
        let cases = format!("in b/web -> a/db:5432/TCP = {open}\n in b/web -> a/db:80/TCP = {other}");
        check(&(high + &low + network), &cases);
    }
}

#[test]
fn within_a_tier_the_lowest_priority_and_then_the_first_rule_counts() {
    let late = tier("a-late", "Admin", 7, IN_A, &ingress("Deny"));
    let early = tier("z-early", "Admin", 3, IN_A, &ingress("Accept"));
    check(&(late.clone() + &early), "in b/web -> a/db:80/TCP = + z-early spec.ingress[0]");
    let rules = format!(
        "ingress: [{{action: Accept, from: {FROM_B}, protocols: [{{tcp: {{destinationPort: {{number: 80}}}}}}]}}, \
         {{action: Pass, from: {FROM_B}, protocols: [{{udp: {{destinationPort: {{range: {{start: 53, end: 54}}}}}}}}]}}, \
         {{action: Deny, from: {FROM_B}}}]"
    );
    check(
        &(tier("first", "Admin", 3, IN_A, &rules) + &late),
        "in b/web -> a/db:80/TCP = + first spec.ingress[0]
         in b/web -> a/db:81/TCP = - first spec.ingress[2]
         in b/web -> a/db:54/UDP = + default, no policy applies
         in b/web -> a/db:55/UDP = - first spec.ingress[2]
         in b/web -> a/db:80/SCTP = - first spec.ingress[2]
         in b/web -> a/db:0/ICMP = - first spec.ingress[2]
         in 203.0.113.7 -> a/db:80/TCP = + default, no policy applies",
    );
}

#[test]
fn egress_knows_nodes_and_networks_and_may_deny_a_pod_its_own_node() {
    let deny = tier("t", "Admin", 3, IN_A, "egress: [{action: Deny, to: [{nodes: {}}, {networks: [203.0.113.0/24]}]}]");
    check(
        &deny,
        "out a/web -> 192.168.0.1:22/TCP = - t spec.egress[0]
         out a/web -> 192.168.0.2:22/TCP = - t spec.egress[0]
         out a/web -> 203.0.113.7:443/TCP = - t spec.egress[0]
         out a/web -> 198.51.100.7:443/TCP = + default, no policy applies
         in  192.168.0.1 -> a/web:80/TCP = + traffic of a pod with its own node
         out b/web -> 192.168.0.2:22/TCP = + default, no policy applies",
    );
    let isolated = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: np, namespace: a}\n\
                    spec: {podSelector: {}, policyTypes: [Egress]}\n";
    let some = tier(
        "t",
        "Baseline",
        3,
        IN_A,
        "egress: [{action: Deny, to: [{nodes: {}}], protocols: [{tcp: {destinationPort: {number: 22}}}]}]",
    );
    check(
        &(some + isolated),
        "out a/web -> 192.168.0.1:22/TCP = - t spec.egress[0]
         out a/web -> 192.168.0.1:23/TCP = + traffic of a pod with its own node
         out a/web -> 192.168.0.2:22/TCP = - default, isolated by a/np",
    );
}

#[test]
fn a_port_name_is_looked_up_at_the_destination_for_every_protocol() {
    let named = "protocols: [{destinationNamedPort: http}]";
    check(
        &tier("in", "Admin", 3, IN_A, &format!("ingress: [{{action: Deny, from: {FROM_B}, {named}}}]")),
        "in b/web -> a/web:80/TCP = - in spec.ingress[0]
         in b/web -> a/web:8080/TCP = + default, no policy applies
         in b/web -> a/db:8080/TCP = - in spec.ingress[0]
         in b/web -> a/db:8080/UDP = + default, no policy applies",
    );
    check(
        &tier("out", "Admin", 3, IN_A, &format!("egress: [{{action: Deny, to: {FROM_B}, {named}}}]")),
        "out a/db -> b/web:8000/TCP = - out spec.egress[0]
         out a/db -> b/web:8000/UDP = + default, no policy applies
         out a/db -> b/api:80/UDP = - out spec.egress[0]
         out a/db -> b/api:80/TCP = + default, no policy applies
         out a/db -> b/far:80/TCP = + default, no policy applies",
    );
}

#[test]
fn what_is_not_known_matches_nothing_in_accept_and_denies_everything_else() {
    for (action, said) in
        [("Accept", "- default, isolated by a/np"), ("Deny", "- t spec.ingress[0]"), ("Pass", "- t spec.ingress[0]")]
    {
        for rule in [
            format!("{{action: {action}, from: [{{serviceAccounts: {{}}}}]}}"),
            format!("{{action: {action}, from: {FROM_B}, protocols: [{{quic: {{}}}}]}}"),
        ] {
            let policy = tier("t", "Admin", 3, IN_A, &format!("ingress: [{rule}]"));
            check(&(policy + ISOLATED), &format!("in b/web -> a/db:80/TCP = {said}"));
        }
    }
    let names =
        "egress: [{action: Accept, to: [{domainNames: [example.com]}]}, {action: Deny, to: [{networks: [0.0.0.0/0]}]}]";
    check(&tier("t", "Admin", 3, IN_A, names), "out a/web -> 203.0.113.7:443/TCP = - t spec.egress[1]");
}

#[test]
fn the_older_kinds_say_the_same_in_other_words() {
    let header = |kind: &str| {
        format!("---\napiVersion: policy.networking.k8s.io/v1alpha1\nkind: {kind}\nmetadata: {{name: default}}\n")
    };
    let ports = "ports: [{portNumber: {protocol: TCP, port: 80}}, {portRange: {protocol: UDP, start: 53, end: 54}}, {namedPort: http}]";
    let admin = format!(
        "spec: {{priority: 5, subject: {IN_A}, ingress: [{{action: Allow, from: {FROM_B}, {ports}}}, {{action: Deny, from: {FROM_B}}}]}}\n"
    );
    let baseline = format!("spec: {{subject: {IN_A}, egress: [{{action: Deny, to: {FROM_B}}}]}}\n");
    let both = header("AdminNetworkPolicy") + &admin + &header("BaselineAdminNetworkPolicy") + &baseline;
    check(
        &both,
        "in  b/web -> a/db:80/TCP = + default spec.ingress[0]
         in  b/web -> a/db:54/UDP = + default spec.ingress[0]
         in  b/web -> a/db:8080/TCP = + default spec.ingress[0]
         in  b/web -> a/db:81/TCP = - default spec.ingress[1]
         out a/db -> b/web:80/TCP = - default spec.egress[0]
         out 6:a/db -> b/web:80/TCP = - default spec.egress[0]",
    );
}
