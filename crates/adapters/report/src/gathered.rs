//! Results for the programs that gather them: SARIF, JUnit, and annotations of GitHub.
//!
//! Source: OASIS, SARIF 2.1.0; the JUnit schema as Jenkins and GitLab read it; GitHub, "Workflow commands".

use crate::format::Format;
use lictor_manifest::{Code, Finding, Level, Position};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gathered {
    /// What it is an instance of: a code, or a word such as `opened`.
    pub rule: String,
    /// One line about the rule.
    pub title: String,
    /// How much it matters; nothing for what is as it should be.
    pub level: Option<Level>,
    /// What it is about, among others of its rule.
    pub name: String,
    /// What there is to say.
    pub message: String,
    /// Where; nothing where no file has the answer.
    pub position: Option<Position>,
}

impl From<&Finding> for Gathered {
    fn from(finding: &Finding) -> Self {
        let hint = finding.hint.as_ref().map(|hint| format!("\nhelp: {hint}")).unwrap_or_default();
        Self {
            rule: finding.code.to_string(),
            title: finding.code.title().to_owned(),
            level: Some(finding.level),
            name: finding.position.to_string(),
            message: format!("{}{hint}", finding.message),
            position: Some(finding.position.clone()).filter(|position| !position.file.is_empty()),
        }
    }
}

/// The document of results in a form that gathering programs read; nothing for the other forms. `suite` names what was run.
///
/// # Errors
/// When JSON cannot be written; results always can.
pub fn gathered(results: &[Gathered], suite: &str, format: Format) -> Result<Option<String>, serde_json::Error> {
    Ok(Some(match format {
        Format::Sarif => serde_json::to_string_pretty(&sarif(results))? + "\n",
        Format::Junit => junit(results, suite),
        Format::Github => github(results),
        _ => return Ok(None),
    }))
}

fn sarif(results: &[Gathered]) -> Value {
    let mut rules: BTreeMap<&str, Value> = BTreeMap::new();
    let mut told = Vec::new();
    for result in results {
        let Some(level) = result.level else { continue };
        rules.entry(&result.rule).or_insert_with(|| {
            let mut rule = json!({"id": result.rule, "shortDescription": {"text": result.title}});
            if let Ok(code) = result.rule.parse::<Code>() {
                rule["fullDescription"] = json!({"text": code.explanation().trim()});
                rule["help"] = json!({"text": format!("lictor explain {code}"), "markdown": code.explanation().trim()});
            }
            rule
        });
        let level = match level {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Note => "note",
        };
        let mut one = json!({"ruleId": result.rule, "level": level, "message": {"text": result.message}});
        if let Some(position) = &result.position {
            let mut place = json!({"artifactLocation": {"uri": uri(&position.file)}});
            if position.line > 0 {
                place["region"] = json!({"startLine": position.line, "startColumn": position.column.max(1)});
            }
            one["locations"] = json!([{"physicalLocation": place}]);
        }
        told.push(one);
    }
    let rules: Vec<Value> = rules.into_values().collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "lictor", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": told,
        }],
    })
}

/// A file's name as a relative or absolute URI.
fn uri(file: &str) -> String {
    let mut out = String::new();
    for byte in file.strip_prefix("./").unwrap_or(file).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            other => drop(write!(out, "%{other:02X}")),
        }
    }
    out
}

fn junit(results: &[Gathered], suite: &str) -> String {
    let failed = results.iter().filter(|result| result.level.is_some()).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"lictor\" tests=\"{count}\" failures=\"{failed}\">\n  \
         <testsuite name=\"{suite}\" tests=\"{count}\" failures=\"{failed}\">\n",
        count = results.len(),
        suite = xml(suite),
    );
    for result in results {
        let class = xml(&format!("{} {}", result.rule, result.title));
        let _ = write!(out, "    <testcase classname=\"{class}\" name=\"{}\"", xml(&result.name));
        match (&result.level, &result.position) {
            (None, _) => out.push_str("/>\n"),
            (Some(level), position) => {
                let at = position.as_ref().map(|position| format!("\n{position}")).unwrap_or_default();
                let first = result.message.lines().next().unwrap_or_default();
                let _ = write!(
                    out,
                    ">\n      <failure type=\"{level}\" message=\"{}\">{}</failure>\n    </testcase>\n",
                    xml(first),
                    xml(&format!("{}{at}", result.message))
                );
            }
        }
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

/// A text within XML; what XML cannot hold becomes a question mark.
fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            c if c.is_control() && c != '\t' => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

fn github(results: &[Gathered]) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let mut out = String::new();
    for result in results {
        let word = match result.level {
            None => continue,
            Some(Level::Error) => "error",
            Some(Level::Warning) => "warning",
            Some(Level::Note) => "notice",
        };
        let mut place = format!("title={}", property(&format!("{}: {}", result.rule, result.title)));
        if let Some(position) = &result.position {
            let _ = write!(place, ",file={}", property(&position.file));
            if position.line > 0 {
                let _ = write!(place, ",line={},col={}", position.line, position.column.max(1));
            }
        }
        let _ = writeln!(out, "::{word} {place}::{}", data(&result.message));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Gathered, gathered};
    use crate::format::Format;
    use lictor_manifest::{Code, Finding, Level, Position};

    fn results() -> Vec<Gathered> {
        let place = |line| Position { file: "a b/x,y.yaml".into(), line, column: 5 };
        let finding =
            Finding::new(Code::OpenToAll, place(7), "50% of <all> & \"more\"").with_hint("name who\nmay come");
        let passed = Gathered {
            rule: "allow".to_owned(),
            title: "it is allowed".to_owned(),
            level: None,
            name: "web -> db:5432/TCP".to_owned(),
            message: String::new(),
            position: None,
        };
        let without_place = Gathered { level: Some(Level::Error), message: "denied".to_owned(), ..passed.clone() };
        vec![Gathered::from(&finding), passed, without_place]
    }

    #[test]
    fn each_form_is_written_as_its_readers_want_it() {
        let write = |format| gathered(&results(), "policies", format).expect("results").expect("a form");
        insta::assert_snapshot!("junit", write(Format::Junit));
        insta::assert_snapshot!("github", write(Format::Github));
        let sarif: serde_json::Value = serde_json::from_str(&write(Format::Sarif)).expect("JSON");
        let run = &sarif["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().map(Vec::len), Some(2));
        assert_eq!(
            run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            "a%20b/x%2Cy.yaml"
        );
        assert_eq!(run["results"][0]["locations"][0]["physicalLocation"]["region"]["startLine"], 7);
        assert!(run["results"][1].get("locations").is_none());
        assert_eq!(gathered(&results(), "policies", Format::Text).expect("results"), None);
    }
}
