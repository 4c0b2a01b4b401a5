//! Aligned columns.

use crate::style::{Style, Tone, columns, padded};

/// A table for a terminal: a title row, columns as wide as their widest cell, two spaces between.
///
/// Nothing is cut: every name in it can be pasted into the next command.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    titles: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Option<Tone>,
}

impl Cell {
    pub(crate) fn toned(tone: Tone, text: impl Into<String>) -> Self {
        Self { text: text.into(), tone: Some(tone) }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), tone: None }
    }
}

impl Table {
    pub(crate) fn new(titles: impl IntoIterator<Item = &'static str>) -> Self {
        Self { titles: titles.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    pub(crate) fn render(&self, style: Style) -> String {
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| columns(&cell.text));
            cells.chain(self.titles.get(at).map(|title| columns(title))).max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.titles.len()).map(width).collect();
        let titles = self.titles.iter().map(|title| Cell::toned(Tone::Strong, *title)).collect::<Vec<_>>();
        let mut out = String::new();
        for row in std::iter::once(&titles).chain(&self.rows) {
            let last = row.iter().rposition(|cell| !cell.text.is_empty()).unwrap_or_default();
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate().take(last + 1) {
                let padding = if at == last { 0 } else { *width };
                let text = padded(&cell.text, padding);
                let spaces = &text[cell.text.len()..];
                out.push_str(&cell.tone.map_or_else(|| cell.text.clone(), |tone| style.paint(tone, &cell.text)));
                out.push_str(spaces);
                if at != last {
                    out.push_str("  ");
                }
            }
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::{Cell, Table};
    use crate::style::{Style, Tone};

    #[test]
    fn columns_are_aligned_and_lines_do_not_end_in_spaces() {
        let mut table = Table::new(["NAME", "STATE"]);
        table.row(vec!["production/api".into(), Cell::toned(Tone::Good, "ready")]);
        table.row(vec!["db".into(), "".into()]);
        insta::assert_snapshot!(table.render(Style::default()), @r"
        NAME            STATE
        production/api  ready
        db
        ");
    }
}
