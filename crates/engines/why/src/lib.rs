//! One answer across all layers.
//!
//! **Purpose.** [`Ask`] is a question in words, [`Question`] what the words name, [`answer`] its ladder: egress, transport,
//! ingress, authorization, each with its verdict, the rule that decided and the one that came closest, and the smallest
//! change that would turn a denial. [`edges`] says who may talk to whom, [`diff`] how that differs, [`predict`] what real connections will show.
//!
//! **Invariants.**
//! - Nothing here knows what a policy means: every verdict comes from the engines that compile what is enforced.
//! - A fix is told only when the engines, run on the changed snapshot, allow the connection; what else it opens or
//!   closes is told with it.
//! - `edges` and `predict` look verdicts up in the same compiled programs as the kernel and the proxy.
//!
//! **Not here.** No rendering (`lictor-report`), no file, no connection.

mod answer;
mod blocks;
mod diff;
mod edges;
mod effect;
mod engines;
mod explain;
mod exposure;
mod fix;
mod inventory;
mod labels;
mod ladder;
mod lookup;
mod notes;
mod np_guard;
mod port_ranges;
mod predict;
mod question;
mod quick;
mod resolve;
mod samples;
mod scope;
mod seen;
mod sight;
mod simulate;
mod sites;
mod spans;
mod suggest;
mod tree;

pub use answer::{Answer, Connection, Note, Pairs, Remark, Rung, Side, place};
pub use diff::{Became, Difference, EdgeChange, diff};
pub use edges::{Edge, EdgeLayer, Edges, Reach, Show, edges};
pub use effect::{Effect, Opening};
pub use engines::findings;
pub use explain::answer;
pub use exposure::{Exposed, To, exposure};
pub use fix::{Change, Fix};
pub use inventory::{WorkloadView, workloads};
pub use np_guard::{GuardChange, GuardLine, guard_diff, guard_list};
pub use predict::{Check, CheckEnd, Denial, predict};
pub use question::{Ask, End, EndKind, Question, RequestAsk};
pub use resolve::{Unclear, pods_named};
pub use scope::{Scope, TooMany};
pub use seen::{Seen, SeenEnd, seen};
pub use simulate::{Outcome, Replay, simulate};
pub use suggest::{Beyond, Dialect, Suggestion, suggest};
pub use tree::Tree;
