//! Tests of the proxy as a whole: manifests, identities and pods on the loopback device of one namespace.
//!
//! A pod has an address of 127.1.0.0/16, so that no link is needed. The destination's proxy runs as it does on a node;
//! what would be redirected is handed to the source's worker as the redirection would.

pub(crate) mod bench;
pub(crate) mod net;

mod federated;
mod first_bytes;
mod http;
mod measure;
mod neighbours;
mod rejudge;
mod tls;
mod tunnel;
