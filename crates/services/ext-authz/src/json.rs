//! A check's attributes as JSON, by the rules of protobuf: names in camel case, what is empty left out, 64-bit numbers as texts,
//! bytes in base64, times as RFC 3339.
//!
//! Source: Protocol Buffers, "ProtoJSON Format". A message of a type that is not known here stands as its type and its bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_wire::envoy::config::core::v3 as core;
use lictor_wire::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use lictor_wire::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use prost_types::value::Kind;
use prost_types::{Any, Struct, Timestamp};
use serde_json::{Map, Number, Value};
use std::collections::{BTreeMap, HashMap};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// An object that leaves out what is nothing.
#[derive(Default)]
struct Object(Map<String, Value>);

impl Object {
    fn text(mut self, name: &str, text: &str) -> Self {
        if !text.is_empty() {
            self.0.insert(name.to_owned(), Value::String(text.to_owned()));
        }
        self
    }

    fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        self.text(name, &STANDARD.encode(bytes))
    }

    fn texts(mut self, name: &str, texts: &HashMap<String, String>) -> Self {
        if !texts.is_empty() {
            let texts = texts.iter().map(|(name, text)| (name.clone(), Value::String(text.clone()))).collect();
            self.0.insert(name.to_owned(), Value::Object(texts));
        }
        self
    }

    fn message(mut self, name: &str, message: Option<Value>) -> Self {
        if let Some(message) = message {
            self.0.insert(name.to_owned(), message);
        }
        self
    }

    fn end(self) -> Value {
        Value::Object(self.0)
    }
}

/// `CheckRequest`.
pub(crate) fn check(request: &CheckRequest) -> Map<String, Value> {
    Object::default().message("attributes", request.attributes.as_ref().map(attributes)).0
}

fn attributes(attributes: &AttributeContext) -> Value {
    let AttributeContext {
        source,
        destination,
        request,
        context_extensions,
        metadata_context,
        tls_session,
        route_metadata_context,
    } = attributes;
    let session = tls_session.as_ref().map(|session| Object::default().text("sni", &session.sni).end());
    Object::default()
        .message("source", source.as_ref().map(peer))
        .message("destination", destination.as_ref().map(peer))
        .message("request", request.as_ref().map(self::request))
        .texts("contextExtensions", context_extensions)
        .message("metadataContext", metadata_context.as_ref().map(metadata))
        .message("routeMetadataContext", route_metadata_context.as_ref().map(metadata))
        .message("tlsSession", session)
        .end()
}

fn peer(peer: &Peer) -> Value {
    let Peer { address, service, labels, principal, certificate } = peer;
    Object::default()
        .message("address", address.as_ref().map(self::address))
        .text("service", service)
        .texts("labels", labels)
        .text("principal", principal)
        .text("certificate", certificate)
        .end()
}

fn request(request: &Request) -> Value {
    Object::default()
        .message("time", request.time.as_ref().and_then(time))
        .message("http", request.http.as_ref().map(http))
        .end()
}

fn http(http: &HttpRequest) -> Value {
    let HttpRequest {
        id,
        method,
        headers,
        path,
        host,
        scheme,
        query,
        fragment,
        size,
        protocol,
        body,
        raw_body,
        header_map,
    } = http;
    let header_map = header_map.as_ref().map(|map| {
        let header = |header: &core::HeaderValue| {
            let core::HeaderValue { key, value, raw_value } = header;
            Object::default().text("key", key).text("value", value).bytes("rawValue", raw_value).end()
        };
        let headers: Vec<Value> = map.headers.iter().map(header).collect();
        Object::default().message("headers", (!headers.is_empty()).then_some(Value::Array(headers))).end()
    });
    let size = if *size == 0 { String::new() } else { size.to_string() };
    Object::default()
        .text("id", id)
        .text("method", method)
        .texts("headers", headers)
        .text("path", path)
        .text("host", host)
        .text("scheme", scheme)
        .text("query", query)
        .text("fragment", fragment)
        .text("size", &size)
        .text("protocol", protocol)
        .text("body", body)
        .bytes("rawBody", raw_body)
        .message("headerMap", header_map)
        .end()
}

fn address(address: &core::Address) -> Value {
    use core::address::Address;
    let (name, value) = match &address.address {
        None => return Value::Object(Map::new()),
        Some(Address::SocketAddress(socket)) => ("socketAddress", socket_address(socket)),
        Some(Address::Pipe(pipe)) => {
            let mode = (pipe.mode != 0).then(|| Value::from(pipe.mode));
            ("pipe", Object::default().text("path", &pipe.path).message("mode", mode).end())
        }
        Some(Address::EnvoyInternalAddress(internal)) => {
            use core::envoy_internal_address::AddressNameSpecifier::ServerListenerName;
            let name = internal.address_name_specifier.as_ref();
            let name = name.map(|ServerListenerName(name)| Value::String(name.clone()));
            let internal =
                Object::default().message("serverListenerName", name).text("endpointId", &internal.endpoint_id);
            ("envoyInternalAddress", internal.end())
        }
    };
    Object::default().message(name, Some(value)).end()
}

fn socket_address(socket: &core::SocketAddress) -> Value {
    use core::socket_address::PortSpecifier;
    let protocol = if socket.protocol == core::socket_address::Protocol::Udp as i32 { "UDP" } else { "" };
    let (name, port) = match &socket.port_specifier {
        // A choice that was made is told even if it is nothing.
        Some(PortSpecifier::PortValue(port)) => ("portValue", Some(Value::from(*port))),
        Some(PortSpecifier::NamedPort(port)) => ("namedPort", Some(Value::String(port.clone()))),
        None => ("portValue", None),
    };
    Object::default()
        .text("protocol", protocol)
        .text("address", &socket.address)
        .message(name, port)
        .text("resolverName", &socket.resolver_name)
        .message("ipv4Compat", socket.ipv4_compat.then_some(Value::Bool(true)))
        .end()
}

fn metadata(metadata: &core::Metadata) -> Value {
    let core::Metadata { filter_metadata, typed_filter_metadata } = metadata;
    let plain: Map<_, _> = filter_metadata.iter().map(|(name, value)| (name.clone(), object(value))).collect();
    let typed: Map<_, _> = typed_filter_metadata.iter().map(|(name, value)| (name.clone(), any(value))).collect();
    let told = |members: Map<String, Value>| (!members.is_empty()).then_some(Value::Object(members));
    Object::default().message("filterMetadata", told(plain)).message("typedFilterMetadata", told(typed)).end()
}

fn any(any: &Any) -> Value {
    Object::default().text("@type", &any.type_url).bytes("value", &any.value).end()
}

fn object(members: &Struct) -> Value {
    Value::Object(members.fields.iter().map(|(name, member)| (name.clone(), value(member))).collect())
}

fn value(value: &prost_types::Value) -> Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(truth)) => Value::Bool(*truth),
        Some(Kind::NumberValue(number)) => self::number(*number),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::ListValue(list)) => Value::Array(list.values.iter().map(self::value).collect()),
        Some(Kind::StructValue(members)) => object(members),
    }
}

/// A whole number as one, so that it equals what a policy writes.
fn number(number: f64) -> Value {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[allow(clippy::cast_possible_truncation)] // Whole, and within what is exact.
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// With no, three, six or nine digits of a second.
fn time(timestamp: &Timestamp) -> Option<Value> {
    let nanos = u32::try_from(timestamp.nanos).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(timestamp.seconds).ok()?.format(&Rfc3339).ok()?;
    let fraction = match nanos {
        0 => String::new(),
        nanos if nanos % 1_000_000 == 0 => format!(".{:03}", nanos / 1_000_000),
        nanos if nanos % 1_000 == 0 => format!(".{:06}", nanos / 1_000),
        nanos => format!(".{nanos:09}"),
    };
    Some(Value::String(format!("{}{fraction}Z", time.trim_end_matches('Z'))))
}

/// JSON as protobuf's own values.
pub(crate) fn to_struct(members: &Map<String, Value>) -> Struct {
    let fields: BTreeMap<_, _> = members.iter().map(|(name, member)| (name.clone(), to_value(member))).collect();
    Struct { fields }
}

fn to_value(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(truth) => Kind::BoolValue(*truth),
        Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Kind::StringValue(text.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue { values: items.iter().map(to_value).collect() }),
        Value::Object(members) => Kind::StructValue(to_struct(members)),
    };
    prost_types::Value { kind: Some(kind) }
}
