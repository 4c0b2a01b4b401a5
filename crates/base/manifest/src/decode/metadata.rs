//! `metadata`.

use super::labels::labels;
use super::syntax::{is_dns_label, is_dns_subdomain};
use crate::fields::{Field, Record, brief};
use crate::finding::Code;
use crate::{Meta, Origin, Owner};
use lictor_model::{Labels, Name};
use std::collections::BTreeMap;
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Where a kind lives, and how its name is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// A cluster-scoped kind whose name is a DNS label: Namespace.
    ClusterLabel,
    /// A cluster-scoped kind whose name is a DNS subdomain.
    Cluster,
    /// A namespaced kind whose name is a DNS subdomain.
    Namespaced,
    /// A namespaced kind whose name is a DNS label: Service.
    NamespacedLabel,
    /// A kind that is not acted on: it lives in the namespace that it names, and its name is its own affair.
    Unknown,
}

/// What `metadata` says.
pub(crate) struct Metadata {
    pub(crate) meta: Meta,
    /// The controller in `ownerReferences`, else the first owner.
    pub(crate) owner: Option<Owner>,
}

/// Reads the `metadata` of an object.
pub(crate) fn metadata(object: &Field<'_>, scope: Scope, default_namespace: &str) -> Option<Metadata> {
    let origin = Arc::new(Origin::document(Arc::clone(&object.context.file), object.node.clone()));
    // The object's other fields are its kind's to know.
    let field = object.record(|record| {
        record.accept_rest();
        record.need("metadata")
    });
    field.flatten()?.attempt(|record| {
        let name = name(record, scope, object)?;
        let asked = record.get("namespace").and_then(|field| {
            let text = field.text()?;
            if !is_dns_label(text) && !text.is_empty() {
                field.wrong(Code::InvalidName, "a namespace: at most 63 lower-case letters, digits and dashes");
            }
            Some(text).filter(|text| !text.is_empty())
        });
        let namespace = match scope {
            Scope::ClusterLabel | Scope::Cluster => "",
            Scope::Namespaced | Scope::NamespacedLabel => asked.unwrap_or(default_namespace),
            Scope::Unknown => asked.unwrap_or(""),
        };
        let (labels, annotations) = labels_and_annotations(record);
        let created = record.get("creationTimestamp").and_then(|field| {
            let time = OffsetDateTime::parse(field.text()?, &Rfc3339).ok();
            if time.is_none() {
                field.wrong(Code::InvalidValue, "a time such as 2026-01-31T12:00:00Z");
            }
            time
        });
        let uid = record.text("uid").filter(|uid| !uid.is_empty()).map(Arc::from);
        let owner = owner(record);
        let name = Name::new(namespace, name);
        Some(Metadata { meta: Meta { name, labels, annotations, created, uid, origin }, owner })
    })
}

fn name(record: &mut Record<'_>, scope: Scope, object: &Field<'_>) -> Option<String> {
    let generated = record.get("generateName");
    let Some(field) = record.get("name") else {
        let Some(prefix) = generated.and_then(|field| field.text()) else {
            record.field.report(Code::MissingField, "the required field `name` is missing");
            return None;
        };
        return Some(format!("{prefix}{}", suffix(object)));
    };
    let name = field.text()?;
    let (valid, wanted) = match scope {
        Scope::ClusterLabel | Scope::NamespacedLabel => {
            (is_dns_label(name), "a DNS label: at most 63 lower-case letters, digits and dashes")
        }
        Scope::Namespaced | Scope::Cluster => {
            (is_dns_subdomain(name), "a DNS subdomain: at most 253 lower-case letters, digits, dashes and dots")
        }
        Scope::Unknown => (!name.is_empty(), "a name"),
    };
    if !valid {
        field.report(Code::InvalidName, format!("expected {wanted}, found `{}`", brief(name)));
    }
    valid.then(|| name.to_owned())
}

/// Five characters made of where the object stands, in place of the API server's random ones: two readings of a file
/// give the same name, two objects of a file different ones.
fn suffix(object: &Field<'_>) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let place = format!("{}:{}:{}", object.context.file, object.node.spot.line, object.node.spot.column);
    let mut hash = place.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3) // FNV-1a
    });
    let mut letter = || {
        let at = usize::try_from(hash % ALPHABET.len() as u64).unwrap_or(0);
        hash /= ALPHABET.len() as u64;
        ALPHABET.get(at).copied().map_or('x', char::from)
    };
    (0..5).map(|_| letter()).collect()
}

/// The labels and annotations of an object or of a pod template; the rest of its metadata is accepted.
pub(crate) fn labels_and_annotations(record: &mut Record<'_>) -> (Labels, BTreeMap<String, String>) {
    record.accept(&[
        "name",
        "namespace",
        "generateName",
        "creationTimestamp",
        "ownerReferences",
        "uid",
        "resourceVersion",
        "generation",
        "selfLink",
        "managedFields",
        "finalizers",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "clusterName",
        "initializers",
    ]);
    let labels = record.get("labels").map(|field| labels(&field)).unwrap_or_default();
    (labels, record.get("annotations").map(|field| field.text_map()).unwrap_or_default())
}

fn owner(record: &mut Record<'_>) -> Option<Owner> {
    let owners: Vec<_> = record
        .items("ownerReferences")
        .iter()
        .filter_map(|field| {
            field.attempt(|record| {
                record.accept(&["apiVersion", "blockOwnerDeletion"]);
                let uid = record.text("uid").filter(|uid| !uid.is_empty()).map(Arc::from);
                let controller = record.flag("controller");
                let (kind, name) = (record.text("kind"), record.text("name"));
                if kind.is_none() || name.is_none() {
                    record.field.doubt(Code::MissingField, "expected the owner's `kind` and `name`");
                }
                let (kind, name) = (kind.unwrap_or(""), name?);
                Some((controller, Owner { kind: Arc::from(kind), name: Arc::from(name), uid }))
            })
        })
        .collect();
    let controller = owners.iter().find(|(controller, _)| *controller).or(owners.first());
    controller.map(|(_, owner)| owner.clone())
}
