//! The syntax of names, labels and ports.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation` (`IsDNS1123Label`, `IsDNS1123Subdomain`, `IsQualifiedName`,
//! `IsValidLabelValue`, `IsValidPortName`).

use crate::fields::Field;
use crate::finding::Code;
use lictor_model::Cidr;
use std::net::IpAddr;
use std::sync::Arc;

fn lower_or_digit(c: u8) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

/// At most 63 of `a-z0-9-`, with a letter or digit at both ends.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |at: Option<&u8>| at.copied().is_some_and(lower_or_digit);
    text.len() <= 63
        && ends(bytes.first())
        && ends(bytes.last())
        && bytes.iter().all(|c| lower_or_digit(*c) || *c == b'-')
}

/// At most 253, labels joined by dots (a label of a subdomain has no limit of its own).
pub(crate) fn is_dns_subdomain(text: &str) -> bool {
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = |at: Option<&u8>| at.copied().is_some_and(lower_or_digit);
        ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|c| lower_or_digit(*c) || *c == b'-')
    };
    text.len() <= 253 && text.split('.').all(part)
}

/// At most 63 of `A-Za-z0-9-_.`, with a letter or digit at both ends.
fn is_label_word(text: &str) -> bool {
    let bytes = text.as_bytes();
    let ends = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphanumeric);
    let inner = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
    text.len() <= 63 && ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(inner)
}

/// A word, or `prefix/word` with a DNS subdomain as its prefix.
pub(crate) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, word)) => is_dns_subdomain(prefix) && is_label_word(word),
        None => is_label_word(text),
    }
}

/// A word, or nothing.
pub(crate) fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_word(text)
}

/// At most 15 of `a-z0-9-`, at least one letter, no dash at an end or beside another.
pub(crate) fn is_port_name(text: &str) -> bool {
    let letters = text.bytes().any(|c| c.is_ascii_lowercase());
    text.len() <= 15 && is_dns_label(text) && letters && !text.contains("--")
}

/// A port number, or a port's name.
pub(crate) fn port_or_name(field: &Field<'_>) -> Option<Result<u16, Arc<str>>> {
    match field.node.as_str() {
        Some(name) if is_port_name(name) => Some(Err(Arc::from(name))),
        Some(name) => {
            let wanted = "a port name: at most 15 lower-case letters, digits and single dashes, with a letter";
            if name.parse::<u16>().is_ok() {
                field.report_with(
                    Code::InvalidPort,
                    format!("expected a port number or name, found {}", field.seen()),
                    "a number in quotes is a name; write it without",
                );
            } else {
                field.wrong(Code::InvalidPort, wanted);
            }
            None
        }
        None => field.integer(Code::InvalidPort, 1..=u16::MAX).map(Ok),
    }
}

/// An address.
pub(crate) fn address(field: &Field<'_>) -> Option<IpAddr> {
    let address = field.text()?.parse::<IpAddr>().ok();
    if address.is_none() {
        field.wrong(Code::InvalidCidr, "an IPv4 or IPv6 address");
    }
    address
}

/// An address block; with `bare`, an address alone is the block of this one.
pub(crate) fn block(field: &Field<'_>, bare: bool) -> Option<Cidr> {
    let text = field.text()?;
    let one = text.parse::<IpAddr>().ok().filter(|_| bare).map(Cidr::host);
    let Some(block) = one.or_else(|| text.parse().ok()) else {
        let wanted = "an address block such as 10.0.0.0/8 or 2001:db8::/32";
        field.wrong(Code::InvalidCidr, wanted);
        return None;
    };
    let mapped = matches!(block.network(), IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
    if mapped {
        let message = format!("expected an IPv4 block, or an IPv6 one that is not IPv4-mapped, found {}", field.seen());
        field.report_with(Code::InvalidCidr, message, "write the IPv4 block");
        return None;
    }
    Some(block)
}

#[cfg(test)]
mod tests {
    use super::{is_dns_label, is_dns_subdomain, is_label_key, is_label_value, is_port_name};

    #[test]
    fn each_syntax_takes_and_refuses_what_the_api_does() {
        let long = "a".repeat(64);
        type Case<'a> = (fn(&str) -> bool, &'a [&'a str], &'a [&'a str]);
        let cases: &[Case<'_>] = &[
            (is_dns_label, &["a", "a-1", "0a"], &["", "-a", "a-", "A", "a.b", "a_b", &long]),
            (is_dns_subdomain, &["a", "a.b-c.d"], &["", "a..b", ".a", "a.", "A.b"]),
            (is_label_key, &["a", "A_b.c", "x.io/name"], &["", "/a", "x.io/", "a/b/c", "-a", "X.io/a", &long]),
            (is_label_value, &["", "a", "A_b.c-d"], &["-a", "a b", "a/b", "ü", &long]),
            (is_port_name, &["http", "dns-tcp", "a1"], &["", "8080", "a--b", "http-", "Http", "sixteen-letters-"]),
        ];
        for (accepts, good, bad) in cases {
            good.iter().for_each(|text| assert!(accepts(text), "{text}"));
            bad.iter().for_each(|text| assert!(!accepts(text), "{text}"));
        }
    }
}
