//! The SPIFFE specifications as cases: `tests/vectors/*.json`, each case with the clause that it is about.
//!
//! The files describe identities, certificates, bundles and tokens; nothing in them is encoded. Certificates and tokens
//! are made here from their descriptions, by an encoder of the test's own, so that wrong ones can be made as well.

mod bundles;
mod certificate;
mod der;
mod ids;
mod issued;
mod keys;
mod rubbish;
mod tokens;
mod x509;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::fmt::Debug;
use time::{Duration, OffsetDateTime};

/// The moment of every case, and what its seconds are counted from.
const NOW: i64 = 1_800_000_000;

const DOMAIN: &str = "td.example";

/// A file of cases; what a proper certificate or token looks like stands before them.
struct Vectors {
    file: &'static str,
    whole: Map<String, Value>,
}

impl Vectors {
    fn read(file: &'static str) -> Self {
        let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        let whole = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
        Self { file, whole }
    }

    /// The member that describes what is proper.
    fn proper(&self, name: &str) -> Map<String, Value> {
        self.whole.get(name).and_then(Value::as_object).cloned().unwrap_or_else(|| panic!("{}: no {name}", self.file))
    }

    /// Runs every case, prints how many there were, and fails with all that went another way than they say.
    fn run<C: DeserializeOwned>(&self, check: impl Fn(&C) -> Result<(), String>) {
        let cases = self.whole.get("cases").and_then(Value::as_array).expect("cases");
        let mut wrong = Vec::new();
        for case in cases {
            let text = |name: &str| case.get(name).and_then(Value::as_str).unwrap_or_default();
            let name = format!("{}: {} ({})", self.file, text("case"), text("clause"));
            assert!(!text("clause").is_empty(), "{name}: a case cites its clause");
            let mut members = case.as_object().cloned().expect("an object");
            members.retain(|name, _| name != "case" && name != "clause");
            match serde_json::from_value(Value::Object(members)) {
                Ok(case) => wrong.extend(check(&case).err().map(|seen| format!("{name}: {seen}"))),
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
        println!("{}: {} cases", self.file, cases.len());
        assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }
}

/// The proper description with a case's changes; `null` takes a member away.
fn but(mut proper: Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in changes {
        match value {
            Value::Null => proper.remove(name),
            other => proper.insert(name.clone(), other.clone()),
        };
    }
    proper
}

/// Compares what was found with what a case says: a value, or the beginning of the error's name.
fn compare<T: Debug + PartialEq, E: Debug>(
    seen: Result<T, E>,
    wanted: Option<T>,
    refused: Option<&str>,
) -> Result<(), String> {
    match (seen, wanted, refused) {
        (Ok(seen), Some(wanted), None) if seen == wanted => Ok(()),
        (Err(error), None, Some(name)) if is_called(&error, name) => Ok(()),
        (seen, Some(wanted), None) => Err(format!("expected {wanted:?}, saw {seen:?}")),
        (seen, None, Some(name)) => Err(format!("expected {name}, saw {seen:?}")),
        _ => Err("expected a case to say either what holds or what is refused".to_owned()),
    }
}

/// Whether an error's debug text begins with these words.
fn is_called(error: &impl Debug, name: &str) -> bool {
    let text = format!("{error:?}");
    text.strip_prefix(name).is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric()))
}

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(NOW).expect("a time")
}

/// So many seconds after the moment of the cases.
fn at(seconds: i64) -> rustls_pki_types::UnixTime {
    lictor_pki::unix_time(now() + Duration::seconds(seconds))
}
