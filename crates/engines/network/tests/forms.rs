//! Every form of peer and port, in both directions and both address families, one small table each.

mod world;

use world::{check, world};

fn policy(name: &str, namespace: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

/// One policy `p` in namespace a that selects `a/db`.
fn at_db(rest: &str) -> String {
    policy("p", "a", &format!("{{podSelector: {{matchLabels: {{app: db}}}}, {rest}}}"))
}

/// One policy `p` in namespace a that selects `a/web`.
fn at_web(rest: &str) -> String {
    policy("p", "a", &format!("{{podSelector: {{matchLabels: {{app: web}}}}, {rest}}}"))
}

#[test]
fn without_a_policy_everything_is_allowed() {
    check(
        "",
        "in  a/web -> a/db:5432/TCP = + default, no policy applies
         out a/web -> 203.0.113.7:443/TCP = + default, no policy applies
         in  203.0.113.7 -> a/db:0/ICMP = + default, no policy applies
         in  a/web -> 203.0.113.7:443/TCP = + default, the destination is outside the cluster
         in  a/web -> 192.168.0.2:22/TCP = + default, no policy applies
         out 203.0.113.7 -> a/db:5432/TCP = + default, no policy applies",
    );
}

#[test]
fn policy_types_decide_which_direction_is_isolated() {
    let deny = "- default, isolated by a/p";
    let open = "+ default, no policy applies";
    for (types, ingress, egress) in [
        ("", deny, open),
        ("policyTypes: [Ingress]", deny, open),
        ("policyTypes: [Egress]", open, deny),
        ("policyTypes: [Ingress, Egress]", deny, deny),
        ("policyTypes: [Ingress], egress: [{}]", deny, open),
        ("egress: []", deny, open),
        ("egress: [{}]", deny, "+ a/p spec.egress[0]"),
        ("ingress: [{}], policyTypes: [Ingress, Egress]", "+ a/p spec.ingress[0]", deny),
    ] {
        let expected = format!("in b/web -> a/db:1/TCP = {ingress}\n out a/db -> b/web:1/TCP = {egress}");
        check(&at_db(types), &expected);
    }
}

#[test]
fn a_policy_selects_pods_of_its_own_namespace_only() {
    check(
        &policy("p", "a", "{podSelector: {}}"),
        "in b/api -> a/web:80/TCP = - default, isolated by a/p
         in b/api -> a/db:80/TCP = - default, isolated by a/p
         in a/web -> b/api:80/TCP = + default, no policy applies",
    );
}

#[test]
fn a_pod_selector_alone_means_the_policys_own_namespace() {
    check(
        &at_db("ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]"),
        "in   a/web -> a/db:5432/TCP = + a/p spec.ingress[0]
         in 6:a/web -> a/db:5432/TCP = + a/p spec.ingress[0]
         in   b/web -> a/db:5432/TCP = - default, isolated by a/p
         in 192.168.0.2 -> a/db:5432/TCP = - default, isolated by a/p
         in 203.0.113.7 -> a/db:5432/TCP = - default, isolated by a/p",
    );
}

#[test]
fn a_namespace_selector_alone_means_all_pods_of_the_namespaces() {
    check(
        &at_db("ingress: [{from: [{namespaceSelector: {matchLabels: {team: blue}}}]}]"),
        "in   b/web -> a/db:5432/TCP = + a/p spec.ingress[0]
         in 6:b/api -> a/db:5432/TCP = + a/p spec.ingress[0]
         in   a/web -> a/db:5432/TCP = - default, isolated by a/p
         in   b/agent -> a/db:5432/TCP = - default, isolated by a/p",
    );
    check(
        &at_db("ingress: [{from: [{namespaceSelector: {}}]}]"),
        "in a/web -> a/db:5432/TCP = + a/p spec.ingress[0]
         in b/web -> a/db:5432/TCP = + a/p spec.ingress[0]
         in 203.0.113.7 -> a/db:5432/TCP = - default, isolated by a/p",
    );
}

#[test]
fn both_selectors_in_one_peer_must_match_and_in_two_peers_either() {
    let blue = "namespaceSelector: {matchLabels: {team: blue}}";
    let web = "podSelector: {matchLabels: {app: web}}";
    check(
        &at_db(&format!("ingress: [{{from: [{{{blue}, {web}}}]}}]")),
        "in b/web -> a/db:1/TCP = + a/p spec.ingress[0]
         in b/api -> a/db:1/TCP = - default, isolated by a/p
         in a/web -> a/db:1/TCP = - default, isolated by a/p",
    );
    check(
        &at_db(&format!("ingress: [{{from: [{{{blue}}}, {{{web}}}]}}]")),
        "in b/web -> a/db:1/TCP = + a/p spec.ingress[0]
         in b/api -> a/db:1/TCP = + a/p spec.ingress[0]
         in a/web -> a/db:1/TCP = + a/p spec.ingress[0]",
    );
}

#[test]
fn match_expressions_read_absent_keys_as_kubernetes_does() {
    let peer = |expression: &str| {
        at_db(&format!(
            "ingress: [{{from: [{{namespaceSelector: {{}}, podSelector: {{matchExpressions: [{expression}]}}}}]}}]"
        ))
    };
    let yes = "+ a/p spec.ingress[0]";
    let no = "- default, isolated by a/p";
    // a/web has tier=front, b/api tier=back, b/web none.
    for (expression, front, back, none) in [
        ("{key: tier, operator: In, values: [front, x]}", yes, no, no),
        ("{key: tier, operator: NotIn, values: [front]}", no, yes, yes),
        ("{key: tier, operator: Exists}", yes, yes, no),
        ("{key: tier, operator: DoesNotExist}", no, no, yes),
    ] {
        let expected = format!(
            "in a/web -> a/db:1/TCP = {front}\n in b/api -> a/db:1/TCP = {back}\n in b/web -> a/db:1/TCP = {none}"
        );
        check(&peer(expression), &expected);
    }
}

#[test]
fn a_block_matches_addresses_whoever_has_them() {
    check(
        &at_db("ingress: [{from: [{ipBlock: {cidr: 10.244.2.0/24, except: [10.244.2.2/32]}}]}]"),
        "in   b/web -> a/db:1/TCP = + a/p spec.ingress[0]
         in   b/api -> a/db:1/TCP = - default, isolated by a/p
         in 6:b/web -> a/db:1/TCP = - default, isolated by a/p
         in 10.244.2.77 -> a/db:1/TCP = + a/p spec.ingress[0]
         in ::ffff:10.244.2.77 -> a/db:1/TCP = + a/p spec.ingress[0]",
    );
    check(
        &at_db(
            "egress: [{to: [{ipBlock: {cidr: 'fd00::/16', except: ['fd00:2::/32']}}, {ipBlock: {cidr: 192.168.0.2/32}}]}]",
        ),
        "out 6:a/db -> a/web:1/TCP = + a/p spec.egress[0]
         out 6:a/db -> b/web:1/TCP = - default, isolated by a/p
         out   a/db -> a/web:1/TCP = - default, isolated by a/p
         out   a/db -> b/agent:1/TCP = + a/p spec.egress[0]
         out   a/db -> 192.168.0.2:1/UDP = + a/p spec.egress[0]
         out   a/db -> 203.0.113.7:1/TCP = - default, isolated by a/p",
    );
    check(
        &at_db(
            "egress: [{to: [{ipBlock: {cidr: 0.0.0.0/0, except: [203.0.113.0/24]}}]}, {to: [{ipBlock: {cidr: 203.0.113.128/25}}]}]",
        ),
        "out a/db -> 198.51.100.1:443/TCP = + a/p spec.egress[0]
         out a/db -> 203.0.113.7:443/TCP = - default, isolated by a/p
         out a/db -> 203.0.113.200:443/TCP = + a/p spec.egress[1]
         out a/db -> 2001:db8::1:443/TCP = - default, isolated by a/p",
    );
}

#[test]
fn a_port_is_tcp_unless_it_says_otherwise_and_no_port_is_every_protocol() {
    check(
        &at_db("ingress: [{ports: [{port: 5432}]}]"),
        "in b/web -> a/db:5432/TCP = + a/p spec.ingress[0]
         in b/web -> a/db:5432/UDP = - default, isolated by a/p
         in b/web -> a/db:5432/SCTP = - default, isolated by a/p
         in b/web -> a/db:5433/TCP = - default, isolated by a/p
         in b/web -> a/db:0/ICMP = - default, isolated by a/p
         in 203.0.113.7 -> a/db:5432/TCP = + a/p spec.ingress[0]",
    );
    check(
        &at_db("ingress: [{ports: [{protocol: UDP}]}]"),
        "in b/web -> a/db:1/UDP = + a/p spec.ingress[0]
         in b/web -> a/db:65535/UDP = + a/p spec.ingress[0]
         in b/web -> a/db:1/TCP = - default, isolated by a/p",
    );
    check(
        &at_db("ingress: [{ports: [{protocol: SCTP, port: 80}]}]"),
        "in b/web -> a/db:80/SCTP = + a/p spec.ingress[0]
         in b/web -> a/db:80/TCP = - default, isolated by a/p",
    );
    check(
        &at_db("ingress: [{from: [{podSelector: {}}]}]"),
        "in a/web -> a/db:0/ICMP = + a/p spec.ingress[0]
         in a/web -> a/db:9/SCTP = + a/p spec.ingress[0]
         in b/web -> a/db:0/ICMP = - default, isolated by a/p",
    );
}

#[test]
fn an_end_port_closes_a_range() {
    check(
        &at_db("egress: [{ports: [{port: 8000, endPort: 8002}, {port: 65535, protocol: UDP}, {port: 8001}]}]"),
        "out a/db -> b/web:7999/TCP = - default, isolated by a/p
         out a/db -> b/web:8000/TCP = + a/p spec.egress[0]
         out a/db -> b/web:8002/TCP = + a/p spec.egress[0]
         out a/db -> b/web:8003/TCP = - default, isolated by a/p
         out a/db -> b/web:65535/UDP = + a/p spec.egress[0]
         out a/db -> b/web:65534/UDP = - default, isolated by a/p",
    );
}

#[test]
fn a_port_name_of_an_ingress_rule_is_the_selected_pods_own() {
    let both = policy("p", "a", "{podSelector: {}, ingress: [{ports: [{port: http}]}]}");
    check(
        &both,
        "in b/web -> a/web:80/TCP = + a/p spec.ingress[0]
         in b/web -> a/web:8080/TCP = - default, isolated by a/p
         in b/web -> a/db:8080/TCP = + a/p spec.ingress[0]
         in b/web -> a/db:80/TCP = - default, isolated by a/p",
    );
    check(
        &at_db("ingress: [{ports: [{port: dns}, {port: sql, protocol: UDP}, {port: nothing}]}]"),
        "in b/web -> a/db:53/TCP = - default, isolated by a/p
         in b/web -> a/db:53/UDP = - default, isolated by a/p
         in b/web -> a/db:5432/UDP = - default, isolated by a/p",
    );
    check(
        &at_db("ingress: [{ports: [{port: dns, protocol: UDP}]}]"),
        "in 6:b/web -> a/db:53/UDP = + a/p spec.ingress[0]",
    );
}

#[test]
fn a_port_name_of_an_egress_rule_is_the_peers() {
    check(
        &at_db("egress: [{ports: [{port: http}]}]"),
        "out a/db -> a/web:80/TCP = + a/p spec.egress[0]
         out a/db -> b/web:8000/TCP = + a/p spec.egress[0]
         out a/db -> b/web:80/TCP = - default, isolated by a/p
         out a/db -> b/api:80/TCP = - default, isolated by a/p
         out a/db -> b/agent:80/TCP = - default, isolated by a/p
         out a/db -> 203.0.113.7:80/TCP = - default, isolated by a/p",
    );
    check(
        &at_db(
            "egress: [{to: [{namespaceSelector: {matchLabels: {team: blue}}}], ports: [{port: http}, {port: http, protocol: UDP}]}]",
        ),
        "out   a/db -> b/web:8000/TCP = + a/p spec.egress[0]
         out 6:a/db -> b/api:80/UDP = + a/p spec.egress[0]
         out   a/db -> a/web:80/TCP = - default, isolated by a/p",
    );
}

#[test]
fn a_pod_reaches_itself_and_its_own_node_whatever_the_policies_say() {
    check(
        &policy("p", "a", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
        "in    a/db -> a/db:1/TCP = + traffic of a pod with itself
         out 6:a/db -> a/db:1/TCP = + traffic of a pod with itself
         in    192.168.0.1 -> a/db:1/TCP = + traffic of a pod with its own node
         out   a/db -> fd00:9::1:1/TCP = + traffic of a pod with its own node
         in    192.168.0.2 -> a/db:1/TCP = - default, isolated by a/p
         in    b/agent -> a/db:1/TCP = - default, isolated by a/p",
    );
    check(
        &policy("p", "b", "{podSelector: {}, policyTypes: [Ingress, Egress]}"),
        "in  b/agent -> b/far:1/TCP = + traffic of a pod with its own node
         in  a/db -> b/agent:1/TCP = + default, no policy applies
         out b/agent -> a/db:1/TCP = + default, no policy applies",
    );
}

#[test]
fn policies_add_up_and_the_most_specific_rule_is_named() {
    let two = policy("first", "a", "{podSelector: {}, ingress: [{ports: [{port: 80}]}]}")
        + &policy("second", "a", "{podSelector: {matchLabels: {app: db}}, ingress: [{from: [{podSelector: {}}]}, {}]}")
        + &policy(
            "third",
            "a",
            "{podSelector: {}, ingress: [{from: [{podSelector: {}}], ports: [{port: 81}, {port: 80}]}]}",
        )
        + &policy("egress-only", "a", "{podSelector: {}, policyTypes: [Egress]}");
    check(
        &two,
        "in a/web -> a/db:80/TCP = + a/third spec.ingress[0]
         in a/web -> a/db:82/TCP = + a/second spec.ingress[0]
         in b/web -> a/db:80/TCP = + a/first spec.ingress[0]
         in b/web -> a/db:81/TCP = + a/second spec.ingress[1]
         in b/web -> a/web:80/TCP = + a/first spec.ingress[0]
         in b/web -> a/web:81/TCP = - default, isolated by a/first, a/third",
    );
}

#[test]
fn a_stance_says_how_far_it_goes_and_the_verdict_stays() {
    let stance = "---\napiVersion: lictor.dev/v1alpha1\nkind: Stance\nmetadata: {name: s, namespace: a}\nspec: {layers: [segmentation], mode: Audit}\n";
    let world = world(&(at_web("policyTypes: [Ingress]") + stance));
    let step = world.ask(lictor_model::Direction::Ingress, "b/web -> a/web:80/TCP");
    assert_eq!((step.verdict, step.mode), (lictor_model::Verdict::Deny, lictor_model::Mode::Audit));
}

#[test]
fn a_denial_names_the_rule_that_came_closest_and_its_fields() {
    let documents = at_db(
        "ingress: [{from: [{podSelector: {matchLabels: {app: api, zone: eu}}}], ports: [{port: 1}]}, \
         {from: [{ipBlock: {cidr: 10.0.0.0/16}}, {podSelector: {matchLabels: {app: api}}}], ports: [{port: 5432}, {port: 80, protocol: UDP}]}]",
    );
    let world = world(&documents);
    let miss = |flow: &str| {
        let step = world.ask(lictor_model::Direction::Ingress, flow);
        assert_eq!(step.applied.len(), 1);
        let miss = step.nearest_miss.expect("a nearest miss");
        let fields = miss.fields.iter().map(|f| format!("{}: wanted {}, seen {}", f.field, f.wanted, f.seen));
        format!("{}\n{}", miss.rule.path, fields.collect::<Vec<_>>().join("\n"))
    };
    let second = "spec.ingress[1]\nspec.ingress[1].from[0].ipBlock: wanted 10.0.0.0/16, seen";
    assert_eq!(miss("a/web -> a/db:5432/TCP"), format!("{second} 10.244.1.1"));
    assert_eq!(
        miss("203.0.113.7 -> a/db:80/TCP"),
        format!("{second} 203.0.113.7\nspec.ingress[1].ports[0].port: wanted 5432, seen 80")
    );
}

#[test]
fn a_near_peer_is_told_by_its_labels() {
    let documents = at_db(
        "ingress: [{from: [{podSelector: {matchLabels: {app: api, zone: eu}}}], ports: [{port: 5432}]}], \
         egress: [{to: [{namespaceSelector: {matchLabels: {team: green}}, podSelector: {}}], ports: [{port: http}]}]",
    );
    let world = world(&documents);
    let fields = |direction, flow: &str| {
        let miss = world.ask(direction, flow).nearest_miss.expect("a nearest miss");
        miss.fields.iter().map(|f| format!("{} | {} | {}", f.field, f.wanted, f.seen)).collect::<Vec<_>>()
    };
    use lictor_model::Direction::{Egress, Ingress};
    assert_eq!(
        fields(Ingress, "a/web -> a/db:5432/TCP"),
        ["spec.ingress[0].from[0].podSelector | app=api,zone=eu | app=web,no zone"]
    );
    assert_eq!(
        fields(Ingress, "b/web -> a/db:5432/UDP"),
        [
            "spec.ingress[0].from[0].namespaceSelector | none, which means namespace a | namespace b",
            "spec.ingress[0].from[0].podSelector | app=api,zone=eu | app=web,no zone",
            "spec.ingress[0].ports[0].protocol | TCP | UDP",
        ]
    );
    assert_eq!(
        fields(Egress, "a/db -> b/web:80/TCP"),
        [
            "spec.egress[0].to[0].namespaceSelector | team=green | team=blue",
            "spec.egress[0].ports[0].port | http (8000 there) | 80",
        ]
    );
    assert_eq!(
        fields(Egress, "a/db -> 203.0.113.7:80/TCP"),
        [
            "spec.egress[0].to[0].namespaceSelector | team=green | 203.0.113.7, no pod",
            "spec.egress[0].to[0].podSelector | <all> | 203.0.113.7, no pod",
            "spec.egress[0].ports[0].port | http (no such port there) | 80",
        ]
    );
}

#[test]
fn without_a_rule_there_is_no_near_miss_and_an_unknown_pod_is_denied() {
    let world = world(&at_db(""));
    let step = world.ask(lictor_model::Direction::Ingress, "a/web -> a/db:1/TCP");
    assert_eq!(step.nearest_miss, None);
    let ghost = lictor_model::Peer::pod(lictor_model::Name::new("a", "ghost"), [10, 0, 0, 9].into());
    let flow = lictor_model::Flow {
        source: lictor_model::Peer::address([10, 0, 0, 8].into()),
        destination: ghost.clone(),
        protocol: lictor_model::Protocol::Tcp,
        port: 1,
    };
    let step = lictor_network::judge(&world.snapshot, &flow, lictor_model::Direction::Ingress);
    assert_eq!(step.by.to_string(), "a/ghost is not known here");
    assert!(!step.verdict.is_allow());
}
