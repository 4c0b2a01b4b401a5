//! Why a question's words name nothing that can be judged.

use lictor_model::{InvalidSpiffeId, Protocol};

/// A question that cannot be answered as it is put. [`Unclear::hint`] says what to ask instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// No name.
    #[error("expected namespace/name, an address or a SPIFFE ID, found nothing")]
    Empty,
    /// Brackets without an IPv6 address.
    #[error("expected an IPv6 address in brackets, found `{text}`")]
    NotAnAddress {
        /// What stood there.
        text: String,
    },
    /// A port that is none.
    #[error("expected a port from 1 to 65535 or a port name, found `{text}`")]
    NotAPort {
        /// What stood there.
        text: String,
    },
    /// A protocol that is none.
    #[error("expected TCP, UDP or SCTP, found `{text}`")]
    NotAProtocol {
        /// What stood there.
        text: String,
    },
    /// A SPIFFE ID that is none.
    #[error("`{text}` is no SPIFFE ID: {error}")]
    NotAnIdentity {
        /// What stood there.
        text: String,
        /// Why it is none.
        error: InvalidSpiffeId,
    },
    /// A port on the side that opens the connection.
    #[error("`{text}` names a port; the port belongs to the second end")]
    SourcePort {
        /// What stood there.
        text: String,
    },
    /// Nothing has this name.
    #[error("no pod, workload or service is named {asked}{}", if *namespace_known { "" } else { ", and no such namespace is known" })]
    UnknownName {
        /// The name that was asked for.
        asked: String,
        /// Whether its namespace exists.
        namespace_known: bool,
        /// Names that may have been meant.
        nearest: Vec<String>,
    },
    /// No pod has this identity.
    #[error("no pod has the identity {text}")]
    UnknownIdentity {
        /// The identity that was asked for.
        text: String,
        /// Identities that may have been meant.
        nearest: Vec<String>,
    },
    /// No port was named and there is not exactly one.
    #[error("{end} has {}; name the port: {end}:PORT", if ports.is_empty() { "no declared port" } else { "several ports" })]
    NoPort {
        /// The end.
        end: String,
        /// The ports that it has.
        ports: Vec<String>,
    },
    /// No such port.
    #[error("{end} has no port `{port}`")]
    UnknownPort {
        /// The end.
        end: String,
        /// The port that was asked for.
        port: String,
        /// The ports that it has.
        ports: Vec<String>,
    },
    /// A service with nothing behind it.
    #[error("service {service} has no backend on this port, so a connection to it goes nowhere")]
    NoBackends {
        /// The service.
        service: String,
    },
    /// An ExternalName service.
    #[error("service {service} is an alias for {alias}; ask about the address that this name resolves to")]
    Alias {
        /// The service.
        service: String,
        /// What it stands for.
        alias: String,
    },
    /// IPv4 at one end only.
    #[error("{from} and {to} have no address family in common")]
    NoCommonFamily {
        /// Who opens the connection.
        from: String,
        /// Whom it is for.
        to: String,
    },
    /// An HTTP request over another protocol.
    #[error("a method or path needs TCP, and the port is {protocol}")]
    RequestWithoutTcp {
        /// The port's protocol.
        protocol: Protocol,
    },
}

impl Unclear {
    /// What to ask instead, if there is something near.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownName { nearest, .. } | Self::UnknownIdentity { nearest, .. } if !nearest.is_empty() => {
                Some(format!("did you mean {}?", nearest.join(", ")))
            }
            Self::UnknownName { asked, namespace_known: true, .. } => {
                let namespace = asked.split('/').next().unwrap_or_default();
                Some(format!("`lictor edges -n {namespace}` lists what is there"))
            }
            Self::NoPort { ports, .. } | Self::UnknownPort { ports, .. } if !ports.is_empty() => {
                Some(format!("its ports: {}", ports.join(", ")))
            }
            _ => None,
        }
    }
}
