//! The schemas of the three kinds.
//!
//! Source: istio/istio, `manifests/charts/base/files/crd-all.gen.yaml`.

use super::IstioKind;
use super::schema::{Pattern, Rule, Schema, Text, UNLIMITED, duration_ms};
use serde_json::Value;

/// The schema of a kind's `spec`.
pub(super) fn of(kind: IstioKind) -> &'static Schema {
    match kind {
        IstioKind::AuthorizationPolicy => &AUTHORIZATION_POLICY,
        IstioKind::PeerAuthentication => &PEER_AUTHENTICATION,
        IstioKind::RequestAuthentication => &REQUEST_AUTHENTICATION,
    }
}

const TEXT: Schema = Schema::Text(Text::ANY);
const FILLED: Schema = Schema::Text(Text::FILLED);
const TEXTS: Schema = Schema::List { items: &TEXT, max: UNLIMITED };
const FILLED_TEXTS: Schema = Schema::List { items: &FILLED, max: UNLIMITED };
const ACCOUNT: Schema = Schema::Text(Text { max: 320, ..Text::ANY });
const ACCOUNTS: Schema = Schema::List { items: &ACCOUNT, max: 16 };

const fn word(words: &'static [&'static str]) -> Schema {
    Schema::Text(Text { words, ..Text::ANY })
}

const fn object(fields: &'static [(&'static str, Schema)]) -> Schema {
    Schema::Object { fields, required: &[], rules: &[] }
}

const fn list(items: &'static Schema) -> Schema {
    Schema::List { items, max: UNLIMITED }
}

fn has(object: &Value, fields: &[&str]) -> usize {
    fields.iter().filter(|field| object.get(**field).is_some()).count()
}

const SELECTOR: Schema = object(&[(
    "matchLabels",
    Schema::Map {
        values: &Schema::Text(Text {
            max: 63,
            rules: &[Rule {
                message: "wildcard not allowed in label value match",
                holds: |value| Ok(!value.as_str().unwrap_or_default().contains('*')),
            }],
            ..Text::ANY
        }),
        min: 0,
        max: 4096,
        rules: &[
            Rule {
                message: "wildcard not allowed in label key match",
                holds: |map| Ok(keys(map).all(|key| !key.contains('*'))),
            },
            Rule { message: "key must not be empty", holds: |map| Ok(keys(map).all(|key| !key.is_empty())) },
        ],
    },
)]);

fn keys(map: &Value) -> impl Iterator<Item = &str> {
    map.as_object().into_iter().flat_map(|map| map.keys()).map(String::as_str)
}

const GROUP: Pattern =
    Pattern { written: r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", matches: is_group };
const KIND: Pattern = Pattern { written: "^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", matches: is_kind };
const HEADER: Pattern = Pattern { written: "^[-_A-Za-z0-9]+$", matches: is_header };

fn is_label(text: &str, allowed: fn(&u8) -> bool) -> bool {
    let inner = |byte: u8| allowed(&byte) || byte == b'-';
    text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-') && !text.is_empty()
}

fn is_group(text: &str) -> bool {
    text.is_empty()
        || text.split('.').all(|part| is_label(part, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()))
}

fn is_kind(text: &str) -> bool {
    is_label(text, u8::is_ascii_alphanumeric) && text.starts_with(|char: char| char.is_ascii_alphabetic())
}

const TARGET: Schema = Schema::Object {
    fields: &[
        ("group", Schema::Text(Text { max: 253, pattern: Some(GROUP), ..Text::ANY })),
        ("kind", Schema::Text(Text { max: 63, pattern: Some(KIND), ..Text::FILLED })),
        ("name", Schema::Text(Text { max: 253, ..Text::FILLED })),
        (
            "namespace",
            Schema::Text(Text {
                rules: &[Rule {
                    message: "cross namespace referencing is not currently supported",
                    holds: |value| Ok(value.as_str().unwrap_or_default().is_empty()),
                }],
                ..Text::ANY
            }),
        ),
    ],
    required: &["kind", "name"],
    rules: &[],
};
const TARGETS: Schema = Schema::List { items: &TARGET, max: 16 };

const ONE_TARGET: Rule = Rule {
    message: "only one of targetRefs or selector can be set",
    holds: |spec| Ok(has(spec, &["selector", "targetRef", "targetRefs"]) <= 1),
};

static AUTHORIZATION_POLICY: Schema = Schema::Object {
    fields: &[
        ("selector", SELECTOR),
        ("targetRef", TARGET),
        ("targetRefs", TARGETS),
        ("action", word(&["ALLOW", "DENY", "AUDIT", "CUSTOM"])),
        ("provider", object(&[("name", TEXT)])),
        ("rules", Schema::List { items: &RULE, max: 512 }),
    ],
    required: &[],
    rules: &[ONE_TARGET],
};

const RULE: Schema = object(&[
    ("from", Schema::List { items: &object(&[("source", SOURCE)]), max: 512 }),
    ("to", list(&object(&[("operation", OPERATION)]))),
    (
        "when",
        list(&Schema::Object {
            fields: &[("key", TEXT), ("values", TEXTS), ("notValues", TEXTS)],
            required: &["key"],
            rules: &[],
        }),
    ),
]);

const SOURCE: Schema = Schema::Object {
    fields: &[
        ("principals", TEXTS),
        ("notPrincipals", TEXTS),
        ("requestPrincipals", TEXTS),
        ("notRequestPrincipals", TEXTS),
        ("namespaces", TEXTS),
        ("notNamespaces", TEXTS),
        ("serviceAccounts", ACCOUNTS),
        ("notServiceAccounts", ACCOUNTS),
        ("trustDomains", TEXTS),
        ("notTrustDomains", TEXTS),
        ("ipBlocks", TEXTS),
        ("notIpBlocks", TEXTS),
        ("remoteIpBlocks", TEXTS),
        ("notRemoteIpBlocks", TEXTS),
    ],
    required: &[],
    rules: &[Rule {
        message: "Cannot set serviceAccounts with namespaces or principals",
        holds: |source| {
            let names = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
            Ok(has(source, &["serviceAccounts", "notServiceAccounts"]) == 0 || has(source, &names) == 0)
        },
    }],
};

const OPERATION: Schema = object(&[
    ("hosts", TEXTS),
    ("notHosts", TEXTS),
    ("ports", TEXTS),
    ("notPorts", TEXTS),
    ("methods", TEXTS),
    ("notMethods", TEXTS),
    ("paths", TEXTS),
    ("notPaths", TEXTS),
]);

static PEER_AUTHENTICATION: Schema = Schema::Object {
    fields: &[
        ("selector", SELECTOR),
        ("mtls", MTLS),
        (
            "portLevelMtls",
            Schema::Map {
                values: &MTLS,
                min: 1,
                max: UNLIMITED,
                rules: &[Rule { message: "port must be between 1-65535", holds: |ports| are_ports(keys(ports)) }],
            },
        ),
    ],
    required: &[],
    rules: &[Rule {
        message: "portLevelMtls requires selector",
        holds: |spec| {
            let labels = spec.pointer("/selector/matchLabels").map_or(0, |labels| keys(labels).count());
            Ok(has(spec, &["portLevelMtls"]) == 0 || labels > 0)
        },
    }],
};

const MTLS: Schema = object(&[("mode", word(&["UNSET", "DISABLE", "PERMISSIVE", "STRICT"]))]);

/// `self.all(key, 0 < int(key) && int(key) <= 65535)`: a key that is out of range decides before one that is no
/// number.
fn are_ports<'a>(keys: impl Iterator<Item = &'a str>) -> Result<bool, String> {
    let mut failure = None;
    for key in keys {
        match key.parse::<i64>() {
            Ok(port) if (1..=65535).contains(&port) => {}
            Ok(_) => return Ok(false),
            Err(_) => failure = Some("type conversion error from 'string' to 'int'".to_owned()),
        }
    }
    failure.map_or(Ok(true), Err)
}

static REQUEST_AUTHENTICATION: Schema = Schema::Object {
    fields: &[
        ("selector", SELECTOR),
        ("targetRef", TARGET),
        ("targetRefs", TARGETS),
        ("jwtRules", Schema::List { items: &JWT_RULE, max: 4096 }),
    ],
    required: &[],
    rules: &[ONE_TARGET],
};

const JWKS_URI: Schema = Schema::Text(Text {
    max: 2048,
    rules: &[Rule {
        message: "url must have scheme http:// or https://",
        holds: |uri| {
            let uri = uri.as_str().unwrap_or_default();
            match uri.split_once("://") {
                Some((scheme, rest)) if !rest.is_empty() => {
                    super::jwks::jwks_uri(uri).map_err(|why| format!("URL parse error during conversion: {why}"))?;
                    Ok(matches!(scheme, "http" | "https"))
                }
                _ => Err("URL parse error during conversion from string".to_owned()),
            }
        },
    }],
    ..Text::FILLED
});

const JWT_RULE: Schema = Schema::Object {
    fields: &[
        ("issuer", FILLED),
        ("audiences", FILLED_TEXTS),
        ("jwksUri", JWKS_URI),
        ("jwks_uri", JWKS_URI),
        ("jwks", TEXT),
        (
            "fromHeaders",
            list(&Schema::Object { fields: &[("name", FILLED), ("prefix", TEXT)], required: &["name"], rules: &[] }),
        ),
        ("fromParams", FILLED_TEXTS),
        ("fromCookies", FILLED_TEXTS),
        ("outputPayloadToHeader", TEXT),
        ("forwardOriginalToken", Schema::Boolean),
        (
            "outputClaimToHeaders",
            list(&Schema::Object {
                fields: &[("header", Schema::Text(Text { pattern: Some(HEADER), ..Text::FILLED })), ("claim", FILLED)],
                required: &["header", "claim"],
                rules: &[],
            }),
        ),
        (
            "timeout",
            Schema::Text(Text {
                rules: &[Rule {
                    message: "must be a valid duration greater than 1ms",
                    holds: |value| match duration_ms(value.as_str().unwrap_or_default()) {
                        Some(ms) => Ok(ms >= 1.0),
                        None => Err("type conversion error from 'string' to 'google.protobuf.Duration'".to_owned()),
                    },
                }],
                ..Text::ANY
            }),
        ),
        ("spaceDelimitedClaims", FILLED_TEXTS),
        ("presence", word(&["UNSET", "OPTIONAL", "REQUIRED"])),
    ],
    required: &[],
    rules: &[Rule {
        message: "only one of jwks or jwksUri can be set",
        holds: |rule| Ok(has(rule, &["jwksUri", "jwks_uri", "jwks"]) <= 1),
    }],
};

fn is_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}
