//! A template.

use crate::data::Data;
use crate::error::{RenderError, TemplateError, Wrong};
use crate::eval::render;
use crate::tree::{Node, parse};
use std::fmt;
use std::sync::Arc;

/// Longer texts are refused; an identity has at most 2048 bytes.
const LONGEST: usize = 16 << 10;

/// A template that was read; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Template {
    text: Arc<str>,
    nodes: Arc<[Node]>,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is no template, and every part of the language that is not known here, at its place.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > LONGEST {
            let found = format!("{}", text.len());
            return Err(Wrong::new(0, format!("a template of at most {LONGEST} bytes"), found).in_text(text));
        }
        let nodes = parse(text).map_err(|wrong| wrong.in_text(text))?;
        Ok(Self { text: Arc::from(text), nodes: nodes.into() })
    }

    /// The text for a pod.
    ///
    /// # Errors
    /// Values that a function does not take, where Go's `Execute` has an error as well; and the few texts that are not known
    /// to be Go's, such as a whole map's.
    pub fn render(&self, data: &Data<'_>) -> Result<String, RenderError> {
        let mut out = String::with_capacity(self.text.len());
        render(&self.nodes, data, &mut out)?;
        Ok(out)
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}
