//! `cert-manager.io/v1`: Certificate.
//!
//! Source: cert-manager v1.19, `pkg/apis/certmanager/v1/types_certificate.go`, and what its webhook refuses:
//! `internal/apis/certmanager/validation/certificate.go`.

mod key;
mod lifetime;
mod unserved;

use super::accept_type;
use super::labels::labels;
use super::metadata::Metadata;
use super::syntax::{is_dns_subdomain, is_label_key};
use crate::fields::{Field, Record, brief};
use crate::finding::Code;
use crate::yaml::Data;
use crate::{Beyond, Certificate, CertificateUsage, IssuerRef, OutputFormat, SecretTemplate};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The most characters of a common name (RFC 5280, appendix A, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// The annotations of a Secret that are the controller's own.
const RESERVED: &str = "cert-manager.io/";
/// The one of them that a template may set.
const INJECTION: &str = "cert-manager.io/allow-direct-injection";

/// A Certificate.
pub(crate) fn certificate(object: &Field<'_>, metadata: Metadata) -> Option<Certificate> {
    object.attempt(|record| {
        accept_type(record);
        record.need("spec")?.attempt(|record| spec(record, metadata))
    })
}

fn spec(record: &mut Record<'_>, metadata: Metadata) -> Option<Certificate> {
    let secret_name = record.need("secretName").and_then(|field| secret_name(&field));
    let issuer = record.need("issuerRef").and_then(|field| field.attempt(issuer));
    let secret_template = record.get("secretTemplate").and_then(|field| field.record(secret_template));
    let common_name = common_name(record);
    let dns_names = texts(record, "dnsNames");
    let uris = texts(record, "uris");
    let (duration, renewal) = lifetime::lifetime(record);
    let private_key = key::private_key(record);
    let usages = record.items("usages").iter().filter_map(usage).collect();
    let is_ca = record.flag("isCA");
    let output_formats = output_formats(record);
    let beyond = unserved::beyond(record, is_ca);
    check_names(record, !common_name.is_empty(), &beyond);
    // What is asked of a request and how many are kept: none is written here.
    record.flag("encodeUsagesInRequest");
    record.get("revisionHistoryLimit").and_then(|field| field.integer(Code::InvalidValue, 1..=i32::MAX));
    Some(Certificate {
        meta: metadata.meta,
        secret_name: secret_name?,
        secret_template: secret_template.unwrap_or_default(),
        issuer: issuer?,
        common_name,
        dns_names,
        uris,
        duration,
        renewal,
        private_key,
        usages,
        is_ca,
        output_formats,
        beyond,
    })
}

fn secret_name(field: &Field<'_>) -> Option<Arc<str>> {
    let name = field.text()?;
    if !is_dns_subdomain(name) {
        field.wrong(Code::InvalidName, "a name: at most 253 lower-case letters, digits, dashes and dots");
    }
    Some(Arc::from(name))
}

fn issuer(record: &mut Record<'_>) -> Option<IssuerRef> {
    let given = |text: Option<&str>, default: &str| Arc::from(text.filter(|text| !text.is_empty()).unwrap_or(default));
    let group = given(record.text("group"), IssuerRef::GROUP);
    let kind = record.get("kind").filter(|field| field.node.as_str() != Some(""));
    if let (IssuerRef::GROUP, Some(field)) = (&*group, &kind) {
        field.word(Code::InvalidValue, &[(IssuerRef::ISSUER, ()), (IssuerRef::CLUSTER_ISSUER, ())]);
    }
    let kind = given(kind.and_then(|field| field.text()), IssuerRef::ISSUER);
    let name = record.need("name").and_then(|field| {
        let name = field.text()?;
        if name.is_empty() {
            field.wrong(Code::MissingField, "the name of an issuer");
        }
        Some(Arc::from(name))
    });
    Some(IssuerRef { group, kind, name: name? })
}

fn secret_template(record: &mut Record<'_>) -> SecretTemplate {
    let pairs =
        |field: Field<'_>| labels(&field).iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let annotations = record.get("annotations").map(|field| {
        for (key, entry) in field.entries() {
            if key.starts_with(RESERVED) && key != INJECTION {
                entry.context.report(
                    Code::InvalidValue,
                    entry.spot,
                    format!("`{}`: expected no annotation of {RESERVED}, which are the controller's own", entry.path),
                    None,
                );
            } else if !is_label_key(&key.to_lowercase()) {
                let message = format!("`{}`: expected the key of an annotation, found `{}`", field.path, brief(key));
                entry.context.report(Code::InvalidName, entry.spot, message, None);
            }
        }
        field.text_map()
    });
    SecretTemplate {
        labels: record.get("labels").map(pairs).unwrap_or_default(),
        annotations: annotations.unwrap_or_default(),
    }
}

fn common_name(record: &mut Record<'_>) -> Arc<str> {
    let field = record.get("commonName");
    let name = field.as_ref().and_then(Field::text).unwrap_or_default();
    if let Some(field) = field.filter(|_| name.chars().count() > LONGEST_COMMON_NAME) {
        field.wrong(Code::InvalidValue, &format!("at most {LONGEST_COMMON_NAME} characters"));
    }
    Arc::from(name)
}

fn texts(record: &mut Record<'_>, key: &'static str) -> Vec<Arc<str>> {
    record.texts(key).into_iter().map(Arc::from).collect()
}

/// A certificate for nobody is none.
fn check_names(record: &mut Record<'_>, common_name: bool, beyond: &BTreeSet<Beyond>) {
    let others = [Beyond::LiteralSubject, Beyond::OtherNames, Beyond::EmailAddresses, Beyond::IpAddresses];
    // One of the wrong type is there, and reported already.
    let is_empty = |field: &Field<'_>| matches!(&field.node.data, Data::List(items) if items.is_empty());
    let mut listed = |key| record.get(key).is_some_and(|field| !is_empty(&field));
    let lists = listed("dnsNames") || listed("uris");
    if !common_name && !lists && !others.iter().any(|other| beyond.contains(other)) {
        let message = "expected a name: one of `uris`, `dnsNames`, `commonName`, `ipAddresses`, `emailAddresses`";
        record.field.report(Code::MissingField, message);
    }
}

fn usage(field: &Field<'_>) -> Option<CertificateUsage> {
    use CertificateUsage as U;
    let words = [
        ("digital signature", U::DigitalSignature),
        ("signing", U::DigitalSignature),
        ("key encipherment", U::KeyEncipherment),
        ("key agreement", U::KeyAgreement),
        ("server auth", U::ServerAuth),
        ("client auth", U::ClientAuth),
    ];
    let key = ["content commitment", "data encipherment", "cert sign", "crl sign", "encipher only", "decipher only"];
    let extended = [
        "any",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    ];
    let others = key.map(|word| (word, U::OtherKey(word))).into_iter();
    let others = others.chain(extended.map(|word| (word, U::OtherExtended(word))));
    field.word(Code::InvalidValue, &words.into_iter().chain(others).collect::<Vec<_>>())
}

fn output_formats(record: &mut Record<'_>) -> BTreeSet<OutputFormat> {
    let words = [("DER", OutputFormat::Der), ("CombinedPEM", OutputFormat::CombinedPem)];
    let mut formats = BTreeSet::new();
    for item in record.items("additionalOutputFormats") {
        let kind = item.attempt(|record| record.need("type")?.word(Code::InvalidValue, &words));
        if kind.is_some_and(|kind| !formats.insert(kind)) {
            item.report(Code::InvalidValue, "expected each format once, found it twice");
        }
    }
    formats
}
