//! `spire.spiffe.io/v1alpha1`: ClusterSPIFFEID, ClusterStaticEntry, ClusterFederatedTrustDomain.
//!
//! Source: spiffe/spire-controller-manager, `api/v1alpha1`: the types, their CRDs and their webhooks.

use super::accept_type;
use super::labels::selector;
use super::metadata::Metadata;
use super::syntax::{go_duration, is_https_url};
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{BundleProfile, ClusterFederatedTrustDomain, ClusterSpiffeId, ClusterStaticEntry, Issuance};
use lictor_template::Template;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// The most bytes of a hint.
///
/// Source: SPIRE, `pkg/server/api/entry.go`.
const LONGEST_HINT: usize = 1024;

/// A ClusterSPIFFEID.
pub(crate) fn cluster_spiffe_id(object: &Field<'_>, metadata: Metadata) -> Option<ClusterSpiffeId> {
    spec(object, |record| {
        let issuance = issuance(record, "ttl", "jwtTtl");
        let namespaces = record.get("namespaceSelector").and_then(|field| selector(&field)).unwrap_or_default();
        let pods = record.get("podSelector").and_then(|field| selector(&field)).unwrap_or_default();
        let dns_names = templates(record, "dnsNameTemplates");
        let selectors = templates(record, "workloadSelectorTemplates");
        let auto_populate_dns_names = record.flag("autoPopulateDNSNames");
        let (fallback, class) = (record.flag("fallback"), class(record));
        let id = record.need("spiffeIDTemplate").and_then(|field| {
            if field.node.as_str() == Some("") {
                field.wrong(Code::InvalidTemplate, "a template of a SPIFFE ID");
            }
            template(&field)
        })?;
        let meta = metadata.meta;
        Some(ClusterSpiffeId {
            meta,
            namespaces,
            pods,
            id,
            dns_names,
            auto_populate_dns_names,
            selectors,
            fallback,
            class,
            issuance,
        })
    })
}

/// A ClusterStaticEntry.
pub(crate) fn cluster_static_entry(object: &Field<'_>, metadata: Metadata) -> Option<ClusterStaticEntry> {
    spec(object, |record| {
        let issuance = issuance(record, "x509SVIDTTL", "jwtSVIDTTL");
        let class = class(record);
        if let Some(field) = record.get("storeSVID").filter(|field| field.boolean() == Some(true)) {
            field.wrong(Code::InvalidValue, "false: nothing here stores an SVID for a workload");
        }
        let dns_names = record.items("dnsNames").iter().filter_map(|field| parsed(field, Code::InvalidName)).collect();
        let (id, parent) = (record.need("spiffeID"), record.need("parentID"));
        let id = id.and_then(|field| parsed(&field, Code::InvalidName));
        let parent = parent.and_then(|field| parsed(&field, Code::InvalidName));
        let selectors = record.need("selectors").map(|field| {
            let items = field.items();
            if items.is_empty() {
                field.report(Code::InvalidSelector, "expected at least one selector, found none");
            }
            items.iter().filter_map(|field| parsed(field, Code::InvalidSelector)).collect()
        });
        let (meta, selectors) = (metadata.meta, selectors.unwrap_or_default());
        Some(ClusterStaticEntry { meta, id: id?, parent: parent?, selectors, dns_names, class, issuance })
    })
}

/// A ClusterFederatedTrustDomain.
pub(crate) fn cluster_federated_trust_domain(
    object: &Field<'_>,
    metadata: Metadata,
) -> Option<ClusterFederatedTrustDomain> {
    spec(object, |record| {
        let class = class(record);
        let trust_domain = record.need("trustDomain").and_then(|field| parsed(&field, Code::InvalidName));
        let bundle_endpoint = record.need("bundleEndpointURL").and_then(|field| {
            let url = field.text()?;
            if !is_https_url(url) {
                field.wrong(Code::InvalidValue, "a URL that begins with https://, with a host and without a user");
            }
            Some(Arc::from(url))
        });
        let profile = record.need("bundleEndpointProfile").and_then(|field| field.attempt(profile));
        let bundle = record.get("trustDomainBundle").and_then(|field| {
            let text = field.text().filter(|text| !text.is_empty())?;
            let keys = serde_json::from_str::<serde_json::Value>(text).ok();
            if !keys.is_some_and(|set| set.get("keys").is_some_and(serde_json::Value::is_array)) {
                field.wrong(Code::InvalidValue, "a JWK set: a JSON object with a list of `keys`");
            }
            Some(Arc::from(text))
        });
        Some(ClusterFederatedTrustDomain {
            meta: metadata.meta,
            trust_domain: trust_domain?,
            bundle_endpoint: bundle_endpoint?,
            profile: profile?,
            bundle,
            class,
        })
    })
}

fn profile(record: &mut Record<'_>) -> Option<BundleProfile> {
    let words = [("https_spiffe", true), ("https_web", false)];
    let spiffe = record.need("type").and_then(|field| field.word(Code::InvalidValue, &words));
    let endpoint = record.get("endpointSPIFFEID").filter(|field| field.node.as_str() != Some(""));
    match (spiffe?, endpoint) {
        (true, Some(field)) => parsed(&field, Code::InvalidName).map(BundleProfile::Spiffe),
        (true, None) => {
            record.field.report(Code::MissingField, "the required field `endpointSPIFFEID` is missing: with https_spiffe the endpoint proves itself by this identity");
            None
        }
        (false, None) => Some(BundleProfile::Web),
        (false, Some(field)) => {
            field.wrong(Code::InvalidValue, "no identity with https_web");
            None
        }
    }
}

/// Reads the `spec` of an object.
fn spec<'a, T>(object: &Field<'a>, read: impl FnOnce(&mut Record<'a>) -> Option<T>) -> Option<T> {
    object.attempt(|record| {
        accept_type(record);
        record.need("spec")?.attempt(read)
    })
}

fn issuance(record: &mut Record<'_>, x509: &'static str, jwt: &'static str) -> Issuance {
    let hint = record.get("hint").and_then(|field| {
        let text = field.text()?;
        if text.len() > LONGEST_HINT {
            field.wrong(Code::InvalidValue, &format!("at most {LONGEST_HINT} bytes"));
        }
        Some(Arc::from(text))
    });
    Issuance {
        x509_lifetime: record.get(x509).and_then(|field| lifetime(&field)),
        jwt_lifetime: record.get(jwt).and_then(|field| lifetime(&field)),
        federates_with: record
            .items("federatesWith")
            .iter()
            .filter_map(|field| parsed(field, Code::InvalidName))
            .collect(),
        hint: hint.unwrap_or_else(|| Arc::from("")),
        admin: record.flag("admin"),
        downstream: record.flag("downstream"),
    }
}

/// A lifetime in whole seconds; zero says nothing.
///
/// SPIRE takes what is less than a second for nothing said, and so issues for longer than was asked; here it is refused.
fn lifetime(field: &Field<'_>) -> Option<Duration> {
    let wanted = "a duration such as 30m or 1h30m, of a second or more";
    match go_duration(field.text()?) {
        Some(Duration::ZERO) => None,
        Some(life) if life >= Duration::from_secs(1) && life.as_secs() <= i32::MAX.unsigned_abs().into() => {
            Some(Duration::from_secs(life.as_secs()))
        }
        _ => {
            field.wrong(Code::InvalidValue, wanted);
            None
        }
    }
}

fn class(record: &mut Record<'_>) -> Arc<str> {
    Arc::from(record.text("className").unwrap_or_default())
}

fn templates(record: &mut Record<'_>, key: &'static str) -> Vec<Template> {
    record.items(key).iter().filter_map(template).collect()
}

fn template(field: &Field<'_>) -> Option<Template> {
    match Template::parse(field.text()?) {
        Ok(template) => Some(template),
        Err(error) => {
            field.report(Code::InvalidTemplate, error.to_string());
            None
        }
    }
}

/// A value by its own syntax.
fn parsed<T: FromStr<Err: Display>>(field: &Field<'_>, code: Code) -> Option<T> {
    match field.text()?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            field.report(code, format!("{error}, found {}", field.seen()));
            None
        }
    }
}
