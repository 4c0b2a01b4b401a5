//! Protobuf and gRPC types of protocols that others define, and of the one between node and control, generated at build
//! time from `proto/`.
//!
//! **Invariants.** Names, numbers and types are those of the published definitions; nothing of our own is added to
//! another party's service. Nothing here interprets a message.
//!
//! **Not here.** No server, no client setup: `lictor-identity` serves the Workload API, the Broker API and Envoy's secrets, and
//! speaks both sides of the node's protocol; `lictor-ext-authz` answers Envoy's checks.

mod redacted;

/// The SPIFFE Workload API, service `SpiffeWorkloadAPI`; it has no protobuf package.
///
/// Source: SPIFFE Workload API, sections 5.1 and 6.1.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod workload {
    tonic::include_proto!("_");

    /// What the definition says, as an encoded `google.protobuf.FileDescriptorSet`: reflection tells it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/workload.bin"));
}

/// The SPIFFE Broker API, service `spiffe.broker.API`. `Debug` shows neither keys nor tokens.
///
/// Source: SPIFFE Broker API (incubating), sections 3, 5.1 and 6.1, `brokerapi.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod broker {
    tonic::include_proto!("spiffe.broker");

    /// What the definition says, as an encoded `google.protobuf.FileDescriptorSet`: reflection tells it.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/broker.bin"));
}

/// What a node asks of control: `docs/node-control.md`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod node {
    tonic::include_proto!("lictor.node.v1");
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
    use super::broker::{
        FetchJwtsvidRequest, KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType,
        SubscribeToX509BundlesResponse, WorkloadPidReference, WorkloadReference,
    };
    use super::google::rpc::{ErrorInfo, Status};
    use super::workload::{X509svid, X509svidResponse};
    use prost::Message;
    use prost_types::Any;

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

    #[test]
    fn field_numbers_of_the_broker_api_are_the_published_ones() {
        assert_eq!(WorkloadPidReference { pid: 300 }.encode_to_vec(), [0x08, 0xac, 0x02]);
        let object = KubernetesObjectReference {
            r#type: Some(KubernetesObjectType { plural: "p".into(), group: "g".into() }),
            key: Some(KubernetesObjectKey { namespace: "s".into(), name: "n".into() }),
            uid: "u".into(),
        };
        let expected = [
            0x0a, 6, 0x0a, 1, b'p', 0x12, 1, b'g', // type = 1
            0x12, 6, 0x0a, 1, b's', 0x12, 1, b'n', // key = 2
            0x1a, 1, b'u', // uid = 3
        ];
        assert_eq!(object.encode_to_vec(), expected);
        let reference = Any { type_url: "t".into(), value: vec![7] };
        let request = FetchJwtsvidRequest {
            reference: Some(WorkloadReference { reference: Some(reference) }),
            audience: vec!["a".into()],
            spiffe_id: "i".into(),
        };
        let expected = [0x0a, 8, 0x0a, 6, 0x0a, 1, b't', 0x12, 1, 7, 0x12, 1, b'a', 0x1a, 1, b'i'];
        assert_eq!(request.encode_to_vec(), expected);
        let bundles =
            SubscribeToX509BundlesResponse { crl: vec![vec![1]], bundles: [("t".to_owned(), vec![5])].into() };
        assert_eq!(bundles.encode_to_vec(), [0x0a, 1, 1, 0x12, 6, 0x0a, 1, b't', 0x12, 1, 5]);
    }

    #[test]
    fn an_error_says_why_in_the_published_fields() {
        let why = ErrorInfo { reason: "R".into(), domain: "d".into(), metadata: [("k".into(), "v".into())].into() };
        let expected = [0x0a, 1, b'R', 0x12, 1, b'd', 0x1a, 6, 0x0a, 1, b'k', 0x12, 1, b'v'];
        assert_eq!(why.encode_to_vec(), expected);
        let status =
            Status { code: 5, message: "m".into(), details: vec![Any { type_url: "t".into(), value: vec![9] }] };
        assert_eq!(status.encode_to_vec(), [0x08, 5, 0x12, 1, b'm', 0x1a, 6, 0x0a, 1, b't', 0x12, 1, 9]);
    }
}
