//! From a field path to file, line and column.

use crate::yaml::{Data, Node, Spot};
use serde::Serialize;
use std::fmt;
use std::sync::Arc;

/// A place in a file; line and column count from one, and are 0 where there is no file to point into.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
pub struct Position {
    /// The file as it was named to [`read`](crate::read); empty when nothing is known.
    pub file: Arc<str>,
    /// The line; 0 when only the file is known.
    pub line: u32,
    /// The column, in characters; 0 when only the file is known.
    pub column: u32,
}

impl Position {
    /// A whole file, without a line.
    pub fn of_file(file: impl Into<Arc<str>>) -> Self {
        Self { file: file.into(), line: 0, column: 0 }
    }
}

impl fmt::Display for Position {
    /// `file:line:column`, the file alone when there is no line, `-` when there is no file.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&*self.file, self.line) {
            ("", 0) => f.write_str("-"),
            (file, 0) => f.write_str(file),
            (file, line) => write!(f, "{file}:{line}:{}", self.column),
        }
    }
}

/// Where an object was read: the file, and the place of every field of its document.
///
/// `Debug` names the place only: a Secret's values never reach a log by way of its origin.
#[derive(Clone)]
pub struct Origin {
    file: Arc<str>,
    document: Option<Node>,
}

impl Origin {
    /// The origin of an object that was read from nowhere.
    pub fn none() -> Arc<Self> {
        Arc::new(Self { file: Arc::from(""), document: None })
    }

    /// The origin of an object that the program brings along; `what` says which part of it.
    pub fn built_in(what: &str) -> Arc<Self> {
        Arc::new(Self { file: Arc::from(format!("built-in {what}")), document: None })
    }

    pub(crate) fn document(file: Arc<str>, document: Node) -> Self {
        Self { file, document: Some(document) }
    }

    /// The file as it was named to [`read`](crate::read); empty for an object that was read from nowhere.
    pub fn file(&self) -> &Arc<str> {
        &self.file
    }

    /// The place of a line and column, both counted from one, of the text that stands at a field path.
    ///
    /// In a literal block (`|`) it is the line of the file; a text of another form is one place.
    pub fn position_in(&self, path: &str, line: u32, column: u32) -> Position {
        let Some(document) = &self.document else { return self.position(path) };
        let (_, node) = self.found(document, path);
        let Spot { line: first, column: indent } = node.spot;
        let mut position = Position { file: Arc::clone(&self.file), line: first, column: indent };
        if let Some(text) = node.as_str().filter(|_| node.literal) {
            // The block's place is its first line that is not empty.
            let empty = u32::try_from(text.bytes().take_while(|byte| *byte == b'\n').count()).unwrap_or(0);
            position.line = first.saturating_sub(empty).saturating_add(line.saturating_sub(1));
            position.column = indent.saturating_add(column.saturating_sub(1));
        }
        position
    }

    /// The place of a field path such as `spec.ingress[0].from[1]`.
    ///
    /// A mapping's entry is found at its key, a list's item at its start. A key with dots stands in brackets:
    /// `metadata.annotations[lictor.dev/enroll]`. A path that the document does not have is found at its nearest
    /// ancestor that it has; the empty path is the document's first line.
    pub fn position(&self, path: &str) -> Position {
        let Some(document) = &self.document else { return Position::of_file(Arc::clone(&self.file)) };
        let (Spot { line, column }, _) = self.found(document, path);
        Position { file: Arc::clone(&self.file), line, column }
    }

    /// What a field path names, or its nearest ancestor, and where that is named.
    fn found<'n>(&self, document: &'n Node, path: &str) -> (Spot, &'n Node) {
        let mut here = (document.spot, document);
        for step in steps(path) {
            let next = match &here.1.data {
                Data::Map(entries) => entries.get(step).map(|(spot, value)| (*spot, value)),
                Data::List(items) => {
                    step.parse().ok().and_then(|at: usize| items.get(at)).map(|item| (item.spot, item))
                }
                Data::Scalar(_) => None,
            };
            let Some(next) = next else { break };
            here = next;
        }
        here
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({})", self.position(""))
    }
}

/// The keys and indices of a field path; an empty one ends it.
fn steps(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        let (step, after) = match rest.strip_prefix('[') {
            Some(bracket) => bracket.split_once(']').unwrap_or((bracket, "")),
            None => rest.split_at(rest.find(['.', '[']).unwrap_or(rest.len())),
        };
        rest = after;
        (!step.is_empty()).then_some(step)
    })
}

/// `path.key`, or `path[key]` for a key that a path could not tell from several.
pub(crate) fn child(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && !key.contains(['.', '[', ']', '/', '"', ' ']);
    match (path.is_empty(), plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{key}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::Origin;
    use crate::yaml::Loader;
    use std::sync::Arc;

    const POLICY: &str = "# a comment
metadata:
  name: p
  annotations: {lictor.dev/enroll: 'false'}
spec:
  ingress:
  - from:
    - podSelector: {}
    - namespaceSelector: {}
    ports: [{port: 80}]
";

    #[test]
    fn a_line_of_a_block_is_a_line_of_the_file() {
        let text = "data:\n  a: |\n    one\n      two\n  b: |-\n\n      three\n  c: \"four\\nfive\"\n  d: >\n    six\n    more\n  e.f: |\n    seven\n";
        let node = Loader::new(text).next().expect("a document").expect("it is YAML");
        let origin = Origin::document(Arc::from("c.yaml"), node);
        for (path, line, column, place) in [
            ("data.a", 1, 1, "c.yaml:3:5"),
            ("data.a", 2, 3, "c.yaml:4:7"),
            ("data.b", 2, 2, "c.yaml:7:8"),
            ("data.c", 2, 1, "c.yaml:8:6"),
            ("data.d", 2, 1, "c.yaml:10:5"),
            ("data[e.f]", 1, 2, "c.yaml:13:6"),
        ] {
            assert_eq!(origin.position_in(path, line, column).to_string(), place, "{path}");
        }
        assert_eq!(Origin::none().position_in("data.a", 2, 1).to_string(), "-");
    }

    #[test]
    fn a_path_is_found_at_its_nearest_ancestor() {
        let node = Loader::new(POLICY).next().expect("a document").expect("it is YAML");
        let origin = Origin::document(Arc::from("p.yaml"), node);
        for (path, place) in [
            ("", "p.yaml:2:1"),
            ("spec", "p.yaml:5:1"),
            ("spec.ingress[0]", "p.yaml:7:5"),
            ("spec.ingress[0].from[1]", "p.yaml:9:7"),
            ("spec.ingress[0].ports[0].port", "p.yaml:10:14"),
            ("metadata.annotations[lictor.dev/enroll]", "p.yaml:4:17"),
            ("spec.ingress[7].from", "p.yaml:6:3"),
            ("spec.egress[0]", "p.yaml:5:1"),
            ("..[", "p.yaml:2:1"),
            ("spec.ingress[0", "p.yaml:7:5"),
        ] {
            assert_eq!(origin.position(path).to_string(), place, "{path}");
        }
        assert_eq!(format!("{origin:?}"), "Origin(p.yaml:2:1)");
        assert_eq!(Origin::none().position("spec").to_string(), "-");
        assert_eq!(Origin::built_in("kube-dns").position("spec").to_string(), "built-in kube-dns");
    }
}
