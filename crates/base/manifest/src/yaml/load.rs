//! From the parser's events to nodes, one document at a time.

use super::scalar::resolve;
use super::{Data, Located, MAX_DEPTH, MAX_NODES, Mapping, Node, Problem, Spot};
use indexmap::map::Entry;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, StrInput};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// Reads the documents of a stream, one after the other.
///
/// After a syntax error nothing more comes; any other problem costs its own document only.
pub(crate) struct Loader<'s> {
    /// Where the text ends. What the parser finds there it says to be on the line after.
    last: Spot,
    parser: Parser<'s, StrInput<'s>>,
    /// Anchored nodes of the current document, each with its number of values.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    ended: bool,
    /// Whether a bare `y` or `n` is a boolean, as it is to Kubernetes.
    letters: bool,
}

type Parsed<T> = Result<T, Box<Located>>;

impl<'s> Loader<'s> {
    pub(crate) fn new(source: &'s str) -> Self {
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let parser = Parser::new_from_str(source);
        Self { last: last(source), parser, anchors: HashMap::new(), nodes: 0, ended: false, letters: true }
    }

    /// A reader to which a bare `y` or `n` is a text.
    pub(crate) fn without_letters(source: &'s str) -> Self {
        Self { letters: false, ..Self::new(source) }
    }

    /// The next event, and where it begins.
    fn event(&mut self) -> Parsed<(Event<'s>, Spot)> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, spot(&span.start).min(self.last))),
            Some(Err(error)) => {
                self.ended = true;
                Err(problem(Problem::Syntax(error.info().to_owned()), spot(error.marker()).min(self.last)))
            }
            None => Ok((Event::StreamEnd, self.last)),
        }
    }

    fn document(&mut self) -> Parsed<Node> {
        self.anchors.clear();
        let (event, at) = self.event()?;
        let node = self.node(event, at, 0);
        if node.is_err() {
            self.skip_document()?;
        }
        node
    }

    /// Goes on to the end of a document that was given up.
    fn skip_document(&mut self) -> Parsed<()> {
        while !self.ended {
            match self.event()?.0 {
                Event::DocumentEnd => break,
                Event::StreamEnd => self.ended = true,
                _ => {}
            }
        }
        Ok(())
    }

    /// Counts values against the limit of the stream; past it, the stream ends.
    fn count(&mut self, nodes: usize, at: Spot) -> Parsed<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            self.ended = true;
            return Err(problem(Problem::TooLarge, at));
        }
        Ok(())
    }

    fn node(&mut self, event: Event<'s>, at: Spot, depth: usize) -> Parsed<Node> {
        let before = self.nodes;
        self.count(1, at)?;
        if depth > MAX_DEPTH {
            return Err(problem(Problem::TooDeep, at));
        }
        let literal = matches!(event, Event::Scalar(_, ScalarStyle::Literal, ..));
        let (data, anchor) = match event {
            Event::Alias(id) => {
                let Some((node, weight)) = self.anchors.get(&id) else {
                    let what = "an alias stands inside of its own anchor".to_owned();
                    return Err(problem(Problem::Syntax(what), at));
                };
                let (node, weight) = (node.clone(), *weight);
                self.count(weight, at)?;
                return Ok(node);
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.as_ref().map(|tag| tag.suffix.as_str());
                let letter = !self.letters && matches!(&*text, "y" | "Y" | "n" | "N");
                let value = resolve(text, style == ScalarStyle::Plain && !letter, tag);
                let unfit = |text: Cow<'_, str>| problem(Problem::Unrepresentable(shorten(&text)), at);
                (Data::Scalar(value.map_err(unfit)?), anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.event()? {
                        (Event::SequenceEnd, _) => break,
                        (event, at) => items.push(self.node(event, at, depth + 1)?),
                    }
                }
                (Data::List(Arc::new(items)), anchor)
            }
            Event::MappingStart(anchor, _) => (self.mapping(depth)?, anchor),
            _ => (Data::Scalar(Value::Null), 0),
        };
        let node = Node { data, spot: at, literal };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before));
        }
        Ok(node)
    }

    fn mapping(&mut self, depth: usize) -> Parsed<Data> {
        let mut entries = Mapping::default();
        let mut merged = Vec::new();
        loop {
            let (event, at) = self.event()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
            let Data::Scalar(key) = self.node(event, at, depth + 1)?.data else {
                return Err(problem(Problem::ComplexKey, at));
            };
            let (event, value_at) = self.event()?;
            let value = self.node(event, value_at, depth + 1)?;
            if merges {
                merged.push(value);
                continue;
            }
            let key = match key {
                Value::String(text) => text,
                Value::Null => return Err(problem(Problem::ComplexKey, at)),
                other => other.to_string(),
            };
            match entries.entry(key) {
                Entry::Occupied(entry) => {
                    let duplicate = Problem::DuplicateKey { key: shorten(entry.key()), first: entry.get().0 };
                    return Err(problem(duplicate, at));
                }
                Entry::Vacant(entry) => {
                    entry.insert((at, value));
                }
            }
        }
        for source in &merged {
            match &source.data {
                Data::List(items) => items.iter().try_for_each(|item| merge(&mut entries, item))?,
                _ => merge(&mut entries, source)?,
            }
        }
        Ok(Data::Map(Arc::new(entries)))
    }
}

impl Iterator for Loader<'_> {
    type Item = Parsed<Node>;

    fn next(&mut self) -> Option<Parsed<Node>> {
        while !self.ended {
            match self.event() {
                Ok((Event::DocumentStart(_), _)) => return Some(self.document()),
                Ok((Event::StreamEnd, _)) => self.ended = true,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// Adds a merged mapping's entries; those that are there already win.
fn merge(entries: &mut Mapping, source: &Node) -> Parsed<()> {
    let Data::Map(more) = &source.data else {
        return Err(Box::new(Located { problem: Problem::Merge, spot: source.spot }));
    };
    for (key, entry) in more.iter() {
        if !entries.contains_key(key) {
            entries.insert(key.clone(), entry.clone());
        }
    }
    Ok(())
}

fn spot(marker: &Marker) -> Spot {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    Spot { line: number(marker.line()), column: number(marker.col()).saturating_add(1) }
}

/// Where the last character is that is no white space. A line ends as in YAML 1.2, section 5.4.
fn last(source: &str) -> Spot {
    let mut spot = Spot { line: 1, column: 0 };
    let mut characters = source.trim_end().chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' if characters.peek() == Some(&'\n') => {}
            '\r' | '\n' => spot = Spot { line: spot.line.saturating_add(1), column: 0 },
            _ => spot.column = spot.column.saturating_add(1),
        }
    }
    Spot { column: spot.column.max(1), ..spot }
}

fn problem(problem: Problem, spot: Spot) -> Box<Located> {
    Box::new(Located { problem, spot })
}

/// At most 60 characters of an outside text, for a message.
fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
