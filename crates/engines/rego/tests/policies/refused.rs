//! What does not compile, with its place.

use crate::{cases, config, config_with, program, text};

const PACKAGE: &str = "package envoy.authz\n";

fn refusal(manifest: &str) -> String {
    let findings = program(manifest).expect_err("a refusal");
    assert!(findings.iter().all(|finding| finding.is_error()));
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// Each with what OPA says of it, which `cargo xtask interop opa` compares.
#[test]
fn a_text_that_does_not_compile_is_refused_at_its_line() {
    for case in cases(include_str!("refused.json"), 25) {
        let (place, message) = (text(&case, "place"), text(&case, "message"));
        let expected = format!("error LIC1311: policies.yaml:{place}: `data[authz.rego]`: {message}");
        assert_eq!(refusal(&config(&format!("{PACKAGE}{}", text(&case, "rego")))), expected, "{case}");
    }
    let empty = refusal(&config("# nothing\n"));
    assert!(empty.contains("policies.yaml:11:") && empty.contains("expecting `package`"), "{empty}");
}

#[test]
fn what_a_config_map_says_beside_its_texts_is_read_strictly() {
    let rule = format!("{PACKAGE}allow if true\n");
    for (annotations, expected) in [
        (
            "lictor.dev/rego-path: allow",
            "expected a package and a rule with slashes, such as envoy/authz/allow, found `allow`",
        ),
        (
            "lictor.dev/rego-path: a/b-c",
            "expected a package and a rule with slashes, such as envoy/authz/allow, found `a/b-c`",
        ),
        (
            "lictor.dev/rego-path: \"a/b;c\"",
            "expected a package and a rule with slashes, such as envoy/authz/allow, found `a/b;c`",
        ),
        ("lictor.dev/rego-version: v2", "expected v0 or v1, found `v2`"),
    ] {
        let told = refusal(&config_with(annotations, &rule));
        assert!(told.starts_with("error LIC1311: policies.yaml:7:") && told.ends_with(expected), "{told}");
    }
    let other = config(&rule).replace("authz.rego", "authz.txt");
    assert!(refusal(&other).ends_with("expected the name of a text of Rego, which ends with .rego"));
    let none = config(&rule).split("\ndata:").next().unwrap().to_owned();
    assert!(refusal(&none).ends_with("found none"), "{}", refusal(&none));
}

#[test]
fn the_texts_of_a_namespace_are_one_set() {
    let lib = "package lib\nis_get(request) if request.method == \"GET\"\n";
    let main = "package envoy.authz\nimport data.lib\nallow if lib.is_get(input.request)\n";
    let named = |name: &str, rego: &str| config(rego).replace("name: checks", &format!("name: {name}"));
    let both = format!("{}---\n{}", named("a", lib), named("b", main));
    let program = program(&both).unwrap();
    let policy = program.policy("shop").unwrap();
    assert_eq!(
        (policy.by().to_string(), policy.rule()),
        ("ConfigMap shop/b data[authz.rego]".to_owned(), "data.envoy.authz.allow")
    );
    assert!(program.policy("other").is_none());
    // Without the library the same text is refused, at its own place.
    let alone = refusal(&named("b", main));
    assert_eq!(
        alone,
        "error LIC1311: policies.yaml:12:14: `data[authz.rego]`: expected a function that there is, found lib.is_get"
    );
    // Two ConfigMaps cannot have two rules asked.
    let path = |name: &str, path: &str| {
        config_with(&format!("lictor.dev/rego-path: {path}"), main).replace("name: checks", &format!("name: {name}"))
    };
    let two = refusal(&format!("{}---\n{}", path("a", "envoy/authz/allow"), path("b", "envoy/authz/deny")));
    assert!(two.contains("expected one rule to be asked in a namespace"), "{two}");
}

/// A text is data of whoever may write a ConfigMap: none ends the process, or takes long.
#[test]
fn a_deep_text_is_refused() {
    let refused = |rego: String| refusal(&config(&format!("{PACKAGE}f(x) := x\n{rego}")));
    for (open, close, message) in [
        ("[", "]", "expected at most 16 brackets"),
        ("{1: ", "}", "expected at most 16 brackets"),
        ("[1 | ", "]", "expected at most 16 brackets"),
        ("[{1 | ", "}]", "expected at most 16 brackets"),
        ("-", "", "expected at most 16 signs"),
        ("- ", "", "expected at most 16 signs"),
        ("(", ")", "expected at most 64 parentheses"),
        ("f(", ")", "expected at most 64 parentheses"),
        ("1 +\n", "", "expected expressions at most 128 deep"),
        ("1 -\n", "", "expected expressions at most 128 deep"),
        ("input[\n", "]", "expected at most 16 brackets"),
    ] {
        let deep = format!("{}1{}", open.repeat(150), close.repeat(150));
        let told = refused(format!("allow if x := {deep}\n"));
        assert!(told.contains(message), "{open}: {told}");
    }
    let told = refused(format!("allow if input{} == 1\n", "[\n0\n]".repeat(5_000)));
    assert!(told.contains("expected expressions at most 128 deep"), "{told}");
    let told = refused(format!("allow if x := 1 +\n{}1\n", "1 +\n".repeat(15_000)));
    assert!(told.contains("expected expressions at most 128 deep"), "{told}");
    let rules: String = (0..9_000).map(|at| format!("r{at} if r{}\n", at + 1)).collect();
    let told = refused(format!("{rules}r9000 := true\nallow if r0\n"));
    assert!(told.contains("expected fewer rules"), "{told}");
    let many: String = (0..2_000).map(|at| format!("r{at} := [[[[[[[[[[[[1]]]]]]]]]]]]\n")).collect();
    let told = refused(format!("{many}allow if r0\n"));
    assert!(told.contains("would take too long to read"), "{told}");
    let told = refused(format!("# {}\nallow if true\n", "-".repeat(300_000)));
    assert!(told.contains("expected at most 262144 bytes"), "{told}");
}

/// The deepest policy that compiles is asked within the stack that is named for it.
#[test]
fn what_is_within_the_limits_has_room() {
    let deep = format!("{}1", "1 + ".repeat(100));
    let rules: String = (0..70).map(|at| format!("f{at}(x) := y if y := f{}(x) + {deep}\n", at + 1)).collect();
    let chain: String = (0..150).map(|at| format!("r{at} if r{}\n", at + 1)).collect();
    let rego = format!("{PACKAGE}{rules}f70(x) := x\n{chain}r150 if f0(1) > 1\nallow if r0\n# {}\n", "[".repeat(99));
    let program = program(&config(&rego)).unwrap_or_else(|found| panic!("{found:?}"));
    let policy = std::sync::Arc::clone(program.policy("shop").unwrap());
    let asking = std::thread::Builder::new().stack_size(lictor_rego::STACK);
    let asked = asking.spawn(move || policy.ask(serde_json::json!({}))).unwrap().join().unwrap();
    assert_eq!(asked, Ok(serde_json::json!(true)));
}
