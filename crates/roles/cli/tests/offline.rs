//! The command on files alone, as a user without root sees it.

use insta::assert_snapshot;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a command printed, and how it ended.
struct Run {
    code: i32,
    out: String,
    err: String,
}

fn examples(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../examples").join(name)
}

fn lictor_with(args: &[&str], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lictor"))
        .args(args)
        .current_dir(examples("."))
        .env_remove("NO_COLOR")
        .env("LICTOR_LAB", "no-such-lab")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("the input is taken");
    let output = child.wait_with_output().expect("the command ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Run { code: output.status.code().expect("an exit code"), out: text(output.stdout), err: text(output.stderr) }
}

fn lictor(args: &[&str]) -> Run {
    lictor_with(args, "")
}

/// A folder with these files.
fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).expect("a file");
    }
    folder
}

#[test]
fn the_published_pair_does_not_let_the_api_reach_its_database() {
    let run = lictor(&["why", "-f", "shop", "production/api", "production/db:5432"]);
    assert_eq!((run.code, run.err.as_str()), (1, ""));
    assert_snapshot!(run.out, @r"
    DENIED   production/api -> production/db:5432/TCP     at egress, by default

      egress         ✗  no policy allows it; production/default-deny isolates production/api   05-network-policies.yaml:1
                        nearest miss: none (no policy that selects this pod has an egress rule)
      transport      -  not reached; would be mutual TLS (STRICT by istio-system/default)      01-peer-authentication-strict.yaml:8  spec.mtls.mode
                        spiffe://cluster.local/ns/production/sa/api -> .../sa/db
      ingress        -  not reached; would be allowed by production/allow-api-to-db            05-network-policies.yaml:22  spec.ingress[0]
      authorization  -  not reached; no policy selects production/db, so it would be allowed

    Smallest change that allows it (checked: opens this connection and no other):

      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata:
        name: allow-api-to-db-5432-egress
        namespace: production
      spec:
        podSelector:
          matchLabels:
            app: api
        policyTypes:
          - Egress
        egress:
          - to:
              - podSelector:
                  matchLabels:
                    app: database
            ports:
              - protocol: TCP
                port: 5432

    note LIC1104: production/api has no egress to cluster DNS either; most clients need it (lictor explain LIC1104)
    ");
}

#[test]
fn the_policy_that_is_missing_makes_it_work_and_opens_that_edge_alone() {
    let why = ["why", "-f", "shop", "production/api", "production/db:5432"];
    let answer = lictor(&[&why[..], &["-o", "json"]].concat());
    let answer: serde_json::Value = serde_json::from_str(&answer.out).expect("JSON");
    // JSON is YAML: the document goes into the folder as it is.
    let document = answer["fix"]["changes"][0]["document"].to_string();
    let fix = folder(&[("fix.yaml", &document)]);
    let with = ["-f", fix.path().to_str().expect("a path")];

    let fixed = lictor(&[&why[..], &with].concat());
    assert_eq!((fixed.code, fixed.err.as_str()), (0, ""));
    assert!(fixed.out.starts_with("ALLOWED  production/api -> production/db:5432/TCP\n"), "{}", fixed.out);

    let edges = |more: &[&str]| -> BTreeSet<String> {
        let run = lictor(&[&["edges", "-f", "shop", "-A", "-o", "csv"], more].concat());
        run.out.lines().map(str::to_owned).collect()
    };
    let (before, after) = (edges(&[]), edges(&with));
    assert_eq!(before.difference(&after).count(), 0);
    assert_eq!(
        after.difference(&before).collect::<Vec<_>>(),
        ["production/api,production/db,5432,TCP,allowed,allowed,true,ingress,Enforce,production/allow-api-to-db"]
    );
}

#[test]
fn the_fix_that_the_example_holds_is_the_one_that_is_printed() {
    let run = lictor(&["why", "-f", "shop", "production/api", "production/db"]);
    let printed: String = run
        .out
        .lines()
        .skip_while(|line| !line.starts_with("  apiVersion"))
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.trim_start_matches("  ")))
        .collect();
    let held = std::fs::read_to_string(examples("shop-fixes/01-api-to-db.yaml")).expect("the example");
    let held: String =
        held.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{}\n", line.trim_start())).collect();
    let bare = |text: &str| text.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>();
    assert_eq!(bare(&printed), held);
}

#[test]
fn the_shop_has_nothing_to_complain_about() {
    let run = lictor(&["edges", "-f", "shop", "-v", "-o", "json"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    let run = lictor(&["why", "-f", "shop", "-f", "shop-fixes", "-v", "production/web", "production/api:80"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[test]
fn an_unknown_pod_is_told_with_what_may_have_been_meant() {
    let run = lictor(&["why", "-f", "shop", "production/apii", "production/db"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert_snapshot!(run.err, @r"
    error: no pod, workload or service is named production/apii
      help: did you mean production/api?
    ");
}

#[test]
fn a_port_that_is_not_there_is_told_with_those_that_are() {
    let run = lictor(&["why", "-f", "shop", "production/api", "checkout/statsd:metrics"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert_snapshot!(run.err, @r"
    error: checkout/statsd has no port `metrics`
      help: its ports: 8125/UDP (statsd), 9102/TCP (http-metrics)
    ");
}

#[test]
fn a_broken_file_is_shown_at_its_line_and_nothing_is_answered() {
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: p\nspec:\n  podSelector: {}\n  egres: []\n";
    let broken = folder(&[("p.yaml", policy)]);
    let run = lictor(&["why", "-f", broken.path().to_str().expect("a path"), "a", "b"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert_snapshot!(run.err, @r"
    error[LIC1009]: `spec`: the kind has no field `egres` here
     --> p.yaml:7:3
      |
    7 |   egres: []
      |   ^^^^^
      |
      = help: did you mean `egress`?

    error: one error in the manifests; nothing is answered from half of them
    ");
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let run = lictor(&["edges", "-f", "none"]);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert!(run.err.contains("found nothing of this name"), "{}", run.err);
}

#[test]
fn manifests_come_from_the_standard_input_too() {
    let pods = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: c, image: i}]}}\n\
                - {apiVersion: v1, kind: Pod, metadata: {name: b}, spec: {containers: [{name: c, image: i, ports: [{containerPort: 80}]}]}}\n";
    let run = lictor_with(&["why", "-f", "-", "a", "b"], pods);
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(run.out.starts_with("ALLOWED  default/a -> default/b:80/TCP\n"), "{}", run.out);
}

#[test]
fn a_policy_that_is_not_acted_on_is_named_in_any_case() {
    let other = "apiVersion: cilium.io/v2\nkind: CiliumEgressGatewayPolicy\nmetadata: {name: x}\n---\n\
                 apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: i}]}\n";
    let run = lictor_with(&["edges", "-f", "-"], other);
    assert_eq!(run.code, 0);
    assert_eq!(run.err, "note LIC1008: CiliumEgressGatewayPolicy x (cilium.io/v2) is read, not acted on\n\n");
}

#[test]
fn diff_names_what_an_edit_opens_and_ends_with_one() {
    let (old, new) = (examples("shop"), examples("."));
    let run = lictor(&["diff", old.to_str().expect("text"), new.to_str().expect("text")]);
    assert_eq!(run.code, 1, "{}", run.err);
    assert!(run.out.contains("production/api  production/db:5432/TCP"), "{}", run.out);
    assert!(run.out.ends_with("3 opened, 0 closed, 0 changed\n"), "{}", run.out);
    let same = lictor(&["diff", old.to_str().expect("text"), old.to_str().expect("text")]);
    assert_eq!((same.code, same.out.contains("0 opened, 0 closed, 0 changed")), (0, true), "{}", same.out);
}

#[test]
fn an_address_block_leaves_pods_out_where_it_is_asked_to() {
    let pod = |name: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: ns}}\n\
             spec: {{containers: [{{name: c, image: x, ports: [{{containerPort: 80}}]}}]}}\n---\n"
        )
    };
    let policy = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: all, namespace: ns}\n\
                  spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0}}]}]}\n";
    let folder = folder(&[("all.yaml", &(pod("a") + &pod("b") + policy))]);
    let why = ["why", "-f", folder.path().to_str().expect("text"), "ns/a", "ns/b"];
    assert_eq!(lictor(&why).code, 0);
    assert_eq!(lictor(&[&why[..], &["--cidr-excludes-pods"]].concat()).code, 1);
}

#[test]
fn a_request_is_judged_by_its_method_and_path() {
    let ask = |method: &str, path: &str| {
        lictor(&[
            "why",
            "-f",
            "shop",
            "checkout/storefront",
            "checkout/checkout-service:80",
            "-X",
            method,
            "--path",
            path,
        ])
        .code
    };
    assert_eq!(
        [ask("GET", "/carts/7"), ask("POST", "/orders"), ask("DELETE", "/carts/7"), ask("GET", "/admin")],
        [0, 0, 1, 1]
    );
}

#[test]
fn colour_is_only_for_terminals_unless_asked() {
    let ask = |color: &str| lictor(&["why", "--color", color, "-f", "shop", "production/api", "production/db"]).out;
    assert!(!ask("auto").contains('\u{1b}') && !ask("never").contains('\u{1b}'));
    assert!(ask("always").starts_with("\u{1b}[31mDENIED\u{1b}[0m"));
}

#[test]
fn the_exit_code_tells_usage_from_verdict() {
    for args in [
        &["why"][..],
        &["why", "a"],
        &["edges", "-o", "sarif", "-f", "shop"],
        &["why", "-o", "svg", "-f", "shop", "a", "b"],
        &["nonsense"],
        &["explain", "LIC9999"],
        &["why", "a", "b", "-H", "x", "-f", "shop"],
    ] {
        let run = lictor(args);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        assert!(!run.err.is_empty(), "{args:?}");
    }
}

#[test]
fn without_a_lab_its_verbs_say_so() {
    for args in [&["status"][..], &["why", "a", "b"], &["edges"], &["probe"], &["flows"], &["flows", "-f"], &["down"]] {
        let run = lictor(args);
        assert_eq!((run.code, run.out.as_str()), (2, ""), "{args:?}");
        assert!(run.err.starts_with("error: no lab named `no-such-lab` is running"), "{args:?}: {}", run.err);
    }
}

#[test]
fn every_code_has_a_page() {
    let list = lictor(&["explain"]);
    assert_eq!(list.code, 0);
    for code in list.out.lines().filter_map(|line| line.split(' ').next()) {
        let page = lictor(&["explain", code]);
        assert_eq!(page.code, 0, "{code}");
        assert!(page.out.starts_with(&format!("# {code}: ")), "{code}");
    }
}

#[test]
fn completions_are_scripts_of_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let run = lictor(&["completions", shell]);
        assert!(run.code == 0 && run.out.contains("lictor") && run.out.contains("edges"), "{shell}");
    }
}

#[test]
fn check_tells_what_it_looked_at() {
    let run = lictor(&["check", "-o", "json"]);
    let list: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    let names: Vec<&str> =
        list["categories"].as_array().expect("categories").iter().filter_map(|one| one["name"].as_str()).collect();
    assert!(names.starts_with(&["kernel", "machine"]), "{names:?}");
    assert!(run.code < 2);
}

#[test]
fn more_pairs_than_can_be_listed_are_refused_with_what_narrows_them() {
    let pods = |kinds: usize| -> String {
        let pod = |at: usize| {
            let (namespace, app) = (if at < 4 { "few" } else { "many" }, at % kinds);
            format!(
                "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: pod{at}, namespace: {namespace}, labels: {{app: a{app}}}}}\n\
                 spec: {{containers: [{{name: c, image: i}}]}}\n"
            )
        };
        (0..3_200).map(pod).collect()
    };
    // Pods that look alike are one row.
    assert_eq!(lictor_with(&["edges", "-f", "-"], &pods(100)).code, 0);
    let pods = pods(3_200);
    let run = lictor_with(&["edges", "-f", "-"], &pods);
    assert_eq!((run.code, run.out.as_str()), (2, ""));
    assert_snapshot!(run.err, @r"
    2 notes about the manifests; -v shows them

    error: 10240000 pairs of workloads are more than can be listed (10000000)
      help: narrow them with --namespace, --focus, --from or --to; pods without an owner are one workload only where no policy can tell them apart, by labels, service account, ports or address
    ");
    let run = lictor_with(&["edges", "-f", "-", "--namespace", "few"], &pods);
    assert_eq!(run.code, 0, "{}", run.err);
}
