//! `duration`, `renewBefore` and `renewBeforePercentage`.

use super::super::syntax::go_duration;
use crate::Renewal;
use crate::fields::{Field, Record};
use crate::finding::Code;
use std::time::Duration;

const DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
const SHORTEST: Duration = Duration::from_secs(3600);
const SHORTEST_RENEWAL: Duration = Duration::from_secs(300);

/// How long a certificate lives, and when it is renewed.
///
/// What a percentage amounts to is held to the same least time as `renewBefore`, as the field's own words say;
/// cert-manager's webhook holds the rest of the life to it instead, which is asked for as well.
pub(super) fn lifetime(record: &mut Record<'_>) -> (Duration, Renewal) {
    let duration = record.get("duration").and_then(|field| {
        let duration = read(&field)?;
        if duration < SHORTEST {
            field.wrong(Code::InvalidValue, "a duration of an hour or more");
        }
        Some(duration)
    });
    let duration = duration.unwrap_or(DEFAULT);
    let before = record.get("renewBefore");
    let percentage = record.get("renewBeforePercentage");
    let renewal = match (before, percentage) {
        (Some(before), Some(_)) => {
            before.report(Code::InvalidValue, "expected `renewBefore` or `renewBeforePercentage`, found both");
            None
        }
        (Some(field), None) => read(&field).map(|before| {
            if before < SHORTEST_RENEWAL || before >= duration {
                field.wrong(
                    Code::InvalidValue,
                    &format!("at least 5m and less than the duration, {} s", duration.as_secs()),
                );
            }
            Renewal::Before(before)
        }),
        (None, Some(field)) => percent(&field, duration),
        (None, None) => None,
    };
    (duration, renewal.unwrap_or_default())
}

fn percent(field: &Field<'_>, duration: Duration) -> Option<Renewal> {
    let share = field.integer(Code::InvalidValue, 1..=99_u8)?;
    let shortest = duration * u32::from(share.min(100 - share)) / 100;
    if shortest < SHORTEST_RENEWAL {
        field.wrong(
            Code::InvalidValue,
            "a percentage that leaves at least 5m of the duration before and after the renewal",
        );
    }
    Some(Renewal::Percentage(share))
}

fn read(field: &Field<'_>) -> Option<Duration> {
    let duration = go_duration(field.text()?);
    if duration.is_none() {
        field.wrong(Code::InvalidValue, "a duration such as 1h or 90m");
    }
    duration
}
