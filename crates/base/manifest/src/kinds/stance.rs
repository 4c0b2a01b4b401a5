//! `lictor.dev/v1alpha1` Stance.

use crate::Meta;
use lictor_model::{Established, Layer, Mode, Selector};

/// How far a layer goes for the selected pods: observe, audit or enforce.
///
/// A Stance in the root namespace speaks for every namespace. The narrowest one wins: selector before
/// namespace before root namespace; among equals the stricter mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stance {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// The layers it speaks of; at least one.
    pub layers: Vec<StanceLayer>,
    /// The pods; nothing means all of the namespace.
    pub selector: Option<Selector>,
    /// How far these layers go.
    pub mode: Mode,
    /// What a policy change does to connections that are open.
    pub established: Established,
}

/// A layer as a Stance names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StanceLayer {
    /// `segmentation`: both directions.
    Segmentation,
    /// `transport`.
    Transport,
    /// `authorization`.
    Authorization,
}

impl StanceLayer {
    /// Whether a decision's layer is part of this one.
    pub const fn covers(self, layer: Layer) -> bool {
        matches!(
            (self, layer),
            (Self::Segmentation, Layer::Egress | Layer::Ingress)
                | (Self::Transport, Layer::Transport)
                | (Self::Authorization, Layer::Authorization)
        )
    }
}
