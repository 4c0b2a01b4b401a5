//! The authorities of a trust domain, and what they issued.

use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_model::{SpiffeId, TrustDomain};
use serde::Serialize;
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The authorities of a trust domain at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthoritiesReport {
    /// Whose they are.
    pub trust_domain: TrustDomain,
    /// The number of the bundle that has them.
    pub bundle_sequence: u64,
    /// They themselves.
    pub authorities: Vec<AuthorityLine>,
    /// When the schedule has something to do next.
    #[serde(with = "time::serde::rfc3339")]
    pub next_step: OffsetDateTime,
    /// What keeps the schedule or the upstream's files from being followed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// An authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthorityLine {
    /// What it signs: `x509` or `jwt`.
    pub kind: String,
    /// Its name.
    pub id: String,
    /// Where it is in its life: `prepared`, `active`, `old` or `tainted`.
    pub state: String,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Its own end.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// How much it has signed.
    pub issued: u64,
    /// Identities that have an SVID of it now; tokens are not counted.
    pub in_use: usize,
    /// The end of the last thing that it signed.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_expiry: Option<OffsetDateTime>,
}

/// A certificate that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IssuedLine {
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Whom it names.
    pub id: SpiffeId,
    /// Its serial number, in hex.
    pub serial: String,
    /// Who signed it.
    pub authority: String,
    /// Its end.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

/// The authorities in the form that was asked for.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn authorities(report: &AuthoritiesReport, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(report)? {
        return Ok(document);
    }
    let wide = style.wide || format == Format::Wide;
    let titles = ["KIND", "STATE", "AUTHORITY", "ENDS", "ISSUED", "IN USE"];
    let mut table = Table::new(titles.into_iter().chain(wide.then_some(["MADE", "LAST ENDS"]).into_iter().flatten()));
    for one in &report.authorities {
        let in_use = if one.kind == "x509" { one.in_use.to_string() } else { "-".to_owned() };
        let mut cells = vec![
            one.kind.as_str().into(),
            Cell::toned(tone(&one.state), one.state.as_str()),
            one.id.as_str().into(),
            moment(one.not_after).into(),
            one.issued.to_string().into(),
            in_use.into(),
        ];
        if wide {
            cells.push(moment(one.since).into());
            cells.push(one.last_expiry.map_or_else(|| "-".to_owned(), moment).into());
        }
        table.row(cells);
    }
    let mut out = table.render(style);
    let _ = writeln!(
        out,
        "\n{}: bundle {}, next step at {}",
        report.trust_domain,
        report.bundle_sequence,
        moment(report.next_step)
    );
    for fault in &report.faults {
        let _ = writeln!(out, "{}", style.paint(Tone::Bad, fault));
    }
    Ok(out)
}

/// The certificates that were issued, the oldest first, in the form that was asked for.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn issued(lines: &[IssuedLine], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&lines)? {
        return Ok(document);
    }
    let mut table = Table::new(["ISSUED", "ENDS", "SERIAL", "IDENTITY"]);
    for one in lines {
        table.row(vec![
            moment(one.at).into(),
            moment(one.not_after).into(),
            one.serial.as_str().into(),
            one.id.to_string().into(),
        ]);
    }
    Ok(table.render(style))
}

fn tone(state: &str) -> Tone {
    match state {
        "active" => Tone::Good,
        "tainted" => Tone::Bad,
        _ => Tone::Doubtful,
    }
}

/// To the second, in UTC.
pub(crate) fn moment(at: OffsetDateTime) -> String {
    let whole = at.replace_nanosecond(0).unwrap_or(at);
    whole.format(&Rfc3339).unwrap_or_else(|_| whole.to_string())
}

#[cfg(test)]
mod tests {
    use super::{AuthoritiesReport, AuthorityLine, IssuedLine, authorities, issued};
    use crate::{Format, Style};
    use time::{Duration, OffsetDateTime};

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time") + Duration::seconds(seconds)
    }

    fn line(kind: &str, state: &str, id: &str, issued: u64) -> AuthorityLine {
        let last_expiry = (issued > 0).then(|| at(4000));
        let (kind, state, id) = (kind.to_owned(), state.to_owned(), id.to_owned());
        let in_use = if kind == "x509" { usize::from(issued > 0) * 2 } else { 0 };
        AuthorityLine { kind, state, id, since: at(0), not_after: at(86_400), issued, in_use, last_expiry }
    }

    #[test]
    fn it_fits_a_terminal() {
        let report = AuthoritiesReport {
            trust_domain: "cluster.local".parse().expect("a trust domain"),
            bundle_sequence: 3,
            authorities: vec![
                line("x509", "active", "0b5f3a1c9d7e2f4a6b8c0d1e2f3a4b5c6d7e8f90", 12),
                line("x509", "prepared", "aa5f3a1c9d7e2f4a6b8c0d1e2f3a4b5c6d7e8f90", 0),
                line("jwt", "active", "pHVg0VzFZ4Cdc0Zn6mYDkx3AtCvXy-E93mOAeLqJvHA", 1),
            ],
            next_step: at(72_000),
            faults: vec!["upstream not read again: /etc/ca/tls.key: expected the key".to_owned()],
        };
        let text = authorities(&report, Format::Text, Style::default()).expect("a text");
        assert!(text.lines().all(|line| line.len() <= 110), "{text}");
        insta::assert_snapshot!(text, @r#"
        KIND  STATE     AUTHORITY                                    ENDS                  ISSUED  IN USE
        x509  active    0b5f3a1c9d7e2f4a6b8c0d1e2f3a4b5c6d7e8f90     2027-01-16T08:00:00Z  12      2
        x509  prepared  aa5f3a1c9d7e2f4a6b8c0d1e2f3a4b5c6d7e8f90     2027-01-16T08:00:00Z  0       0
        jwt   active    pHVg0VzFZ4Cdc0Zn6mYDkx3AtCvXy-E93mOAeLqJvHA  2027-01-16T08:00:00Z  1       -

        cluster.local: bundle 3, next step at 2027-01-16T04:00:00Z
        upstream not read again: /etc/ca/tls.key: expected the key
        "#);
        insta::assert_snapshot!(authorities(&report, Format::Yaml, Style::default()).expect("a text"), @r#"
        trustDomain: cluster.local
        bundleSequence: 3
        authorities:
          - kind: x509
            id: "0b5f3a1c9d7e2f4a6b8c0d1e2f3a4b5c6d7e8f90"
            state: active
            since: "2027-01-15T08:00:00Z"
            notAfter: "2027-01-16T08:00:00Z"
            issued: 12
            inUse: 2
            lastExpiry: "2027-01-15T09:06:40Z"
          - kind: x509
            id: aa5f3a1c9d7e2f4a6b8c0d1e2f3a4b5c6d7e8f90
            state: prepared
            since: "2027-01-15T08:00:00Z"
            notAfter: "2027-01-16T08:00:00Z"
            issued: 0
            inUse: 0
          - kind: jwt
            id: pHVg0VzFZ4Cdc0Zn6mYDkx3AtCvXy-E93mOAeLqJvHA
            state: active
            since: "2027-01-15T08:00:00Z"
            notAfter: "2027-01-16T08:00:00Z"
            issued: 1
            inUse: 0
            lastExpiry: "2027-01-15T09:06:40Z"
        nextStep: "2027-01-16T04:00:00Z"
        faults:
          - "upstream not read again: /etc/ca/tls.key: expected the key"
        "#);
        let lines = [IssuedLine {
            at: at(0),
            id: "spiffe://cluster.local/ns/shop/sa/cart".parse().expect("an identity"),
            serial: "40112233445566778899aabbccddeeff".to_owned(),
            authority: "0b5f".to_owned(),
            not_after: at(3600),
        }];
        insta::assert_snapshot!(issued(&lines, Format::Text, Style::default()).expect("a text"), @r#"
        ISSUED                ENDS                  SERIAL                            IDENTITY
        2027-01-15T08:00:00Z  2027-01-15T09:00:00Z  40112233445566778899aabbccddeeff  spiffe://cluster.local/ns/shop/sa/cart
        "#);
    }
}
