//! The terminal: colour, width, and how failures are told.

use crate::cli::{ColorWhen, Globals};
use crate::client::Query;
use anyhow::Error;
use lictor_report::{Format, Style};
use std::io::{self, IsTerminal, Write};

/// The style of the standard output.
pub(crate) fn style(globals: &Globals, format: Format) -> Style {
    let terminal = io::stdout().is_terminal();
    Style {
        colour: colour(globals.color, terminal),
        width: if terminal { width() } else { None },
        wide: format == Format::Wide,
    }
}

/// Whether the standard error is coloured.
pub(crate) fn stderr_colour(globals: &Globals) -> bool {
    colour(globals.color, io::stderr().is_terminal())
}

/// Source: no-color.org: a set and non-empty NO_COLOR means none.
fn colour(when: ColorWhen, terminal: bool) -> bool {
    match when {
        ColorWhen::Always => true,
        ColorWhen::Never => false,
        ColorWhen::Auto => {
            let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
            terminal && !refused && !dumb
        }
    }
}

/// The columns of the terminal at the standard output, or what COLUMNS says.
fn width() -> Option<usize> {
    let told = || std::env::var("COLUMNS").ok()?.parse().ok();
    terminal_size::terminal_size_of(io::stdout()).map(|(width, _)| usize::from(width.0)).or_else(told)
}

/// Writes data to the standard output.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Tells a failure and its causes on the standard error.
pub(crate) fn complain(error: &Error) {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // A cause that its effect has told already is not told again.
        if !causes.iter().any(|told| told.ends_with(&text)) {
            causes.push(text);
        }
    }
    eprintln!("error: {}", causes.join(": "));
}

/// Whether a reader such as `head` went away, which is no failure.
pub(crate) fn is_broken_pipe(error: &Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A query with what the lab needs to know to render the answer.
pub(crate) fn styled(query: Query, format: Format, style: Style) -> Query {
    query.with("output", format).with("color", style.colour).with_some("width", style.width)
}
