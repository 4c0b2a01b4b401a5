//! Segmentation: which flows the network policies of a snapshot allow, and the compiled form of that.
//!
//! **Purpose.** [`judge`] evaluates one flow against the policies themselves and explains it;
//! [`compile`] turns all of them into a [`Program`] that the kernel and the proxy look verdicts up in;
//! [`findings`] tells what in them does nothing.
//!
//! **Invariants.**
//! - For every flow, `compile(snapshot).judge(flow) = judge(snapshot, flow)`: prediction is enforcement.
//! - What a policy names and nothing resolves matches nothing; it never widens a rule.
//! - SCTP is never taken for TCP, and a policy that names only one protocol isolates all of them.
//! - A [`Compiler`]'s class, rule set and rule numbers never come to mean something else.
//!
//! **Not here.** No packet, no map, no connection tracking (`lictor-datapath`).

mod addressing;
mod cilium;
mod classes;
mod compile;
mod cores;
mod difference;
mod edits;
mod facts;
mod findings;
mod flat;
mod follow;
mod gates;
mod groups;
mod incremental;
mod judge;
mod learnt;
mod matching;
mod namespaces;
mod numbers;
mod patch;
mod peers;
mod policy_rules;
mod program;
mod rule_ids;
mod rules;
mod said;
mod selector_index;
mod terms;
mod tiers;

pub use compile::{Compiler, compile};
pub use difference::Difference;
pub use facts::{Effect, PeerFact, RuleFact, port_covers, rule_facts};
pub use findings::findings;
pub use incremental::Change;
pub use judge::{judge, judge_asked};
pub use patch::Patch;
pub use program::{
    Address, ClassId, Endpoint, Entry, Gate, Judgement, Outcome, Program, RuleId, RuleSet, RuleSetId, SaidId, Sayable,
};
pub use said::{Asked, UNSEEN, may_say};
