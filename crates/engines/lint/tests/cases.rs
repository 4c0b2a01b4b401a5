//! Each check on a policy that earns its finding: `# LICnnnn` marks the line that the finding stands at.

use lictor_cluster::{AddressPool, Node, Settings, Snapshot, UnknownNodes};
use lictor_lint::lint;
use lictor_manifest::{Code, read};
use lictor_model::Revision;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

fn snapshot(policies: &str) -> Snapshot {
    let cluster = std::fs::read_to_string(folder().join("cluster.yaml")).expect("the cluster");
    let mut objects = Vec::new();
    for (name, text) in [("cluster.yaml", &*cluster), ("policies.yaml", policies)] {
        let reading = read(name, text);
        assert!(!reading.has_errors(), "{:?}", reading.findings);
        objects.extend(reading.objects);
    }
    let node = Node {
        name: Arc::from("n1"),
        labels: [("zone", "a")].into_iter().collect(),
        addresses: vec!["192.168.0.1".parse().expect("an address")],
    };
    let settings = Settings {
        trust_domain: "cluster.local".parse().expect("a trust domain"),
        root_namespace: Arc::from("istio-system"),
        default_namespace: Arc::from("default"),
        nodes: vec![node],
        unknown_nodes: UnknownNodes::Made,
        cidr_excludes_pods: false,
        registration: lictor_cluster::RegistrationSettings::default(),
    };
    Snapshot::build(&objects, &settings, &mut AddressPool::default(), Revision(1)).0
}

/// Codes that most policies of the cases earn as well, since the cluster has little else in it.
const COMMON: [Code; 4] =
    [Code::NoDefaultDenyIngress, Code::NoDefaultDenyEgress, Code::PodUnselected, Code::NoEgressToDns];

#[test]
fn each_check_finds_its_case_at_its_line_and_little_else() {
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    let files = std::fs::read_dir(folder()).expect("the folder").flatten().map(|entry| entry.path());
    for file in files.filter(|file| file.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("LIC"))) {
        let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).expect("a text");
        let (own, lines): (Vec<Code>, Vec<u32>) = (1..)
            .zip(text.lines())
            .flat_map(|(line, text)| text.split("# LIC").skip(1).map(move |code| (code.trim().to_owned(), line)))
            .filter_map(|(code, line)| Some((code.parse::<Code>().ok()?, line)))
            .unzip();
        let mut found: Vec<(Code, u32)> = lint(&snapshot(&text))
            .iter()
            .filter(|finding| own.contains(&finding.code) || !COMMON.contains(&finding.code))
            .map(|finding| (finding.code, finding.position.line))
            .collect();
        found.sort_by_key(|(code, line)| (*line, *code));
        let mut wanted: Vec<(Code, u32)> = own.iter().copied().zip(lines).collect();
        wanted.sort_by_key(|(code, line)| (*line, *code));
        if found != wanted {
            wrong.push(format!("{name}: wanted {wanted:?}, found {found:?}"));
        }
        seen.extend(own);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let of_lint = Code::ALL.iter().filter(|code| (1400..1500).contains(&code.number()));
    let without: Vec<&Code> = of_lint.filter(|code| !seen.contains(code)).collect();
    assert!(without.is_empty(), "no case for {without:?}");
    assert!(seen.len() >= 30, "{} checks", seen.len());
}

#[test]
fn a_cluster_without_policies_has_nothing_to_doubt() {
    assert_eq!(lint(&snapshot("---\n")), []);
}
