//! Layers, modes and verdicts.

use crate::flow::Direction;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)* }

        impl $type {
            /// Every value, in order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word that outputs and inputs use.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }

        impl FromStr for $type {
            type Err = UnknownWord;
            fn from_str(text: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| UnknownWord {
                    expected: Self::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", "),
                    found: text.to_owned(),
                })
            }
        }
    };
}

words! {
    /// A place where a connection or request is judged, in the order in which it meets them.
    Layer {
        /// Segmentation, where the connection leaves the source.
        Egress = "egress",
        /// Whether the connection is encrypted and both ends are known, as the destination demands.
        Transport = "transport",
        /// Segmentation, where the connection enters the destination.
        Ingress = "ingress",
        /// Peer, request and authorization policy at the destination.
        Authorization = "authorization",
    }
}

words! {
    /// How far a layer goes with what it decides.
    Mode {
        /// Record what happens; compute no denial.
        Observe = "Observe",
        /// Compute and record what would be denied, allow it.
        Audit = "Audit",
        /// Do what the policies say.
        Enforce = "Enforce",
    }
}

words! {
    /// What happens, or would happen, to a connection or request.
    Verdict {
        /// It goes on.
        Allow = "allowed",
        /// It ends here.
        Deny = "denied",
    }
}

impl From<Direction> for Layer {
    /// The layer of the network policies for a direction.
    fn from(direction: Direction) -> Self {
        match direction {
            Direction::Ingress => Self::Ingress,
            Direction::Egress => Self::Egress,
        }
    }
}

impl Verdict {
    /// Whether it goes on.
    pub const fn is_allow(self) -> bool {
        matches!(self, Self::Allow)
    }

    /// What really happens when a layer in `mode` comes to this verdict.
    #[must_use]
    pub const fn under(self, mode: Mode) -> Self {
        match mode {
            Mode::Enforce => self,
            Mode::Observe | Mode::Audit => Self::Allow,
        }
    }
}

/// What a policy change does to connections that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Established {
    /// Judge them again at once.
    #[default]
    Rejudge,
    /// Leave them alone.
    Keep,
}

/// A word outside a closed vocabulary.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected one of {expected}, found `{found}`")]
pub struct UnknownWord {
    /// The vocabulary.
    pub expected: String,
    /// What stood there.
    pub found: String,
}
