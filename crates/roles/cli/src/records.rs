//! Recorded decisions: from a file, or from a running lab.

use crate::client::{Client, Query};
use anyhow::{Context, Result, bail};
use http::Method;
use lictor_model::Record;
use std::path::{Path, PathBuf};
use std::time::Duration;
use time::OffsetDateTime;

/// A lab keeps no more in memory.
const MOST: usize = 20_000;

/// Reads the decision log in a file, or the latest decisions of a lab. Only what is younger than `since` counts.
///
/// # Errors
/// When a line is no record: which one, and why.
pub(crate) fn read(file: Option<&PathBuf>, since: Option<Duration>, lab: &str) -> Result<Vec<Record>> {
    let (name, text) = match file {
        Some(file) if file == Path::new("-") => {
            ("stdin".to_owned(), std::io::read_to_string(std::io::stdin()).context("cannot read the standard input")?)
        }
        Some(file) => {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {name}"))?;
            (name, text)
        }
        None => {
            let query = Query::default().with("output", "json").with("last", MOST);
            let answer = Client::of(lab).ask(Method::GET, "/v1/flows", &query)?;
            if answer.exit_code != 0 {
                bail!("{}", answer.text.trim_end());
            }
            ("the lab's decisions".to_owned(), answer.text)
        }
    };
    let mut records = lictor_sources::records(&name, &text)?;
    if let Some(from) = since.and_then(|since| OffsetDateTime::now_utc().checked_sub(since.try_into().ok()?)) {
        records.retain(|record| match record {
            Record::Decision(decision) => decision.time >= from,
            Record::Close(close) => close.time >= from,
        });
    }
    Ok(records)
}

/// A number and a unit: `90s`, `30m`, `24h`, `7d`.
pub(crate) fn period(text: &str) -> Result<Duration, String> {
    let refused = || "expected a time such as 24h, 30m or 7d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(refused)?;
    let seconds: u64 = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refused)
}
