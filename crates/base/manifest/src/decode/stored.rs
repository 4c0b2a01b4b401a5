//! ConfigMaps and Secrets: kept whole.

use super::accept_type;
use super::metadata::Metadata;
use crate::fields::Field;
use crate::finding::Code;
use crate::{REGO_AUTHZ, REGO_LABEL, Stored};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;

/// A ConfigMap, or with `secret` a Secret.
pub(crate) fn stored(object: &Field<'_>, secret: bool, metadata: Metadata) -> Option<Stored> {
    object.record(|record| {
        accept_type(record);
        record.accept(&["immutable"]);
        let (encoded, plain) = if secret { ("data", "stringData") } else { ("binaryData", "data") };
        if secret {
            record.accept(&["type"]);
        }
        let mut data = BTreeMap::new();
        for (key, field) in record.get(encoded).map(|field| field.entries()).unwrap_or_default() {
            let text = if field.node.is_null() { Some("") } else { field.text() };
            let bytes = text.map(|text| STANDARD.decode(text.split_ascii_whitespace().collect::<String>()));
            match bytes {
                Some(Ok(bytes)) => drop(data.insert(key.to_owned(), bytes)),
                Some(Err(_)) => field.wrong(Code::InvalidEncoding, "a text in base64"),
                None => {}
            }
        }
        if let (false, Some(value)) = (secret, metadata.meta.labels.get(REGO_LABEL))
            && value != REGO_AUTHZ
        {
            // A slip would leave a policy out.
            let message = format!("expected the label {REGO_LABEL} to be {REGO_AUTHZ}, found `{value}`");
            record.field.report(Code::InvalidValue, message);
        }
        let texts = record.get(plain).map(|field| field.text_map()).unwrap_or_default();
        data.extend(texts.into_iter().map(|(key, text)| (key, text.into_bytes())));
        Stored { meta: metadata.meta, secret, data }
    })
}
