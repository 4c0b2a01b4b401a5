//! The templates of registration: the part of Go's `text/template` that ClusterSPIFFEID uses.
//!
//! **Purpose.** [`Template::parse`] reads `spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}`; [`Template::render`]
//! fills it in with the [`Data`] of one pod.
//!
//! The part: the fields that [`Data`] has, `$` in front of them, `index` of labels and annotations, `printf` with `%s`, `%d`,
//! `%q`, `%v` and `%%`, `eq ne lt le gt ge`, `and or not`, `if`, `else if`, `else`, `end`, text, boolean and whole-number
//! literals, pipelines, parentheses, comments and the trim markers.
//!
//! **Invariants.**
//! - What is rendered is what `text/template` renders, byte for byte, `<no value>` for an absent label included; where that
//!   cannot be, nothing is.
//! - Everything else of the language is refused when the template is read, with its place and what was expected.
//! - No text makes it panic; nesting and length are bounded, and so is what is rendered.
//!
//! **Not here.** What a rendered text has to be (an identity, a DNS name) is for its reader to say.
//!
//! Source: Go, packages `text/template` and `text/template/parse`, without options, as spire-controller-manager has it.

mod data;
mod error;
mod eval;
mod lex;
mod printf;
mod template;
mod tree;

pub use data::{Data, NodeData, PodData, Texts};
pub use error::{RenderError, TemplateError};
pub use template::Template;
