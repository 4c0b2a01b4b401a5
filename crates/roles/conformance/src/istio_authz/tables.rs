//! The parts that are one table each: `cases.json`.

use crate::report::SuiteReport;
use lictor_authz::{AmbientStatus, merge as merge_policies, mode_word};
use lictor_manifest::{IstioKind, Meta, MtlsMode, Origin, PeerAuthentication, schema_problems, webhook_problems};
use lictor_model::{Labels, Name, Selector};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// The cases of a table, each given to `run`.
fn each<T: DeserializeOwned>(folder: &Path, report: &mut SuiteReport, run: impl Fn(T, &mut SuiteReport)) {
    #[derive(Deserialize)]
    struct Table<T> {
        cases: Vec<T>,
    }
    let file = folder.join("cases.json");
    let table = std::fs::read(&file).map_err(|error| error.to_string());
    match table.and_then(|text| serde_json::from_slice::<Table<T>>(&text).map_err(|error| error.to_string())) {
        Ok(table) => table.cases.into_iter().for_each(|case| run(case, report)),
        Err(why) => report.broken(file.display(), why),
    }
}

#[derive(Deserialize)]
struct MergeCase {
    case: String,
    root_namespace: String,
    configs: Vec<MergeConfig>,
    want: Value,
}

#[derive(Deserialize)]
struct MergeConfig {
    name: String,
    namespace: String,
    creation_offset_s: i64,
    spec: Value,
}

/// `peerauthn-merge`: a list of PeerAuthentications to one mode and those of single ports.
pub(super) fn merge(folder: &Path, report: &mut SuiteReport) {
    each(folder, report, |case: MergeCase, report| {
        let policies: Result<Vec<_>, _> = case.configs.iter().map(MergeConfig::policy).collect();
        let policies = match policies {
            Ok(policies) => policies,
            Err(why) => return report.broken(case.case, why),
        };
        let merged = merge_policies(&policies, &case.root_namespace);
        let ports = merged.ports.iter().map(|(port, (mode, _))| (port.to_string(), json!(mode_word(*mode))));
        let got = json!({"mode": mode_word(merged.mode), "per_port": Value::Object(ports.collect())});
        report.check(case.case, case.want, got);
    });
}

impl MergeConfig {
    /// The policy. It is not read as a manifest: the names of the table are no names that Kubernetes takes.
    fn policy(&self) -> Result<PeerAuthentication, String> {
        let mode = |value: &Value| match value.get("mode").and_then(Value::as_str).unwrap_or("UNSET") {
            "UNSET" => Ok(MtlsMode::Unset),
            "DISABLE" => Ok(MtlsMode::Disable),
            "PERMISSIVE" => Ok(MtlsMode::Permissive),
            "STRICT" => Ok(MtlsMode::Strict),
            other => Err(format!("expected a mode, found `{other}`")),
        };
        let map = |value: Option<&Value>| value.and_then(Value::as_object).cloned().unwrap_or_default();
        let selector = self.spec.get("selector").map(|selector| {
            let labels = map(selector.get("matchLabels"));
            let pairs = labels.iter().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)));
            Selector::equal_to(&pairs.collect::<Labels>())
        });
        let mut ports = BTreeMap::new();
        for (port, value) in map(self.spec.get("portLevelMtls")) {
            ports.insert(port.parse::<u16>().map_err(|error| format!("{port}: {error}"))?, mode(&value)?);
        }
        let meta = Meta {
            name: Name::new(self.namespace.as_str(), self.name.as_str()),
            labels: Labels::default(),
            annotations: BTreeMap::new(),
            created: Some(OffsetDateTime::UNIX_EPOCH + Duration::seconds(self.creation_offset_s)),
            uid: None,
            origin: Origin::none(),
        };
        Ok(PeerAuthentication { meta, selector, mode: mode(self.spec.get("mtls").unwrap_or(&Value::Null))?, ports })
    }
}

#[derive(Deserialize)]
struct StatusCase {
    case: String,
    spec: Value,
    status: Option<Value>,
    #[serde(default)]
    effective_rules: Option<bool>,
}

/// `ambient-status`: a policy to the status message that Istio's ambient mode gives it.
pub(super) fn ambient_status(folder: &Path, report: &mut SuiteReport) {
    each(folder, report, |case: StatusCase, report| {
        let got = AmbientStatus::of(&case.spec);
        let message = got.message.map(|message| json!({"reason": "UnsupportedValue", "message": message}));
        let effective = case.effective_rules.map(|_| got.effective_rules);
        let told = |status: &Option<Value>, effective| format!("{} {effective:?}", json!(status));
        report.check(case.case, told(&case.status, case.effective_rules), told(&message, effective));
    });
}

#[derive(Deserialize)]
struct ValidationCase {
    case: String,
    kind: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    spec: Value,
    valid: bool,
    warning: bool,
}

/// `validation`: what the webhook takes, and where it warns.
pub(super) fn validation(folder: &Path, report: &mut SuiteReport) {
    each(folder, report, |case: ValidationCase, report| {
        let Some(kind) = kind(&case.kind) else { return report.broken(case.case, format!("no kind `{}`", case.kind)) };
        let problems = webhook_problems(kind, &case.annotations, &case.spec);
        let valid = problems.iter().all(|problem| problem.warning);
        let warning = problems.iter().any(|problem| problem.warning);
        let told = |valid, warning| format!("valid: {valid}, warning: {warning}");
        let (wanted, got) = (told(case.valid, case.warning), told(valid, warning));
        if wanted == got {
            report.check(case.case, &wanted, got)
        } else {
            report.check(case.case, wanted, format!("{got}: {problems:?}"))
        }
    });
}

#[derive(Deserialize)]
struct SchemaCase {
    case: String,
    valid: bool,
    error_contains: Option<String>,
    object: Value,
}

/// `crd-validation`: what the schemas take, and what they say where they do not.
pub(super) fn schema(folder: &Path, report: &mut SuiteReport) {
    each(folder, report, |case: SchemaCase, report| {
        let name = case.object.get("kind").and_then(Value::as_str).unwrap_or_default();
        let Some(kind) = kind(name) else { return report.broken(case.case, format!("no kind `{name}`")) };
        let problems = schema_problems(kind, case.object.get("spec").unwrap_or(&json!({})));
        let said = problems.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ");
        let wanted = match (&case.error_contains, case.valid) {
            (_, true) => "nothing".to_owned(),
            (Some(part), false) => format!("`{part}`"),
            (None, false) => "an error".to_owned(),
        };
        let meets = match case.error_contains {
            _ if case.valid => problems.is_empty(),
            Some(part) => said.contains(&part),
            None => !problems.is_empty(),
        };
        let got = if meets { wanted.clone() } else { format!("`{said}`") };
        report.check(case.case, wanted, got);
    });
}

fn kind(name: &str) -> Option<IstioKind> {
    match name {
        "AuthorizationPolicy" => Some(IstioKind::AuthorizationPolicy),
        "PeerAuthentication" => Some(IstioKind::PeerAuthentication),
        "RequestAuthentication" => Some(IstioKind::RequestAuthentication),
        _ => None,
    }
}
