//! Keys, certificates and trust: X.509-SVIDs, who signs them, and who is believed.
//!
//! **Purpose.** A [`CertificateAuthority`] signs for one trust domain. An [`Svid`] is what a workload shows, a
//! [`Bundle`] is what it believes about a trust domain, a [`Keyring`] holds both for every identity of this process,
//! foreign trust domains' bundles each by itself, and tells when they change. [`verify()`] reads a peer's chain; [`tls`]
//! makes mutual TLS out of all of it. A [`TokenAuthority`] signs JWT-SVIDs, [`verify_token`] reads them; a bundle travels
//! as JSON ([`Bundle::from_jwks`]). [`Authorities`] are those of a trust domain through their lives, under a root of
//! their own or an [`Upstream`].
//!
//! ```text
//!  CertificateAuthority --issue--> Svid ----+
//!          |                                +--> Keyring --> tls::ConfigCache --> rustls
//!          +--------- bundle --> Bundle ----+                      |
//!          |                       +------------------------------ verify(peer's chain) --> SpiffeId
//!          +- tokens --> TokenAuthority --issue--> token --> verify_token(token) --> JwtSvid
//! ```
//!
//! **Invariants.**
//! - A name in a certificate is believed only after path validation against the bundle of *that name's* trust
//!   domain, and only if it is the certificate's one URI name.
//! - Bundles of different trust domains are never merged: the name in a certificate or token chooses the bundle.
//! - A certificate signs certificates, a token key tokens; neither is taken for the other.
//! - A verifier reads the bundle that the keyring holds *now*; nothing is resumed from an earlier handshake.
//! - No key is printed: `Debug` elides it, memory is wiped when it is dropped.
//! - Time is passed in; only [`tls`] lets rustls read the clock.
//!
//! **Not here.** No runtime, no sockets, no schedule: when to issue and whom to hand it to is `lictor-identity`.

mod authorities;
mod authority;
mod bundle;
mod certificates;
mod certify;
mod explain;
#[cfg(test)]
mod forge;
mod json;
mod jwk;
mod jwks;
mod jws;
mod jwt;
mod key_id;
mod keyring;
mod keys;
mod leaf_key;
mod leaf_names;
mod oidc;
mod one_time;
mod pem;
mod received;
mod request;
mod sealed;
mod signing;
mod subject;
mod svid;
mod tally;
pub mod tls;
mod tokens;
mod upstream;
mod verify;

pub use authorities::{Authorities, AuthorityStatus, Event, InvalidSaved, Kind, LifecycleError, State};
pub use authority::{CertificateAuthority, IssueError};
pub use bundle::{Bundle, InvalidAuthority, JwtKey};
pub use certificates::InvalidCertificates;
pub use certify::{Certified, Leaf};
pub use explain::{CertificateFacts, TokenFacts};
pub use jwk::{Curve, PublicJwk};
pub use jwks::{IgnoredKey, InvalidBundle, NoJwk, ReadBundle, Unusable};
pub use jws::{Algorithm, JwsError};
pub use jwt::{JwtSvid, LEEWAY, TokenError, verify_token};
pub use key_id::{authority_key_id, not_after, not_before, serial_number, subject_key_id};
pub use keyring::{BundleSet, Change, ForeignBundles, Keyring, OwnTrustDomain, Subscription};
pub use keys::{HeldKey, KeyStore, KeyStoreError, Keys};
pub use leaf_key::{Encoding, InvalidLeafKey, KeyKind, LeafKey};
pub use leaf_names::{InvalidLeaf, LeafNames};
pub use one_time::{OneTimeSecret, SecretDigest};
pub use pem::{InvalidAuthorityFile, certificates_to_pem};
pub use received::InvalidReceived;
pub use request::SigningRequest;
pub use sealed::{InvalidSecret, OpenError, SealError, SealingKey, Secret};
pub use signing::SigningFault;
pub use subject::Subject;
pub use svid::{PrivateKey, Svid};
pub use tally::Tally;
pub use tokens::{TokenAuthority, TokenIssueError};
pub use upstream::{InvalidUpstream, Upstream, UpstreamPart, UpstreamPem};
pub use verify::{PeerError, Usage, identity_of, unix_time, verify};
