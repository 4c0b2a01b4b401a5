//! Where manifests come from: folders, files and the standard input.
//!
//! **Purpose.** [`Sources`] reads every YAML and JSON file below the paths that it was given into [`Loaded`] objects and
//! findings, and says cheaply by its [`Fingerprint`] whether anything changed. [`Cluster`] holds what a snapshot needs
//! beside objects, with defaults that `lictor up` shares, so that a question on files alone and one to a lab see the
//! same cluster, the [built-in DNS](Cluster::objects) included.
//!
//! **Invariants.**
//! - The same files give the same objects in the same order, whatever the order of the folder.
//! - A file that cannot be read, or does not parse, is an error among the findings; it is never passed over.
//! - What a folder's `kustomization.yaml` says of a namespace holds for the files of that folder and below that name none.
//!
//! **Not here.** No watching (a lab asks for the fingerprint), no meaning.

mod built_in;
mod cluster;
mod load;
mod records;
mod walk;

pub use cluster::{Cluster, NoAddress};
pub use load::{Loaded, Sources, Texts};
pub use records::{InvalidRecord, records};
pub use walk::Fingerprint;
