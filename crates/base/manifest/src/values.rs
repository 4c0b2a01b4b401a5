//! YAML that holds no objects: a tool's own files, in the same dialect.

use crate::yaml::Loader;
use serde_json::Value;

/// A text that is not YAML, or has no JSON form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct InvalidYaml {
    /// The line, from one.
    pub line: u32,
    /// The column, from one.
    pub column: u32,
    /// What was wanted and what was seen.
    pub problem: String,
}

/// The documents of a YAML or JSON stream as JSON values; empty ones are passed over.
///
/// Scalars mean what they mean to Kubernetes, but for a bare `y` or `n`: most programs that write YAML do not quote
/// them, and mean the text.
pub fn values(text: &str) -> Result<Vec<Value>, InvalidYaml> {
    let mut values = Vec::new();
    for document in Loader::without_letters(text) {
        let node = document.map_err(|located| InvalidYaml {
            line: located.spot.line,
            column: located.spot.column,
            problem: located.problem.to_string(),
        })?;
        if !node.is_null() {
            values.push(node.to_json());
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::values;
    use serde_json::json;

    #[test]
    fn documents_become_json_and_a_mistake_has_its_place() {
        assert_eq!(values("a: [1, y]\n---\n---\nb: on\n"), Ok(vec![json!({"a": [1, "y"]}), json!({"b": true})]));
        let mistake = values("a: 1\na: 2\n").expect_err("a key stands twice");
        assert_eq!((mistake.line, mistake.column), (2, 1));
    }
}
