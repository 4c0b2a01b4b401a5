//! What a broker may send is read or refused, and what is read refers to something that there can be.
#![no_main]

use libfuzzer_sys::fuzz_target;
use lictor_identity::broker_api::{Reference, ReferenceType};
use lictor_wire::broker::{
    FetchJwtsvidRequest, SubscribeToX509svidRequest, SubscribeToX509svidResponse, WorkloadReference,
};
use prost::Message;
use prost_types::Any;

fn again<M: Message + Default + PartialEq>(bytes: &[u8]) -> Option<M> {
    let read = M::decode(bytes).ok()?;
    assert!(M::decode(read.encode_to_vec().as_slice()).is_ok_and(|again| again == read));
    Some(read)
}

fn judge(reference: Option<&WorkloadReference>) {
    match Reference::read(reference) {
        Ok(read) => {
            let packed = reference.and_then(|reference| reference.reference.as_ref()).expect("what was read");
            assert_eq!(packed.type_url, read.kind().type_url());
            // It goes into the log as one line.
            assert!(!read.to_string().contains(char::is_control));
            if let Reference::Object(object) = read {
                assert!(!object.plural.is_empty() && !object.group.is_empty());
                assert!(object.uid.is_some() || object.key.is_some());
                assert!(object.key.is_none_or(|(_, name)| !name.is_empty()));
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fuzz_target!(|bytes: &[u8]| {
    again::<SubscribeToX509svidResponse>(bytes);
    judge(again::<SubscribeToX509svidRequest>(bytes).and_then(|request| request.reference).as_ref());
    judge(again::<FetchJwtsvidRequest>(bytes).and_then(|request| request.reference).as_ref());
    for kind in [ReferenceType::Pid, ReferenceType::KubernetesObject] {
        let packed = Any { type_url: kind.type_url(), value: bytes.to_vec() };
        judge(Some(&WorkloadReference { reference: Some(packed) }));
    }
});
