//! DNS names that a certificate may carry.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A DNS name as SPIRE lets a registration have one: labels of letters, digits and dashes joined by dots, the first one a
/// `*` perhaps.
///
/// Source: SPIRE, `pkg/common/x509util/dns.go`: at most 63 bytes a label and 253 in all, no dash at a label's ends or at its
/// third and fourth place, which leaves out punycode as well; no trailing dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Arc<str>);

/// A text that is no DNS name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a DNS name: labels of at most 63 letters, digits and dashes, no dash at an end or at the third and fourth place"
)]
pub struct InvalidDnsName;

impl DnsName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The wildcard that means this name, were it there: `*` for the first label.
    pub fn wildcard(&self) -> Option<Self> {
        let (first, rest) = self.0.split_once('.')?;
        (first != "*").then(|| Self(Arc::from(format!("*.{rest}"))))
    }
}

impl FromStr for DnsName {
    type Err = InvalidDnsName;

    fn from_str(text: &str) -> Result<Self, InvalidDnsName> {
        let name = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            let bytes = label.as_bytes();
            !label.is_empty()
                && label.len() <= 63
                && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
                && bytes.first() != Some(&b'-')
                && bytes.last() != Some(&b'-')
                && bytes.get(2..4) != Some(b"--")
        };
        (text.len() <= 253 && name.split('.').all(label)).then(|| Self(Arc::from(text))).ok_or(InvalidDnsName)
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::DnsName;

    #[test]
    fn names_that_a_certificate_may_carry_and_others() {
        let (long, longest) = ("a".repeat(64), ["a".repeat(63).as_str(); 4].join("."));
        for good in ["a", "a.b", "*.a", "web-0.shop.svc.cluster.local", "A-1.b", "1.2"] {
            assert!(good.parse::<DnsName>().is_ok(), "{good}");
        }
        let bad = [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a_b",
            "a b",
            "*",
            "*a.b",
            "a.*.b",
            "*.*.a",
            "xn--a",
            "<no value>",
            "ä",
        ];
        for bad in bad.into_iter().chain([long.as_str(), longest.as_str()]) {
            assert!(bad.parse::<DnsName>().is_err(), "{bad}");
        }
        let wildcard = |name: &str| name.parse::<DnsName>().ok()?.wildcard().map(|name| name.to_string());
        assert_eq!(wildcard("a.b.c").as_deref(), Some("*.b.c"));
        assert_eq!((wildcard("a"), wildcard("*.a")), (None, None));
    }
}
