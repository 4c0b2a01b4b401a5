//! Who may talk to whom: a table, a list for programs, or a graph.

use crate::answer::{endpoint, of_request, placed};
use crate::format::Format;
use crate::style::{Style, Tone};
use crate::svg::svg;
use crate::table::{Cell, Table};
use lictor_model::By;
use lictor_why::{Edge, Edges, Reach};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The edges in the form that was asked for; a text ends with a line that counts them all.
///
/// # Errors
/// When JSON or YAML cannot be written; edges always can.
pub fn edges(edges: &Edges, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&edges.edges)? {
        return Ok(document);
    }
    let drawn = || edges.edges.iter().map(in_words).collect::<Vec<Edge>>();
    Ok(match format {
        Format::Csv => csv(&edges.edges),
        Format::Markdown => markdown(&edges.edges),
        Format::Dot => dot(&drawn()),
        Format::Mermaid => mermaid(&drawn()),
        Format::Svg => svg(&drawn()),
        _ => table(edges, Style { wide: style.wide || format == Format::Wide, ..style }),
    })
}

/// The edge with its ends as a person reads them.
fn in_words(edge: &Edge) -> Edge {
    Edge {
        source: end(&edge.source, edge.source_alike).into(),
        destination: end(&edge.destination, edge.destination_alike).into(),
        ..edge.clone()
    }
}

/// What a row is about: a workload, or the first of pods without an owner, `shop/pod-0 (and 49 alike)`.
pub(crate) fn end(name: &str, alike: usize) -> String {
    if alike == 0 { name.to_owned() } else { format!("{name} (and {alike} alike)") }
}

/// Its port on that: `shop/pod-0:80/TCP (and 49 alike)`.
pub(crate) fn port_of(name: &str, alike: usize, port: u16, protocol: lictor_model::Protocol) -> String {
    end(&endpoint(name, port, protocol), alike)
}

fn table(edges: &Edges, style: Style) -> String {
    let titles = ["FROM", "TO", "VERDICT", "TLS", "DECIDED BY"];
    let wide = ["LAYER", "MODE", "WHERE", "REQUESTS"];
    let mut table = Table::new(titles.into_iter().chain(wide.into_iter().filter(|_| style.wide)));
    for edge in &edges.edges {
        let mut row: Vec<Cell> = vec![
            end(&edge.source, edge.source_alike).into(),
            port_of(&edge.destination, edge.destination_alike, edge.port, edge.protocol).into(),
            verdict(edge),
            if edge.encrypted { "mutual" } else { "-" }.into(),
            decided(edge).into(),
        ];
        if style.wide {
            row.push(edge.layer.as_str().into());
            row.push(edge.mode.as_str().into());
            row.push(edge.at.as_ref().map(|at| placed(at, "")).unwrap_or_else(|| "-".to_owned()).into());
            row.push(edge.requests.iter().map(of_request).collect::<Vec<_>>().join(", ").into());
        }
        table.row(row);
    }
    let mut out = if edges.edges.is_empty() { String::new() } else { table.render(style) + "\n" };
    explained(edges, &mut out);
    let partly = match edges.partly {
        0 => String::new(),
        partly => format!("{partly} partly, "),
    };
    let _ = writeln!(
        out,
        "{} pairs of workload and port: {} allowed, {partly}{} denied",
        edges.total(),
        edges.allowed,
        edges.denied
    );
    out
}

/// Below the table: what each layer says of each edge, where that was asked for.
fn explained(edges: &Edges, out: &mut String) {
    for edge in edges.edges.iter().filter(|edge| !edge.layers.is_empty()) {
        let to = port_of(&edge.destination, edge.destination_alike, edge.port, edge.protocol);
        let _ = writeln!(out, "{} -> {to}", end(&edge.source, edge.source_alike));
        for layer in &edge.layers {
            let at = layer.at.as_ref().map(|at| format!("  {}", placed(at, ""))).unwrap_or_default();
            let rule = layer.by.policy().map(|rule| format!(" {}", rule.path)).unwrap_or_default();
            let says = format!("{}: {}{rule}", layer.verdict, by_words(&layer.by));
            let _ = writeln!(out, "  {:13}  {says}{at}", layer.layer.as_str());
        }
        out.push('\n');
    }
}

fn verdict(edge: &Edge) -> Cell {
    let word = edge.verdict.as_str();
    match (edge.verdict, edge.would) {
        (Reach::Allowed, Reach::Allowed) => Cell::toned(Tone::Good, word),
        (Reach::Denied, _) => Cell::toned(Tone::Bad, word),
        (Reach::Allowed, _) => Cell::toned(Tone::Doubtful, "audited"),
        (Reach::Partly, _) => Cell::toned(Tone::Doubtful, word),
    }
}

/// Who decided, in few words: a policy's name, or the default.
pub(crate) fn decided(edge: &Edge) -> String {
    by_words(&edge.by)
}

/// Who decided, in few words.
pub(crate) fn by_words(by: &By) -> String {
    match by {
        By::Policy(policy) => policy.name.to_string(),
        By::Isolation(policies) => match policies.as_slice() {
            [first] => format!("default of {}", first.name),
            [first, rest @ ..] => format!("default of {} and {} more", first.name, rest.len()),
            [] => "default".to_owned(),
        },
        By::NoPolicy => "no policy".to_owned(),
        By::OwnPod => "own pod".to_owned(),
        By::OwnNode => "own node".to_owned(),
        By::OutsideMesh => "outside the mesh".to_owned(),
        By::OutsideCluster => "outside the cluster".to_owned(),
        By::Unknown(what) => what.clone(),
    }
}

fn csv(edges: &[Edge]) -> String {
    let mut out = "source,destination,port,protocol,verdict,would,encrypted,layer,mode,by\n".to_owned();
    for edge in edges {
        let cells = [
            edge.source.to_string(),
            edge.destination.to_string(),
            edge.port.to_string(),
            edge.protocol.to_string(),
            edge.verdict.as_str().to_owned(),
            edge.would.as_str().to_owned(),
            edge.encrypted.to_string(),
            edge.layer.to_string(),
            edge.mode.to_string(),
            decided(edge),
        ];
        let _ = writeln!(out, "{}", cells.map(|cell| quoted(&cell)).join(","));
    }
    out
}

/// A cell as RFC 4180 has it.
fn quoted(cell: &str) -> String {
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.to_owned() }
}

fn markdown(edges: &[Edge]) -> String {
    let mut out = "| from | to | verdict | TLS | decided by |\n|---|---|---|---|---|\n".to_owned();
    for edge in edges {
        let tls = if edge.encrypted { "mutual" } else { "-" };
        let to = port_of(&edge.destination, edge.destination_alike, edge.port, edge.protocol);
        let (from, by) = (end(&edge.source, edge.source_alike), decided(edge).replace('|', "\\|"));
        let _ = writeln!(out, "| {from} | {to} | {} | {tls} | {by} |", edge.verdict.as_str());
    }
    out
}

/// The edges between each two workloads as one arrow: its ports, and whether all of them are open.
fn arrows(edges: &[Edge]) -> BTreeMap<(&str, &str), (Vec<String>, Reach)> {
    let mut arrows: BTreeMap<(&str, &str), (Vec<String>, Reach)> = BTreeMap::new();
    for edge in edges {
        let arrow = arrows.entry((&edge.source, &edge.destination)).or_insert_with(|| (Vec::new(), edge.verdict));
        arrow.0.push(format!("{}/{}", edge.port, edge.protocol));
        arrow.1 = if arrow.1 == edge.verdict { arrow.1 } else { Reach::Partly };
    }
    arrows
}

fn dot(edges: &[Edge]) -> String {
    let mut out = "digraph lictor {\n  rankdir=LR;\n  node [shape=box, fontname=\"sans-serif\"];\n".to_owned();
    for ((source, destination), (ports, reach)) in arrows(edges) {
        let style = match reach {
            Reach::Allowed => "solid",
            Reach::Partly => "dashed",
            Reach::Denied => "dotted",
        };
        let _ = writeln!(out, "  {source:?} -> {destination:?} [label={:?}, style={style}];", ports.join(", "));
    }
    out + "}\n"
}

fn mermaid(edges: &[Edge]) -> String {
    let arrows = arrows(edges);
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for (source, destination) in arrows.keys() {
        for name in [source, destination] {
            let next = ids.len();
            ids.entry(name).or_insert(next);
        }
    }
    let mut out = "flowchart LR\n".to_owned();
    for (name, id) in &ids {
        let _ = writeln!(out, "  n{id}[{name:?}]");
    }
    for ((source, destination), (ports, reach)) in &arrows {
        let arrow = match reach {
            Reach::Allowed => "-->",
            Reach::Partly => "-.->",
            Reach::Denied => "--x",
        };
        let ids = [source, destination].map(|name| ids.get(name).copied().unwrap_or_default());
        let _ = writeln!(out, "  n{} {arrow}|{}| n{}", ids[0], ports.join(", "), ids[1]);
    }
    out
}
