//! The differences between lictor and OPA that are known, each with its reason.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The list, and what of it was seen.
pub(super) struct Deviations(Vec<Deviation>);

struct Deviation {
    of: Of,
    seen: usize,
}

enum Of {
    /// A function that lictor refuses, by its name or what it begins with.
    Function(String),
    /// A case of the suite, by its name or what it begins with, and what kind of answer lictor gives.
    Case { name: String, lictor: String },
}

/// What lictor says of a call of a function that it does not have.
const NO_FUNCTION: &str = "expected a function that there is, found ";

impl Deviations {
    /// Reads `deviations.json`.
    pub(super) fn read(file: &Value) -> Result<Self> {
        let functions = file["functions"].as_object().context("expected `functions`")?;
        let mut all: Vec<Of> = functions.keys().cloned().map(Of::Function).collect();
        ensure!(functions.values().all(Value::is_string), "expected a reason for each function");
        for entry in file["cases"].as_array().context("expected `cases`")? {
            let lictor = entry["lictor"].as_str().with_context(|| format!("expected `lictor` in {entry}"))?;
            ensure!(entry["why"].is_string(), "expected a reason in {entry}");
            let names = entry["cases"].as_array().with_context(|| format!("expected `cases` in {entry}"))?;
            for name in names.iter().filter_map(Value::as_str) {
                ensure!(
                    lictor == "refused" || !name.ends_with('*'),
                    "{name}: a case that is answered otherwise is named in full"
                );
                all.push(Of::Case { name: name.to_owned(), lictor: lictor.to_owned() });
            }
        }
        Ok(Self(all.into_iter().map(|of| Deviation { of, seen: 0 }).collect()))
    }

    /// Whether it is known that lictor answers a case otherwise than OPA.
    pub(super) fn lists(&mut self, case: &str, answer: &Value) -> bool {
        let refusal = answer["refused"].as_str().unwrap_or_default();
        let function = refusal.rsplit_once(NO_FUNCTION).map(|(_, name)| name);
        let found = self.0.iter_mut().find(|deviation| match &deviation.of {
            Of::Function(name) => function.is_some_and(|function| fits(name, function)),
            Of::Case { name, lictor } => fits(name, case) && lictor == kind(answer),
        });
        found.map(|deviation| deviation.seen += 1).is_some()
    }

    /// How many differences were seen.
    pub(super) fn seen(&self) -> usize {
        self.0.iter().map(|deviation| deviation.seen).sum()
    }

    /// Fails with what is listed and was not seen.
    pub(super) fn all_seen(&self) -> Result<()> {
        let unseen = self.0.iter().filter(|deviation| deviation.seen == 0).map(|deviation| match &deviation.of {
            Of::Function(name) | Of::Case { name, .. } => name.as_str(),
        });
        let unseen: Vec<&str> = unseen.collect();
        ensure!(unseen.is_empty(), "listed in deviations.json and no difference: {}", unseen.join(", "));
        Ok(())
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |begin| name.starts_with(begin))
}

/// Which of the four an answer is.
pub(super) fn kind(answer: &Value) -> &'static str {
    let kinds = ["value", "undefined", "refused", "failed"];
    kinds.into_iter().find(|kind| answer.get(kind).is_some()).unwrap_or("nothing")
}

/// Whether two answers say the same; the words of an error are each program's own, a number is equal as a 64-bit one.
pub(super) fn same(one: &Value, other: &Value) -> bool {
    kind(one) == kind(other) && (kind(one) != "value" || equal(&one["value"], &other["value"]))
}

fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| equal(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(name, member): (&String, &Value)| other.get(name).is_some_and(|other| equal(member, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Deviations, same};
    use serde_json::json;

    #[test]
    fn a_difference_is_listed_by_function_or_by_case_and_kind() {
        let file = json!({"functions": {"a.*": "why"}, "cases": [
            {"cases": ["x/*"], "lictor": "refused", "why": "w"}, {"cases": ["y/1"], "lictor": "value", "why": "w"},
        ]});
        let mut deviations = Deviations::read(&file).expect("deviations");
        let refused = |message: &str| json!({"refused": message});
        assert!(deviations.lists("z", &refused("text: expected a function that there is, found a.b")));
        assert!(!deviations.lists("z", &refused("text: expected a function that there is, found b.b")));
        assert!(deviations.lists("x/2", &refused("no")) && !deviations.lists("x/2", &json!({"undefined": true})));
        assert!(deviations.all_seen().is_err(), "y/1 was not seen");
        assert!(deviations.lists("y/1", &json!({"value": 1})) && deviations.all_seen().is_ok());
        assert_eq!(deviations.seen(), 3);
        let vague = json!({"functions": {}, "cases": [{"cases": ["x/*"], "lictor": "value", "why": "w"}]});
        assert!(Deviations::read(&vague).is_err(), "a wider answer is named in full");
    }

    #[test]
    fn numbers_are_equal_by_value_and_errors_by_kind() {
        assert!(same(&json!({"value": {"a": [1]}}), &json!({"value": {"a": [1.0]}})));
        assert!(!same(&json!({"value": [1]}), &json!({"value": [1, 2]})));
        assert!(!same(&json!({"value": {"a": 1}}), &json!({"value": {"b": 1}})));
        assert!(same(&json!({"failed": "x"}), &json!({"failed": "y"})));
        assert!(!same(&json!({"undefined": true}), &json!({"value": false})));
    }
}
