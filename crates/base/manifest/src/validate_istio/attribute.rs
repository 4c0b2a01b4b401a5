//! The values of fields and conditions.

use serde_json::Value;
use std::net::IpAddr;

/// What is wrong with a value.
pub(super) type Checked = Result<(), String>;

/// The texts of a list; an item that is none counts as empty.
pub(super) fn texts(list: &[Value]) -> Vec<&str> {
    list.iter().map(|item| item.as_str().unwrap_or_default()).collect()
}

/// No value may be empty.
pub(super) fn not_empty(key: &str, values: &[&str]) -> Checked {
    if values.contains(&"") { Err(format!("empty value not allowed, found in {key}")) } else { Ok(()) }
}

/// `name` or `namespace/name`, without wildcards.
pub(super) fn service_accounts(key: &str, values: &[&str]) -> Checked {
    if values.len() > 16 {
        return Err("may not have more than 16 values".to_owned());
    }
    let wanted = "expected format 'serviceAccount' or 'namespace/serviceAccount'";
    not_empty(key, values)?;
    for value in values {
        if value.contains('*') {
            return Err(format!("wildcard not allowed, found in {key}"));
        }
        if value.matches('/').count() > 1 {
            return Err(format!("{wanted}, found \"{value}\" in {key}"));
        }
        if value.len() > 320 {
            return Err(format!("value cannot exceed 320 characters, found \"{value}\" in {key}"));
        }
        if value.starts_with('/') {
            return Err(format!("{wanted}, found empty namespace \"{value}\" in {key}"));
        }
        if value.ends_with('/') {
            return Err(format!("{wanted}, found empty serviceAccount \"{value}\" in {key}"));
        }
    }
    Ok(())
}

/// Addresses, or blocks with a prefix length.
pub(super) fn addresses(values: &[&str]) -> Checked {
    for value in values {
        match value.split_once('/') {
            Some((address, bits)) => prefix(address, bits).ok_or_else(|| format!("bad CIDR range ({value})"))?,
            None => value.parse::<IpAddr>().map(drop).map_err(|_| format!("bad IP address ({value})"))?,
        }
    }
    Ok(())
}

/// Go's `netip.ParsePrefix`: no sign, no leading zero, no zone.
fn prefix(address: &str, bits: &str) -> Option<()> {
    let address: IpAddr = address.parse().ok()?;
    let plain = bits.bytes().all(|byte| byte.is_ascii_digit()) && (bits.len() == 1 || !bits.starts_with('0'));
    let length: u8 = bits.parse().ok().filter(|_| plain)?;
    (length <= if address.is_ipv4() { 32 } else { 128 }).then_some(())
}

/// Port numbers.
pub(super) fn ports(values: &[&str]) -> Checked {
    let bad = |value: &&&str| !value.bytes().all(|byte| byte.is_ascii_digit()) || value.parse::<u16>().is_err();
    values.iter().find(bad).map_or(Ok(()), |value| Err(format!("bad port ({value})")))
}

/// Path templates: whole segments, `{**}` last of the operators, and only characters that a path may have.
pub(super) fn path_templates(key: &str, values: &[&str]) -> Checked {
    for path in values {
        let is_template = path.contains("{*}") || path.contains("{**}");
        let path = path.trim_matches('/');
        let wrong = |why: &str| Err(format!("invalid or unsupported path {path}, found in {key}. {why}"));
        let mut any = false;
        for segment in path.split('/') {
            match segment {
                "{*}" | "{**}" if any => return wrong("{**} is not the last operator"),
                "{*}" => {}
                "{**}" => any = true,
                _ if segment.contains(['{', '}']) => {
                    return wrong("Contains '{' or '}' beyond a supported path template");
                }
                _ if is_template && !is_literal(segment) => {
                    return wrong(&format!("Contains segment {segment} with invalid string literal"));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// A segment of the characters that RFC 3986 allows, at least one.
fn is_literal(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&byte);
    !segment.is_empty() && segment.bytes().all(allowed)
}

/// The values of a condition on an attribute.
pub(super) fn condition(key: &str, values: &[&str]) -> Checked {
    not_empty(key, values)?;
    match key {
        "source.ip" | "remote.ip" | "destination.ip" => addresses(values),
        "destination.port" => ports(values),
        "source.serviceAccount" => service_accounts(key, values),
        "source.namespace" | "source.principal" | "source.trustDomain" | "connection.sni" => Ok(()),
        "request.auth.principal" | "request.auth.audiences" | "request.auth.presenter" => Ok(()),
        "destination.namespace" => Err(format!("attribute {key} is replaced by the metadata.namespace")),
        "destination.name" | "destination.user" => {
            Err(format!("deprecated attribute {key}: only supported in v1alpha1"))
        }
        _ if key.starts_with("destination.labels") => {
            Err(format!("attribute {key} is replaced by the workload selector"))
        }
        _ if MAPS.iter().any(|map| key.starts_with(map)) => in_brackets(key),
        _ => Err(format!("unknown attribute: {key}")),
    }
}

/// Attributes that are looked into by a name in brackets.
const MAPS: [&str; 4] =
    ["request.headers", "request.experimental.inline.headers", "request.auth.claims", "experimental.envoy.filters."];

fn in_brackets(key: &str) -> Checked {
    let named = key.find('[').is_some_and(|open| open > 0 && key.ends_with(']') && open + 2 < key.len());
    if named { Ok(()) } else { Err(format!("bad key ({key}): should have format a[b]")) }
}
