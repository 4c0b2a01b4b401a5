//! Label selectors.

use crate::Labels;
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

/// A label selector, cheap to clone: every requirement must hold; without one it selects everything.
///
/// Source: Kubernetes API, `LabelSelector` (meta/v1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize)]
pub struct Selector(Arc<[Requirement]>);

/// One requirement on one key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Requirement {
    /// The label key.
    pub key: Arc<str>,
    /// What must hold for its value.
    pub operator: Operator,
}

/// What a requirement demands of a key's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Operator {
    /// The key is present with one of these values.
    In(BTreeSet<Arc<str>>),
    /// The key is absent, or present with none of these values.
    NotIn(BTreeSet<Arc<str>>),
    /// The key is present.
    Exists,
    /// The key is absent.
    DoesNotExist,
}

impl Selector {
    /// A selector of these requirements, in a canonical order.
    pub fn new(requirements: impl IntoIterator<Item = Requirement>) -> Self {
        let sorted: BTreeSet<Requirement> = requirements.into_iter().collect();
        Self(sorted.into_iter().collect())
    }

    /// A selector that wants exactly these pairs, as `matchLabels` does.
    pub fn equal_to(labels: &Labels) -> Self {
        Self::new(
            labels
                .iter()
                .map(|(key, value)| Requirement { key: key.into(), operator: Operator::In([Arc::from(value)].into()) }),
        )
    }

    /// Whether everything is selected.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The requirements, in canonical order.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// Whether a label set is selected.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }

    /// The requirements that a label set does not meet.
    pub fn unmet<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = &'a Requirement> {
        self.0.iter().filter(|requirement| !requirement.holds(labels))
    }
}

impl Requirement {
    /// Whether a label set meets this requirement.
    pub fn holds(&self, labels: &Labels) -> bool {
        self.operator.holds(labels.get(&self.key))
    }
}

impl Operator {
    /// Whether a key with this value, or none, meets it.
    pub fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

impl fmt::Display for Selector {
    /// The form that `kubectl -l` reads; `<all>` for the empty selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("<all>");
        }
        for (at, requirement) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let list = |values: &BTreeSet<Arc<str>>| values.iter().map(|v| &**v).collect::<Vec<_>>().join(",");
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", list(values)),
            Operator::In(values) => write!(f, "{key} in ({})", list(values)),
            Operator::NotIn(values) if values.len() == 1 => write!(f, "{key}!={}", list(values)),
            Operator::NotIn(values) => write!(f, "{key} notin ({})", list(values)),
            Operator::Exists => write!(f, "{key}"),
            Operator::DoesNotExist => write!(f, "!{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Operator, Requirement, Selector};
    use crate::Labels;
    use std::sync::Arc;

    fn selects(key: &str, operator: Operator, labels: &[(&str, &str)]) -> bool {
        let labels: Labels = labels.iter().copied().collect();
        Selector::new([Requirement { key: key.into(), operator }]).matches(&labels)
    }

    #[test]
    fn an_absent_key_meets_only_the_negative_operators() {
        let values = || [Arc::from("a"), Arc::from("b")].into();
        for (labels, expected) in [
            (&[][..], [false, true, false, true]),
            (&[("k", "a")][..], [true, false, true, false]),
            (&[("k", "c")][..], [false, true, true, false]),
        ] {
            let operators =
                [Operator::In(values()), Operator::NotIn(values()), Operator::Exists, Operator::DoesNotExist];
            assert_eq!(operators.map(|operator| selects("k", operator, labels)), expected, "{labels:?}");
        }
    }

    #[test]
    fn the_empty_selector_selects_everything() {
        assert!(Selector::default().matches(&Labels::default()));
        assert_eq!(Selector::default().to_string(), "<all>");
    }
}
