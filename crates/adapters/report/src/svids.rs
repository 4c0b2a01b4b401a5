//! Who has which identity, what the Workload API gave, and what a certificate or token says.

use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_model::{Name, SpiffeId};
use serde::Serialize;
use std::fmt::Write;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An identity of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct IdentityLine {
    /// The pod.
    pub pod: Name,
    /// The identity.
    pub id: SpiffeId,
    /// The resource that gives it, as kind and name; nothing for that of the service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What an entry asks for, as SPIRE spells it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub selectors: Vec<String>,
    /// The containers whose processes get it; those of all where none is named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<String>,
    /// What a process has to be to get it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub process: Vec<String>,
    /// The DNS names that its certificates have, the first one as their common name as well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns_names: Vec<String>,
    /// What tells it from the pod's others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// The most that a certificate lives, in seconds, if its entry says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u64>,
    /// The end of the SVID that is in use now.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub expires: Option<OffsetDateTime>,
}

/// An X509-SVID as the Workload API gave it, without its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SvidLine {
    /// The identity.
    pub id: String,
    /// What tells it from the others.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// The number of the leaf.
    pub serial: String,
    /// The first second of the leaf.
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    /// Its last second.
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    /// How many certificates the chain has.
    pub certificates: usize,
    /// The authorities that come with it, its own trust domain's.
    pub authorities: usize,
}

/// A certificate of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // As in lictor-pki's `CertificateFacts`.
pub struct CertificateExplained {
    pub authority: bool,
    pub subject: String,
    pub issuer: String,
    pub serial: String,
    pub names: Vec<String>,
    #[serde(with = "time::serde::rfc3339")]
    pub not_before: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub not_after: OffsetDateTime,
    pub key: String,
    pub usages: Vec<&'static str>,
    /// The rule that it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// What a bundle makes of a chain or token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Proof {
    /// No bundle was given.
    NotJudged,
    /// It proves this identity.
    Proves(SpiffeId),
    /// It proves nothing, for this reason.
    ProvesNothing(String),
}

/// A chain and what it proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainExplained {
    /// The certificates, in the file's order.
    pub certificates: Vec<CertificateExplained>,
    /// What it proves.
    pub proof: Proof,
}

/// A token and what it proves.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenExplained {
    /// The algorithm of its signature.
    pub algorithm: &'static str,
    /// Which key is said to have made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Every claim, as the token has it.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// The rule that it breaks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// What it proves.
    pub proof: Proof,
}

/// Which pods have which identities, and for which of their processes.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn identities(lines: &[IdentityLine], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&lines)? {
        return Ok(document);
    }
    let mut titles = vec!["POD", "SPIFFE ID", "FOR", "FROM", "HINT", "TTL", "EXPIRES"];
    let named = lines.iter().any(|line| !line.dns_names.is_empty());
    titles.extend(named.then_some("DNS NAMES"));
    titles.extend(style.wide.then_some("SELECTORS"));
    let mut table = Table::new(titles);
    for line in lines {
        let containers = line.containers.iter().map(|name| format!("container {name}"));
        let scope: Vec<String> = containers.chain(line.process.iter().cloned()).collect();
        let expires = line.expires.map(moment);
        let mut cells: Vec<Cell> = vec![
            line.pod.to_string().into(),
            line.id.to_string().into(),
            if scope.is_empty() { "all processes".to_owned() } else { scope.join(", ") }.into(),
            line.by.clone().unwrap_or_else(|| "service account".to_owned()).into(),
            line.hint.clone().into(),
            line.ttl.map(|seconds| format!("{seconds}s")).unwrap_or_default().into(),
            expires.map_or_else(|| Cell::toned(Tone::Doubtful, "not issued"), Cell::from),
        ];
        cells.extend(named.then(|| dns_names(&line.dns_names, style.wide).into()));
        cells.extend(style.wide.then(|| line.selectors.join(" ").into()));
        table.row(cells);
    }
    Ok(table.render(style))
}

/// The names, or the first of them and how many more there are.
fn dns_names(names: &[String], all: bool) -> String {
    match names {
        [first, _, ..] if !all => format!("{first} +{}", names.len() - 1),
        names => names.join(" "),
    }
}

/// The SVIDs of one answer of the Workload API, the default one first.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn svids(lines: &[SvidLine], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&lines)? {
        return Ok(document);
    }
    let mut table = Table::new(["SPIFFE ID", "HINT", "VALID FROM", "VALID TO", "CHAIN", "AUTHORITIES", "SERIAL"]);
    for line in lines {
        table.row(vec![
            line.id.clone().into(),
            line.hint.clone().into(),
            moment(line.not_before).into(),
            moment(line.not_after).into(),
            line.certificates.to_string().into(),
            line.authorities.to_string().into(),
            line.serial.clone().into(),
        ]);
    }
    Ok(table.render(style))
}

/// What certificates say, which rule each breaks, and what they prove together.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn chain(chain: &ChainExplained, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(chain)? {
        return Ok(document);
    }
    let mut out = String::new();
    let count = chain.certificates.len();
    for (at, certificate) in chain.certificates.iter().enumerate() {
        let kind = if certificate.authority { "authority" } else { "leaf" };
        let title = format!("certificate {} of {count}: {kind}", at + 1);
        // Writing to a String does not fail, here and below.
        let _ = writeln!(out, "{}", style.paint(Tone::Strong, &title));
        for name in &certificate.names {
            field(&mut out, "name", name);
        }
        field(&mut out, "subject", &certificate.subject);
        field(&mut out, "issuer", &certificate.issuer);
        field(&mut out, "serial", &certificate.serial);
        field(&mut out, "valid", &format!("{} to {}", moment(certificate.not_before), moment(certificate.not_after)));
        field(&mut out, "key", &certificate.key);
        field(&mut out, "usage", &certificate.usages.join(", "));
        rules(&mut out, certificate.fault.as_deref(), "X509-SVID", style);
        out.push('\n');
    }
    proof(&mut out, &chain.proof, style);
    Ok(out)
}

/// What a token says, which rule it breaks, and what it proves.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn token(token: &TokenExplained, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(token)? {
        return Ok(document);
    }
    let mut out = String::new();
    field(&mut out, "algorithm", token.algorithm);
    field(&mut out, "key", token.key_id.as_deref().unwrap_or("not named"));
    for (name, value) in &token.claims {
        let date = value.as_i64().filter(|_| matches!(name.as_str(), "exp" | "iat" | "nbf"));
        let date = date.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
        let said = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        field(&mut out, name, &date.map_or(said.clone(), |date| format!("{said} ({})", moment(date))));
    }
    rules(&mut out, token.fault.as_deref(), "JWT-SVID", style);
    out.push('\n');
    proof(&mut out, &token.proof, style);
    Ok(out)
}

fn field(out: &mut String, name: &str, value: &str) {
    if !value.is_empty() {
        let _ = writeln!(out, "  {name:<10} {value}");
    }
}

fn rules(out: &mut String, fault: Option<&str>, standard: &str, style: Style) {
    let said = match fault {
        None => style.paint(Tone::Good, &format!("keeps the rules of {standard}")),
        Some(fault) => style.paint(Tone::Bad, fault),
    };
    field(out, "rules", &said);
}

fn proof(out: &mut String, proof: &Proof, style: Style) {
    let said = match proof {
        Proof::NotJudged => "nothing is said about who signed it; --bundle FILE judges that".to_owned(),
        Proof::Proves(id) => style.paint(Tone::Good, &format!("it proves {id}")),
        Proof::ProvesNothing(reason) => style.paint(Tone::Bad, &format!("it proves nothing: {reason}")),
    };
    let _ = writeln!(out, "{said}");
}

fn moment(at: OffsetDateTime) -> String {
    at.replace_nanosecond(0).ok().and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
