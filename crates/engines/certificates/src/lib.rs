//! Which Certificates are served, and when each is issued again.
//!
//! **Purpose.** [`judge`] says what a Certificate of a snapshot is to be issued, a [`Request`], or why it is refused; with
//! [`claim`], what a namespace may name. [`reissue`] says whether what a Secret holds is to be issued again, and why;
//! [`readiness`] whether it is what was asked for; [`renewal_time`] when it is renewed.
//!
//! ```text
//!  Certificate, Snapshot --judge--> Request ---+
//!  the Secret --> Held ------------------------+--> reissue, readiness --> a reason, or none
//!  what was asked for the last time -----------+
//! ```
//!
//! **Invariants.**
//! - A namespace names its own service accounts and what registration gives its pods, and nothing of anybody else's.
//! - What a Certificate asks for is granted whole or refused; nothing of it is left out.
//! - The order of the reasons is cert-manager's, and so are their words; what it does not know is added, never taken away.
//!
//! Source: cert-manager v1.19, `internal/controller/certificates/policies`, `pkg/util/pki`.
//!
//! **Not here.** No key is made and no certificate read: whoever asks hands in the facts, and the time.

mod claim;
mod findings;
mod held;
mod judge;
mod readiness;
mod reissue;
mod renewal;
mod rules;
mod usages;

pub use claim::{Unclaimable, claim, may_keep};
pub use findings::findings;
pub use held::{CertificateFacts, Held, KeyFacts, Names};
pub use judge::{Reason, Refusal, Request, judge, owner};
pub use readiness::{NotReady, readiness};
pub use reissue::{Cause, Examined, Reissue, reissue};
pub use renewal::renewal_time;
pub use rules::{Issuers, Rules};
pub use usages::{Usages, usages};
