use super::{InvalidReference, Reference};
use lictor_wire::broker::{
    KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType, WorkloadPidReference, WorkloadReference,
};
use prost::Message;
use prost_types::Any;

const UID: &str = "a1b2c3d4-e5f6-7890-abcd-ef1234567890";

fn packed(type_url: &str, value: Vec<u8>) -> WorkloadReference {
    WorkloadReference { reference: Some(Any { type_url: type_url.to_owned(), value }) }
}

fn read(type_url: &str, value: Vec<u8>) -> Result<Reference, InvalidReference> {
    Reference::read(Some(&packed(&format!("type.googleapis.com/spiffe.broker.{type_url}"), value)))
}

fn pid(pid: i32) -> Result<Reference, InvalidReference> {
    read("WorkloadPIDReference", WorkloadPidReference { pid }.encode_to_vec())
}

/// An object of this kind; `key` is `namespace/name`.
fn object(kind: Option<(&str, &str)>, key: Option<&str>, uid: &str) -> Result<Reference, InvalidReference> {
    let message = KubernetesObjectReference {
        r#type: kind.map(|(plural, group)| KubernetesObjectType { plural: plural.into(), group: group.into() }),
        key: key
            .and_then(|key| key.split_once('/'))
            .map(|(namespace, name)| KubernetesObjectKey { namespace: namespace.into(), name: name.into() }),
        uid: uid.into(),
    };
    read("KubernetesObjectReference", message.encode_to_vec())
}

/// Section 3.1.1: a server refuses what has no reference, or one whose type it does not understand.
#[test]
fn a_request_has_one_reference_of_a_known_type() {
    assert_eq!(Reference::read(None), Err(InvalidReference::Missing));
    assert_eq!(Reference::read(Some(&WorkloadReference { reference: None })), Err(InvalidReference::Missing));
    assert_eq!(Reference::read(Some(&packed("", vec![8, 1]))), Err(InvalidReference::Missing));
    for type_url in [
        "type.googleapis.com/spiffe.broker.SelectorReference",
        "type.googleapis.com/spiffe.broker.WorkloadReference",
        "type.googleapis.com/example.v1.VmReference",
        "spiffe.broker.WorkloadPIDReference",
        "*",
    ] {
        let refused = Reference::read(Some(&packed(type_url, vec![8, 1])));
        assert!(matches!(refused, Err(InvalidReference::Unknown(_))), "{type_url}: {refused:?}");
    }
    for value in [vec![8], vec![0x0a, 200], vec![0xff; 20]] {
        for kind in ["WorkloadPIDReference", "KubernetesObjectReference"] {
            let refused = read(kind, value.clone());
            assert!(matches!(refused, Err(InvalidReference::Malformed(..))), "{kind} {value:?}: {refused:?}");
        }
    }
}

/// Section 3.1.3: a positive integer.
#[test]
fn a_process_has_a_number_above_zero() {
    assert_eq!(pid(1234).map(|reference| reference.to_string()).as_deref(), Ok("process 1234"));
    assert!(pid(i32::MAX).is_ok());
    for number in [0, -1, i32::MIN] {
        assert_eq!(pid(number), Err(InvalidReference::Pid(number)));
    }
    assert_eq!(read("WorkloadPIDReference", Vec::new()), Err(InvalidReference::Pid(0)), "an empty message");
}

/// Section 3.1.3: type with plural and group; key, uid or both; a namespace where the kind has one.
#[test]
fn an_object_is_referred_to_by_its_key_its_uid_or_both() {
    let pods = Some(("pods", "core"));
    for (reference, shown) in [
        (object(pods, Some("shop/web-0"), ""), "pods.core shop/web-0".to_owned()),
        (object(pods, None, UID), format!("pods.core with the uid {UID}")),
        (object(pods, Some("shop/web-0"), UID), format!("pods.core shop/web-0 with the uid {UID}")),
        (object(Some(("nodes", "core")), Some("/ip-10-0-1-42"), ""), "nodes.core /ip-10-0-1-42".to_owned()),
        (object(Some(("deployments", "apps")), Some("shop/web"), ""), "deployments.apps shop/web".to_owned()),
        (object(pods, Some("shop/a\nb"), ""), "pods.core shop/a\\nb".to_owned()),
    ] {
        assert_eq!(reference.map(|reference| reference.to_string()), Ok(shown));
    }
    for (refused, wanted) in [
        (object(None, Some("shop/web-0"), ""), "the plural"),
        (object(Some(("", "core")), Some("shop/web-0"), ""), "the plural"),
        (object(Some(("pods", "")), Some("shop/web-0"), ""), "`core`"),
        (object(pods, None, ""), "the key or the uid"),
        (object(pods, Some("shop/"), ""), "the name"),
        (object(pods, Some("shop/"), UID), "the name"),
        (object(pods, Some("/web-0"), ""), "namespace"),
        (object(pods, Some("/web-0"), UID), "namespace"),
    ] {
        let refused = refused.expect_err(wanted).to_string();
        assert!(refused.contains(wanted), "{refused}");
    }
}

#[test]
fn a_uid_is_a_uuid() {
    let of = |uid: &str| object(Some(("pods", "core")), None, uid);
    assert!(of(UID).is_ok() && of(&UID.to_uppercase()).is_ok());
    for uid in [
        "u",
        "a1b2c3d4e5f67890abcdef1234567890",
        "a1b2c3d4-e5f6-7890-abcd-ef123456789",
        "a1b2c3d4-e5f6-7890-abcd-ef12345678901",
        "g1b2c3d4-e5f6-7890-abcd-ef1234567890",
        "{a1b2c3d4-e5f6-7890-abcd-ef1234567890}",
        " a1b2c3d4-e5f6-7890-abcd-ef1234567890",
        "a1b2c3d4-e5f6-7890-abcd-ef1234567890-",
    ] {
        assert_eq!(of(uid), Err(InvalidReference::Uid(uid.to_owned())));
    }
}
