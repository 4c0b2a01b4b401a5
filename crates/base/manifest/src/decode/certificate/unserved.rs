//! The fields that lictor's authorities give nobody: read strictly, and kept as what they are.

use super::super::syntax::is_dns_subdomain;
use crate::Beyond;
use crate::fields::{Field, Record};
use crate::finding::Code;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Which of them a spec uses.
pub(super) fn beyond(record: &mut Record<'_>, is_ca: bool) -> BTreeSet<Beyond> {
    let used = [
        (Beyond::Subject, record.get("subject").and_then(|field| field.record(subject)).unwrap_or(false)),
        (Beyond::LiteralSubject, record.text("literalSubject").is_some_and(|text| !text.is_empty())),
        (Beyond::OtherNames, other_names(record)),
        (Beyond::EmailAddresses, !record.texts("emailAddresses").is_empty()),
        (Beyond::IpAddresses, ip_addresses(record)),
        (Beyond::NameConstraints, name_constraints(record, is_ca)),
    ];
    let mut beyond: BTreeSet<Beyond> = used.into_iter().filter(|(_, used)| *used).map(|(field, _)| field).collect();
    if let Some(field) = record.get("keystores") {
        field.record(|record| {
            let made =
                |field: Option<Field<'_>>, more| field.and_then(|field| field.record(|record| keystore(record, more)));
            let stores = [
                (Beyond::JksKeystore, made(record.get("jks"), "alias")),
                (Beyond::Pkcs12Keystore, made(record.get("pkcs12"), "profile")),
            ];
            beyond.extend(stores.into_iter().filter(|(_, made)| *made == Some(true)).map(|(field, _)| field));
        });
    }
    beyond
}

/// Whether a subject says anything.
fn subject(record: &mut Record<'_>) -> bool {
    let lists = [
        "organizations",
        "countries",
        "organizationalUnits",
        "localities",
        "provinces",
        "streetAddresses",
        "postalCodes",
    ];
    let named = lists.map(|key| !record.texts(key).is_empty()).contains(&true);
    let numbered = record.text("serialNumber").is_some_and(|text| !text.is_empty());
    named || numbered
}

fn other_names(record: &mut Record<'_>) -> bool {
    let items = record.items("otherNames");
    for item in &items {
        item.record(|record| {
            record.need("oid").and_then(|field| field.text());
            record.need("utf8Value").and_then(|field| field.text());
        });
    }
    !items.is_empty()
}

fn ip_addresses(record: &mut Record<'_>) -> bool {
    let items = record.items("ipAddresses");
    for item in &items {
        if item.text().is_some_and(|text| text.parse::<IpAddr>().is_err()) {
            item.wrong(Code::InvalidCidr, "an IPv4 or IPv6 address");
        }
    }
    !items.is_empty()
}

fn name_constraints(record: &mut Record<'_>, is_ca: bool) -> bool {
    let Some(field) = record.get("nameConstraints") else { return false };
    if !is_ca {
        field.report(Code::InvalidValue, "expected name constraints of a CA alone: `isCA` is not true");
    }
    field.record(|record| {
        record.flag("critical");
        for part in ["permitted", "excluded"] {
            record.get(part).and_then(|field| {
                field.record(|record| {
                    for key in ["dnsDomains", "ipRanges", "emailAddresses", "uriDomains"] {
                        record.texts(key);
                    }
                })
            });
        }
    });
    true
}

/// Whether a keystore is to be made; a password is not repeated anywhere.
fn keystore(record: &mut Record<'_>, more: &'static str) -> bool {
    record.text(more);
    let create = record.need("create").and_then(|field| field.boolean()).unwrap_or(false);
    let literal = record.has("password");
    let reference = record.get("passwordSecretRef");
    let referred = reference.as_ref().is_some_and(|field| {
        field.record(|record| {
            record.text("key");
            let name = record.need("name");
            let text = name.as_ref().and_then(Field::text).unwrap_or_default();
            if let Some(name) = name.filter(|_| !text.is_empty() && !is_dns_subdomain(text)) {
                name.wrong(Code::InvalidName, "the name of a Secret");
            }
            !text.is_empty()
        }) == Some(true)
    });
    if literal == referred {
        record.field.report(Code::InvalidValue, "expected one of `passwordSecretRef` and `password`");
    }
    create
}
