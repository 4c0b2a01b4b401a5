//! The explanation that goes with a decision.

use crate::{By, Layer, Mode, PolicyRef, Verdict};
use serde::Serialize;
use std::sync::Arc;

/// Each layer's part in a decision, in the order in which a connection meets them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Trace {
    /// One step a layer.
    pub steps: Vec<Step>,
}

/// One layer's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The layer.
    pub layer: Layer,
    /// How far it goes here.
    pub mode: Mode,
    /// What it says, whatever its mode and whether or not it was reached.
    pub verdict: Verdict,
    /// Whether the connection gets as far as this layer.
    pub reached: bool,
    /// What decided.
    pub by: By,
    /// The policies that apply to this endpoint at this layer, the whole policy each.
    pub applied: Vec<PolicyRef>,
    /// On a default denial: the rule that came closest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nearest_miss: Option<NearestMiss>,
    /// What else a reader should know, such as the identities on the transport layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Arc<str>>,
}

impl Step {
    /// A step that was reached, in a layer that enforces.
    pub fn new(layer: Layer, verdict: Verdict, by: By) -> Self {
        Self {
            layer,
            mode: Mode::Enforce,
            verdict,
            reached: true,
            by,
            applied: Vec::new(),
            nearest_miss: None,
            notes: Vec::new(),
        }
    }
}

/// The rule that failed on the fewest fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NearestMiss {
    /// The rule.
    pub rule: PolicyRef,
    /// The fields that it failed on.
    pub fields: Vec<Mismatch>,
}

/// One field that did not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Path of the field within the policy.
    pub field: Arc<str>,
    /// What the rule wants.
    pub wanted: Arc<str>,
    /// What the connection or request has.
    pub seen: Arc<str>,
}

impl Trace {
    /// The layer that denies: the first in order that says so and enforces.
    pub fn denied_at(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.verdict.under(step.mode).is_allow())
    }

    /// The first layer that would deny if all enforced.
    pub fn would_be_denied_at(&self) -> Option<&Step> {
        self.steps.iter().find(|step| !step.verdict.is_allow())
    }

    /// Marks the steps after the denying one as not reached.
    #[must_use]
    pub fn with_reach(mut self) -> Self {
        let mut open = true;
        for step in &mut self.steps {
            step.reached = open;
            open &= step.verdict.under(step.mode).is_allow();
        }
        self
    }
}
