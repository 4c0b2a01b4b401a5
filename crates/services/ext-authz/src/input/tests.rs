//! Input documents: each case of `cases.json` names the place of the plugin's behaviour.

use super::document;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_wire::envoy::config::core::v3 as core;
use lictor_wire::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request, TlsSession};
use lictor_wire::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost::Message;
use prost_types::{Any, Timestamp};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

fn texts(value: &Value) -> HashMap<String, String> {
    let members = value.as_object().cloned().unwrap_or_default();
    members.into_iter().map(|(name, value)| (name, value.as_str().expect("a text").to_owned())).collect()
}

/// A check with the HTTP request that a case writes.
fn request(case: &Value) -> CheckRequest {
    let text = |name: &str| case[name].as_str().unwrap_or_default().to_owned();
    let http = HttpRequest {
        method: text("method"),
        path: text("path"),
        headers: texts(&case["headers"]),
        body: text("body"),
        raw_body: text("raw_body").into_bytes(),
        ..HttpRequest::default()
    };
    let request = Request { time: None, http: Some(http) };
    let source = Peer { principal: text("principal"), ..Peer::default() };
    let attributes = AttributeContext { source: Some(source), request: Some(request), ..AttributeContext::default() };
    CheckRequest { attributes: Some(attributes) }
}

#[test]
fn a_document_is_the_plugins() {
    let cases: Vec<Value> = serde_json::from_str(include_str!("cases.json")).expect("cases");
    for case in &cases {
        let read = document(&request(&case["request"]));
        match (&case["error"], read) {
            (Value::String(expected), Err(error)) => {
                let told = error.to_string();
                assert!(told.starts_with(expected), "{case}\n{told}");
            }
            (Value::Null, Ok(read)) => {
                for (pointer, expected) in case["document"].as_object().expect("pointers") {
                    let seen = read.pointer(pointer).unwrap_or(&json!("(nothing)")).clone();
                    assert_eq!(seen, *expected, "{pointer} of {case}");
                }
            }
            (_, read) => panic!("{case}\n{read:?}"),
        }
    }
    assert!(cases.len() >= 40, "{} cases", cases.len());
}

/// Every attribute, by its name in protobuf's JSON: `cargo xtask interop opa` has the same bytes read by Envoy's own messages.
#[test]
fn every_attribute_has_its_name() {
    use core::address::Address;
    use core::socket_address::PortSpecifier;
    let socket = core::SocketAddress {
        address: "10.0.0.1".into(),
        port_specifier: Some(PortSpecifier::PortValue(8080)),
        ..core::SocketAddress::default()
    };
    let pipe = core::Pipe { path: "/run/x".into(), mode: 0 };
    let at = |address| Some(core::Address { address: Some(address) });
    let header = core::HeaderValue { key: "a".into(), value: String::new(), raw_value: b"b".to_vec() };
    let http = HttpRequest {
        id: "7".into(),
        method: "GET".into(),
        headers: [("a".to_owned(), "b".to_owned())].into(),
        path: "/x?y=1".into(),
        host: "h".into(),
        scheme: "https".into(),
        query: "q".into(),
        fragment: "f".into(),
        size: -1,
        protocol: "HTTP/2".into(),
        body: "b".into(),
        raw_body: vec![255],
        header_map: Some(core::HeaderMap { headers: vec![header] }),
    };
    let members = json!({"n": 1, "f": 1.5, "l": [null, true], "t": "x"});
    let filter = crate::json::to_struct(members.as_object().expect("an object"));
    let metadata = core::Metadata { filter_metadata: [("f".to_owned(), filter)].into(), ..core::Metadata::default() };
    let request = CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(Peer {
                address: at(Address::SocketAddress(socket)),
                service: "s".into(),
                labels: [("k".to_owned(), "v".to_owned())].into(),
                principal: "spiffe://td/a".into(),
                certificate: "c".into(),
            }),
            destination: Some(Peer { address: at(Address::Pipe(pipe)), ..Peer::default() }),
            request: Some(Request {
                time: Some(Timestamp { seconds: 1_700_000_000, nanos: 120_000_000 }),
                http: Some(http),
            }),
            context_extensions: [("e".to_owned(), "x".to_owned())].into(),
            metadata_context: Some(metadata),
            tls_session: Some(TlsSession { sni: "sni".into() }),
            route_metadata_context: Some(core::Metadata::default()),
        }),
    };
    let case: Value = serde_json::from_str(include_str!("attributes.json")).expect("a case");
    assert_eq!(json!(STANDARD.encode(request.encode_to_vec())), case["bytes"]);
    assert_eq!(document(&request).expect("a document"), case["document"]);
}

/// What only a reader of its type could write otherwise.
#[test]
fn typed_metadata_stands_as_its_type_and_its_bytes() {
    let typed = Any { type_url: "type.googleapis.com/x.Y".into(), value: vec![1] };
    let metadata =
        core::Metadata { typed_filter_metadata: [("t".to_owned(), typed)].into(), ..core::Metadata::default() };
    let attributes = AttributeContext { metadata_context: Some(metadata), ..AttributeContext::default() };
    let read = document(&CheckRequest { attributes: Some(attributes) }).expect("a document");
    let expected = json!({"typedFilterMetadata": {"t": {"@type": "type.googleapis.com/x.Y", "value": "AQ=="}}});
    assert_eq!(read["attributes"]["metadataContext"], expected);
}

#[test]
fn what_is_not_there_is_left_out() {
    let nothing = document(&CheckRequest { attributes: None }).expect("a document");
    let expected = json!({
        "version": {"ext_authz": "v3", "encoding": "protojson"},
        "parsed_path": [""], "parsed_query": {}, "parsed_body": null, "truncated_body": false,
    });
    assert_eq!(nothing, expected);
    let empty = document(&CheckRequest { attributes: Some(AttributeContext::default()) }).expect("a document");
    assert_eq!(empty["attributes"], Value::Object(Map::new()), "a message that is there stays");
}
