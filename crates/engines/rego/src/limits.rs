//! What a text may ask of the interpreter: its parser takes time that doubles with each bracket, and both it and the evaluation
//! take stack for each step of depth. Whoever may write a ConfigMap must not end the process by one.

use crate::module::Refusal;
use crate::walk;
use regorus::PolicyLengthConfig;
use regorus::unstable::Module;
use std::num::{NonZeroU32, NonZeroUsize};

/// Bytes of one text.
const MAX_TEXT: usize = 256 * 1024;

/// What the interpreter would hold a text to besides: a set of keys may stand in one line.
pub(crate) const LENGTH: PolicyLengthConfig = PolicyLengthConfig {
    max_col: NonZeroU32::new(MAX_TEXT as u32 + 1).expect("not zero"),
    max_file_bytes: NonZeroUsize::new(MAX_TEXT).expect("not zero"),
    max_lines: NonZeroUsize::new(MAX_TEXT + 1).expect("not zero"),
};

/// How deep `[` and `{` may stand in each other.
const MAX_BRACKETS: u32 = 16;

/// How deep `(` may stand in each other.
const MAX_PARENTHESES: u32 = 64;

/// What the parser's work is measured by: each byte counts twice as much as one that stands a bracket less deep. As much as
/// this takes some seconds at most; a plain text of the largest size stands far below.
const MAX_WORK: u64 = 1 << 22;

/// How many signs may follow each other.
const MAX_SIGNS: usize = 16;

/// How deep expressions may stand in each other.
const MAX_DEPTH: usize = 128;

/// The depths of all rules of a namespace together: a question goes through a rule once at a time, so it bounds the stack.
const MAX_DEPTHS: usize = 8192;

/// The stack that compiling and asking need within these limits, in bytes: eight times what was measured without
/// optimization. Only what is used of it takes memory.
pub const STACK: usize = 512 << 20;

/// Whether a text may be given to the parser.
pub(crate) fn text(text: &str) -> Result<(), Refusal> {
    let refused = |line, column, message: String| Err(Refusal { module: 0, line, column, message });
    if text.len() > MAX_TEXT {
        return refused(1, 1, format!("expected at most {MAX_TEXT} bytes, found {}", text.len()));
    }
    let (mut line, mut column) = (1, 0);
    let (mut brackets, mut parentheses, mut work, mut signs) = (0u32, 0u32, 0u64, 0);
    let mut within = Within::Code;
    for character in text.chars() {
        column += 1;
        let outside = within == Within::Code;
        within = within.after(character);
        match character {
            '\n' => (line, column) = (line + 1, 0),
            _ if !outside => {}
            '[' | '{' => brackets += 1,
            ']' | '}' => brackets = brackets.saturating_sub(1),
            '(' => parentheses += 1,
            ')' => parentheses = parentheses.saturating_sub(1),
            _ => {}
        }
        signs = match character {
            '-' if outside => signs + 1,
            _ if character.is_whitespace() => signs,
            _ => 0,
        };
        work += 1 << brackets.min(MAX_BRACKETS);
        if brackets > MAX_BRACKETS {
            return refused(
                line,
                column,
                format!("expected at most {MAX_BRACKETS} brackets in each other, found more"),
            );
        }
        if parentheses > MAX_PARENTHESES {
            let message = format!("expected at most {MAX_PARENTHESES} parentheses in each other, found more");
            return refused(line, column, message);
        }
        if signs > MAX_SIGNS {
            return refused(line, column, format!("expected at most {MAX_SIGNS} signs in a row, found more"));
        }
        if work > MAX_WORK {
            return refused(
                line,
                column,
                "expected less in deep brackets: the text would take too long to read".to_owned(),
            );
        }
    }
    Ok(())
}

/// Whether parsed modules may be compiled and asked.
pub(crate) fn depth(modules: &[&Module]) -> Result<(), Refusal> {
    let mut depths = 0;
    for (at, module) in modules.iter().enumerate() {
        for rule in &module.policy {
            let mut deepest = 0;
            walk::rule(rule, &mut |_, depth| deepest = deepest.max(depth));
            depths += deepest + 1;
            let span = rule.span();
            let refused = |message| Err(Refusal { module: at, line: span.line, column: span.col, message });
            if deepest > MAX_DEPTH {
                return refused(format!(
                    "expected expressions at most {MAX_DEPTH} deep in each other, found {deepest}"
                ));
            }
            if depths > MAX_DEPTHS {
                return refused(format!("expected fewer rules: together they are more than {MAX_DEPTHS} deep"));
            }
        }
    }
    Ok(())
}

/// Where a character stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Code,
    Comment,
    Text { escaped: bool },
    RawText,
}

impl Within {
    fn after(self, character: char) -> Self {
        match (self, character) {
            (Self::Code, '#') => Self::Comment,
            (Self::Code, '"') => Self::Text { escaped: false },
            (Self::Code, '`') => Self::RawText,
            // A text does not go on in the next line; the parser says so.
            (Self::Comment | Self::Text { .. }, '\n') | (Self::Text { escaped: false }, '"') | (Self::RawText, '`') => {
                Self::Code
            }
            (Self::Text { escaped }, _) => Self::Text { escaped: !escaped && character == '\\' },
            (unchanged, _) => unchanged,
        }
    }
}
