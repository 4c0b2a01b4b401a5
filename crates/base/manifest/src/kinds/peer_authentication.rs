//! `security.istio.io` PeerAuthentication.

use crate::Meta;
use lictor_model::Selector;
use std::collections::BTreeMap;

/// Whether connections to the selected workloads must be mutual TLS.
///
/// Source: istio/api, `security/v1beta1/peer_authentication.proto`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerAuthentication {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// The workloads; nothing means the whole namespace, or the whole mesh in the root namespace.
    pub selector: Option<Selector>,
    /// The mode for every port.
    pub mode: MtlsMode,
    /// Modes of single ports of the workload; only with a selector.
    pub ports: BTreeMap<u16, MtlsMode>,
}

/// A mutual-TLS mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MtlsMode {
    /// Take the parent scope's mode; PERMISSIVE where there is none.
    #[default]
    Unset,
    /// Plaintext only.
    Disable,
    /// Plaintext and mutual TLS.
    Permissive,
    /// Mutual TLS only.
    Strict,
}
