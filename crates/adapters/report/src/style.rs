//! Colour, symbols and width.

/// How text is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// Whether to colour; words carry the meaning either way.
    pub colour: bool,
    /// The columns of the terminal; nothing wraps without one.
    pub width: Option<usize>,
    /// Whether to show the columns that few need.
    pub wide: bool,
}

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Allowed, passed.
    Good,
    /// Denied, failed.
    Bad,
    /// Would be denied, a warning, partly.
    Doubtful,
    /// A title.
    Strong,
    /// A place, an aside.
    Faint,
}

impl Style {
    /// The text in its tone.
    pub(crate) fn paint(self, tone: Tone, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Doubtful => "33",
            Tone::Strong => "1",
            Tone::Faint => "2",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// The columns that a text takes; it holds no escape codes.
pub(crate) fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The text with spaces up to a width.
pub(crate) fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// Breaks a text at spaces into lines of at most `width` columns; a word that is longer has a line of its own, so
/// that names stay whole.
pub(crate) fn wrapped(text: &str, width: usize) -> Vec<String> {
    if columns(text) <= width {
        return vec![text.to_owned()];
    }
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{Style, Tone, wrapped};

    #[test]
    fn lines_break_at_spaces_and_names_stay_whole() {
        assert_eq!(wrapped("a production/a-long-name b c", 8), ["a", "production/a-long-name", "b c"]);
        assert_eq!(wrapped("", 8), [""]);
    }

    #[test]
    fn colour_is_only_added() {
        let style = Style { colour: true, ..Style::default() };
        assert_eq!(style.paint(Tone::Bad, "DENIED"), "\u{1b}[31mDENIED\u{1b}[0m");
        assert_eq!(Style::default().paint(Tone::Bad, "DENIED"), "DENIED");
    }
}
