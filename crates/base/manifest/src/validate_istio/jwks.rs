//! Key sets and where they are fetched from.

use serde_json::Value;

/// What matters here of a JSON Web Key Set.
pub(super) struct KeySet {
    /// Whether a key can sign, not only verify.
    pub(super) has_private_key: bool,
}

impl KeySet {
    /// Reads a key set, or a single key.
    ///
    /// Source: RFC 7517, sections 4.1 and 5; RFC 7518, section 6.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let keys = match (value.get("keys"), value.get("kty")) {
            (Some(Value::Array(keys)), _) => keys.as_slice(),
            (None, Some(_)) => std::slice::from_ref(&value),
            _ => return Err("expected an object with a list of `keys`".to_owned()),
        };
        for key in keys {
            complete(key)?;
        }
        let signs = |key: &Value| key.get("d").is_some() || key.get("kty").and_then(Value::as_str) == Some("oct");
        Ok(Self { has_private_key: keys.iter().any(signs) })
    }
}

/// Whether a key has what its type needs.
fn complete(key: &Value) -> Result<(), String> {
    let kind = key.get("kty").and_then(Value::as_str).unwrap_or_default();
    let wanted: &[&str] = match kind {
        "RSA" => &["n", "e"],
        "EC" => &["crv", "x", "y"],
        "OKP" => &["crv", "x"],
        "oct" => &["k"],
        other => return Err(format!("expected a key type of RSA, EC, OKP or oct, found `{other}`")),
    };
    let missing = wanted.iter().find(|name| key.get(**name).and_then(Value::as_str).unwrap_or_default().is_empty());
    missing.map_or(Ok(()), |name| Err(format!("a key of type {kind} lacks `{name}`")))
}

/// Whether a key set can be fetched from a URI: `http` or `https`, and a numeric port.
pub(super) fn jwks_uri(uri: &str) -> Result<(), String> {
    let (scheme, rest) = uri.split_once(':').unwrap_or(("", uri));
    if !matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
        return Err(format!("URI scheme \"{scheme}\" is not supported"));
    }
    if uri.bytes().any(|byte| byte.is_ascii_control() || byte == b' ') {
        return Err(format!("invalid character in URL \"{uri}\""));
    }
    let authority = rest.strip_prefix("//").and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = match host.strip_prefix('[') {
        Some(bracket) => match bracket.split_once(']') {
            Some((_, after)) => after.strip_prefix(':').unwrap_or(after),
            None => return Err(format!("missing ']' in host of \"{uri}\"")),
        },
        None => host.rsplit_once(':').map_or("", |(_, port)| port),
    };
    if port.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(())
    } else {
        Err(format!("invalid port \":{port}\" after host"))
    }
}
