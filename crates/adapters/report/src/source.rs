//! The Workload API that identities come from.

use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_model::{SpiffeId, TrustDomain};
use serde::Serialize;
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The Workload API that identities come from, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceReport {
    /// Where it listens.
    pub endpoint: String,
    /// The trust domain here.
    pub trust_domain: TrustDomain,
    /// When its last state came; nothing before the first one.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub received: Option<OffsetDateTime>,
    /// The identities that it offers.
    pub offered: Vec<SpiffeId>,
    /// Those that pods here need and it does not offer.
    pub missing: Vec<SpiffeId>,
    /// What is wrong with it now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// The source in the form that was asked for.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn source(report: &SourceReport, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(report)? {
        return Ok(document);
    }
    let mut table = Table::new(["IDENTITY", "STATE"]);
    for id in &report.offered {
        table.row(vec![id.as_str().into(), Cell::toned(Tone::Good, "offered")]);
    }
    for id in &report.missing {
        table.row(vec![id.as_str().into(), Cell::toned(Tone::Bad, "missing: its pods prove nothing")]);
    }
    let mut out = table.render(style);
    let received = report.received.and_then(|at| at.replace_nanosecond(0).ok()?.format(&Rfc3339).ok());
    let received = received.map_or_else(|| "nothing came yet".to_owned(), |at| format!("last state at {at}"));
    let _ = writeln!(out, "\n{}: from {}, {received}", report.trust_domain, report.endpoint);
    for fault in &report.faults {
        let _ = writeln!(out, "{}", style.paint(Tone::Bad, fault));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{SourceReport, source};
    use crate::format::Format;
    use crate::style::Style;
    use time::{Duration, OffsetDateTime};

    #[test]
    fn a_source_names_what_it_offers_what_is_missing_and_what_is_wrong() {
        let id = |name: &str| format!("spiffe://example.test/ns/shop/sa/{name}").parse().expect("an identity");
        let mut report = SourceReport {
            endpoint: "unix:/run/spire/agent.sock".to_owned(),
            trust_domain: "example.test".parse().expect("a trust domain"),
            received: Some(OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)),
            offered: vec![id("api"), id("web")],
            missing: vec![id("db")],
            faults: vec!["JWT bundles: Unavailable: the server ended the stream".to_owned()],
        };
        let mut shown = source(&report, Format::Text, Style::default()).expect("a table");
        report.received = None;
        shown += "\n--- before the first state, as JSON\n";
        shown += &source(&report, Format::Json, Style::default()).expect("a document");
        insta::assert_snapshot!(shown);
    }
}
