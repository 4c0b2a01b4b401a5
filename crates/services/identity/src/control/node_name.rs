//! Names of nodes, and the identities that go with them.

use lictor_model::{InvalidSpiffeId, SpiffeId, TrustDomain};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Where the identities of nodes begin.
const NODE: &str = "/lictor/node/";

/// A node's name: a DNS subdomain in lower case, at most 253 bytes.
///
/// Source: Kubernetes, "Object Names and IDs", DNS subdomain names (RFC 1123), which names of nodes are.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

/// A text that is no node's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the name of a node: at most 253 lower-case letters, digits, dashes and dots, a letter or digit at each end of a label"
)]
pub struct InvalidNodeName;

impl NodeName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, shared.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }

    /// The identity that the node proves itself by: `spiffe://<trust domain>/lictor/node/<name>`.
    ///
    /// # Errors
    /// It would be longer than a SPIFFE ID may be.
    pub fn identity(&self, trust_domain: &TrustDomain) -> Result<SpiffeId, InvalidSpiffeId> {
        format!("spiffe://{trust_domain}{NODE}{}", self.0).parse()
    }

    /// The node that an identity of `trust_domain` is; nothing if it is none.
    pub fn of(id: &SpiffeId, trust_domain: &TrustDomain) -> Option<Self> {
        let name = id.path().strip_prefix(NODE)?;
        (id.trust_domain_str() == trust_domain.as_str()).then(|| name.parse().ok())?
    }
}

/// The identity that control proves itself by: `spiffe://<trust domain>/lictor/control`.
///
/// # Errors
/// It would be longer than a SPIFFE ID may be.
pub fn control_id(trust_domain: &TrustDomain) -> Result<SpiffeId, InvalidSpiffeId> {
    format!("spiffe://{trust_domain}/lictor/control").parse()
}

impl FromStr for NodeName {
    type Err = InvalidNodeName;

    fn from_str(text: &str) -> Result<Self, InvalidNodeName> {
        let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let label = |label: &str| {
            let bytes = label.as_bytes();
            let ends = [bytes.first(), bytes.last()];
            ends.into_iter().all(|end| end.is_some_and(alphanumeric))
                && bytes.iter().all(|byte| alphanumeric(byte) || *byte == b'-')
        };
        if text.len() <= 253 && text.split('.').all(label) { Ok(Self(text.into())) } else { Err(InvalidNodeName) }
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::NodeName;

    #[test]
    fn a_name_is_a_subdomain_and_comes_back_from_its_identity() {
        let domain = "td.example".parse().expect("a trust domain");
        for good in ["a", "node-1", "ip-10-0-0-1.eu-west-1.compute.internal", "1", &"a".repeat(253)] {
            let name: NodeName = good.parse().expect("a name");
            let id = name.identity(&domain).expect("an identity");
            assert_eq!(
                (NodeName::of(&id, &domain).as_ref(), id.path()),
                (Some(&name), &*format!("/lictor/node/{good}"))
            );
            assert_eq!(NodeName::of(&id, &"other.example".parse().expect("a trust domain")), None);
        }
        for bad in ["", ".", "..", "a.", ".a", "a..b", "-a", "a-", "A", "a/b", "a_b", "é", "a b", &"a".repeat(254)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
        }
        for none in [
            "spiffe://td.example/lictor/node/a/b",
            "spiffe://td.example/lictor/control",
            "spiffe://td.example/ns/a/sa/b",
        ] {
            assert_eq!(NodeName::of(&none.parse().expect("an identity"), &domain), None, "{none}");
        }
    }
}
