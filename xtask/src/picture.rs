//! Pictures of what people see in a terminal, for the README: real output with its colours, as SVG.

use crate::cargo::{cargo, root, run, target_directory};
use crate::demo::run_lictor;
use anyhow::{Result, ensure};
use std::fmt::Write as _;
use std::fs;

const FOLDER: &str = "docs/pictures";
/// The lab that is brought up for them, and taken down again.
const LAB: &str = "picture";
const ADVANCE: f64 = 8.4;
const LINE: f64 = 18.0;
const MARGIN: f64 = 16.0;

/// Takes the pictures again. Needs root, for the lab.
pub(crate) fn take() -> Result<()> {
    run(&mut cargo(&["build", "--locked", "-p", "lictor"]))?;
    let lictor = target_directory()?.join("debug/lictor");
    let shown = |args: &[&str]| -> Result<String> {
        let output = run_lictor(lictor.as_os_str(), args).args(["--color", "always"]).output()?;
        // `why` ends with 1 for what is denied.
        ensure!(!output.stdout.is_empty(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    };
    fs::create_dir_all(root().join(FOLDER))?;
    let draw = |name: &str, command: &str, text: &str| {
        fs::write(root().join(FOLDER).join(name), svg(&format!("\u{1b}[2m$ {command}\u{1b}[0m\n\n{text}")))
    };
    let why = "lictor why production/api production/db:5432";
    draw("why.svg", why, &shown(&["why", "-f", "examples/shop", "production/api", "production/db:5432"])?)?;
    run(&mut run_lictor(lictor.as_os_str(), &["up", "--lab", LAB, "examples/shop", "--detach"]))?;
    let probe = shown(&["probe", "--lab", LAB]);
    run(run_lictor(lictor.as_os_str(), &["down", "--lab", LAB]).stdout(std::process::Stdio::null()))?;
    draw("probe.svg", "lictor probe", &probe?)?;
    println!("{FOLDER}/why.svg and {FOLDER}/probe.svg are drawn");
    Ok(())
}

/// A terminal's text as a picture.
fn svg(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let plain = |line: &str| pieces(line).iter().map(|(_, text)| text.chars().count()).sum::<usize>();
    let columns = lines.iter().map(|line| plain(line)).max().unwrap_or_default();
    let (width, height) = (columns as f64 * ADVANCE + 2.0 * MARGIN, lines.len() as f64 * LINE + 2.0 * MARGIN);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#16181d\"/>\n\
         <g font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#d7dae0\" \
         xml:space=\"preserve\">\n"
    );
    for (number, line) in lines.iter().enumerate() {
        let y = MARGIN + LINE * (number as f64 + 0.75);
        let mut column = 0;
        for (style, text) in pieces(line) {
            let x = MARGIN + ADVANCE * column as f64;
            let count = text.chars().count();
            column += count;
            if text.trim().is_empty() {
                continue;
            }
            // A fixed length keeps columns in line, whatever font there is. Writing to a String does not fail.
            let length = ADVANCE * count as f64;
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\"{}>{}</text>",
                look(style),
                escaped(text)
            );
        }
    }
    out + "</g>\n</svg>\n"
}

/// A line's pieces, each with the SGR code that it is painted with (ECMA-48, section 8.3.117), 0 for none.
fn pieces(line: &str) -> Vec<(u8, &str)> {
    let mut parts = line.split("\u{1b}[");
    let mut pieces = vec![(0, parts.next().unwrap_or_default())];
    for part in parts {
        let (code, text) = part.split_once('m').unwrap_or(("0", part));
        pieces.push((code.parse().unwrap_or(0), text));
    }
    pieces.retain(|(_, text)| !text.is_empty());
    pieces
}

fn look(style: u8) -> &'static str {
    match style {
        1 => " font-weight=\"bold\" fill=\"#ffffff\"",
        2 => " fill=\"#8b909a\"",
        31 => " fill=\"#ff7b72\"",
        32 => " fill=\"#7ee787\"",
        33 => " fill=\"#e3b341\"",
        _ => "",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
