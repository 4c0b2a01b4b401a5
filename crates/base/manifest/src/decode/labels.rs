//! Labels and label selectors.

use super::syntax::{is_label_key, is_label_value};
use crate::fields::{Field, Record};
use crate::finding::Code;
use lictor_model::{Labels, Operator, Requirement, Selector};
use std::collections::BTreeSet;
use std::sync::Arc;

const KEY: &str = "a label key: an optional DNS prefix and `/`, then at most 63 letters, digits, `-`, `_` and `.`";
const VALUE: &str = "a label value: at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends";

/// A mapping of labels.
pub(crate) fn labels(field: &Field<'_>) -> Labels {
    pairs(field).into_iter().collect()
}

fn pairs<'a>(field: &Field<'a>) -> Vec<(&'a str, &'a str)> {
    let pair = |(key, value): (&'a str, Field<'a>)| {
        let text = if value.node.is_null() { "" } else { value.text()? };
        if !is_label_key(key) {
            let message = format!("`{}`: expected {KEY}", value.path);
            value.context.report(Code::InvalidLabel, value.spot, message, None);
        }
        if !is_label_value(text) {
            value.wrong(Code::InvalidLabel, VALUE);
        }
        Some((key, text))
    };
    field.entries().into_iter().filter_map(pair).collect()
}

/// A LabelSelector (meta/v1).
pub(crate) fn selector(field: &Field<'_>) -> Option<Selector> {
    field.record(|record| {
        let equal = record.get("matchLabels").map(|field| labels(&field)).unwrap_or_default();
        let equal = Selector::equal_to(&equal);
        let expressions = record.items("matchExpressions");
        let more: Vec<Requirement> = expressions.iter().filter_map(|field| field.attempt(expression)).collect();
        Selector::new(equal.requirements().iter().cloned().chain(more))
    })
}

fn expression(record: &mut Record<'_>) -> Option<Requirement> {
    #[derive(Clone, Copy, PartialEq)]
    enum Word {
        In,
        NotIn,
        Exists,
        DoesNotExist,
    }
    let words =
        [("In", Word::In), ("NotIn", Word::NotIn), ("Exists", Word::Exists), ("DoesNotExist", Word::DoesNotExist)];
    let key = record.need("key").and_then(|field| {
        let key = field.text()?;
        if !is_label_key(key) {
            field.wrong(Code::InvalidLabel, KEY);
        }
        Some(Arc::from(key))
    });
    let word = record.need("operator").and_then(|field| field.word(Code::InvalidSelector, &words));
    let given = record.items("values");
    let values: BTreeSet<Arc<str>> = given
        .iter()
        .filter_map(|field| {
            let value = field.text()?;
            if !is_label_value(value) {
                field.wrong(Code::InvalidLabel, VALUE);
            }
            Some(Arc::from(value))
        })
        .collect();
    let operator = match word? {
        word @ (Word::In | Word::NotIn) if given.is_empty() => {
            let name = if word == Word::In { "In" } else { "NotIn" };
            record
                .field
                .report(Code::InvalidSelector, format!("expected at least one of `values` with `{name}`, found none"));
            return None;
        }
        Word::In => Operator::In(values),
        Word::NotIn => Operator::NotIn(values),
        word @ (Word::Exists | Word::DoesNotExist) => {
            if !given.is_empty() {
                let name = if word == Word::Exists { "Exists" } else { "DoesNotExist" };
                let message = format!("expected no `values` with `{name}`, found {}", given.len());
                record.field.report(Code::InvalidSelector, message);
                return None;
            }
            if word == Word::Exists { Operator::Exists } else { Operator::DoesNotExist }
        }
    };
    Some(Requirement { key: key?, operator })
}

/// Istio's WorkloadSelector: `matchLabels` alone. Its values are checked by the policy's own rules, not here.
pub(crate) fn workload_selector(field: &Field<'_>) -> Option<Selector> {
    field.record(|record| {
        let pairs = record.get("matchLabels").map(|field| field.text_map()).unwrap_or_default();
        Selector::equal_to(&pairs.into_iter().collect())
    })
}
