//! Why a template is refused, and why one gives nothing for a pod.

/// A text that is no template of the part that is known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column} of the template: expected {expected}, found {found}")]
pub struct TemplateError {
    /// The line, from one.
    pub line: u32,
    /// The column, in characters, from one.
    pub column: u32,
    /// What was wanted.
    pub expected: String,
    /// What was seen.
    pub found: String,
}

/// A template that gives no text for a pod, as Go's gives none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// A comparison of kinds that cannot be compared.
    #[error("`{function}`: expected two values that can be compared, found {left} and {right}")]
    Comparison {
        /// The function's name.
        function: &'static str,
        /// What the first value is.
        left: &'static str,
        /// What the second one is.
        right: &'static str,
    },
    /// `index` of something else than labels or annotations, or by something else than a text.
    #[error("`index`: expected labels or annotations and a text, found {of} and {key}")]
    Index {
        /// What the first value is.
        of: &'static str,
        /// What the second one is.
        key: &'static str,
    },
    /// A value that has no text of its own here.
    #[error("expected a text, a number or a boolean to write, found {0}")]
    Print(&'static str),
    /// `%q` of something whose quoted form is not known here.
    #[error("`printf`: expected a text of printable ASCII characters for %q, found {0}")]
    Quote(&'static str),
    /// More than a template may give.
    #[error("expected at most {0} bytes to be rendered")]
    TooLong(usize),
}

/// A place in a template and what was wrong there; the template's text turns it into line and column.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) at: usize,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Wrong {
    pub(crate) fn new(at: usize, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { at, expected: expected.into(), found: found.into() }
    }

    pub(crate) fn in_text(self, text: &str) -> TemplateError {
        let before = text.get(..self.at).unwrap_or(text);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let line = before.rsplit('\n').next().unwrap_or_default();
        TemplateError {
            line: count(before.matches('\n').count() + 1),
            column: count(line.chars().count() + 1),
            expected: self.expected,
            found: self.found,
        }
    }
}
