//! From a text to objects and findings.

use crate::Object;
use crate::fields::{Context, Field, brief, either, nearest};
use crate::finding::{Code, Finding};
use crate::origin::Position;
use crate::registry::{Kind, Known, Typed, decode_object};
use crate::validate_istio;
use crate::yaml::{Data, Loader, Node, Problem, Spot};
use std::sync::Arc;

/// What a text held.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// The objects without an error, in the order of the text.
    pub objects: Vec<Object>,
    /// What is wrong or worth knowing, in the order of the text. An object with an error is not among the objects.
    pub findings: Vec<Finding>,
}

impl Reading {
    /// Whether anything in the text is refused.
    pub fn has_errors(&self) -> bool {
        self.findings.iter().any(Finding::is_error)
    }
}

/// The most findings that one text gives.
const MAX_FINDINGS: usize = 1000;
/// How deep `List` kinds may stand in each other.
const MAX_LISTS: usize = 8;

/// Reads a YAML or JSON stream; objects of namespaced kinds that name no namespace are in `default`.
///
/// `file` is how findings and origins name the text. Empty documents are passed over, `List` kinds are taken apart.
pub fn read(file: &str, text: &str) -> Reading {
    read_in(file, text, "default")
}

/// Reads like [`read`], with another namespace for objects that name none.
pub fn read_in(file: &str, text: &str, default_namespace: &str) -> Reading {
    Reader { file: Arc::from(file), default_namespace, asks_istio: true, reading: Reading::default() }.read(text)
}

/// Reads like [`read`] what has been let in elsewhere: Istio's webhook is not asked again about its policies.
///
/// Only their meaning counts then. A DENY policy without rules, which the webhook refuses for never denying, is one
/// that never denies.
pub fn read_admitted(file: &str, text: &str) -> Reading {
    let default_namespace = "default";
    Reader { file: Arc::from(file), default_namespace, asks_istio: false, reading: Reading::default() }.read(text)
}

struct Reader<'r> {
    file: Arc<str>,
    default_namespace: &'r str,
    asks_istio: bool,
    reading: Reading,
}

impl Reader<'_> {
    fn read(mut self, text: &str) -> Reading {
        for document in Loader::new(text) {
            match document {
                Ok(node) if node.is_null() => {}
                Ok(node) => self.document(&node, 0),
                Err(located) => self.refuse(&located.problem, located.spot),
            }
        }
        self.reading
    }

    fn finding(&mut self, finding: Finding) {
        let findings = &mut self.reading.findings;
        // An error is never lost: whoever asks whether there was one must get the truth.
        if findings.len() < MAX_FINDINGS || (finding.is_error() && !findings.iter().any(Finding::is_error)) {
            findings.push(finding);
        } else if findings.len() == MAX_FINDINGS {
            let message = format!("more than {MAX_FINDINGS} findings; the others are not shown");
            findings.push(Finding::new(Code::MoreFindings, Position::of_file(Arc::clone(&self.file)), message));
        }
    }

    fn report(&mut self, code: Code, spot: Spot, message: impl Into<String>, hint: Option<String>) {
        let Spot { line, column } = spot;
        let position = Position { file: Arc::clone(&self.file), line, column };
        self.finding(Finding { hint, ..Finding::new(code, position, message) });
    }

    fn refuse(&mut self, problem: &Problem, spot: Spot) {
        let (code, hint) = match problem {
            Problem::Syntax(_) => (Code::YamlSyntax, Some("nothing after this place was read".to_owned())),
            Problem::DuplicateKey { first, .. } => {
                (Code::DuplicateKey, Some(format!("it stands first at line {}, column {}", first.line, first.column)))
            }
            Problem::ComplexKey | Problem::Unrepresentable(_) | Problem::Merge => (Code::YamlValue, None),
            Problem::TooLarge | Problem::TooDeep => (Code::TooLarge, None),
        };
        self.report(code, spot, problem.to_string(), hint);
    }

    fn document(&mut self, node: &Node, lists: usize) {
        let Some(typed) = self.type_of(node) else { return };
        if let Some(items) = list_items(&typed, node) {
            return self.list(&typed, items, lists);
        }
        self.object(node, &typed);
    }

    fn object(&mut self, node: &Node, typed: &Typed<'_>) {
        let place = |key| node.get(key).map_or(node.spot, |value| value.spot);
        let (version, name) = (brief(typed.api_version), brief(typed.kind));
        let kind = match typed.known() {
            Known::Kind(kind) => kind,
            Known::Version(wanted) => {
                let message = format!("`apiVersion`: expected {wanted} for the kind {name}, found `{version}`");
                return self.report(Code::UnknownVersion, place("apiVersion"), message, None);
            }
            Known::NotOfGroup(kinds) => {
                let message = format!("`kind`: expected {} in {version}, found `{name}`", either(kinds));
                let hint = nearest(typed.kind, kinds.iter().copied()).map(|kind| format!("did you mean `{kind}`?"));
                return self.report(Code::UnknownKind, place("kind"), message, hint);
            }
        };
        let context = Context::new(&self.file, kind.is_strict(), kind == Kind::Secret);
        let object = decode_object(&Field::document(&context, node), kind, typed, self.default_namespace);
        let findings = context.into_findings();
        let refused = findings.iter().any(Finding::is_error);
        findings.into_iter().for_each(|finding| self.finding(finding));
        let Some(object) = object.filter(|_| !refused) else { return };
        let istio = kind.of_istio().filter(|_| self.asks_istio);
        let objections = istio.map_or_else(Vec::new, |kind| validate_istio::findings(kind, object.meta(), node));
        let refused = objections.iter().any(Finding::is_error);
        objections.into_iter().for_each(|finding| self.finding(finding));
        if refused {
            return;
        }
        // Where the outside comes in is read for lists of who may talk to whom; nothing is enforced there.
        if matches!(kind, Kind::Other | Kind::Ingress | Kind::Route) {
            let message = format!("{name} {} ({version}) is read, not acted on", object.meta().name);
            self.report(Code::NotActedOn, node.spot, message, None);
        }
        self.reading.objects.push(object);
    }

    /// The items of a list. Those of a typed one (`PodList`) need not say again what they are.
    fn list(&mut self, list: &Typed<'_>, items: &Node, lists: usize) {
        let kind = list.kind.strip_suffix("List").filter(|kind| !kind.is_empty());
        match &items.data {
            Data::List(items) if lists < MAX_LISTS => {
                for item in items.iter().filter(|item| !item.is_null()) {
                    match kind.filter(|_| item.get("kind").is_none() && item.get("apiVersion").is_none()) {
                        Some(kind) => self.object(item, &Typed { api_version: list.api_version, kind }),
                        None => self.document(item, lists + 1),
                    }
                }
            }
            Data::List(_) => {
                let message = format!("expected at most {MAX_LISTS} lists within each other");
                self.report(Code::TooLarge, items.spot, message, None);
            }
            _ if items.is_null() => {}
            _ => self.report(Code::WrongType, items.spot, "`items`: expected a list", None),
        }
    }

    /// What an object says it is.
    fn type_of<'n>(&mut self, node: &'n Node) -> Option<Typed<'n>> {
        let (version, kind) = (node.get("apiVersion"), node.get("kind"));
        let text = |node: Option<&'n Node>| node.and_then(Node::as_str).filter(|text| !text.is_empty());
        if let (Some(api_version), Some(kind)) = (text(version), text(kind)) {
            return Some(Typed { api_version, kind });
        }
        if version.is_none() && kind.is_none() {
            let message = "expected a Kubernetes object with `apiVersion` and `kind`, found neither; it is passed over";
            self.report(Code::NotAnObject, node.spot, message, None);
            return None;
        }
        for (key, value) in [("apiVersion", version), ("kind", kind)] {
            match value {
                None => {
                    self.report(Code::MissingKind, node.spot, format!("the required field `{key}` is missing"), None)
                }
                Some(value) if text(Some(value)).is_none() => {
                    self.report(Code::MissingKind, value.spot, format!("`{key}`: expected a text"), None);
                }
                Some(_) => {}
            }
        }
        None
    }
}

/// The kinds that Istio has more to say about than their syntax.
/// The items of a `v1` List, or of any kind that ends in `List` and has them.
fn list_items<'n>(typed: &Typed<'_>, node: &'n Node) -> Option<&'n Node> {
    typed.kind.ends_with("List").then(|| node.get("items")).flatten()
}

#[cfg(test)]
mod tests;
