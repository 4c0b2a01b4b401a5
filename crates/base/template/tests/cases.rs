//! The cases of `cases.txt`, and the laws that hold for every text.

use lictor_model::Labels;
use lictor_template::{Data, NodeData, PodData, Template};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Calls with the data that the cases speak of.
fn with_data<T>(run: impl FnOnce(&Data<'_>) -> T) -> T {
    let labels: Labels = [("app", "web"), ("key", "app"), ("app.kubernetes.io/name", "shop-web")].into_iter().collect();
    let notes = [("note", "it \"is\" \\ so"), ("empty", ""), ("umlaut", "ä")];
    let annotations: BTreeMap<String, String> = notes.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
    let zone: Labels = [("zone", "a")].into_iter().collect();
    run(&Data {
        trust_domain: "example.org",
        cluster_name: "test",
        cluster_domain: "cluster.local",
        pod: PodData {
            name: "web-0",
            namespace: "shop",
            uid: "a-pod-uid",
            labels: &labels,
            annotations: &annotations,
            service_account: "web-account",
            hostname: "web-0",
            subdomain: "db",
            host_network: false,
        },
        node: NodeData { name: "n1", uid: "a-node-uid", labels: &zone },
    })
}

/// The outcome of a template as the cases write it.
fn outcome(text: &str, data: &Data<'_>) -> String {
    match Template::parse(text) {
        Err(error) => {
            format!("refused {}:{} expected {}, found {}", error.line, error.column, error.expected, error.found)
        }
        Ok(template) => match template.render(data) {
            Ok(text) => format!("= {text}"),
            Err(error) => format!("fails {error}"),
        },
    }
}

fn cases() -> Vec<(String, String)> {
    let plain = |text: &str| text.replace('␊', "\n").replace('␉', "\t");
    let case = |line: &str| line.split_once(" => ").map(|(template, outcome)| (plain(template), plain(outcome)));
    include_str!("cases.txt").lines().filter(|line| !line.starts_with('#')).filter_map(case).collect()
}

#[test]
fn each_template_has_its_outcome() {
    let cases = cases();
    let wrong: Vec<String> = with_data(|data| {
        let differs = |(template, wanted): &(String, String)| {
            let (wanted, found) = (wanted.replacen("fails here ", "fails ", 1), outcome(template, data));
            (wanted != found).then(|| format!("{template}\n  wanted {wanted}\n  found  {found}"))
        };
        cases.iter().filter_map(differs).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    println!("templates: {} cases", cases.len());
    assert!(cases.len() >= 150);
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = |count: usize| format!("{{{{ {}\"a\"{} }}}}", "(".repeat(count), ")".repeat(count));
    assert!(
        Template::parse(&deep(32)).is_ok()
            && Template::parse(&deep(33)).is_err()
            && Template::parse(&deep(8000)).is_err()
    );
    let nested = |count: usize| "{{if true}}".repeat(count) + &"{{end}}".repeat(count);
    assert!(Template::parse(&nested(32)).is_ok() && Template::parse(&nested(33)).is_err());
    assert!(Template::parse(&nested(900)).is_err() && Template::parse(&"a".repeat(20_000)).is_err());
    let long = "{{ .PodMeta.Annotations.long }}".repeat(500);
    let annotations = BTreeMap::from([("long".to_owned(), "x".repeat(1000))]);
    let error = with_data(|data| {
        let pod = PodData { annotations: &annotations, ..data.pod };
        Template::parse(&long).expect("a template").render(&Data { pod, ..*data }).expect_err("too much")
    });
    assert_eq!(error.to_string(), "expected at most 65536 bytes to be rendered");
}

fn pieces() -> impl Strategy<Value = String> {
    let pieces: Vec<String> = cases().into_iter().map(|(template, _)| template).collect();
    let word = prop::sample::select(vec![
        "{{", "}}", "{{-", "-}}", " ", "\"", "`", "(", ")", "|", ".", "$", "%", "if", "end", "else", "\\", "-", "0",
        "ü", "/*", "*/",
    ]);
    prop::collection::vec(prop_oneof![2 => prop::sample::select(pieces), 3 => word.prop_map(str::to_owned)], 0..8)
        .prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics_and_an_error_has_a_place_in_the_text(text in prop_oneof![pieces(), "\\PC{0,80}".prop_map(|text| text)]) {
        match Template::parse(&text) {
            Ok(template) => {
                prop_assert_eq!(template.as_str(), text.as_str());
                let _ = with_data(|data| template.render(data));
            }
            Err(error) => {
                let line = text.split('\n').nth(error.line as usize - 1);
                prop_assert!(line.is_some_and(|line| error.column as usize <= line.chars().count() + 1), "{}", error);
            }
        }
    }

    #[test]
    fn a_text_without_actions_is_itself(text in "[^{]{0,60}") {
        let rendered = with_data(|data| Template::parse(&text).map(|template| template.render(data)));
        prop_assert_eq!(rendered, Ok(Ok(text)));
    }
}
