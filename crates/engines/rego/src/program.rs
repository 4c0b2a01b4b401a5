//! The policies of every namespace.

use crate::module::{EXTENSION, Module};
use crate::policy::Policy;
use lictor_manifest::{Code, Finding, Stored};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Names the rule that is asked, with slashes: the path of OPA's Envoy plugin.
pub const PATH_ANNOTATION: &str = "lictor.dev/rego-path";

/// Says which version of the language a ConfigMap's texts are in: `v1`, which they are without it, or `v0`.
pub const VERSION_ANNOTATION: &str = "lictor.dev/rego-version";

/// What is asked where nothing else is said, as in OPA's Envoy plugin.
const DEFAULT_PATH: &str = "envoy/authz/allow";

/// The compiled policies of a cluster, by namespace.
#[derive(Debug, Clone, Default)]
pub struct Program {
    namespaces: BTreeMap<Arc<str>, Compiled>,
}

#[derive(Debug, Clone)]
struct Compiled {
    configs: Vec<Arc<Stored>>,
    policy: Arc<Policy>,
}

impl Program {
    /// Compiles the ConfigMaps with policies; those of a namespace are one set. What `before` has of an unchanged namespace is
    /// taken over.
    ///
    /// # Errors
    /// Everything that is wrong, with its place: one finding at least for each namespace that does not compile.
    pub fn compile<'c>(
        configs: impl IntoIterator<Item = &'c Arc<Stored>>,
        before: &Self,
    ) -> Result<Self, Vec<Finding>> {
        let mut namespaces: BTreeMap<Arc<str>, Vec<Arc<Stored>>> = BTreeMap::new();
        for config in configs {
            namespaces.entry(config.meta.name.namespace.clone()).or_default().push(Arc::clone(config));
        }
        let (mut compiled, mut findings) = (BTreeMap::new(), Vec::new());
        for (namespace, mut configs) in namespaces {
            configs.sort_by(|a, b| a.meta.name.cmp(&b.meta.name));
            let known = before.namespaces.get(&namespace).filter(|known| known.configs == configs);
            let policy = known.map_or_else(|| compile(&configs).map(Arc::new), |known| Ok(Arc::clone(&known.policy)));
            match policy {
                Ok(policy) => drop(compiled.insert(namespace, Compiled { configs, policy })),
                Err(found) => findings.extend(found),
            }
        }
        if findings.is_empty() { Ok(Self { namespaces: compiled }) } else { Err(findings) }
    }

    /// The policy that judges what the pods of a namespace ask.
    pub fn policy(&self, namespace: &str) -> Option<&Arc<Policy>> {
        self.namespaces.get(namespace).map(|compiled| &compiled.policy)
    }
}

fn compile(configs: &[Arc<Stored>]) -> Result<Policy, Vec<Finding>> {
    let mut findings = Vec::new();
    let (mut modules, mut path) = (Vec::new(), None);
    for config in configs {
        match read(config) {
            Ok(read) => modules.extend(read),
            Err(found) => findings.extend(found),
        }
        let Some(said) = config.meta.annotations.get(PATH_ANNOTATION) else { continue };
        let field = format!("metadata.annotations[{PATH_ANNOTATION}]");
        let wrong = |message| Finding::new(Code::InvalidRego, config.meta.origin.position(&field), message);
        match (rule(said), &path) {
            (None, _) => findings.push(wrong(format!(
                "`{field}`: expected a package and a rule with slashes, such as {DEFAULT_PATH}, found `{said}`"
            ))),
            (Some(rule), Some(other)) if rule != *other => findings.push(wrong(format!(
                "`{field}`: expected one rule to be asked in a namespace, found {rule} here and {other} in another ConfigMap"
            ))),
            (Some(rule), _) => path = Some(rule),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    let path = path.or_else(|| rule(DEFAULT_PATH)).unwrap_or_default();
    Policy::compile(&modules, &path).map_err(|refusal| {
        let module = modules.get(refusal.module).or(modules.first());
        module.map(|module| module.finding(&refusal)).into_iter().collect()
    })
}

/// The modules of a ConfigMap, in the order of their keys.
fn read(config: &Arc<Stored>) -> Result<Vec<Module>, Vec<Finding>> {
    let finding = |field: &str, message: String| {
        Finding::new(Code::InvalidRego, config.meta.origin.position(field), format!("`{field}`: {message}"))
    };
    let mut findings = Vec::new();
    let v0 = match config.meta.annotations.get(VERSION_ANNOTATION).map(String::as_str) {
        None | Some("v1") => false,
        Some("v0") => true,
        Some(other) => {
            let field = format!("metadata.annotations[{VERSION_ANNOTATION}]");
            findings.push(finding(&field, format!("expected v0 or v1, found `{other}`")));
            false
        }
    };
    let mut modules = Vec::new();
    for (key, text) in &config.data {
        let path = format!("data[{key}]");
        match std::str::from_utf8(text) {
            _ if !key.ends_with(EXTENSION) => {
                findings
                    .push(finding(&path, format!("expected the name of a text of Rego, which ends with {EXTENSION}")));
            }
            Ok(text) => modules.push(Module { config: Arc::clone(config), path, text: text.to_owned(), v0 }),
            Err(_) => findings.push(finding(&path, "expected a text, found bytes that are none".to_owned())),
        }
    }
    if config.data.is_empty() {
        findings.push(finding(
            "data",
            format!("expected a text of Rego, by a name that ends with {EXTENSION}, found none"),
        ));
    }
    if findings.is_empty() { Ok(modules) } else { Err(findings) }
}

/// `envoy/authz/allow` as `data.envoy.authz.allow`.
fn rule(path: &str) -> Option<String> {
    let is_word = |word: &&str| {
        word.bytes().enumerate().all(|(at, b)| b.is_ascii_alphabetic() || b == b'_' || (at > 0 && b.is_ascii_digit()))
    };
    let words: Vec<&str> = path.split('/').filter(|word| !word.is_empty()).collect();
    (words.len() >= 2 && words.iter().all(is_word)).then(|| format!("data.{}", words.join(".")))
}
