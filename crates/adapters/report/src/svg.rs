//! Edges as a picture: who opens connections on the left, whom they are for on the right.

use lictor_why::{Edge, Reach};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

const ROW: usize = 34;
const TOP: usize = 56;
const CHAR: usize = 8;

/// One row for each workload on each side, a line for each pair with its ports.
pub(crate) fn svg(edges: &[Edge]) -> String {
    let [sources, destinations] = [|edge: &Edge| edge.source.clone(), |edge: &Edge| edge.destination.clone()]
        .map(|side| edges.iter().map(side).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    let longest = |names: &[std::sync::Arc<str>]| names.iter().map(|name| name.chars().count()).max().unwrap_or(4);
    let (left, right) = (longest(&sources) * CHAR + 24, longest(&destinations) * CHAR + 24);
    let middle = 320;
    let (width, rows) = (left + middle + right + 32, sources.len().max(destinations.len()).max(1));
    let height = TOP + rows * ROW + 24;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"28\" fill=\"#6b7280\">from</text>\n<text x=\"{}\" y=\"28\" fill=\"#6b7280\">to</text>\n",
        16 + left + middle
    );
    let at = |names: &[std::sync::Arc<str>], name: &str| {
        TOP + names.iter().position(|known| **known == *name).unwrap_or_default() * ROW
    };
    let mut arrows: BTreeMap<(&str, &str), Vec<&Edge>> = BTreeMap::new();
    for edge in edges {
        arrows.entry((&edge.source, &edge.destination)).or_default().push(edge);
    }
    for ((source, destination), edges) in &arrows {
        let (from, to) = (at(&sources, source), at(&destinations, destination));
        let all = |reach: Reach| edges.iter().all(|edge| edge.verdict == reach);
        let (colour, dash) = match (all(Reach::Allowed), all(Reach::Denied)) {
            (true, _) => ("#15803d", ""),
            (_, true) => ("#b91c1c", " stroke-dasharray=\"2 4\""),
            _ => ("#b45309", " stroke-dasharray=\"7 4\""),
        };
        let (start, end) = (16 + left, 16 + left + middle);
        let third = middle / 2;
        let ports: Vec<String> = edges.iter().map(|edge| format!("{}/{}", edge.port, edge.protocol)).collect();
        let _ = writeln!(
            out,
            "<path d=\"M {start} {from} C {} {from}, {} {to}, {end} {to}\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"1.5\"{dash}><title>{} to {}: {}</title></path>",
            start + third,
            end - third,
            escaped(source),
            escaped(destination),
            escaped(&ports.join(", "))
        );
    }
    for (names, x, anchor) in [(&sources, 16 + left - 8, "end"), (&destinations, 16 + left + middle + 8, "start")] {
        for name in names {
            let y = at(names, name);
            let _ = writeln!(
                out,
                "<circle cx=\"{}\" cy=\"{y}\" r=\"3\" fill=\"#111827\"/>\n\
                 <text x=\"{x}\" y=\"{}\" text-anchor=\"{anchor}\" fill=\"#111827\">{}</text>",
                if anchor == "end" { x + 8 } else { x - 8 },
                y + 4,
                escaped(name)
            );
        }
    }
    // What is listened on stands behind the name.
    for name in &destinations {
        let ports: BTreeSet<String> = edges
            .iter()
            .filter(|edge| edge.destination == *name)
            .map(|edge| format!("{}/{}", edge.port, edge.protocol))
            .collect();
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" font-size=\"10\" fill=\"#6b7280\">{}</text>",
            16 + left + middle + 8,
            at(&destinations, name) + 16,
            escaped(&ports.into_iter().collect::<Vec<_>>().join(", "))
        );
    }
    out.push_str("</svg>\n");
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
