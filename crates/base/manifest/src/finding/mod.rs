//! What is wrong, or worth knowing, about an input.

mod codes;
mod render;

pub use codes::{Code, UnknownCode};
pub use render::render;

use crate::Position;
use serde::Serialize;
use std::fmt;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The input is refused.
    Error,
    /// The input does something that its writer hardly wants.
    Warning,
    /// Worth knowing.
    Note,
}

impl Level {
    /// The word that outputs use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that is wrong, or worth knowing, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Finding {
    /// Which thing; its page is `docs/codes/CODE.md`.
    pub code: Code,
    /// How much it matters; the code's own level unless the finder says otherwise.
    pub level: Level,
    /// One sentence: what was wanted and what was seen.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where.
    pub position: Position,
}

impl Finding {
    /// A finding of the code's own level, without a hint.
    pub fn new(code: Code, position: Position, message: impl Into<String>) -> Self {
        Self { code, level: code.level(), message: message.into(), hint: None, position }
    }

    /// The same finding, with a hint.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether the input is refused for it.
    pub fn is_error(&self) -> bool {
        self.level == Level::Error
    }
}

impl fmt::Display for Finding {
    /// `error LIC1001: file:3:1: message`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}: {}", self.level, self.code, self.position, self.message)
    }
}
