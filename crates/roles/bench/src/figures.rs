//! What a benchmark prints.

use anyhow::Result;
use serde::Serialize;

/// One benchmark's figures.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    /// The benchmark's name.
    pub(crate) bench: &'static str,
    /// What was measured.
    pub(crate) metrics: Vec<Metric>,
}

/// One figure beside its baseline.
#[derive(Debug, Serialize)]
pub(crate) struct Metric {
    /// What it is.
    pub(crate) name: &'static str,
    /// The unit of `value` and `baseline`.
    pub(crate) unit: &'static str,
    /// What was measured.
    pub(crate) value: f64,
    /// The baseline of the same run, or the aim where there is nothing to run against.
    pub(crate) baseline: f64,
    /// What the baseline is.
    pub(crate) against: &'static str,
    /// `value / baseline`.
    pub(crate) ratio: f64,
}

impl Figures {
    /// No figure yet.
    pub(crate) fn new(bench: &'static str) -> Self {
        Self { bench, metrics: Vec::new() }
    }

    /// Adds one.
    pub(crate) fn add(
        &mut self,
        name: &'static str,
        unit: &'static str,
        value: f64,
        baseline: f64,
        against: &'static str,
    ) {
        self.metrics.push(Metric { name, unit, value, baseline, against, ratio: value / baseline });
    }

    /// Prints a table, or one JSON object.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string(self)?);
            return Ok(());
        }
        println!("{:<34} {:>12} {:>12} {:>8}  {:<12} against", self.bench, "measured", "baseline", "ratio", "unit");
        for metric in &self.metrics {
            let (value, baseline) = (figure(metric.value), figure(metric.baseline));
            println!(
                "{:<34} {value:>12} {baseline:>12} {:>8}  {:<12} {}",
                metric.name,
                figure(metric.ratio),
                metric.unit,
                metric.against
            );
        }
        Ok(())
    }
}

/// Three significant digits or so.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}
