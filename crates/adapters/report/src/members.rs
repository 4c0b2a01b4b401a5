//! Who may join a trust domain and who has joined it, as control sees it; and a node's membership, as the node does.

use crate::authorities::moment;
use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::Table;
use lictor_model::TrustDomain;
use serde::Serialize;
use std::fmt::Write;
use time::OffsetDateTime;

/// A join token that was just made: the one time that its text is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MadeToken {
    /// Its text.
    pub token: String,
    /// What it is and for whom.
    #[serde(flatten)]
    pub line: TokenLine,
}

/// A join token that waits to be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenLine {
    /// What it is called.
    pub id: String,
    /// The one node that it lets in; any that has not joined if there is nothing here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Its last second.
    #[serde(with = "time::serde::rfc3339")]
    pub expires: OffsetDateTime,
}

/// A node that has joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeLine {
    /// Its name.
    pub node: String,
    /// When it joined.
    #[serde(with = "time::serde::rfc3339")]
    pub joined: OffsetDateTime,
    /// The token that let it in.
    pub token: String,
    /// The last second of its newest certificate.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
}

/// A node's membership.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct MembershipReport {
    /// Where control is.
    pub control: String,
    /// The node.
    pub node: String,
    /// Whose member it is.
    pub trust_domain: TrustDomain,
    /// Whether control can be asked now.
    pub connected: bool,
    /// When control was last heard of.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub heard: Option<OffsetDateTime>,
    /// The last second of the node's certificate, if it has one.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<OffsetDateTime>,
    /// What is wrong now.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// A new token; as text, the token alone on its line, as SPIRE's server prints it.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn made_token(made: &MadeToken, format: Format) -> Result<String, serde_json::Error> {
    Ok(match format.document(made)? {
        Some(document) => document,
        None => format!("Token: {}\n", made.token),
    })
}

/// The tokens that wait to be used.
///
/// # Errors
/// When JSON or YAML cannot be written; these always can.
pub fn tokens(tokens: &[TokenLine], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&tokens)? {
        return Ok(document);
    }
    let mut table = Table::new(["TOKEN", "NODE", "EXPIRES"]);
    for TokenLine { id, node, expires } in tokens {
        let node = node.as_deref().unwrap_or("any that has not joined");
        table.row(vec![id.as_str().into(), node.into(), moment(*expires).into()]);
    }
    Ok(table.render(style))
}

/// The nodes that have joined.
///
/// # Errors
/// When JSON or YAML cannot be written; these always can.
pub fn nodes(nodes: &[NodeLine], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&nodes)? {
        return Ok(document);
    }
    let mut table = Table::new(["NODE", "JOINED", "BY TOKEN", "SVID ENDS"]);
    for NodeLine { node, joined, token, not_after } in nodes {
        table.row(vec![node.as_str().into(), moment(*joined).into(), token.as_str().into(), moment(*not_after).into()]);
    }
    Ok(table.render(style))
}

/// A node's membership, and below it what is wrong.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn membership(report: &MembershipReport, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(report)? {
        return Ok(document);
    }
    let MembershipReport { control, node, trust_domain, connected, heard, not_after, faults } = report;
    let mut out = format!("node {node} of {trust_domain}, by control at {control}: ");
    out += &match (connected, heard) {
        (true, _) => style.paint(Tone::Good, "connected"),
        (false, Some(heard)) => style.paint(Tone::Bad, &format!("away, last heard of at {}", moment(*heard))),
        (false, None) => style.paint(Tone::Bad, "never heard of"),
    };
    out.push('\n');
    let _ = match not_after {
        Some(not_after) => writeln!(out, "the node's own SVID ends at {}", moment(*not_after)),
        None => writeln!(out, "the node has no SVID"),
    };
    for fault in faults {
        let _ = writeln!(out, "{}", style.paint(Tone::Bad, fault));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{MadeToken, MembershipReport, NodeLine, TokenLine, made_token, membership, nodes, tokens};
    use crate::format::Format;
    use crate::style::Style;
    use time::{Duration, OffsetDateTime};

    #[test]
    fn tokens_nodes_and_a_membership_are_told() {
        let at = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let line =
            |node: Option<&str>| TokenLine { id: "0123456789ab".into(), node: node.map(Into::into), expires: at };
        let style = Style::default;
        let made = MadeToken { token: "SECRET".into(), line: line(Some("n1")) };
        let joined = NodeLine { node: "n1".into(), joined: at, token: "0123456789ab".into(), not_after: at };
        let away = MembershipReport {
            control: "10.0.0.1:8443".into(),
            node: "n1".into(),
            trust_domain: "td".parse().expect("a trust domain"),
            connected: false,
            heard: Some(at),
            not_after: Some(at),
            faults: vec!["no connection to control at 10.0.0.1:8443: Connection refused".into()],
        };
        let never = MembershipReport { heard: None, not_after: None, faults: Vec::new(), ..away.clone() };
        let shown = [
            made_token(&made, Format::Text).expect("a text"),
            made_token(&made, Format::Json).expect("a document"),
            tokens(&[line(None), line(Some("n1"))], Format::Text, style()).expect("a table"),
            nodes(std::slice::from_ref(&joined), Format::Text, style()).expect("a table"),
            nodes(&[joined], Format::Json, style()).expect("a document"),
            membership(&away, Format::Text, style()).expect("a text"),
            membership(&never, Format::Text, style()).expect("a text"),
            membership(&MembershipReport { connected: true, ..never }, Format::Json, style()).expect("a document"),
        ];
        insta::assert_snapshot!(shown.join("---\n"));
    }
}
