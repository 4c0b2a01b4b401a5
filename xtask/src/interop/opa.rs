//! OPA, by a program of our own on its packages: the same policies and inputs, the same answers.
//!
//! What differs is written in the cases themselves or in `tests/interop/opa/deviations.json`, each with its reason; a difference
//! that is not there fails, and so does one that is there and is not seen.

use super::Peer;
use super::build::{self, Programs, Recipe};
use super::checks::Checks;
use super::deviations::{Deviations, kind, same};
use crate::cargo::{cargo, root, run as run_command, target_directory};
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

pub(super) const PEER: Peer = Peer {
    name: "opa",
    version: "v1.22.0",
    recipe: Recipe { folder: "opa", programs: &["opa"], make: build::go },
    run,
};

const POLICIES: &str = "crates/engines/rego/tests/policies";
const DOCUMENTS: &str = "crates/services/ext-authz/src/input";

fn run(programs: &Programs, checks: &mut Checks) -> Result<()> {
    let opa = programs.path("opa");
    for (file, what) in [
        ("values.json", "a policy has the value that its case says"),
        ("tokens.json", "a token and a digest are judged as their case says"),
        ("refused.json", "a text is refused where its case says so"),
    ] {
        checks.check(&format!("{what} ({file})"), policies(&opa, file));
    }
    checks.check("an input document is the one of Envoy's and Go's libraries (cases.json)", documents(&opa));
    checks.check("every attribute stands as protobuf's JSON has it (attributes.json)", attributes(&opa));
    checks.check("a denial has the statuses that Envoy and Go know (statuses.json)", statuses(&opa));
    checks.check("OPA's compliance suite is answered as OPA does, but for what deviations.json lists", suite(&opa));
    Ok(())
}

/// The cases of lictor's own tests, which hold lictor to what they say.
fn policies(opa: &Path, file: &str) -> Result<()> {
    let cases = cases(&format!("{POLICIES}/{file}"))?;
    let question = |case: &Value| {
        let text = format!("package envoy.authz\n{}", case["rego"].as_str().unwrap_or_default());
        json!({"modules": [text], "rule": "data.envoy.authz.allow", "input": case.get("input").unwrap_or(&json!({}))})
    };
    let answers = ask(Command::new(opa).arg("ask"), &cases.iter().map(question).collect())?;
    let mut listed = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        let expected = case.get("opa").unwrap_or(case);
        let is_listed = case.get("opa").is_some_and(|_| case["why"].is_string());
        // Errors have their own words in each program.
        let alike = match (kind(expected), kind(answer)) {
            ("failed", "failed") => !is_listed,
            ("refused", "refused") => expected["refused"] == answer["refused"],
            _ => same(expected, answer),
        };
        ensure!(alike, "{case}\n    OPA: {answer}");
        listed += usize::from(is_listed);
    }
    println!("          {} cases, {listed} of them listed as different", cases.len());
    Ok(())
}

fn documents(opa: &Path) -> Result<()> {
    let cases = cases(&format!("{DOCUMENTS}/cases.json"))?;
    let answers = ask(Command::new(opa).arg("documents"), &cases.clone().into())?;
    let mut listed = 0;
    for (case, answer) in cases.iter().zip(&answers) {
        let nothing = json!("(nothing)");
        let is_listed = case.get("opa").is_some_and(|_| case["why"].is_string());
        listed += usize::from(is_listed);
        let expected = if is_listed { &case["opa"] } else { case };
        let Some(pointers) = expected["document"].as_object() else {
            ensure!(answer["error"].is_string(), "{case}\n    expected an error, saw {answer}");
            continue;
        };
        for (pointer, expected) in pointers {
            let seen = answer["document"].pointer(pointer).unwrap_or(&nothing);
            ensure!(seen == expected, "{case}\n    {pointer}: {answer}");
        }
    }
    println!("          {} cases, {listed} of them listed as different", cases.len());
    Ok(())
}

fn attributes(opa: &Path) -> Result<()> {
    let case = read(&format!("{DOCUMENTS}/attributes.json"))?;
    let answers = ask(Command::new(opa).arg("documents"), &json!([case]))?;
    let seen = answers.first().map(|answer| &answer["document"]);
    ensure!(seen == Some(&case["document"]), "expected {}\n    saw {seen:?}", case["document"]);
    Ok(())
}

fn statuses(opa: &Path) -> Result<()> {
    let output = Command::new(opa).arg("statuses").output().with_context(|| opa.display().to_string())?;
    let (seen, expected): (Value, Value) =
        (serde_json::from_slice(&output.stdout)?, read(&format!("{POLICIES}/statuses.json"))?);
    ensure!(seen == expected, "expected {expected}, saw {seen}");
    Ok(())
}

/// Both programs are asked each question of OPA's own suite that a ConfigMap can ask.
fn suite(opa: &Path) -> Result<()> {
    let output = Command::new(opa).arg("suite").output().with_context(|| opa.display().to_string())?;
    let questions: Value = serde_json::from_slice(&output.stdout).context("opa suite")?;
    run_command(&mut cargo(&["build", "--locked", "--quiet", "-p", "lictor-rego", "--example", "ask"]))?;
    let lictor = target_directory()?.join("debug/examples/ask");
    // What the interpreter says on its standard error is in its answers.
    let own = ask(Command::new(lictor).stderr(Stdio::null()), &questions)?;
    let theirs = ask(Command::new(opa).arg("ask"), &questions)?;
    let mut deviations = Deviations::read(&read("tests/interop/opa/deviations.json")?)?;
    let mut unlisted = Vec::new();
    let questions = questions.as_array().map_or(&[][..], Vec::as_slice);
    for ((question, own), theirs) in questions.iter().zip(&own).zip(&theirs) {
        if !same(own, theirs) && !deviations.lists(question["name"].as_str().unwrap_or_default(), own) {
            unlisted.push(format!("{}: lictor {own}, OPA {theirs}", question["name"]));
        }
    }
    let listed = deviations.seen();
    println!("          {} cases, {listed} of them listed as different", questions.len());
    ensure!(questions.len() > 1_500, "{} cases are fewer than there were", questions.len());
    ensure!(unlisted.is_empty(), "{} not listed: {}", unlisted.len(), unlisted.join("\n    "));
    deviations.all_seen()
}

/// The answers of a program to a list of questions, in its order.
fn ask(program: &mut Command, questions: &Value) -> Result<Vec<Value>> {
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("{program:?}"))?;
    let mut stdin = child.stdin.take().context("a program without an input")?;
    let text = questions.to_string();
    // The programs read everything before they answer.
    stdin.write_all(text.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{program:?} ended with {}", output.status);
    let answers: Vec<Value> = serde_json::from_slice(&output.stdout)?;
    let asked = questions.as_array().map_or(0, Vec::len);
    ensure!(answers.len() == asked, "{program:?}: {} answers to {asked} questions", answers.len());
    Ok(answers)
}

fn cases(file: &str) -> Result<Vec<Value>> {
    match read(file)? {
        Value::Array(cases) if !cases.is_empty() => Ok(cases),
        _ => bail!("{file}: expected a list of cases"),
    }
}

fn read(file: &str) -> Result<Value> {
    let text = fs::read(root().join(file)).with_context(|| file.to_owned())?;
    serde_json::from_slice(&text).with_context(|| file.to_owned())
}
