//! A question in words, and the flows that it is about.

use lictor_manifest::WorkloadKind;
use lictor_model::{Flow, Peer, Protocol};
use serde::Serialize;

/// A question as a person asks it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ask {
    /// Who opens the connection: `namespace/name` of a pod, workload or service, an address, or a SPIFFE ID.
    pub from: String,
    /// Whom it is for: the same, then optionally `:port` (number or name) and `/protocol`.
    pub to: String,
    /// The namespace of a name that has none.
    pub namespace: String,
    /// The protocol, where neither the words nor the declared ports say it.
    pub protocol: Option<Protocol>,
    /// The HTTP request; nothing asks about the connection.
    pub request: Option<RequestAsk>,
}

/// The HTTP request of a question.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct RequestAsk {
    /// The method.
    pub method: String,
    /// The path, with its query if any.
    pub path: String,
    /// The `Host`; the destination's own name when not asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Further headers, names in lower case.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
}

/// A question whose words are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Who opens the connection.
    pub source: End,
    /// Whom it is for.
    pub destination: End,
    /// The protocol.
    pub protocol: Protocol,
    /// The port as it was asked for: a service's own port when it was reached by a service.
    pub port: u16,
    /// The flow that the question is about, between the first two pods.
    pub flow: Flow,
    /// The flows between other pods of the same ends, so many that there are at most [`Question::MAX_FLOWS`].
    pub others: Vec<Flow>,
    /// How many pairs there are in all.
    pub pairs: usize,
    /// The HTTP request.
    pub request: Option<RequestAsk>,
    /// What a reader should know of how the words were understood.
    pub remarks: Vec<String>,
}

impl Question {
    /// Every flow.
    pub fn flows(&self) -> impl Iterator<Item = &Flow> {
        std::iter::once(&self.flow).chain(&self.others)
    }

    /// A question about workloads of many pods looks at so many pairs.
    pub const MAX_FLOWS: usize = 64;
}

/// One end of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// The words that name it; they can be asked with again.
    pub text: String,
    /// What they name.
    pub kind: EndKind,
    /// The addresses behind it; at least one.
    pub peers: Vec<Peer>,
}

/// What an end's words name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum EndKind {
    /// One pod.
    Pod,
    /// All pods of a workload.
    Workload(#[serde(serialize_with = "kind_word")] WorkloadKind),
    /// The backends of a service.
    Service,
    /// An address.
    Address,
    /// All pods with an identity.
    Identity,
}

fn kind_word<S: serde::Serializer>(kind: &WorkloadKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.as_str())
}
