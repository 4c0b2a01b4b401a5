//! Tokens taken apart, and `io.jwt.decode`.
//!
//! Source: OPA, `v1/topdown/tokens.go`; RFC 7519, section 7.2; RFC 7515, section 3.1.

use super::digest::hexadecimal;
use super::{Fault, text_of};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use regorus::Value;

/// As Go's reader of base64url, which a policy's own functions have to agree with.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The kind of a token in a token.
const NESTED: &str = "JWT";

/// A token's header that was read, and its other parts as they stand.
pub(super) struct Token<'t> {
    /// An object.
    pub(super) header: Value,
    payload: &'t str,
    signature: &'t str,
    /// What is signed: header and payload as they stand, with their dot.
    pub(super) signed: &'t str,
}

impl<'t> Token<'t> {
    /// Reads a token; an encrypted one (RFC 7516, section 9) is none.
    pub(super) fn read(text: &'t str) -> Result<Self, Fault> {
        let (signed, signature) = apart(text)?;
        let (header, payload) = signed.split_once('.').ok_or(Fault::Undefined)?;
        let header = object(&decoded(header)?)?;
        if member(&header, "enc").is_some() {
            return Err(Fault::Undefined);
        }
        Ok(Self { header, payload, signature, signed })
    }

    /// What the payload says, which may be another token.
    pub(super) fn payload(&self) -> Result<String, Fault> {
        Ok(String::from_utf8_lossy(&decoded(self.payload)?).into_owned())
    }

    pub(super) fn signature(&self) -> Result<Vec<u8>, Fault> {
        decoded(self.signature)
    }

    /// A text of the header; a member of this name that is none is a fault.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Fault> {
        match member(&self.header, name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Fault::Undefined),
        }
    }
}

/// What of a token is signed, and the signature, both as they stand.
pub(super) fn apart(text: &str) -> Result<(&str, &str), Fault> {
    let (signed, signature) = text.rsplit_once('.').ok_or(Fault::Undefined)?;
    // Three parts: one dot is left.
    (signed.matches('.').count() == 1).then_some((signed, signature)).ok_or(Fault::Undefined)
}

/// Header, claims, and the signature in hexadecimal digits; of a token in a token, the inner one's.
pub(super) fn decode(given: &[Value]) -> Result<Value, Fault> {
    let mut text = text_of(given, 0)?.to_owned();
    // Each turn has three quarters of the one before.
    loop {
        let token = Token::read(&text)?;
        let payload = token.payload()?;
        if token.text("cty")? != Some(NESTED) {
            let claims = object(payload.as_bytes())?;
            let signature = Value::from(hexadecimal(&token.signature()?));
            return Ok(Value::from(vec![token.header, claims, signature]));
        }
        text = payload.trim_matches(['"', '\'']).to_owned();
    }
}

/// A member of an object.
pub(super) fn member<'o>(object: &'o Value, name: &str) -> Option<&'o Value> {
    object.as_object().ok()?.get(&Value::from(name))
}

/// A JSON object; of two members of one name the last one counts, as in Go.
pub(super) fn object(text: &[u8]) -> Result<Value, Fault> {
    match Value::from_json_str(&String::from_utf8_lossy(text)) {
        Ok(object @ Value::Object(_)) => Ok(object),
        _ => Err(Fault::Undefined),
    }
}

/// The bytes of base64url.
pub(super) fn decoded(text: &str) -> Result<Vec<u8>, Fault> {
    BASE64URL.decode(text).map_err(|_| Fault::Undefined)
}
