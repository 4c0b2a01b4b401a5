//! `security.istio.io` PeerAuthentication.

use super::accept_type;
use super::labels::workload_selector;
use super::metadata::Metadata;
use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{MtlsMode, PeerAuthentication};
use std::collections::BTreeMap;

/// A PeerAuthentication, as it is written; what Istio makes of it is checked where its meaning is known.
pub(crate) fn peer_authentication(object: &Field<'_>, metadata: Metadata) -> Option<PeerAuthentication> {
    object.record(|record| {
        accept_type(record);
        let spec = record.get("spec").and_then(|field| {
            field.record(|record| {
                let selector = record.get("selector").and_then(|field| workload_selector(&field));
                let mode = record.get("mtls").and_then(|field| field.record(mode)).unwrap_or_default();
                (selector, mode, record.get("portLevelMtls").map(|field| ports(&field)).unwrap_or_default())
            })
        });
        let (selector, mode, ports) = spec.unwrap_or_default();
        PeerAuthentication { meta: metadata.meta, selector, mode, ports }
    })
}

fn mode(record: &mut Record<'_>) -> MtlsMode {
    let words = [
        ("UNSET", MtlsMode::Unset),
        ("DISABLE", MtlsMode::Disable),
        ("PERMISSIVE", MtlsMode::Permissive),
        ("STRICT", MtlsMode::Strict),
    ];
    record.get("mode").and_then(|field| field.word(Code::InvalidValue, &words)).unwrap_or_default()
}

fn ports(field: &Field<'_>) -> BTreeMap<u16, MtlsMode> {
    let entries = field.entries();
    if entries.is_empty() {
        field.report(Code::InvalidValue, "expected at least one port, found none");
    }
    let port = |(key, field): &(&str, Field<'_>)| {
        let number = key.parse::<u16>().ok().filter(|number| *number > 0);
        if number.is_none() {
            let message = format!("`{}`: expected a port from 1 to 65535 as the key", field.path);
            field.context.report(Code::InvalidPort, field.spot, message, None);
        }
        let mode = if field.node.is_null() { MtlsMode::Unset } else { field.record(mode)? };
        Some((number?, mode))
    };
    entries.iter().filter_map(port).collect()
}
