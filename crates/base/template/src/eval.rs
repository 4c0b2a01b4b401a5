//! From a template's parts and the data of a pod to a text.
//!
//! Source: Go, `text/template`, `exec.go` and `funcs.go`.

use crate::data::{Data, Value};
use crate::error::RenderError;
use crate::tree::{Expression, Node, Order};
use std::borrow::Cow;
use std::cmp::Ordering;

/// More than this is not rendered.
const LONGEST: usize = 64 << 10;

/// Renders parts behind what is there already.
pub(crate) fn render<'a>(nodes: &'a [Node], data: &Data<'a>, out: &mut String) -> Result<(), RenderError> {
    for node in nodes {
        match node {
            Node::Text(text) => out.push_str(text),
            Node::Show(expression) => match expression.value(data)? {
                Value::Text(text) => out.push_str(&text),
                Value::Bool(truth) => out.push_str(if truth { "true" } else { "false" }),
                Value::Int(number) => out.push_str(&number.to_string()),
                Value::Missing => out.push_str("<no value>"),
                value @ Value::Texts(_) => return Err(RenderError::Print(value.kind())),
            },
            Node::If(branches, otherwise) => {
                let mut taken = otherwise;
                for (condition, body) in branches {
                    if condition.value(data)?.is_true() {
                        taken = body;
                        break;
                    }
                }
                render(taken, data, out)?;
            }
        }
        if out.len() > LONGEST {
            return Err(RenderError::TooLong(LONGEST));
        }
    }
    Ok(())
}

impl Expression {
    fn value<'a>(&'a self, data: &Data<'a>) -> Result<Value<'a>, RenderError> {
        Ok(match self {
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::Bool(truth) => Value::Bool(*truth),
            Self::Int(number) => Value::Int(*number),
            Self::Field(field) => field.of(data),
            Self::Key(field, key) => match field.of(data) {
                Value::Texts(texts) => texts.text(key).map_or(Value::Missing, |text| Value::Text(Cow::Borrowed(text))),
                value => return Err(RenderError::Index { of: value.kind(), key: "a text" }),
            },
            Self::Index(of) => {
                let [of, key] = &**of;
                index(&of.value(data)?, &key.value(data)?)?
            }
            Self::Printf(format, values) => {
                let values = values.iter().map(|value| value.value(data)).collect::<Result<Vec<_>, _>>()?;
                Value::Text(Cow::Owned(format.fill(&values)?))
            }
            Self::Equal(of) => {
                let values = of.iter().map(|value| value.value(data)).collect::<Result<Vec<_>, _>>()?;
                Value::Bool(equal_to_any(&values)?)
            }
            Self::Compare(order, of) => {
                let [left, right] = &**of;
                Value::Bool(compare(*order, &left.value(data)?, &right.value(data)?)?)
            }
            Self::Not(value) => Value::Bool(!value.value(data)?.is_true()),
            Self::Join { and, of, piped } => {
                // What comes from a pipeline has been evaluated before, and may have failed.
                let last = of.last().filter(|_| *piped).map(|last| last.value(data)).transpose()?;
                let early = of.len() - usize::from(last.is_some());
                let mut value = Value::Missing;
                for expression in of.iter().take(early) {
                    value = expression.value(data)?;
                    if value.is_true() != *and {
                        return Ok(value);
                    }
                }
                last.unwrap_or(value)
            }
        })
    }
}

/// A key's text, the empty one when it is not there.
fn index<'a>(of: &Value<'a>, key: &Value<'_>) -> Result<Value<'a>, RenderError> {
    match (of, key) {
        (Value::Texts(texts), Value::Text(key)) => Ok(Value::Text(Cow::Borrowed(texts.text(key).unwrap_or_default()))),
        _ => Err(RenderError::Index { of: of.kind(), key: key.kind() }),
    }
}

fn incomparable(function: &'static str, left: &Value<'_>, right: &Value<'_>) -> RenderError {
    RenderError::Comparison { function, left: left.kind(), right: right.kind() }
}

fn equal_to_any(values: &[Value<'_>]) -> Result<bool, RenderError> {
    let Some((first, others)) = values.split_first() else { return Ok(false) };
    for other in others {
        if equal("eq", first, other)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A key that is not there equals nothing but another one that is not.
fn equal(function: &'static str, left: &Value<'_>, right: &Value<'_>) -> Result<bool, RenderError> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Ok(left == right),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Int(left), Value::Int(right)) => Ok(left == right),
        (Value::Missing, Value::Missing) => Ok(true),
        (Value::Missing, Value::Text(_) | Value::Bool(_) | Value::Int(_))
        | (Value::Text(_) | Value::Bool(_) | Value::Int(_), Value::Missing) => Ok(false),
        _ => Err(incomparable(function, left, right)),
    }
}

fn compare(order: Order, left: &Value<'_>, right: &Value<'_>) -> Result<bool, RenderError> {
    let (function, wanted): (_, fn(Ordering) -> bool) = match order {
        Order::Unequal => return Ok(!equal("ne", left, right)?),
        Order::Less => ("lt", Ordering::is_lt),
        Order::LessOrEqual => ("le", Ordering::is_le),
        Order::Greater => ("gt", Ordering::is_gt),
        Order::GreaterOrEqual => ("ge", Ordering::is_ge),
    };
    match (left, right) {
        (Value::Text(left), Value::Text(right)) => Ok(wanted(left.cmp(right))),
        (Value::Int(left), Value::Int(right)) => Ok(wanted(left.cmp(right))),
        _ => Err(incomparable(function, left, right)),
    }
}
