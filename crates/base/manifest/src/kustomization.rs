//! The one thing that lictor takes from a `kustomization.yaml`: the namespace of the files beside it.

use crate::decode::is_dns_label;
use crate::fields::{Context, Field};
use crate::finding::{Code, Finding};
use crate::yaml::{Data, Loader};
use std::sync::Arc;

/// What a `kustomization.yaml` says, as far as lictor takes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kustomization {
    /// The namespace of objects that name none.
    pub namespace: Option<Arc<str>>,
    /// What is wrong with it, and which of its fields would change objects and are not applied.
    pub findings: Vec<Finding>,
}

/// The fields that change nothing, or that are taken.
const TAKEN: [&str; 6] = ["apiVersion", "kind", "metadata", "namespace", "resources", "sortOptions"];

/// Reads a `kustomization.yaml`.
///
/// Source: kubectl.docs.kubernetes.io, "The Kustomization File". kustomize also moves objects that name another
/// namespace; lictor leaves those where they say that they are.
pub fn kustomization(file: &str, text: &str) -> Kustomization {
    let context = Context::new(&Arc::from(file), false, false);
    let mut namespace = None;
    for document in Loader::new(text) {
        let node = match document {
            Ok(node) => node,
            Err(located) => {
                context.report(Code::YamlSyntax, located.spot, located.problem.to_string(), None);
                break;
            }
        };
        let field = Field::document(&context, &node);
        let Data::Map(entries) = &node.data else {
            if !node.is_null() {
                field.wrong(Code::WrongType, "a mapping");
            }
            continue;
        };
        for (key, (spot, value)) in entries.iter() {
            let entry = Field { context: &context, node: value, spot: *spot, path: key.clone() };
            match key.as_str() {
                "namespace" => namespace = name(&entry),
                "resources" => entry.items().iter().for_each(elsewhere),
                taken if TAKEN.contains(&taken) => {}
                _ => {
                    entry.doubt(Code::NotActedOn, "is not applied; lictor takes only `namespace` from a kustomization")
                }
            }
        }
    }
    Kustomization { namespace, findings: context.into_findings() }
}

fn name(field: &Field<'_>) -> Option<Arc<str>> {
    let text = field.text()?;
    if is_dns_label(text) {
        return Some(Arc::from(text));
    }
    field.wrong(Code::InvalidName, "a namespace: at most 63 lower-case letters, digits and dashes");
    None
}

/// Reports a resource that does not lie below the kustomization's folder, and so is not read with it.
fn elsewhere(resource: &Field<'_>) {
    if resource.text().is_some_and(|text| text.starts_with("..") || text.starts_with('/') || text.contains("://")) {
        resource.doubt(Code::NotActedOn, "lies outside of this folder and is not read with it");
    }
}

#[cfg(test)]
mod tests {
    use super::kustomization;

    #[test]
    fn the_namespace_is_taken_and_what_is_not_applied_is_said() {
        let read = kustomization("k.yaml", "namespace: payments\nresources: [a.yaml, ../base]\nnamePrefix: x-\n");
        assert_eq!(read.namespace.as_deref(), Some("payments"));
        let told: Vec<String> =
            read.findings.iter().map(|found| format!("{} {}", found.position, found.message)).collect();
        assert_eq!(
            told,
            [
                "k.yaml:2:21 `resources[1]`: lies outside of this folder and is not read with it",
                "k.yaml:3:13 `namePrefix`: is not applied; lictor takes only `namespace` from a kustomization",
            ]
        );
    }

    #[test]
    fn nonsense_is_found_and_gives_no_namespace() {
        for text in ["namespace: [a]", "namespace: A_b", "- a", "a: b: c"] {
            let read = kustomization("k.yaml", text);
            assert!(read.namespace.is_none() && read.findings.iter().any(crate::Finding::is_error), "{text}");
        }
        assert!(kustomization("k.yaml", "").findings.is_empty());
    }
}
