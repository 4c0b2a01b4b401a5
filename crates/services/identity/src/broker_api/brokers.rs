//! Who may ask for the identities of others, and how they may refer to them.
//!
//! Source: SPIFFE Broker Endpoint, section 5, and SPIFFE Broker API, section 4.1: a static list by SPIFFE ID, that allows and
//! does nothing else. What an entry has is what a SPIRE agent's `experimental.broker.brokers` has: `id` and
//! `allowed_reference_types`.

use lictor_model::{SpiffeId, TrustDomain};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Before the name of a message in the type of a packed one.
const PREFIX: &str = "type.googleapis.com/spiffe.broker.";

/// A type of reference that is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReferenceType {
    /// A process, by its number on this node.
    Pid,
    /// An object of the cluster, by its names or its uid.
    KubernetesObject,
}

/// The types of reference that a broker may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceTypes {
    /// Every one that is known here.
    Any,
    /// These; none of them twice.
    These(BTreeSet<ReferenceType>),
}

/// The brokers of a node, by their SPIFFE IDs. Whoever is not among them is none; the empty list has none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Brokers(BTreeMap<SpiffeId, ReferenceTypes>);

/// Why somebody cannot be a broker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBrokers {
    /// It is on the list already.
    #[error("expected each broker once, saw {0} twice")]
    Twice(SpiffeId),
    /// A whole trust domain, of which no workload has the identity.
    #[error("expected the identity of a workload, saw the whole trust domain {0}")]
    WholeTrustDomain(SpiffeId),
    /// Another trust domain's: it would say who of its own gets our keys.
    #[error("expected a broker of the trust domain {own}, saw {id}")]
    Foreign {
        /// The own trust domain.
        own: TrustDomain,
        /// The broker.
        id: SpiffeId,
    },
    /// It may refer to nothing.
    #[error("expected a type of reference for the broker {0}, saw none")]
    NoTypes(SpiffeId),
}

/// A type of reference that is not known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {PREFIX}WorkloadPIDReference or {PREFIX}KubernetesObjectReference, saw {0:?}")]
pub struct UnknownType(pub String);

impl Brokers {
    /// One more broker, of the trust domain `own`.
    ///
    /// # Errors
    /// It is there already, it is no workload of the trust domain, or it may refer to nothing.
    pub fn insert(&mut self, own: &TrustDomain, id: SpiffeId, types: ReferenceTypes) -> Result<(), InvalidBrokers> {
        if id.trust_domain() != *own {
            return Err(InvalidBrokers::Foreign { own: own.clone(), id });
        }
        if id.path().is_empty() {
            return Err(InvalidBrokers::WholeTrustDomain(id));
        }
        if types == ReferenceTypes::These(BTreeSet::new()) {
            return Err(InvalidBrokers::NoTypes(id));
        }
        if self.0.contains_key(&id) {
            return Err(InvalidBrokers::Twice(id));
        }
        self.0.insert(id, types);
        Ok(())
    }

    /// What a broker may use; nothing for whoever is none.
    pub fn types_of(&self, id: &SpiffeId) -> Option<&ReferenceTypes> {
        self.0.get(id)
    }

    /// Whether there is no broker.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl ReferenceTypes {
    /// Whether this type is among them.
    pub fn contain(&self, one: ReferenceType) -> bool {
        match self {
            Self::Any => true,
            Self::These(types) => types.contains(&one),
        }
    }
}

impl ReferenceType {
    /// As the type of a packed message (`type_url`).
    pub fn type_url(self) -> String {
        let name = match self {
            Self::Pid => "WorkloadPIDReference",
            Self::KubernetesObject => "KubernetesObjectReference",
        };
        format!("{PREFIX}{name}")
    }
}

impl FromStr for ReferenceType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        match text.strip_prefix(PREFIX) {
            Some("WorkloadPIDReference") => Ok(Self::Pid),
            Some("KubernetesObjectReference") => Ok(Self::KubernetesObject),
            _ => Err(UnknownType(text.to_owned())),
        }
    }
}

impl fmt::Display for ReferenceType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.type_url())
    }
}

#[cfg(test)]
mod tests {
    use super::{Brokers, InvalidBrokers, ReferenceType, ReferenceTypes};
    use lictor_model::SpiffeId;

    fn id(text: &str) -> SpiffeId {
        text.parse().expect("an identity")
    }

    #[test]
    fn nobody_is_a_broker_but_who_is_named() {
        let own = "td.example".parse().expect("a trust domain");
        let mut brokers = Brokers::default();
        assert!(brokers.is_empty() && brokers.types_of(&id("spiffe://td.example/proxy")).is_none());
        let pid = ReferenceTypes::These([ReferenceType::Pid].into());
        brokers.insert(&own, id("spiffe://td.example/proxy"), pid.clone()).expect("a broker");
        brokers.insert(&own, id("spiffe://td.example/any"), ReferenceTypes::Any).expect("a broker");
        assert_eq!(brokers.types_of(&id("spiffe://td.example/proxy")), Some(&pid));
        for other in ["spiffe://td.example/prox", "spiffe://td.example/proxy/a", "spiffe://td.example/Proxy"] {
            assert!(brokers.types_of(&id(other)).is_none(), "{other}");
        }
        let mut refused = |text: &str, types: ReferenceTypes| brokers.insert(&own, id(text), types).expect_err(text);
        let any = || ReferenceTypes::Any;
        assert!(matches!(refused("spiffe://td.example/proxy", any()), InvalidBrokers::Twice(_)));
        assert!(matches!(refused("spiffe://td.example", any()), InvalidBrokers::WholeTrustDomain(_)));
        assert!(matches!(refused("spiffe://other.example/proxy", any()), InvalidBrokers::Foreign { .. }));
        let none = ReferenceTypes::These([].into());
        assert!(matches!(refused("spiffe://td.example/new", none), InvalidBrokers::NoTypes(_)));
    }

    #[test]
    fn a_type_has_one_spelling() {
        for known in [ReferenceType::Pid, ReferenceType::KubernetesObject] {
            assert_eq!(known.type_url().parse(), Ok(known));
        }
        for text in [
            "",
            "*",
            "WorkloadPIDReference",
            "/spiffe.broker.WorkloadPIDReference",
            "example.com/spiffe.broker.WorkloadPIDReference",
            "type.googleapis.com/spiffe.broker.WorkloadPidReference",
            "type.googleapis.com/spiffe.broker.WorkloadPIDReference ",
            "type.googleapis.com/spiffe.broker.WorkloadReference",
        ] {
            assert!(text.parse::<ReferenceType>().is_err(), "{text:?}");
        }
    }
}
