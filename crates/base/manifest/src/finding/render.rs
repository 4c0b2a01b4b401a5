//! A finding printed with the lines that it is about.

use super::{Finding, Level};
use annotate_snippets::{AnnotationKind, Level as Title, Renderer, Snippet};
use std::ops::Range;

/// A group begins without elements.
const NONE: [annotate_snippets::Padding; 0] = [];

/// The finding as the Rust compiler would print it; without colour unless asked.
///
/// `source` is the text of the file that the finding's position names. Without it, or when the file no longer has
/// that line, the place is given by name only.
pub fn render(finding: &Finding, source: Option<&str>, colour: bool) -> String {
    let title = match finding.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
        Level::Note => Title::NOTE,
    };
    let code = finding.code.to_string();
    let place = finding.position.to_string();
    let mut group = title.primary_title(&finding.message).id(&*code).elements(NONE);
    let span = source.and_then(|text| Some((text, token(text, finding.position.line, finding.position.column)?)));
    group = match span {
        Some((text, span)) => {
            let annotation = AnnotationKind::Primary.span(span);
            group.element(Snippet::source(text).path(&*finding.position.file).annotation(annotation))
        }
        None if finding.position.file.is_empty() => group,
        None => group.element(annotate_snippets::Origin::path(&place)),
    };
    if let Some(hint) = &finding.hint {
        group = group.element(Title::HELP.message(hint));
    }
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group]).to_string()
}

/// The bytes of the key or value that starts at a line and column.
fn token(source: &str, line: u32, column: u32) -> Option<Range<usize>> {
    let (line, column) = (usize::try_from(line).ok()?.checked_sub(1)?, usize::try_from(column).ok()?.checked_sub(1)?);
    let start = source.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    let text = source.get(start..)?.lines().next()?;
    let from = text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(column)?;
    let rest = text.get(from..)?;
    let length = match rest.chars().next() {
        Some(quote @ ('"' | '\'')) => rest.get(1..)?.find(quote).map_or(rest.len(), |end| end + 2),
        Some('{' | '[' | '|' | '>') => 1,
        Some(_) => {
            [": ", ":\t", " #", ", ", "]", "}"].iter().filter_map(|end| rest.find(end)).min().unwrap_or(rest.len())
        }
        None => 0,
    };
    let rest = rest.get(..length)?;
    let length = rest.trim_end().strip_suffix(':').unwrap_or(rest.trim_end()).len();
    let least = rest.chars().next().map_or(0, char::len_utf8);
    Some(start + from..start + from + length.max(least))
}

#[cfg(test)]
mod tests {
    use super::{Finding, render};
    use crate::{Code, Position};

    fn at(line: u32, column: u32) -> Finding {
        let position = Position { file: "p.yaml".into(), line, column };
        Finding::new(Code::UnknownPolicyField, position, "the field `größ` is unknown")
            .with_hint("did you mean `größe`?")
    }

    #[test]
    fn the_line_is_shown_with_its_place() {
        let source = "spec:\n  größ: {a: 1}\n  größe: 2\n";
        insta::assert_snapshot!(render(&at(2, 3), Some(source), false), @r"
        error[LIC1009]: the field `größ` is unknown
         --> p.yaml:2:3
          |
        2 |   größ: {a: 1}
          |   ^^^^
          |
          = help: did you mean `größe`?
        ");
    }

    #[test]
    fn wide_white_space_is_not_cut_in_two() {
        for text in ["\u{2000}", "a: \u{2003}\n", "\u{3000}: b"] {
            for column in 1..6 {
                assert!(render(&at(1, column), Some(text), false).contains("p.yaml"), "{text:?}");
            }
        }
    }

    #[test]
    fn a_place_outside_of_the_source_is_named_only() {
        for (line, column) in [(9, 1), (0, 0), (1, 70)] {
            let text = render(&at(line, column), Some("a: 1\n"), false);
            assert!(text.contains("p.yaml") && !text.contains('^'), "{text}");
        }
        insta::assert_snapshot!(render(&at(2, 3), None, false), @r"
        error[LIC1009]: the field `größ` is unknown
        --> p.yaml:2:3
         = help: did you mean `größe`?
        ");
    }
}
