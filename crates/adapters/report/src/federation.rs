//! The relations to other trust domains.

use crate::authorities::moment;
use crate::bundles::BundleEndpoint;
use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_model::{SpiffeId, TrustDomain};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;

/// With whom a trust domain is federated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederationReport {
    /// The relations, by trust domain.
    pub relations: Vec<FederationRelation>,
    /// The trust domains that entries federate with, no relation is about, and there is no bundle of.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub unrelated: BTreeSet<TrustDomain>,
}

/// One relation: where the bundle of a trust domain is, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FederationRelation {
    /// Whom the bundle is about.
    pub trust_domain: TrustDomain,
    /// Where it is, and how that goes.
    #[serde(flatten)]
    pub endpoint: BundleEndpoint,
    /// Whose SVID the endpoint proves itself by, with `https_spiffe`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint_id: Option<SpiffeId>,
    /// The ClusterFederatedTrustDomain that says so; nothing for the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub declared_by: Option<String>,
    /// How many pods believe it: those that have an entry that federates with it.
    pub pods: usize,
    /// How many authorities are believed about certificates.
    pub authorities: usize,
    /// The version of the bundle; 0 if it has none, or if there is none yet.
    pub sequence: u64,
    /// How often to ask for another one, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_hint: Option<u64>,
}

/// Every relation in the form that was asked for; what is wrong stands below the table.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn federation(report: &FederationReport, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(report)? {
        return Ok(document);
    }
    let mut table = Table::new(["TRUST DOMAIN", "PROFILE", "ENDPOINT", "BY", "PODS", "FETCHED"]);
    for relation in &report.relations {
        let pods = relation.pods.to_string();
        let fetched = match relation.endpoint.fetched {
            Some(at) if relation.endpoint.error.is_none() => moment(at).into(),
            Some(at) => Cell::toned(Tone::Doubtful, moment(at)),
            None => Cell::toned(Tone::Doubtful, "never"),
        };
        table.row(vec![
            relation.trust_domain.to_string().into(),
            relation.endpoint.profile.as_str().into(),
            relation.endpoint.url.as_str().into(),
            by(relation).into(),
            if relation.pods == 0 { Cell::toned(Tone::Doubtful, pods) } else { pods.into() },
            fetched,
        ]);
    }
    let mut out = table.render(style);
    let doubts = report.relations.iter().flat_map(|relation| {
        faults(relation).into_iter().map(move |fault| format!("{}: {fault}", relation.trust_domain))
    });
    let unrelated = report.unrelated.iter();
    let unrelated = unrelated.map(|name| format!("{name}: entries federate with it, and there is no relation to it"));
    for doubt in doubts.chain(unrelated) {
        let _ = writeln!(out, "{}", style.paint(Tone::Doubtful, &doubt));
    }
    Ok(out)
}

/// One relation in the form that was asked for, a line for each of its parts.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn federation_relation(
    relation: &FederationRelation,
    format: Format,
    style: Style,
) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(relation)? {
        return Ok(document);
    }
    let id = relation.endpoint_id.as_ref().map(|id| ("endpoint's identity", id.to_string()));
    let parts = [
        ("trust domain", relation.trust_domain.to_string()),
        ("bundle endpoint", relation.endpoint.url.clone()),
        ("profile", relation.endpoint.profile.clone()),
    ];
    let hint = relation.refresh_hint.map(|seconds| format!("every {seconds} s"));
    let standing = [
        ("by", by(relation)),
        ("pods that believe it", relation.pods.to_string()),
        ("authorities", relation.authorities.to_string()),
        ("sequence", relation.sequence.to_string()),
        ("to be asked", hint.unwrap_or_else(|| "without a hint".to_owned())),
        ("fetched", relation.endpoint.fetched.map_or_else(|| "never".to_owned(), moment)),
    ];
    let mut out = String::new();
    for (name, value) in parts.into_iter().chain(id).chain(standing) {
        let _ = writeln!(out, "{name:<21} {value}");
    }
    for fault in faults(relation) {
        let _ = writeln!(out, "{}", style.paint(Tone::Doubtful, &fault));
    }
    Ok(out)
}

fn by(relation: &FederationRelation) -> String {
    match &relation.declared_by {
        Some(name) => format!("ClusterFederatedTrustDomain {name}"),
        None => "settings".to_owned(),
    }
}

fn faults(relation: &FederationRelation) -> Vec<String> {
    let failed = relation.endpoint.error.iter().map(|error| match relation.authorities {
        0 => format!("nobody of it is believed: {error}"),
        _ => format!("the last bundle is kept: {error}"),
    });
    failed.chain(relation.endpoint.ignored.iter().map(|key| format!("passed over: {key}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::{FederationRelation, FederationReport, federation, federation_relation};
    use crate::{BundleEndpoint, Format, Style};
    use std::collections::BTreeSet;
    use time::{Duration, OffsetDateTime};

    #[test]
    fn every_relation_says_who_declares_it_who_believes_it_and_what_went_wrong() {
        let endpoint = |name: &str| BundleEndpoint {
            url: format!("https://{name}.example/"),
            profile: "https_web".to_owned(),
            fetched: None,
            error: None,
            ignored: Vec::new(),
        };
        let relation = |name: &str| FederationRelation {
            trust_domain: format!("{name}.example").parse().expect("a trust domain"),
            endpoint: endpoint(name),
            endpoint_id: None,
            declared_by: None,
            pods: 3,
            authorities: 1,
            sequence: 2,
            refresh_hint: None,
        };
        let at = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::milliseconds(7);
        let declared = FederationRelation {
            endpoint: BundleEndpoint { profile: "https_spiffe".to_owned(), fetched: Some(at), ..endpoint("a") },
            endpoint_id: Some("spiffe://a.example/bundle".parse().expect("an identity")),
            declared_by: Some("partner".to_owned()),
            refresh_hint: Some(300),
            ..relation("a")
        };
        let kept = FederationRelation {
            endpoint: BundleEndpoint {
                error: Some("cannot reach it".to_owned()),
                ignored: vec!["keys[1]: no use".to_owned()],
                fetched: Some(at),
                ..endpoint("b")
            },
            pods: 0,
            ..relation("b")
        };
        let never = FederationRelation {
            endpoint: BundleEndpoint { error: Some("no authority of the web".to_owned()), ..endpoint("c") },
            authorities: 0,
            sequence: 0,
            ..relation("c")
        };
        let unrelated = BTreeSet::from(["z.example".parse().expect("a trust domain")]);
        let report = FederationReport { relations: vec![declared.clone(), kept.clone(), never], unrelated };
        let plain = Style::default();
        insta::assert_snapshot!("federation", federation(&report, Format::Text, plain).expect("a text"));
        let one = |relation| federation_relation(relation, Format::Text, plain).expect("a text");
        insta::assert_snapshot!("federation_relation", [one(&declared), one(&kept)].join("\n"));
        let json = federation(&report, Format::Json, plain).expect("a text");
        let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(json["relations"][0]["endpointId"], "spiffe://a.example/bundle");
        assert_eq!(json["relations"][0]["url"], "https://a.example/");
        assert_eq!(
            (&json["relations"][1]["error"], json["relations"][0].get("error")),
            (&"cannot reach it".into(), None)
        );
        assert_eq!((&json["unrelated"][0], json["relations"][1].get("declaredBy")), (&"z.example".into(), None));
    }
}
