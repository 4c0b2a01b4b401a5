//! Keys, certificates and trust: X.509-SVIDs, who signs them, and who is believed.
//!
//! **Purpose.** A [`CertificateAuthority`] signs for one trust domain. An [`Svid`] is what a workload shows, a
//! [`Bundle`] is what it believes, a [`Keyring`] holds both for every identity of this process and tells when they
//! change. [`verify()`] reads a peer's chain; [`tls`] makes mutual TLS out of all of it.
//!
//! ```text
//!  CertificateAuthority --issue--> Svid ----+
//!          |                                +--> Keyring --> tls::ConfigCache --> rustls
//!          +--------- bundle --> Bundle ----+                      |
//!                                  +------------------------------ verify(peer's chain) --> SpiffeId
//! ```
//!
//! **Invariants.**
//! - A name in a certificate is believed only after path validation against the bundle of *that name's* trust
//!   domain, and only if it is the certificate's one URI name.
//! - A verifier reads the bundle that the keyring holds *now*; nothing is resumed from an earlier handshake.
//! - No key is printed: `Debug` elides it, memory is wiped when it is dropped.
//! - Time is passed in; only [`tls`] lets rustls read the clock.
//!
//! **Not here.** No runtime, no sockets, no schedule: when to issue and whom to hand it to is `lictor-identity`.

mod authority;
mod bundle;
#[cfg(test)]
mod forge;
mod keyring;
mod pem;
mod signing;
mod svid;
pub mod tls;
mod verify;

pub use authority::{CertificateAuthority, IssueError};
pub use bundle::{Bundle, InvalidAuthority};
pub use keyring::{Change, Keyring, Subscription};
pub use pem::InvalidAuthorityFile;
pub use signing::SigningFault;
pub use svid::{PrivateKey, Svid};
pub use verify::{PeerError, Usage, identity_of, unix_time, verify};
