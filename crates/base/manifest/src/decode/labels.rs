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
    pairs(field, is_label_key).into_iter().collect()
}

fn pairs<'a>(field: &Field<'a>, is_key: fn(&str) -> bool) -> Vec<(&'a str, &'a str)> {
    let pair = |(key, value): (&'a str, Field<'a>)| {
        let text = if value.node.is_null() { "" } else { value.text()? };
        if !is_key(key) {
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
    expressions(field, is_label_key).map(Selector::new)
}

/// The label that Cilium gives every pod: the name of its cluster.
pub(crate) const CLUSTER: &str = "io.cilium.k8s.policy.cluster";
/// What a cluster is called that is in no mesh of clusters.
pub(crate) const ONLY_CLUSTER: &str = "default";

/// A LabelSelector of pods, where every pod has the label of its cluster, as to Cilium: manifests that were written for
/// it ask for it to mean no other cluster.
pub(crate) fn pod_selector(field: &Field<'_>, is_key: fn(&str) -> bool) -> Option<Selector> {
    let requirements = expressions(field, is_key)?.into_iter().filter_map(|requirement| {
        let Requirement { key, operator } = requirement;
        let (source, bare) = key.split_once(':').unwrap_or(("any", &key));
        let key = if matches!(source, "any" | "k8s") { Arc::from(bare) } else { Arc::clone(&key) };
        match bare {
            CLUSTER if operator.holds(Some(ONLY_CLUSTER)) => None,
            CLUSTER => Some(Requirement { key, operator: Operator::In([].into()) }),
            _ => Some(Requirement { key, operator }),
        }
    });
    Some(Selector::new(requirements))
}

/// A label key with or without the source in front that Cilium tells labels apart by.
pub(crate) fn is_sourced_key(text: &str) -> bool {
    let (source, key) = text.split_once(':').unwrap_or(("any", text));
    let word = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    !source.is_empty() && source.bytes().all(word) && is_label_key(key)
}

/// The requirements of a LabelSelector whose keys have a syntax of their own.
pub(crate) fn expressions(field: &Field<'_>, is_key: fn(&str) -> bool) -> Option<Vec<Requirement>> {
    field.record(|record| {
        let equal: Labels = match record.get("matchLabels") {
            Some(field) => pairs(&field, is_key).into_iter().collect(),
            None => Labels::default(),
        };
        let equal = Selector::equal_to(&equal);
        let expressions = record.items("matchExpressions");
        let more = expressions.iter().filter_map(|field| field.attempt(|record| expression(record, is_key)));
        equal.requirements().iter().cloned().chain(more).collect()
    })
}

fn expression(record: &mut Record<'_>, is_key: fn(&str) -> bool) -> Option<Requirement> {
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
        if !is_key(key) {
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
