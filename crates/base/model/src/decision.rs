//! The one record of what was decided.

use crate::{Layer, Mode, Name, PolicyRef, Protocol, Revision, SpiffeId, Verdict};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use time::OffsetDateTime;

/// The version of the JSON form; see `docs/decision-record.md`.
pub const SCHEMA: &str = "lictor.dev/decision.v1";

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum By {
    /// A rule of a policy.
    Policy(PolicyRef),
    /// Policies select the endpoint and none of their rules allows this; they are listed, the whole policy each.
    Isolation(Vec<PolicyRef>),
    /// No policy of the layer applies; the layer's default stands.
    NoPolicy,
    /// Traffic of a pod with itself, which no policy can block.
    OwnPod,
    /// Traffic of a pod with its own node, which no policy can block.
    OwnNode,
    /// An end is outside the mesh, so the layer has nothing to judge it by.
    OutsideMesh,
    /// The destination has no enforcement point of ours.
    OutsideCluster,
    /// Something that the verdict needs is unknown (an identity, a policy, an endpoint); it fails closed.
    Unknown(String),
}

impl By {
    /// The policy rule, if one decided.
    pub fn policy(&self) -> Option<&PolicyRef> {
        match self {
            Self::Policy(policy) => Some(policy),
            _ => None,
        }
    }

    /// Every policy that had a part in it.
    pub fn policies(&self) -> &[PolicyRef] {
        match self {
            Self::Policy(policy) => std::slice::from_ref(policy),
            Self::Isolation(policies) => policies,
            _ => &[],
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Isolation(policies) => {
                f.write_str("default, isolated by ")?;
                for (at, policy) in policies.iter().enumerate() {
                    write!(f, "{}{}", if at == 0 { "" } else { ", " }, policy.name)?;
                }
                Ok(())
            }
            Self::NoPolicy => f.write_str("default, no policy applies"),
            Self::OwnPod => f.write_str("traffic of a pod with itself"),
            Self::OwnNode => f.write_str("traffic of a pod with its own node"),
            Self::OutsideMesh => f.write_str("default, an end is outside the mesh"),
            Self::OutsideCluster => f.write_str("default, the destination is outside the cluster"),
            Self::Unknown(what) => f.write_str(what),
        }
    }
}

/// One end of what was decided about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The pod, if the address belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Name>,
    /// The address.
    pub address: IpAddr,
    /// The port; 0 where the protocol has none or where it is not known.
    pub port: u16,
    /// The identity: proved by a certificate where the transport was mutual TLS, otherwise absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<SpiffeId>,
}

/// Where a decision was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Point {
    /// The eBPF program at the pod's link.
    Kernel,
    /// The proxy, on a connection.
    Proxy,
    /// The proxy, on an HTTP request.
    Http,
    /// An Envoy that asked by external authorization; what it says of the request is not known otherwise.
    Envoy,
}

/// A verdict on one connection or request, and everything that explains it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// Unique within the node that made it; a [`Close`] names it.
    pub id: u64,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// The layer that decided: the one that denied (or would have), else the last one asked.
    pub layer: Layer,
    /// How far that layer goes.
    pub mode: Mode,
    /// What happened.
    pub verdict: Verdict,
    /// What would have happened had every layer enforced.
    pub would: Verdict,
    /// What decided.
    pub by: By,
    /// Who opened it.
    pub source: Party,
    /// Whom it was for.
    pub destination: Party,
    /// The protocol.
    pub protocol: Protocol,
    /// Whether it came by mutual TLS.
    pub encrypted: bool,
    /// The HTTP method, on a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The HTTP path without its query, on a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The HTTP host, on a request; without one, the name that DNS was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Policies with action AUDIT that matched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audited_by: Vec<PolicyRef>,
    /// Where it was decided.
    pub point: Point,
    /// The snapshot that it was decided under.
    pub revision: Revision,
}

/// The end of a connection that was allowed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Close {
    /// The decision that let it begin.
    pub id: u64,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub time: OffsetDateTime,
    /// Payload bytes from source to destination.
    pub bytes_sent: u64,
    /// Payload bytes from destination to source.
    pub bytes_received: u64,
    /// Why it ended, where a policy ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_by: Option<By>,
}

/// One line of the decision log. Most are decisions, so a box would only add an allocation to each.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Record {
    /// A connection or request was judged.
    Decision(Decision),
    /// An allowed connection ended.
    Close(Close),
}

/// Draws the ids of one node's decisions.
#[derive(Debug, Default)]
pub struct DecisionIds(AtomicU64);

impl DecisionIds {
    /// An id that was not drawn before.
    pub fn draw(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use super::{By, Decision, Party, Point, Record};
    use crate::{Layer, Mode, Name, PolicyKind, PolicyRef, Protocol, Revision, Verdict};
    use time::OffsetDateTime;

    #[test]
    fn a_record_survives_its_json_form() {
        let policy = PolicyRef::whole(PolicyKind::NetworkPolicy, Name::new("production", "default-deny"));
        let party = |name: &str, address: [u8; 4], port| Party {
            pod: Some(Name::new("production", name)),
            address: address.into(),
            port,
            identity: None,
        };
        let record = Record::Decision(Decision {
            id: 7,
            time: OffsetDateTime::UNIX_EPOCH,
            layer: Layer::Egress,
            mode: Mode::Enforce,
            verdict: Verdict::Deny,
            would: Verdict::Deny,
            by: By::Isolation(vec![policy]),
            source: party("api", [10, 244, 0, 2], 40000),
            destination: party("db", [10, 244, 0, 3], 5432),
            protocol: Protocol::Tcp,
            encrypted: false,
            method: None,
            path: None,
            host: None,
            audited_by: Vec::new(),
            point: Point::Kernel,
            revision: Revision(3),
        });
        let json = serde_json::to_string(&record).expect("a record is JSON");
        assert!(
            json.starts_with(r#"{"event":"decision","id":7,"time":"1970-01-01T00:00:00Z","layer":"egress""#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Record>(&json).ok(), Some(record));
    }
}
