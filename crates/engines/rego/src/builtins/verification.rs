//! `io.jwt.verify_*` and `io.jwt.decode_verify`.
//!
//! Source: OPA, `v1/topdown/tokens.go`; RFC 7519, sections 4.1 and 7.2.

use super::jwk::{NamedKey, keys};
use super::jwt::{Token, apart, decoded, member, object};
use super::signature::{Algorithm, Key};
use super::{Fault, text_of};
use regorus::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// Whether a key that the policy gives has signed a token.
pub(super) fn verify(algorithm: Algorithm, given: &[Value]) -> Result<Value, Fault> {
    let (text, keys) = (text_of(given, 0)?, keys(text_of(given, 1)?).ok_or(Fault::Undefined)?);
    let token = Token::read(text)?;
    let header = Header::read(&token)?;
    Ok(Value::from(is_signed(&token, &header, &keys, Some(algorithm))?))
}

/// Whether a token was signed by who knows a secret; its header is not looked at.
pub(super) fn verify_secret(algorithm: Algorithm, given: &[Value]) -> Result<Value, Fault> {
    let (text, secret) = (text_of(given, 0)?, Key::Secret(text_of(given, 1)?.as_bytes().to_vec()));
    let (signed, signature) = apart(text)?;
    Ok(Value::from(algorithm.verifies(&secret, signed.as_bytes(), &decoded(signature)?)))
}

/// Whether a token is signed and meets what is asked of it, and if so its header and claims.
pub(super) fn decode_verify(given: &[Value]) -> Result<Value, Fault> {
    let constraints = Constraints::read(given.get(1).ok_or(Fault::Undefined)?)?;
    let mut text = text_of(given, 0)?.to_owned();
    // Each turn has three quarters of the one before.
    loop {
        let token = Token::read(&text)?;
        let header = Header::read(&token)?;
        if !header.is_known(&token) || constraints.algorithm.is_some_and(|wanted| wanted != header.algorithm) {
            return Ok(unverified());
        }
        if !is_signed(&token, &header, &constraints.keys, None)? {
            return Ok(unverified());
        }
        let payload = token.payload()?;
        if header.is_nested {
            text = payload;
            continue;
        }
        let claims = object(payload.as_bytes())?;
        let meets = constraints.are_met_by(&claims)?;
        return Ok(if meets { Value::from(vec![Value::from(true), token.header, claims]) } else { unverified() });
    }
}

fn unverified() -> Value {
    Value::from(vec![Value::from(false), Value::new_object(), Value::new_object()])
}

/// Whether one of the keys has signed a token: the one that the token names, if it is there; else any, but those for another
/// algorithm than the token's. `algorithm` stands for the one that the token says.
fn is_signed(
    token: &Token<'_>,
    header: &Header<'_>,
    keys: &[NamedKey],
    algorithm: Option<Algorithm>,
) -> Result<bool, Fault> {
    let signature = token.signature()?;
    let Some(algorithm) = algorithm.or_else(|| Algorithm::named(header.algorithm)) else { return Ok(false) };
    let verifies = |key: &NamedKey| algorithm.verifies(&key.key, token.signed.as_bytes(), &signature);
    let named = (!header.key_id.is_empty()).then(|| keys.iter().find(|key| key.id.as_deref() == Some(header.key_id)));
    Ok(match named.flatten() {
        Some(key) => verifies(key),
        None => keys
            .iter()
            .filter(|key| key.algorithm.as_deref().is_none_or(|name| name.is_empty() || name == header.algorithm))
            .any(verifies),
    })
}

/// What is read of a token's header.
struct Header<'t> {
    algorithm: &'t str,
    key_id: &'t str,
    is_nested: bool,
    /// What whoever reads the token has to understand.
    critical: Vec<&'t str>,
}

impl<'t> Header<'t> {
    fn read(token: &'t Token<'_>) -> Result<Self, Fault> {
        let critical = match member(&token.header, "crit") {
            None => Vec::new(),
            Some(Value::Array(names)) => {
                let names = names.iter().map_while(|name| name.as_string().ok().map(|name| &**name));
                let names: Vec<&str> = names.collect();
                if names.is_empty() { return Err(Fault::Undefined) } else { names }
            }
            Some(_) => return Err(Fault::Undefined),
        };
        token.text("typ")?;
        let kind = token.text("cty")?.unwrap_or_default();
        Ok(Self {
            algorithm: token.text("alg")?.unwrap_or_default(),
            key_id: token.text("kid")?.unwrap_or_default(),
            is_nested: kind.eq_ignore_ascii_case("JWT"),
            critical,
        })
    }

    /// Whether the token says how it is signed, and nothing that has to be understood and is not (RFC 7515, section 4.1.11).
    fn is_known(&self, token: &Token<'_>) -> bool {
        let understood = |name: &str| matches!(name, "alg" | "kid" | "typ" | "cty" | "crit");
        let unknown = self.critical.iter().any(|name| !understood(name) && member(&token.header, name).is_some());
        !self.algorithm.is_empty() && !unknown
    }
}

/// What a policy asks of a token.
struct Constraints<'g> {
    keys: Vec<NamedKey>,
    algorithm: Option<&'g str>,
    issuer: Option<&'g str>,
    /// A token for somebody is for nobody where this is not said.
    audience: &'g str,
    /// Seconds since 1970.
    time: f64,
}

impl<'g> Constraints<'g> {
    fn read(value: &'g Value) -> Result<Self, Fault> {
        let (mut certificate, mut secret, mut time) = (None, None, None);
        let mut read = Self { keys: Vec::new(), algorithm: None, issuer: None, audience: "", time: 0.0 };
        for (name, value) in value.as_object().map_err(|_| Fault::Undefined)?.iter() {
            let text = || value.as_string().map(|text| &**text).map_err(|_| Fault::Undefined);
            let said = || text().map(|text| Some(text).filter(|text| !text.is_empty()));
            match &**name.as_string().map_err(|_| Fault::Undefined)? {
                "cert" => certificate = Some(keys(text()?).ok_or(Fault::Undefined)?),
                "secret" => secret = said()?,
                "alg" => read.algorithm = said()?,
                "iss" => read.issuer = said()?,
                "aud" => read.audience = text()?,
                "time" => time = Some(number(value).filter(|time| *time >= 0.0).ok_or(Fault::Undefined)?),
                _ => return Err(Fault::Undefined),
            }
        }
        read.keys = match (certificate, secret) {
            (Some(keys), None) => keys,
            (None, Some(secret)) => {
                vec![NamedKey { key: Key::Secret(secret.as_bytes().to_vec()), id: None, algorithm: None }]
            }
            _ => return Err(Fault::Undefined),
        };
        read.time = time.map_or_else(now, |nanoseconds| nanoseconds / 1e9);
        Ok(read)
    }

    fn are_met_by(&self, claims: &Value) -> Result<bool, Fault> {
        if let Some(issuer) = self.issuer {
            match member(claims, "iss") {
                Some(Value::String(said)) if **said == *issuer => {}
                _ => return Ok(false),
            }
        }
        let for_us = match member(claims, "aud") {
            None => self.audience.is_empty(),
            Some(audience) => self.is_audience(audience),
        };
        if !for_us {
            return Ok(false);
        }
        let moment = |name: &str| member(claims, name).map(|value| number(value).ok_or(Fault::Undefined)).transpose();
        if moment("exp")?.is_some_and(|expires| self.time >= expires) {
            return Ok(false);
        }
        Ok(moment("nbf")?.is_none_or(|begins| self.time >= begins))
    }

    fn is_audience(&self, value: &Value) -> bool {
        let is_it = |value: &Value| matches!(value, Value::String(text) if **text == *self.audience);
        is_it(value) || value.as_array().is_ok_and(|all| all.iter().any(is_it))
    }
}

/// The nearest number of 64 bits: what the interpreter gives as one is exact or nothing.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.format_decimal().parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
