//! Protobuf and gRPC types of protocols that others define, generated at build time from `proto/`.
//!
//! **Invariants.** Names, numbers and types are those of the published definitions; nothing of our own is added to
//! another party's service. Nothing here interprets a message.
//!
//! **Not here.** No server, no client setup: `lictor-identity` serves the Workload API and Envoy's secrets,
//! `lictor-ext-authz` answers Envoy's checks.

/// The SPIFFE Workload API, service `SpiffeWorkloadAPI`; it has no protobuf package.
///
/// Source: SPIFFE Workload API, sections 5.1 and 6.1.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod workload {
    tonic::include_proto!("_");

    /// What the definition says, as an encoded `google.protobuf.FileDescriptorSet`: reflection tells it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/workload.bin"));
}

/// Envoy's secret discovery and external authorization, and what they are made of; modules are protobuf packages.
///
/// Source: Envoy's API version 3; each file below `proto/envoy` names its own.
#[allow(missing_docs, unreachable_pub, rustdoc::all, clippy::all)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/envoy.rs"));
}
pub use generated::{envoy, google};

#[cfg(test)]
mod tests {
    use super::workload::{X509svid, X509svidResponse};
    use prost::Message;

    #[test]
    fn field_numbers_are_the_published_ones() {
        let svid = X509svid {
            spiffe_id: "a".into(),
            x509_svid: vec![1],
            x509_svid_key: vec![2],
            bundle: vec![3],
            hint: "h".into(),
        };
        let message = X509svidResponse {
            svids: vec![svid],
            crl: vec![vec![4]],
            federated_bundles: [("t".to_owned(), vec![5])].into(),
        };
        let expected = [
            0x0a, 15, 0x0a, 1, b'a', 0x12, 1, 1, 0x1a, 1, 2, 0x22, 1, 3, 0x2a, 1, b'h', // svids = 1
            0x12, 1, 4, // crl = 2
            0x1a, 6, 0x0a, 1, b't', 0x12, 1, 5, // federated_bundles = 3
        ];
        assert_eq!(message.encode_to_vec(), expected);
    }
}
