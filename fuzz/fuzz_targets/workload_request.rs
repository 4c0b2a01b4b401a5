//! What a client of the Workload API may send is read or refused, and read again as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_wire::workload::{JwtsvidRequest, ValidateJwtsvidRequest, X509svidRequest, X509svidResponse};
use prost::Message;

fn again<M: Message + Default + PartialEq>(bytes: &[u8]) {
    if let Ok(read) = M::decode(bytes) {
        assert!(M::decode(read.encode_to_vec().as_slice()).is_ok_and(|again| again == read));
    }
}

fuzz_target!(|bytes: &[u8]| {
    again::<X509svidRequest>(bytes);
    again::<JwtsvidRequest>(bytes);
    again::<ValidateJwtsvidRequest>(bytes);
    again::<X509svidResponse>(bytes);
});
