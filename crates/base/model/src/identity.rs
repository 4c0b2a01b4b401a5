//! SPIFFE identities.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a trust domain: 1 to 255 lower-case letters, digits, dots, dashes and underscores.
///
/// A name that is also an IPv4 address or a DNS name is nothing special.
///
/// Source: SPIFFE-ID, sections 2.1 and 2.3.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustDomain(Arc<str>);

/// A SPIFFE ID: `spiffe://<trust domain>/<path>`.
///
/// Source: SPIFFE-ID, section 2: no query, fragment, user or port; path segments of letters, digits,
/// dots, dashes and underscores, none empty, `.` or `..`; no trailing slash; at most 2048 bytes.
///
/// Section 2.4 calls the scheme and the trust domain case-insensitive, section 2.1 has the trust domain in lower case.
/// Both in lower case is the only form that is read here, so that equal identities are equal texts wherever they are
/// compared, in other programs as well.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SpiffeId {
    text: Arc<str>,
    path_at: usize,
}

/// Why a text is no SPIFFE ID or trust domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpiffeId {
    /// The scheme is another one.
    #[error("expected a SPIFFE ID that begins with spiffe://")]
    Scheme,
    /// The trust domain is empty or longer than 255 bytes.
    #[error("expected a trust domain of 1 to 255 bytes")]
    TrustDomainLength,
    /// A character that a trust domain may not have.
    #[error("expected a trust domain of lower-case letters, digits, dots, dashes and underscores")]
    TrustDomainCharacter,
    /// A path segment is empty, `.` or `..`, or the path ends with a slash.
    #[error("expected path segments that are not empty, `.` or `..`, and no trailing slash")]
    PathSegment,
    /// A character that a path may not have.
    #[error("expected path segments of letters, digits, dots, dashes and underscores")]
    PathCharacter,
    /// More than 2048 bytes.
    #[error("expected a SPIFFE ID of at most 2048 bytes")]
    Length,
}

const SCHEME: &str = "spiffe://";
const MAX_LENGTH: usize = 2048;
const MAX_TRUST_DOMAIN: usize = 255;

impl TrustDomain {
    /// The name alone.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of a Kubernetes workload: `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
    pub fn workload(&self, namespace: &str, service_account: &str) -> Result<SpiffeId, InvalidSpiffeId> {
        format!("{SCHEME}{}/ns/{namespace}/sa/{service_account}", self.0).parse()
    }
}

impl Default for TrustDomain {
    /// `cluster.local`, as most clusters have it.
    fn default() -> Self {
        Self("cluster.local".into())
    }
}

impl FromStr for TrustDomain {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.is_empty() || text.len() > MAX_TRUST_DOMAIN {
            return Err(InvalidSpiffeId::TrustDomainLength);
        }
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
        if text.bytes().all(allowed) { Ok(Self(text.into())) } else { Err(InvalidSpiffeId::TrustDomainCharacter) }
    }
}

impl SpiffeId {
    /// The whole URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain.
    pub fn trust_domain(&self) -> TrustDomain {
        TrustDomain(self.trust_domain_str().into())
    }

    /// The trust domain's name.
    pub fn trust_domain_str(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// The path with its leading slash; empty for a trust domain's own identity.
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// The URI without its scheme, as Istio policies write a principal.
    pub fn principal(&self) -> &str {
        self.text.get(SCHEME.len()..).unwrap_or_default()
    }

    /// Namespace and service account, if the path has the form `/ns/<namespace>/sa/<service account>`.
    pub fn workload(&self) -> Option<(&str, &str)> {
        let rest = self.path().strip_prefix("/ns/")?;
        let (namespace, rest) = rest.split_once('/')?;
        let account = rest.strip_prefix("sa/")?;
        (!account.contains('/')).then_some((namespace, account))
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(text: &str) -> Result<Self, InvalidSpiffeId> {
        if text.len() > MAX_LENGTH {
            return Err(InvalidSpiffeId::Length);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(InvalidSpiffeId::Scheme)?;
        let (domain, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        domain.parse::<TrustDomain>()?;
        if let Some(segments) = path.strip_prefix('/') {
            for segment in segments.split('/') {
                if matches!(segment, "" | "." | "..") {
                    return Err(InvalidSpiffeId::PathSegment);
                }
                if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
                    return Err(InvalidSpiffeId::PathCharacter);
                }
            }
        }
        Ok(Self { text: text.into(), path_at: SCHEME.len() + domain.len() })
    }
}

macro_rules! text_form {
    ($type:ty) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl TryFrom<String> for $type {
            type Error = InvalidSpiffeId;
            fn try_from(text: String) -> Result<Self, InvalidSpiffeId> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.as_str().to_owned()
            }
        }
    };
}
text_form!(TrustDomain);
text_form!(SpiffeId);

#[cfg(test)]
mod tests {
    use super::{InvalidSpiffeId, SpiffeId, TrustDomain};

    #[test]
    fn a_workload_identity_has_its_parts() {
        let domain: TrustDomain = "cluster.local".parse().expect("a trust domain");
        let id = domain.workload("production", "api").expect("an identity");
        assert_eq!(id.as_str(), "spiffe://cluster.local/ns/production/sa/api");
        assert_eq!(id.principal(), "cluster.local/ns/production/sa/api");
        assert_eq!(id.workload(), Some(("production", "api")));
        assert_eq!((id.trust_domain(), id.path()), (domain, "/ns/production/sa/api"));
    }

    #[test]
    fn the_forms_that_the_specification_forbids_are_refused() {
        use InvalidSpiffeId as E;
        let long = format!("spiffe://td/{}", "a".repeat(2048));
        for (text, error) in [
            ("http://td/x", E::Scheme),
            ("spiffe:///x", E::TrustDomainLength),
            ("spiffe://TD/x", E::TrustDomainCharacter),
            ("spiffe://td:80/x", E::TrustDomainCharacter),
            ("spiffe://u@td/x", E::TrustDomainCharacter),
            ("spiffe://td/", E::PathSegment),
            ("spiffe://td/a//b", E::PathSegment),
            ("spiffe://td/../b", E::PathSegment),
            ("spiffe://td/a/", E::PathSegment),
            ("spiffe://td/a?b", E::PathCharacter),
            ("spiffe://td/a#b", E::PathCharacter),
            ("spiffe://td/%41", E::PathCharacter),
            (&long, E::Length),
        ] {
            assert_eq!(text.parse::<SpiffeId>(), Err(error), "{text}");
        }
        assert_eq!("spiffe://td".parse::<SpiffeId>().map(|id| id.path().len()), Ok(0));
    }
}
