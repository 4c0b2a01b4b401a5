//! From a text to its pieces: what is written as it stands, and the words of actions.

use crate::error::Wrong;

/// A piece of a template.
#[derive(Debug)]
pub(crate) enum Piece<'t> {
    /// Written as it stands, trimmed as the markers beside it say.
    Text(&'t str),
    /// What stands between `{{` and `}}`.
    Action(Vec<Token<'t>>, usize),
}

/// A word of an action and where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Token<'t> {
    pub(crate) at: usize,
    pub(crate) word: Word<'t>,
    /// Whether a space, a parenthesis or the action's end follows, which ends an operand.
    pub(crate) ends: bool,
}

/// A word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Word<'t> {
    /// `if`, `eq`, `true`, …
    Name(&'t str),
    /// `.PodMeta.Name`: the names behind the dots.
    Path(Vec<&'t str>),
    Text(String),
    Int(i64),
    Open,
    Close,
    Pipe,
}

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
/// What the trim markers take away.
const SPACE: &[char] = &[' ', '\t', '\r', '\n'];

/// The pieces of a template.
pub(crate) fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Wrong> {
    let (mut pieces, mut at, mut trim) = (Vec::new(), 0, false);
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let (plain, action) = match rest.split_once(LEFT) {
            Some((plain, action)) => (plain, Some(action)),
            None => (rest, None),
        };
        let inside = action.map(|action| text.len() - action.len());
        let marked = action.is_some_and(begins_trimmed);
        let plain = if trim { plain.trim_start_matches(SPACE) } else { plain };
        let plain = if marked { plain.trim_end_matches(SPACE) } else { plain };
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        let Some(start) = inside else { return Ok(pieces) };
        let mut lexer = Lexer { text, at: start + if marked { 2 } else { 0 }, opened: start - LEFT.len() };
        if lexer.rest().starts_with("/*") {
            trim = lexer.comment()?;
        } else {
            let (tokens, trimmed) = lexer.action()?;
            trim = trimmed;
            pieces.push(Piece::Action(tokens, start));
        }
        at = lexer.at;
    }
}

/// `- ` behind `{{`.
fn begins_trimmed(action: &str) -> bool {
    action.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACE))
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Where the action began.
    opened: usize,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, Wrong> {
        let found = match self.rest().chars().next() {
            Some(found) => format!("`{}`", found.escape_debug()),
            None => "the end".to_owned(),
        };
        Err(Wrong::new(self.at, expected, found))
    }

    /// Passes over a comment; whether the text behind it is trimmed.
    fn comment(&mut self) -> Result<bool, Wrong> {
        let Some((inside, _)) = self.rest().split_once("*/") else {
            return Err(Wrong::new(self.opened, "a comment that ends with `*/}}`", "none"));
        };
        self.at += inside.len() + 2;
        match self.end() {
            Some(trimmed) => Ok(trimmed),
            None => self.wrong("`}}` at once behind a comment"),
        }
    }

    /// Passes over the action's end, if it is here; whether the text behind it is trimmed.
    fn end(&mut self) -> Option<bool> {
        let rest = self.rest();
        let marked = rest
            .strip_prefix(SPACE)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|rest| rest.starts_with(RIGHT));
        if marked {
            self.at += 2 + RIGHT.len();
        } else if rest.starts_with(RIGHT) {
            self.at += RIGHT.len();
        } else {
            return None;
        }
        Some(marked)
    }

    /// The words up to the action's end, and whether the text behind it is trimmed.
    fn action(&mut self) -> Result<(Vec<Token<'t>>, bool), Wrong> {
        let mut tokens = Vec::new();
        loop {
            if let Some(trimmed) = self.end() {
                return Ok((tokens, trimmed));
            }
            if self.rest().is_empty() {
                return Err(Wrong::new(self.opened, "`}}` that ends the action", "the end"));
            }
            if self.rest().starts_with(SPACE) {
                self.at += 1;
                continue;
            }
            let at = self.at;
            let word = self.word()?;
            let rest = self.rest();
            let ends =
                rest.is_empty() || rest.starts_with(SPACE) || rest.starts_with(['|', ')']) || rest.starts_with(RIGHT);
            tokens.push(Token { at, word, ends });
        }
    }

    fn word(&mut self) -> Result<Word<'t>, Wrong> {
        let rest = self.rest();
        let single = |word| (1, word);
        let (length, word) = match rest.chars().next() {
            Some('(') => single(Word::Open),
            Some(')') => single(Word::Close),
            Some('|') => single(Word::Pipe),
            Some('"') => return self.quoted(),
            Some('`') => {
                let Some((raw, _)) = rest.get(1..).unwrap_or_default().split_once('`') else {
                    return self.wrong("a raw text that ends with a backquote");
                };
                // The language drops carriage returns from raw texts.
                (raw.len() + 2, Word::Text(raw.replace('\r', "")))
            }
            Some('.') => return self.path(self.at),
            Some('$') if rest.starts_with("$.") => {
                self.at += 1;
                return self.path(self.at);
            }
            Some(sign) if sign.is_ascii_digit() || matches!(sign, '+' | '-') => return self.number(),
            Some(first) if is_name(first) => {
                let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                (length, Word::Name(rest.get(..length).unwrap_or_default()))
            }
            _ => {
                return self.wrong("a field such as `.PodMeta.Name`, a function, a text, a number, `(`, `|` or `}}`");
            }
        };
        self.at += length;
        Ok(word)
    }

    /// `.A.B`: names behind dots.
    fn path(&mut self, from: usize) -> Result<Word<'t>, Wrong> {
        let mut names = Vec::new();
        while let Some(rest) = self.rest().strip_prefix('.') {
            let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            let name = rest.get(..length).unwrap_or_default();
            if name.is_empty() {
                return Err(Wrong::new(from, "a field such as `.PodMeta.Name`", "a dot without a name"));
            }
            names.push(name);
            self.at += 1 + length;
        }
        Ok(Word::Path(names))
    }

    /// A whole number in decimal digits; the other forms that the language has are refused.
    fn number(&mut self) -> Result<Word<'t>, Wrong> {
        let rest = self.rest();
        let signed = rest.strip_prefix(['+', '-']).unwrap_or(rest);
        let digits = signed.find(|c: char| !c.is_ascii_digit()).unwrap_or(signed.len());
        let length = rest.len() - signed.len() + digits;
        let number = signed.get(..digits).unwrap_or_default();
        let other = signed.get(digits..).unwrap_or_default().starts_with(|c: char| is_name(c) || c == '.');
        let octal = number.len() > 1 && number.starts_with('0');
        match rest.get(..length).unwrap_or_default().parse::<i64>() {
            Ok(value) if !other && !octal => {
                self.at += length;
                Ok(Word::Int(value))
            }
            _ => self.wrong("a whole number in decimal digits without a leading zero"),
        }
    }

    /// A text in quotes, with the language's escapes.
    fn quoted(&mut self) -> Result<Word<'t>, Wrong> {
        let opened = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let mut chars = self.rest().chars();
            match chars.next() {
                Some('"') => {
                    self.at += 1;
                    return Ok(Word::Text(text));
                }
                Some('\\') => text.push(self.escape()?),
                None | Some('\n') => {
                    return Err(Wrong::new(opened, "a text that ends with a quote on its line", "none"));
                }
                Some(plain) => {
                    text.push(plain);
                    self.at += plain.len_utf8();
                }
            }
        }
    }

    /// Source: Go specification, "Rune literals". An escape that makes a byte beyond ASCII is refused: a half of a
    /// character is no text here.
    fn escape(&mut self) -> Result<char, Wrong> {
        let rest = self.rest().get(1..).unwrap_or_default();
        let digits = |from: usize, count: usize, radix: u32| {
            let digits = rest.get(from..from + count)?;
            let plain = digits.bytes().all(|byte| char::from(byte).is_digit(radix));
            u32::from_str_radix(digits, radix).ok().filter(|_| plain)
        };
        let ascii = |number: u32| char::from_u32(number).filter(char::is_ascii);
        let made = match rest.chars().next() {
            Some('a') => Some(('\u{7}', 1)),
            Some('b') => Some(('\u{8}', 1)),
            Some('f') => Some(('\u{c}', 1)),
            Some('n') => Some(('\n', 1)),
            Some('r') => Some(('\r', 1)),
            Some('t') => Some(('\t', 1)),
            Some('v') => Some(('\u{b}', 1)),
            Some(same @ ('\\' | '"')) => Some((same, 1)),
            Some('x') => digits(1, 2, 16).and_then(ascii).map(|made| (made, 3)),
            Some('u') => digits(1, 4, 16).and_then(char::from_u32).map(|made| (made, 5)),
            Some('U') => digits(1, 8, 16).and_then(char::from_u32).map(|made| (made, 9)),
            Some('0'..='7') => digits(0, 3, 8).and_then(ascii).map(|made| (made, 3)),
            _ => None,
        };
        let Some((made, length)) = made else {
            return self.wrong(
                "one of the escapes \\a \\b \\f \\n \\r \\t \\v \\\\ \\\" \\x \\u \\U and octal, of one character",
            );
        };
        self.at += 1 + length;
        Ok(made)
    }
}

/// Source: `text/template/parse`, `isAlphaNumeric`.
fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
