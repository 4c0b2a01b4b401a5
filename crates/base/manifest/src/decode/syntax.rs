//! The syntax of names, labels and ports.
//!
//! Source: `k8s.io/apimachinery/pkg/util/validation` (`IsDNS1123Label`, `IsDNS1123Subdomain`, `IsQualifiedName`,
//! `IsValidLabelValue`, `IsValidPortName`).

use crate::fields::Field;
use crate::finding::Code;
use lictor_model::Cidr;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

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

/// A duration that is not negative: numbers, each with its unit, such as `1h30m` or `1.5s`; or `0`.
///
/// Source: Go, `time.ParseDuration`, which is what `metav1.Duration` is read by.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, u64); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut sum = Duration::ZERO;
    loop {
        let number = rest.get(..rest.find(|c: char| !c.is_ascii_digit() && c != '.')?)?;
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || part.len() > 18 {
            return None;
        }
        rest = rest.get(number.len()..)?;
        let word = rest.get(..rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len()))?;
        let (_, unit) = UNITS.iter().find(|(name, _)| *name == word)?;
        let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
        let scale = 10_u128.checked_pow(u32::try_from(part.len()).ok()?)?;
        let fraction = u128::from(digits(part)?) * u128::from(*unit) / scale;
        let nanoseconds = digits(whole)?.checked_mul(*unit)?.checked_add(u64::try_from(fraction).ok()?)?;
        sum = sum.checked_add(Duration::from_nanos(nanoseconds))?;
        rest = rest.get(word.len()..)?;
        if rest.is_empty() {
            return i64::try_from(sum.as_nanos()).is_ok().then_some(sum);
        }
    }
}

/// An `https` URL with a host, and a port perhaps, without a user.
///
/// Source: spire-controller-manager, `ValidateBundleEndpointURL`.
pub(crate) fn is_https_url(text: &str) -> bool {
    let scheme = text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let rest = text.get(8..).unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port),
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let in_brackets = authority.starts_with('[');
    let host = if in_brackets {
        host.parse::<std::net::Ipv6Addr>().is_ok()
    } else {
        !host.is_empty() && host.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'))
    };
    let port =
        port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    scheme && host && port && rest.bytes().all(|c| c.is_ascii_graphic())
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
    use super::{
        go_duration, is_dns_label, is_dns_subdomain, is_https_url, is_label_key, is_label_value, is_port_name,
    };

    #[test]
    fn durations_are_those_of_go() {
        for (text, milliseconds) in [
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1h30m", Some(5_400_000)),
            ("1.5s", Some(1_500)),
            (".5s", Some(500)),
            ("1.s", Some(1_000)),
            ("+2m", Some(120_000)),
            ("1s1s", Some(2_000)),
            ("1µs1us1μs997000ns", Some(1)),
            ("", None),
            ("1", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1 s", None),
            ("1d", None),
            ("1.1.1s", None),
            ("2562048h", None),
            ("99999999999999999999s", None),
        ] {
            assert_eq!(go_duration(text).map(|duration| duration.as_millis()), milliseconds, "{text}");
        }
    }

    #[test]
    fn bundle_endpoints_are_https_without_a_user() {
        for good in ["https://a", "HTTPS://a.test:8443/bundle?x=1", "https://10.0.0.1/", "https://[fd00::1]:443/b"] {
            assert!(is_https_url(good), "{good}");
        }
        let bad =
            ["", "https://", "https:///x", "http://a", "a", "https://u@a", "https://a:0", "https://a:x", "https://a b"];
        for bad in
            bad.into_iter().chain(["https://[fd00::1", "https://[x]", "https://a/\n", "https://:443", "éhttps://a"])
        {
            assert!(!is_https_url(bad), "{bad}");
        }
    }

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
