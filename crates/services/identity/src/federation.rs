//! Bundles of other trust domains: fetched from their endpoints, and the own one served at ours.
//!
//! ```text
//!  other trust domain's endpoint <--GET-- Federation --bundle--> Keyring --bundle--> serve --> whoever asks
//! ```
//!
//! A [`Relation`] has one direction and is about one trust domain: where its bundle is, and how the endpoint proves
//! itself. What fails keeps the last bundle, and [`Federation::statuses`] says why. [`serve`] answers with the own bundle,
//! and, if tokens name an issuer, with what verifiers of OpenID Connect look for.
//!
//! Source: SPIFFE Federation, sections 4 to 7; SPIFFE Trust Domain and Bundle, section 4.

mod certificate;
mod fetch;
mod oidc;
mod poll;
mod relation;
mod serve;
mod url;

pub use certificate::FileCertificate;
pub use fetch::FetchError;
pub use oidc::{InvalidIssuer, Issuer};
pub use poll::{Federation, RelationStatus, Settings};
pub use relation::{Profile, Relation, Roots};
pub use serve::{Endpoint, serve};
pub use url::{EndpointUrl, InvalidEndpointUrl};
