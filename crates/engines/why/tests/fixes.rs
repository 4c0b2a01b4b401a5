//! The change that each layer offers, and what is told with it.

mod world;

use lictor_model::{Layer, Mode, Verdict};
use lictor_why::{Answer, Change};
use world::{outsider, pod, rung, snapshot, why, why_request};

const HTTP: &str = "{name: http, containerPort: 80}";

/// Each change in a line or two.
fn changes(answer: &Answer) -> Vec<String> {
    let fix = answer.fix.as_ref().expect("a fix");
    let tell = |change: &Change| match change {
        Change::Apply { document, .. } => serde_json::to_string(document).expect("JSON"),
        Change::Edit { policy, at, edit, .. } => {
            let line = at.as_ref().map(|at| at.line).unwrap_or_default();
            format!("{policy} (line {line}): {edit}")
        }
    };
    fix.changes.iter().map(tell).collect()
}

fn opens(answer: &Answer) -> Vec<String> {
    let effect = &answer.fix.as_ref().expect("a fix").effect;
    effect
        .opens
        .iter()
        .map(|other| format!("{} -> {}:{}/{}", other.source, other.destination, other.ports, other.protocol))
        .collect()
}

fn allow(text: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p, namespace: ns}}\nspec: {text}\n"
    )
}

const DENY_EGRESS: &str = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: ns}\n\
                           spec: {podSelector: {}, policyTypes: [Egress]}\n";
const STRICT: &str = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: ns}\n\
                      spec: {mtls: {mode: STRICT}}\n";

#[test]
fn a_policy_names_the_fewest_labels_that_select_the_workload_alone() {
    let same = [
        pod("ns", "a", "app: x, role: a", ""),
        pod("ns", "b", "app: x, role: b", HTTP),
        pod("ns", "c", "app: x, role: a, zone: z", HTTP),
    ];
    let cluster = snapshot(&format!("{}{DENY_EGRESS}", same.concat()));
    let told = changes(&why(&cluster, "ns/a", "ns/b:80")).concat();
    // `a` cannot be told from `c`, which has all of its labels; `b` can by its role.
    assert!(told.contains(r#""podSelector":{"matchLabels":{"app":"x","role":"a"}}"#), "{told}");
    assert!(told.contains(r#""to":[{"podSelector":{"matchLabels":{"role":"b"}}}]"#), "{told}");
    assert_eq!(opens(&why(&cluster, "ns/a", "ns/b:80")), ["ns/c -> ns/b:80/TCP"]);
}

#[test]
fn a_peer_in_another_namespace_is_named_by_it() {
    let cluster = snapshot(&format!("{}{}{DENY_EGRESS}", pod("ns", "a", "app: a", ""), pod("m", "b", "app: b", HTTP)));
    let told = changes(&why(&cluster, "ns/a", "m/b:80")).concat();
    let peer = r#"{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"m"}},"podSelector":{"matchLabels":{"app":"b"}}}"#;
    assert!(told.contains(peer), "{told}");
}

#[test]
fn a_deny_rule_loses_the_one_principal_and_what_else_that_opens_is_told() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP), pod("ns", "c", "app: c", "")].concat();
    let deny = |selector: &str, rule: &str| {
        snapshot(&format!("{pods}{}", allow(&format!("{{{selector}action: DENY, rules: [{rule}]}}"))))
    };
    let b = "selector: {matchLabels: {app: b}}, ";
    let both = "principals: [cluster.local/ns/ns/sa/a, cluster.local/ns/ns/sa/c]";
    let (from_list, of_port) = (format!("{{from: [{{source: {{{both}}}}}]}}"), "to: [{operation: {ports: ['80']}}]");
    let not = "`notPrincipals: [\"cluster.local/ns/ns/sa/a\"]`";
    for (selector, rule, edit, others) in [
        ("", from_list.as_str(), "remove \"cluster.local/ns/ns/sa/a\" from from[0].source.principals", 2),
        (
            b,
            "{from: [{source: {principals: [cluster.local/ns/ns/sa/a]}}]}",
            "remove this rule: it names nobody else",
            1,
        ),
        (
            b,
            &format!("{{from: [{{source: {{namespaces: [ns]}}}}], {of_port}}}"),
            &format!("add {not} to from[0].source"),
            0,
        ),
        (b, &format!("{{{of_port}}}"), "add `from: [{source: {notPrincipals: [\"cluster.local/ns/ns/sa/a\"]}}]`", 0),
    ] {
        let answer = why(&deny(selector, rule), "ns/a", "ns/b:80");
        assert_eq!(answer.denied_at, Some(Layer::Authorization), "{rule}");
        assert_eq!(changes(&answer), [format!("AuthorizationPolicy ns/p spec.rules[0] (line 20): {edit}")], "{rule}");
        // A rule about every port takes no exception for one.
        let told = ["ns/a -> ns/b:0-65535/TCP", "ns/a -> ns/c:0-65535/TCP"];
        assert_eq!(opens(&answer), told[..others], "{rule}");
    }
}

#[test]
fn plaintext_needs_a_permissive_port_and_what_else_that_opens_is_told() {
    let pods =
        [outsider("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP), outsider("ns", "c", "app: c", "")].concat();
    let answer = why(&snapshot(&format!("{pods}{STRICT}")), "ns/a", "ns/b:80");
    assert_eq!(answer.denied_at, Some(Layer::Transport));
    let told = changes(&answer).concat();
    assert!(told.contains(r#""portLevelMtls":{"80":{"mode":"PERMISSIVE"}}"#), "{told}");
    assert_eq!(opens(&answer), ["ns/c -> ns/b:80/TCP", "outside, such as 203.0.113.77 -> ns/b:80/TCP"]);
    assert!(answer.notes.iter().any(
        |note| note.text.contains("take ns/a into the mesh") && note.text.ends_with("then it is allowed as it is")
    ));
}

#[test]
fn a_workload_with_a_peer_authentication_of_its_own_has_it_edited() {
    let own = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: own, namespace: ns}\n\
               spec: {selector: {matchLabels: {app: b}}, mtls: {mode: STRICT}}\n";
    let pods = [outsider("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP)].concat();
    let answer = why(&snapshot(&format!("{pods}{own}")), "ns/a", "ns/b:80");
    assert_eq!(
        changes(&answer),
        ["PeerAuthentication ns/own spec (line 15): set portLevelMtls.\"80\".mode to PERMISSIVE"]
    );
}

#[test]
fn a_request_is_allowed_with_its_method_and_path_and_no_other() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP)].concat();
    let rule = "{selector: {matchLabels: {app: b}}, rules: [{to: [{operation: {methods: [GET], paths: [/x*]}}]}]}";
    let cluster = snapshot(&format!("{pods}{}", allow(rule)));
    assert_eq!(why_request(&cluster, "ns/a", "ns/b", "GET", "/x/1?q=2").verdict, Verdict::Allow);
    let answer = why_request(&cluster, "ns/a", "ns/b", "POST", "/y?q=2");
    assert_eq!(answer.denied_at, Some(Layer::Authorization));
    let told = changes(&answer).concat();
    assert!(told.contains(r#""operation":{"ports":["80"],"methods":["POST"],"paths":["/y"]}"#), "{told}");
    assert_eq!(opens(&answer), Vec::<String>::new());
}

#[test]
fn a_rule_on_a_port_that_is_not_http_is_not_asked_about_requests() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", "{name: redis, containerPort: 6379}")].concat();
    let answer = why_request(&snapshot(&pods), "ns/a", "ns/b", "GET", "/");
    assert_eq!(answer.connection.request, None);
    assert!(answer.notes[0].text.contains("not HTTP by its name"), "{:?}", answer.notes);
}

#[test]
fn in_audit_a_denial_is_told_and_still_allowed() {
    let stance = "---\napiVersion: lictor.dev/v1alpha1\nkind: Stance\nmetadata: {name: learn, namespace: ns}\n\
                  spec: {layers: [segmentation], mode: Audit}\n";
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP)].concat();
    let answer = why(&snapshot(&format!("{pods}{DENY_EGRESS}{stance}")), "ns/a", "ns/b:80");
    assert_eq!((answer.verdict, answer.would), (Verdict::Allow, Verdict::Deny));
    assert_eq!(rung(&answer, Layer::Egress), (Verdict::Deny, Mode::Audit));
    assert!(answer.ladder.iter().all(|rung| rung.step.reached));
    assert!(answer.fix.is_some() && answer.exit_code() == 0);
}

#[test]
fn what_a_tier_denies_is_exempted_right_before_it_and_left_to_the_next() {
    let tier = |priority: u16| {
        format!(
            "---\napiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {{name: wall}}\nspec: {{tier: \
             Admin, priority: {priority}, subject: {{namespaces: {{}}}}, ingress: [{{action: Deny, from: [{{namespaces: {{}}}}]}}]}}\n"
        )
    };
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP), pod("ns", "c", "app: c", "")].concat();
    let answer = why(&snapshot(&format!("{pods}{}", tier(7))), "ns/a", "ns/b:80");
    let told = changes(&answer).concat();
    assert!(told.contains(r#""tier":"Admin","priority":6,"subject":{"pods":{"#), "{told}");
    assert!(told.contains(r#""ingress":[{"action":"Pass","from":[{"pods":{"#), "{told}");
    assert!(told.contains(r#""protocols":[{"tcp":{"destinationPort":{"number":80}}}]"#), "{told}");
    assert_eq!(opens(&answer), Vec::<String>::new());
    // Passed on, a NetworkPolicy that isolates still decides.
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: ns}\n\
                   spec: {podSelector: {}}\n";
    assert_eq!(changes(&why(&snapshot(&format!("{pods}{}{ingress}", tier(7))), "ns/a", "ns/b:80")).len(), 2);
    assert_eq!(why(&snapshot(&format!("{pods}{}", tier(0))), "ns/a", "ns/b:80").fix, None, "nothing comes before 0");
}

#[test]
fn a_policy_that_needs_what_is_not_there_has_no_fix() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP)].concat();
    let custom = allow("{action: CUSTOM, provider: {name: ext}, rules: [{}]}");
    let answer = why(&snapshot(&format!("{pods}{custom}")), "ns/a", "ns/b:80");
    assert_eq!((answer.verdict, answer.fix), (Verdict::Deny, None));
    assert!(answer.notes.iter().any(|note| note.text == "no change of policies was found that allows this"));
}

#[test]
fn an_end_outside_is_named_by_its_address() {
    let ingress = "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: deny, namespace: ns}\n\
                   spec: {podSelector: {}}\n";
    let cluster = snapshot(&format!("{}{ingress}{DENY_EGRESS}", outsider("ns", "b", "app: b", HTTP)).replace(
        "name: deny, namespace: ns}\nspec: {podSelector: {}, p",
        "name: out, namespace: ns}\nspec: {podSelector: {}, p",
    ));
    let into = changes(&why(&cluster, "198.51.100.7", "ns/b:80")).concat();
    assert!(into.contains(r#""from":[{"ipBlock":{"cidr":"198.51.100.7/32"}}]"#), "{into}");
    let out = why(&cluster, "ns/b", "198.51.100.7:443");
    assert!(changes(&out).concat().contains(r#""to":[{"ipBlock":{"cidr":"198.51.100.7/32"}}]"#));
    assert_eq!(opens(&out), Vec::<String>::new());
}

fn cilium(spec: &str) -> String {
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p, namespace: ns}}\nspec: {spec}\n"
    )
}

#[test]
fn what_cilium_isolates_is_allowed_by_a_policy_that_isolates_nobody() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP), pod("m", "c", "app: c", "")].concat();
    let closed = snapshot(&format!("{pods}{}", cilium("{endpointSelector: {}, ingress: [{}], egress: [{}]}")));
    let answer = why(&closed, "ns/a", "ns/b:80");
    let ports = r#""toPorts":[{"ports":[{"port":"80","protocol":"TCP"}]}]"#;
    let told = changes(&answer);
    assert_eq!(told.len(), 2, "{told:?}");
    let rule = |rules: &str, list: &str, app: &str| {
        format!(
            r#""enableDefaultDeny":{{"{rules}":false}},"{rules}":[{{"{list}":[{{"matchLabels":{{"app":"{app}"}}}}],{ports}}}]"#
        )
    };
    assert!(told[0].contains(&rule("egress", "toEndpoints", "b")), "{told:?}");
    assert!(told[1].contains(&rule("ingress", "fromEndpoints", "a")), "{told:?}");
    assert_eq!(opens(&answer), Vec::<String>::new());
    let other = changes(&why(&closed, "m/c", "ns/b:80")).concat();
    assert!(other.contains(r#""matchLabels":{"app":"c","k8s:io.kubernetes.pod.namespace":"m"}"#), "{other}");
    let outside = changes(&why(&closed, "ns/a", "198.51.100.7:443")).concat();
    assert!(outside.contains(r#""toCIDR":["198.51.100.7/32"]"#), "{outside}");
}

#[test]
fn a_request_that_no_http_rule_means_gets_one_of_its_own() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP)].concat();
    let public = "{endpointSelector: {matchLabels: {app: b}}, ingress: [{toPorts: [{ports: [{port: '80', protocol: TCP}], \
                  rules: {http: [{method: GET, path: /public}]}}]}]}";
    let cluster = snapshot(&format!("{pods}{}", cilium(public)));
    assert_eq!(why_request(&cluster, "ns/a", "ns/b", "GET", "/public").verdict, Verdict::Allow);
    let answer = why_request(&cluster, "ns/a", "ns/b", "POST", "/v1.0/orders?all");
    assert_eq!(answer.denied_at, Some(Layer::Ingress));
    let told = changes(&answer).concat();
    let rules = r#""rules":{"http":[{"method":"^POST$","path":"^/v1\\.0/orders\\?all$"}]}"#;
    assert!(told.contains(rules), "{told}");
    assert_eq!(opens(&answer), Vec::<String>::new());
}

#[test]
fn what_cilium_denies_loses_the_one_end_or_has_no_fix() {
    let pods = [
        pod("ns", "a", "app: a", ""),
        pod("ns", "b", "app: b", HTTP),
        pod("ns", "c", "app: c, team: x", ""),
        pod("ns", "d", "app: d, team: x", ""),
    ]
    .concat();
    let spec = |from: &str| {
        format!(
            "{{endpointSelector: {{matchLabels: {{app: b}}}}, enableDefaultDeny: {{ingress: false}}, ingressDeny: [{{{from}}}]}}"
        )
    };
    let ask = |source: &str, from: &str| why(&snapshot(&format!("{pods}{}", cilium(&spec(from)))), source, "ns/b:80");
    let (a, team) = ("{matchLabels: {app: a}}", "{matchLabels: {team: x}}");
    for (source, from, edit) in [
        ("ns/a", format!("fromEndpoints: [{a}]"), "remove this rule: it names nobody else"),
        ("ns/a", format!("fromEndpoints: [{a}, {team}]"), "remove the entry for pods app=a, which means no others"),
        (
            "ns/c",
            format!("fromEndpoints: [{a}, {team}]"),
            "add `{key: app, operator: NotIn, values: [\"c\"]}` to matchExpressions of the entry for pods team=x",
        ),
        ("198.51.100.7", "fromCIDR: [198.51.100.7/32]".to_owned(), "remove this rule: it names nobody else"),
        (
            "198.51.100.7",
            "fromCIDR: [198.51.100.0/24]".to_owned(),
            "add 198.51.100.7/32 to `except` of 198.51.100.0/24 in a CIDR set",
        ),
    ] {
        let answer = ask(source, &from);
        assert_eq!(answer.denied_at, Some(Layer::Ingress), "{from}");
        let whole = format!("CiliumNetworkPolicy ns/p spec.ingressDeny[0] (line 25): {edit}");
        assert_eq!(changes(&answer), [whole], "{from}");
        let own = format!("{source} -> ns/b");
        let told = opens(&answer);
        assert!(told.iter().all(|told| told.replace("outside, such as ", "").starts_with(&own)), "{told:?}");
    }
    for (from, reason) in [
        ("fromEntities: [cluster]", "its rule means the whole of `cluster`"),
        ("toPorts: [{ports: [{port: '80', protocol: TCP}]}]", "its rule means everybody"),
    ] {
        let answer = ask("ns/a", from);
        assert_eq!((answer.verdict, &answer.fix), (Verdict::Deny, &None), "{from}");
        let told = format!(
            "no change of policies was found that allows this: CiliumNetworkPolicy ns/p spec.ingressDeny[0] denies \
             before anything allows, and {reason}"
        );
        assert!(answer.notes.iter().any(|note| note.text == told), "{:?}", answer.notes);
    }
}

#[test]
fn a_policy_that_loses_its_last_rule_goes_on_isolating() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP), pod("ns", "c", "app: c", "")].concat();
    let deny = "{endpointSelector: {matchLabels: {app: b}}, ingressDeny: [{fromEndpoints: [{matchLabels: {app: a}}]}]}";
    let answer = why(&snapshot(&format!("{pods}{}", cilium(deny))), "ns/a", "ns/b:80");
    let told = changes(&answer);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].ends_with("and put `ingress: [{}]` in its place, so that the policy goes on isolating"),
        "{told:?}"
    );
    assert!(told[1].contains(r#""kind":"CiliumNetworkPolicy""#), "{told:?}");
    assert_eq!(opens(&answer), Vec::<String>::new());
}

#[test]
fn what_its_author_says_about_a_deciding_spec_is_told() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP)].concat();
    let closed = "{description: Nobody comes in., log: {value: closed}, endpointSelector: {matchLabels: {app: b}}, ingress: [{}]}";
    let remarks = |spec: &str| {
        let answer = why(&snapshot(&format!("{pods}{}", cilium(spec))), "ns/a", "ns/b:80");
        let told = |layer| answer.rung(layer).expect("four layers").remarks.clone();
        assert_eq!(told(Layer::Egress), []);
        let said =
            told(Layer::Ingress).into_iter().map(|remark| (remark.policy.to_string(), remark.description, remark.log));
        said.collect::<Vec<_>>()
    };
    let whole = ("CiliumNetworkPolicy ns/p spec".to_owned(), Some("Nobody comes in.".into()), Some("closed".into()));
    assert_eq!(remarks(closed), std::slice::from_ref(&whole));
    assert_eq!(remarks(&closed.replace("[{}]", "[{fromEntities: [all]}]")), [whole]);
    assert_eq!(remarks("{endpointSelector: {matchLabels: {app: b}}, ingress: [{}]}"), []);
}
