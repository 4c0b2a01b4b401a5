//! From pieces to what is rendered.

use crate::data::{FIELDS, Field};
use crate::error::Wrong;
use crate::lex::{Piece, Token, Word, pieces};
use crate::printf::{Format, format};
use std::iter::Peekable;
use std::vec::IntoIter;

/// A part of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Text(String),
    Show(Expression),
    /// The branches with their conditions, and what stands behind `else`.
    If(Vec<(Expression, Vec<Node>)>, Vec<Node>),
}

/// What has a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expression {
    Text(String),
    Bool(bool),
    Int(i64),
    Field(Field),
    /// `.PodMeta.Labels.app`.
    Key(Field, String),
    Index(Box<[Self; 2]>),
    Printf(Format, Vec<Self>),
    /// `eq` of the first and any of the others.
    Equal(Vec<Self>),
    /// `ne lt le gt ge`.
    Compare(Order, Box<[Self; 2]>),
    Not(Box<Self>),
    /// `and`, or else `or`; the last one is evaluated first if it comes from a pipeline.
    Join {
        and: bool,
        of: Vec<Self>,
        piped: bool,
    },
}

/// A comparison of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// How deep actions and parentheses may stand in each other.
const DEPTH: usize = 32;
/// The functions, and what they are called with.
const FUNCTIONS: &str = "one of the functions index, printf, eq, ne, lt, le, gt, ge, and, or, not";

/// The parts of a template.
pub(crate) fn parse(text: &str) -> Result<Vec<Node>, Wrong> {
    let mut pieces = pieces(text)?.into_iter();
    match nodes(&mut pieces, 0)? {
        (nodes, None) => Ok(nodes),
        (_, Some((word, at, _))) => Err(Wrong::new(at, "an `if` before it", format!("`{word}`"))),
    }
}

/// `else` or `end`, where it stands, and the words behind it.
type Ending<'t> = (&'t str, usize, Peekable<IntoIter<Token<'t>>>);

/// The parts up to `else`, `end` or the text's end.
fn nodes<'t>(pieces: &mut IntoIter<Piece<'t>>, depth: usize) -> Result<(Vec<Node>, Option<Ending<'t>>), Wrong> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let (tokens, at) = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text.to_owned()));
                continue;
            }
            Piece::Action(tokens, at) => (tokens, at),
        };
        let mut tokens = tokens.into_iter().peekable();
        match tokens.peek().map(|token| &token.word) {
            Some(&Word::Name(word @ ("else" | "end"))) => {
                tokens.next();
                return Ok((nodes, Some((word, at, tokens))));
            }
            Some(Word::Name("if")) => {
                tokens.next();
                nodes.push(branches(pieces, tokens, at, depth + 1)?);
            }
            _ => nodes.push(Node::Show(whole(tokens, at)?)),
        }
    }
    Ok((nodes, None))
}

/// An `if` up to its `end`.
fn branches<'t>(
    pieces: &mut IntoIter<Piece<'t>>,
    tokens: Peekable<IntoIter<Token<'t>>>,
    at: usize,
    depth: usize,
) -> Result<Node, Wrong> {
    if depth > DEPTH {
        return Err(Wrong::new(at, format!("at most {DEPTH} `if` within each other"), "one more"));
    }
    let (mut branches, mut condition) = (Vec::new(), Some(whole(tokens, at)?));
    loop {
        let (body, ending) = nodes(pieces, depth)?;
        let Some((word, place, mut rest)) = ending else {
            return Err(Wrong::new(at, "an `end` for this `if`", "none"));
        };
        let last = condition.is_none();
        let otherwise = match condition.take() {
            Some(condition) => {
                branches.push((condition, body));
                Vec::new()
            }
            None => body,
        };
        if word == "end" {
            nothing(rest)?;
            return Ok(Node::If(branches, otherwise));
        }
        if last {
            return Err(Wrong::new(place, "an `end` behind `else`", "a second `else`"));
        }
        if matches!(rest.peek().map(|token| &token.word), Some(Word::Name("if"))) {
            rest.next();
            condition = Some(whole(rest, place)?);
        } else {
            nothing(rest)?;
        }
    }
}

fn nothing(mut tokens: Peekable<IntoIter<Token<'_>>>) -> Result<(), Wrong> {
    match tokens.next() {
        Some(token) => Err(Wrong::new(token.at, "`}}`", token.word.told())),
        None => Ok(()),
    }
}

/// A pipeline that is all of an action.
fn whole(tokens: Peekable<IntoIter<Token<'_>>>, at: usize) -> Result<Expression, Wrong> {
    let mut parser = Parser { tokens, at };
    let expression = parser.pipeline(0)?;
    nothing(parser.tokens)?;
    Ok(expression)
}

struct Parser<'t> {
    tokens: Peekable<IntoIter<Token<'t>>>,
    at: usize,
}

impl<'t> Parser<'t> {
    /// Commands joined by `|`, up to `)` or the action's end: each is the last argument of the next one.
    fn pipeline(&mut self, depth: usize) -> Result<Expression, Wrong> {
        let mut value = self.command(None, depth)?;
        while self.tokens.next_if(|token| token.word == Word::Pipe).is_some() {
            value = self.command(Some(value), depth)?;
        }
        Ok(value)
    }

    /// An operand, or a function with its arguments.
    fn command(&mut self, piped: Option<Expression>, depth: usize) -> Result<Expression, Wrong> {
        let next = self.tokens.peek();
        let at = next.map_or(self.at, |token| token.at);
        if let Some(Token { word: Word::Name(name), ends, .. }) = next
            && !matches!(*name, "true" | "false")
        {
            let (name, ends) = (*name, *ends);
            if !ends {
                return Err(Wrong::new(at, "a space behind a function's name", "none"));
            }
            self.tokens.next();
            let mut arguments = self.arguments(depth)?;
            let is_piped = piped.is_some();
            arguments.extend(piped);
            return call(name, at, arguments, is_piped);
        }
        if piped.is_some() {
            return Err(Wrong::new(
                at,
                format!("{FUNCTIONS} behind `|`"),
                next.map_or("nothing".to_owned(), |token| token.word.told()),
            ));
        }
        let operand = self.operand(depth)?;
        match self.tokens.peek() {
            Some(token) if !matches!(token.word, Word::Pipe | Word::Close) => {
                Err(Wrong::new(token.at, "`|`, `)` or `}}`: only a function takes arguments", token.word.told()))
            }
            _ => Ok(operand),
        }
    }

    fn arguments(&mut self, depth: usize) -> Result<Vec<Expression>, Wrong> {
        let mut arguments = Vec::new();
        while self.tokens.peek().is_some_and(|token| !matches!(token.word, Word::Pipe | Word::Close)) {
            arguments.push(self.operand(depth)?);
        }
        Ok(arguments)
    }

    fn operand(&mut self, depth: usize) -> Result<Expression, Wrong> {
        const WANTED: &str = "a field, a text, a number, true, false or `(`";
        let Some(Token { at, word, ends }) = self.tokens.next() else {
            return Err(Wrong::new(self.at, WANTED, "nothing"));
        };
        let (value, ends) = match word {
            Word::Open => {
                if depth >= DEPTH {
                    return Err(Wrong::new(at, format!("at most {DEPTH} parentheses within each other"), "one more"));
                }
                let value = self.pipeline(depth + 1)?;
                match self.tokens.next() {
                    Some(Token { word: Word::Close, ends, .. }) => (value, ends),
                    _ => return Err(Wrong::new(at, "a `)` for this `(`", "none")),
                }
            }
            Word::Path(path) => (field(&path, at)?, ends),
            Word::Text(text) => (Expression::Text(text), ends),
            Word::Int(number) => (Expression::Int(number), ends),
            Word::Name("true") => (Expression::Bool(true), ends),
            Word::Name("false") => (Expression::Bool(false), ends),
            Word::Name(_) | Word::Close | Word::Pipe => return Err(Wrong::new(at, WANTED, word.told())),
        };
        if ends { Ok(value) } else { Err(Wrong::new(at, "a space behind this value", "none")) }
    }
}

/// The field of a path, or the key that it names in labels or annotations.
fn field(path: &[&str], at: usize) -> Result<Expression, Wrong> {
    let (part, names) = match path {
        [part @ ("PodMeta" | "PodSpec" | "NodeMeta"), names @ ..] => (*part, names),
        names => ("", names),
    };
    let fields = FIELDS.iter().find(|(name, _)| *name == part).map_or(&[][..], |(_, fields)| *fields);
    let dotted = if part.is_empty() { String::new() } else { format!(".{part}") };
    let known = || fields.iter().map(|(name, _)| format!("{dotted}.{name}")).collect::<Vec<_>>().join(", ");
    let found = || format!("`.{}`", path.join("."));
    let found_field = names.first().and_then(|first| fields.iter().find(|(name, _)| name == first));
    let Some((_, field)) = found_field else {
        let parts = if part.is_empty() { ", or one of .PodMeta, .PodSpec and .NodeMeta" } else { "" };
        return Err(Wrong::new(at, format!("one of {}{parts}", known()), found()));
    };
    match names {
        [_] => Ok(Expression::Field(*field)),
        [_, key] if field.is_map() => Ok(Expression::Key(*field, (*key).to_owned())),
        _ => Err(Wrong::new(at, "a field that is there: a text has none of its own", found())),
    }
}

/// A function with its arguments, if it takes so many.
fn call(name: &str, at: usize, arguments: Vec<Expression>, piped: bool) -> Result<Expression, Wrong> {
    let count = arguments.len();
    let wrong = |wanted: &str| Wrong::new(at, format!("`{name}` with {wanted}"), format!("{count} arguments"));
    let two = |arguments: Vec<Expression>| <[Expression; 2]>::try_from(arguments).map(Box::new);
    let compare =
        |order, arguments| two(arguments).map(|of| Expression::Compare(order, of)).map_err(|_| wrong("two arguments"));
    match name {
        "index" => match two(arguments).map(|of| (of[0].is_map(), of)) {
            Ok((true, of)) => Ok(Expression::Index(of)),
            _ => Err(wrong("labels or annotations and one key")),
        },
        "printf" => {
            let mut arguments = arguments.into_iter();
            let Some(Expression::Text(text)) = arguments.next() else {
                return Err(wrong("a text as its format, and values"));
            };
            let values: Vec<_> = arguments.collect();
            let format =
                format(&text).map_err(|found| Wrong::new(at, "the verbs %s, %d, %q, %v and %% in a format", found))?;
            match format.verbs() == values.len() {
                true => Ok(Expression::Printf(format, values)),
                false => Err(wrong(&format!("as many values as verbs, {} behind the format", format.verbs()))),
            }
        }
        "eq" if count >= 2 => Ok(Expression::Equal(arguments)),
        "eq" => Err(wrong("two arguments or more")),
        "ne" => compare(Order::Unequal, arguments),
        "lt" => compare(Order::Less, arguments),
        "le" => compare(Order::LessOrEqual, arguments),
        "gt" => compare(Order::Greater, arguments),
        "ge" => compare(Order::GreaterOrEqual, arguments),
        "not" => match <[Expression; 1]>::try_from(arguments) {
            Ok([value]) => Ok(Expression::Not(Box::new(value))),
            Err(_) => Err(wrong("one argument")),
        },
        "and" | "or" if count >= 1 => Ok(Expression::Join { and: name == "and", of: arguments, piped }),
        "and" | "or" => Err(wrong("one argument or more")),
        _ => Err(Wrong::new(at, format!("a field, a text, a number or {FUNCTIONS}"), format!("`{name}`"))),
    }
}

impl Expression {
    /// Whether it is labels or annotations as a whole.
    fn is_map(&self) -> bool {
        matches!(self, Self::Field(field) if field.is_map())
    }
}

impl Word<'_> {
    fn told(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Path(path) => format!("`.{}`", path.join(".")),
            Self::Text(_) => "a text".to_owned(),
            Self::Int(number) => format!("`{number}`"),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Pipe => "`|`".to_owned(),
        }
    }
}
