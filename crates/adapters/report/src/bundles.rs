//! Trust bundles, the own one and those of federated trust domains.

use crate::authorities::moment;
use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use lictor_model::TrustDomain;
use serde::Serialize;
use time::OffsetDateTime;

/// What is believed about a trust domain, and where that comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleStatus {
    /// The trust domain.
    pub trust_domain: TrustDomain,
    /// Whether it is the own one.
    pub own: bool,
    /// How many authorities are believed about certificates.
    pub authorities: usize,
    /// How many keys are believed about tokens.
    pub jwt_keys: usize,
    /// The version of the bundle; 0 if it has none.
    pub sequence: u64,
    /// How often to ask for another one, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refresh_hint: Option<u64>,
    /// Where it is fetched; nothing for the own one and for one that was set by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<BundleEndpoint>,
}

/// Where a bundle is fetched, and how that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleEndpoint {
    /// Its URL.
    pub url: String,
    /// `https_web` or `https_spiffe`.
    pub profile: String,
    /// When it last gave a bundle.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub fetched: Option<OffsetDateTime>,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Keys of the last answer that are of no use here, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<String>,
}

/// Bundles in the form that was asked for; what went wrong with an endpoint stands below the table.
///
/// # Errors
/// When JSON or YAML cannot be written; bundles always can.
pub fn bundles(bundles: &[BundleStatus], format: Format, style: Style) -> Result<String, serde_json::Error> {
    Ok(match format.document(&bundles)? {
        Some(document) => document,
        None => text(bundles, style),
    })
}

fn text(bundles: &[BundleStatus], style: Style) -> String {
    let mut table = Table::new(["TRUST DOMAIN", "FROM", "AUTHORITIES", "TOKEN KEYS", "SEQUENCE", "FETCHED"]);
    for bundle in bundles {
        let from = match &bundle.endpoint {
            Some(endpoint) => format!("{} {}", endpoint.profile, endpoint.url),
            None => if bundle.own { "own" } else { "set by hand" }.to_owned(),
        };
        let nobody = bundle.authorities == 0;
        let authorities = bundle.authorities.to_string();
        table.row(vec![
            bundle.trust_domain.to_string().into(),
            from.into(),
            if nobody { Cell::toned(Tone::Bad, authorities) } else { authorities.into() },
            bundle.jwt_keys.to_string().into(),
            bundle.sequence.to_string().into(),
            bundle.endpoint.as_ref().map_or_else(|| "".into(), fetched),
        ]);
    }
    let mut out = table.render(style);
    for (bundle, endpoint) in bundles.iter().filter_map(|bundle| Some((bundle, bundle.endpoint.as_ref()?))) {
        let failed = endpoint.error.iter().map(|error| format!("the last bundle is kept: {error}"));
        let ignored = endpoint.ignored.iter().map(|key| format!("passed over: {key}"));
        for line in failed.chain(ignored) {
            out.push_str(&style.paint(Tone::Doubtful, &format!("{}: {line}", bundle.trust_domain)));
            out.push('\n');
        }
    }
    out
}

fn fetched(endpoint: &BundleEndpoint) -> Cell {
    match endpoint.fetched {
        Some(at) => moment(at).into(),
        None => Cell::toned(Tone::Doubtful, "never"),
    }
}

#[cfg(test)]
mod tests {
    use super::{BundleEndpoint, BundleStatus, bundles};
    use crate::{Format, Style};
    use time::{Duration, OffsetDateTime};

    #[test]
    fn every_bundle_says_where_it_comes_from_and_what_went_wrong() {
        let bundle = |name: &str, authorities, endpoint| BundleStatus {
            trust_domain: name.parse().expect("a trust domain"),
            own: name == "cluster.local",
            authorities,
            jwt_keys: 1,
            sequence: 3,
            refresh_hint: Some(300),
            endpoint,
        };
        let endpoint = |fetched, error: Option<&str>| BundleEndpoint {
            url: "https://other.example/".to_owned(),
            profile: "https_web".to_owned(),
            fetched,
            error: error.map(ToOwned::to_owned),
            ignored: Vec::new(),
        };
        let at = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000) + Duration::milliseconds(7);
        let passed_over = BundleEndpoint { ignored: vec!["keys[1]: no use".to_owned()], ..endpoint(Some(at), None) };
        let all = [
            bundle("cluster.local", 1, None),
            bundle("by-hand.example", 0, None),
            bundle("other.example", 2, Some(passed_over)),
            bundle("third.example", 1, Some(endpoint(None, Some("cannot reach third.example:443")))),
        ];
        insta::assert_snapshot!("bundles", bundles(&all, Format::Text, Style::default()).expect("a text"));
        let json: serde_json::Value =
            serde_json::from_str(&bundles(&all, Format::Json, Style::default()).expect("a text")).expect("JSON");
        assert_eq!(json[2]["endpoint"]["fetched"], "2024-10-04T00:00:00.007Z");
        assert_eq!((&json[0]["own"], json[0].get("endpoint")), (&true.into(), None));
    }
}
