#![allow(clippy::unwrap_used)]

use super::{Loader, Located, Node, Problem};
use serde_json::{Value, json};

fn parse(text: &str) -> Result<Vec<Node>, Box<Located>> {
    Loader::new(text).collect()
}

fn problem(text: &str) -> Located {
    *parse(text).unwrap_err()
}

/// Recorded from sigs.k8s.io/yaml's `YAMLToJSON`, one `input TAB output` a line.
const KUBERNETES: &str = include_str!("../../testdata/kubernetes-yaml.tsv");

#[test]
fn scalars_mean_what_kubernetes_means() {
    let mut cases = 0;
    for line in KUBERNETES.lines() {
        let (text, expected) = line.split_once('\t').unwrap();
        let ours = parse(&format!("v: {text}\n")).ok().map(|documents| documents[0].to_json());
        let expected: Option<Value> = serde_json::from_str(expected).ok();
        let same_number = |a: &Value, b: &Value| a["v"].as_f64().is_some_and(|a| b["v"].as_f64() == Some(a));
        let same = match (&ours, &expected) {
            (Some(a), Some(b)) => a == b || same_number(a, b),
            (a, b) => a.is_none() == b.is_none(),
        };
        assert!(same, "`{text}`: {ours:?}, Kubernetes {expected:?}");
        cases += 1;
    }
    assert!(cases > 60);
}

#[test]
fn places_survive_documents_anchors_and_wide_characters() {
    let source =
        "a: &x {deep: [1, zwei]}\n---\n# ü\nname: größe\nb: &y\n  image: nginx\nc:\n  <<: *y\n  tag: v1\nd: *y\n";
    let documents = parse(source).unwrap();
    let spot = |node: &Node| (node.spot.line, node.spot.column);
    let image = documents[1].get("b").unwrap().get("image").unwrap();
    assert_eq!(spot(image), (6, 10));
    assert_eq!(documents[1].get("c").unwrap().to_json(), json!({"tag": "v1", "image": "nginx"}));
    assert_eq!(documents[1].get("d").unwrap().get("image").unwrap().spot, image.spot);
    assert_eq!(spot(documents[1].get("name").unwrap()), (4, 7));
}

#[test]
fn keys_become_strings() {
    assert_eq!(parse("8080: a\non: b\n1.5: c\n").unwrap()[0].to_json(), json!({"8080": "a", "true": "b", "1.5": "c"}));
}

#[test]
fn json_is_yaml() {
    let json = "{\n\t\"a\": [1, 2.5, true, null, \"x\\u00e9\\/\\\"\"],\n\t\"b\": {}\n}\n";
    assert_eq!(parse(json).unwrap()[0].to_json(), json!({"a": [1, 2.5, true, null, "xé/\""], "b": {}}));
}

#[test]
fn line_ends_and_byte_order_marks_do_not_matter() {
    assert_eq!(parse("\u{feff}a: 1\r\nb:\r\n- 2\r\n").unwrap()[0].to_json(), json!({"a": 1, "b": [2]}));
}

#[test]
fn bad_sources_are_refused_with_their_place() {
    let duplicate = problem("spec:\n  a: 1\n  a: 2\n");
    assert_eq!((duplicate.spot.line, duplicate.spot.column), (3, 3));
    assert!(matches!(duplicate.problem, Problem::DuplicateKey { first, .. } if first.line == 2));
    assert!(matches!(problem("a: [1\nb: 2").problem, Problem::Syntax(_)));
    assert!(matches!(problem("a:\n\t- b").problem, Problem::Syntax(_)));
    assert!(matches!(problem("a: *missing").problem, Problem::Syntax(_)));
    assert!(matches!(problem("? [a]\n: b").problem, Problem::ComplexKey));
    assert!(matches!(problem("a: &a [*a]").problem, Problem::Syntax(_)));
    assert_eq!(problem("<<: 1").problem, Problem::Merge);
    assert_eq!(problem("a: !!int x").problem, Problem::Unrepresentable("x".to_owned()));
    assert_eq!(problem(&format!("{}{}", "[".repeat(200), "]".repeat(200))).problem, Problem::TooDeep);
    assert!(matches!(problem(&"[".repeat(5000)).problem, Problem::Syntax(_)));
}

#[test]
fn a_bad_document_costs_itself_only() {
    let read: Vec<bool> = Loader::new("a: 1\n---\na: 1\na: 2\nb: [{}]\n---\nc: 3\n").map(|read| read.is_ok()).collect();
    assert_eq!(read, [true, false, true]);
    let read: Vec<bool> = Loader::new("a: 1\n---\na: [\n---\nc: 3\n").map(|read| read.is_ok()).collect();
    assert_eq!(read, [true, false]);
}

#[test]
fn an_alias_bomb_stops_at_the_limit() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let aliases = format!("*a{}, ", n - 1).repeat(9);
        bomb += &format!("a{n}: &a{n} [{}]\n", aliases.trim_end_matches(", "));
    }
    assert_eq!(problem(&bomb).problem, Problem::TooLarge);
}
