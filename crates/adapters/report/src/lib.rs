//! What people and programs read.
//!
//! **Purpose.** One small file for each thing that is shown: an [`answer()`], [`edges()`], and so on, each in the
//! [`Format`]s that it has. Text is made for a terminal by a [`Style`]: words first, colour second, and every name can be
//! pasted into the next command. JSON and YAML hold the same facts and no others.
//!
//! **Invariants.**
//! - Without colour the text is plain, and nothing is cut to fit.
//! - Nothing is decided here; the exit code is the caller's.
//!
//! **Not here.** No terminal is asked for its width, no file is read.

mod answer;
mod authorities;
mod bundles;
mod certificates;
mod checklist;
mod diff;
mod edges;
mod exposure;
mod federation;
mod findings;
mod flows;
mod format;
mod gathered;
mod members;
mod np_guard;
mod probe;
mod registration;
mod sentence;
mod simulate;
mod source;
mod status;
mod style;
mod suggest;
mod svg;
mod svids;
mod table;
mod tests;

pub use answer::answer;
pub use authorities::{AuthoritiesReport, AuthorityLine, IssuedLine, authorities, issued};
pub use bundles::{BundleEndpoint, BundleStatus, bundles};
pub use certificates::{
    CertificateReport, ConditionLine, SecretDocument, SecretMetadata, StatusReport, certificate, certificates, secret,
};
pub use checklist::{Category, CheckList, CheckRow, CheckState, checklist};
pub use diff::diff;
pub use edges::edges;
pub use exposure::exposure;
pub use federation::{FederationRelation, FederationReport, federation, federation_relation};
pub use findings::findings;
pub use flows::flow;
pub use format::{Format, UnknownFormat};
pub use gathered::{Gathered, gathered};
pub use members::{MadeToken, MembershipReport, NodeLine, TokenLine, made_token, membership, nodes, tokens};
pub use np_guard::{guard_diff, guard_list};
pub use probe::{Observed, ProbeReport, Probed, probe};
pub use registration::{FederatedStatus, RegistrationStatus, SpiffeIdStatus, StaticEntryStatus, StatsLine};
pub use simulate::simulation;
pub use source::{SourceReport, source};
pub use status::{PodStatus, PolicyStatus, Status, WorkloadStatus, status};
pub use style::Style;
pub use suggest::suggestion;
pub use svids::{
    CertificateExplained, ChainExplained, IdentityLine, Proof, SvidLine, TokenExplained, chain, identities, svids,
    token,
};
pub use tests::{TestRow, tests};
