//! When a certificate is renewed.

use lictor_manifest::Renewal;
use time::{Duration, OffsetDateTime};

/// When a certificate that was issued at `issued` and ends at `not_after` is renewed, in whole seconds: so long before its end
/// as is asked for, if that is less than its life, else when a third of its life is left.
///
/// `issued` is the moment of issue. A certificate begins a minute before, for peers whose clock is behind; that minute is no
/// part of the life that is shared out here.
///
/// Source: cert-manager, `RenewalTime` and `RenewBefore`.
pub fn renewal_time(issued: OffsetDateTime, not_after: OffsetDateTime, renewal: Renewal) -> OffsetDateTime {
    let life = (not_after - issued).max(Duration::ZERO);
    let third = life / 3;
    let before = match renewal {
        Renewal::Before(before) => {
            let before = Duration::try_from(before).unwrap_or(Duration::MAX);
            if before < life { before } else { third }
        }
        Renewal::Percentage(share) => life * f64::from(share) / 100.0,
        Renewal::Third => third,
    };
    let at = not_after - before;
    at.replace_nanosecond(0).unwrap_or(at)
}
