//! What two clusters differ in.

mod world;

use lictor_why::{Scope, TooMany, diff};
use world::{pod, snapshot};

const HTTP: &str = "{name: http, containerPort: 80}";
const TWO: &str = "{name: http, containerPort: 80}, {name: other, containerPort: 81}";
const STRICT: &str = "---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: strict, namespace: ns}\n\
                      spec: {mtls: {mode: STRICT}}\n";

fn policy(ports: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: some, namespace: ns}}\n\
         spec: {{podSelector: {{}}, ingress: [{{ports: [{ports}]}}]}}\n"
    )
}

/// Each change in a line.
fn changes(old: &str, new: &str) -> Vec<String> {
    let difference = diff(&snapshot(old), &snapshot(new), &Scope::default(), None).expect("few pairs");
    let tell = |change: &lictor_why::EdgeChange| {
        let by = change.after.as_ref().map_or_else(|| "gone".to_owned(), |edge| edge.by.to_string());
        format!("{} {} -> {}:{} {by}", change.change.as_str(), change.source, change.destination, change.port)
    };
    difference.changes.iter().map(tell).collect()
}

#[test]
fn a_policy_that_comes_closes_and_the_rule_that_lets_in_opens() {
    let pods = [pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", TWO)].concat();
    let (open, web, other) = (pods.clone(), pods.clone() + &policy("{port: 80}"), pods.clone() + &policy("{port: 81}"));
    assert_eq!(changes(&open, &web), ["closed ns/a -> ns/b:81 default, isolated by ns/some"]);
    assert_eq!(
        changes(&web, &other),
        [
            "opened ns/a -> ns/b:81 NetworkPolicy ns/some spec.ingress[0]",
            "closed ns/a -> ns/b:80 default, isolated by ns/some"
        ]
    );
    assert_eq!(changes(&web, &web), Vec::<String>::new());
    assert_eq!(changes(&open, &(pods + STRICT)), Vec::<String>::new(), "in the mesh it was encrypted before");
}

#[test]
fn what_only_one_of_them_has_is_opened_or_closed_there() {
    let (one, two) = (pod("ns", "a", "app: a", ""), pod("ns", "b", "app: b", HTTP));
    let (alone, both) = (one.clone(), one + &two);
    assert_eq!(changes(&alone, &both).len(), 1);
    assert_eq!(changes(&both, &alone), ["closed ns/a -> ns/b:80 gone"]);
}

#[test]
fn more_pairs_than_can_be_listed_are_compared_no_more_than_listed() {
    let pods = |kinds: usize| -> String {
        (0..3_200)
            .map(|at| {
                pod("ns", &format!("p{at}"), &format!("app: a{}", at % kinds), "")
                    .replace(&format!("serviceAccountName: p{at}, "), "")
            })
            .collect()
    };
    let (few, many) = (snapshot(&pods(10)), snapshot(&pods(3_200)));
    let compare = |old, new| diff(old, new, &Scope::default(), None).map(|difference| difference.changes.len());
    assert_eq!(compare(&few, &few), Ok(0));
    assert_eq!(compare(&few, &many), Err(TooMany { pairs: 3_200 * 3_200 }));
}

#[test]
fn pods_that_look_alike_in_one_of_them_only_are_told_apart_in_both() {
    let pods = |labels: [&str; 2]| {
        let one = |name: &str, labels| {
            pod("ns", name, labels, HTTP).replace(&format!("serviceAccountName: {name}"), "serviceAccountName: x")
        };
        [one("a", labels[0]), one("b", labels[1])].concat()
    };
    let wall =
        policy("").replace("podSelector: {}", "podSelector: {matchLabels: {app: b}}").replace("[{ports: []}]", "[]");
    let (alike, apart) = (pods(["app: a", "app: a"]) + &wall, pods(["app: a", "app: b"]) + &wall);
    assert_eq!(changes(&alike, &apart), ["closed ns/a -> ns/b:80 default, isolated by ns/some"]);
    assert_eq!(changes(&alike, &alike), Vec::<String>::new());
}
