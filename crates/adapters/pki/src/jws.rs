//! Signed texts in the compact form of JWS, with the algorithms and the header that JWT-SVID allows, and nothing else.

use crate::json;
use crate::jwk::{Curve, PublicJwk};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use std::fmt;

/// A text longer than that is not looked at; servers take 8 to 16 KiB of headers, in which tokens travel.
const MAX_LENGTH: usize = 64 * 1024;

/// How a token may be signed.
///
/// Source: JWT-SVID, section 2.1; RFC 7518, sections 3.3 to 3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// RSASSA-PSS with SHA-256 and a salt of the same length.
    Ps256,
    /// RSASSA-PSS with SHA-384 and a salt of the same length.
    Ps384,
    /// RSASSA-PSS with SHA-512 and a salt of the same length.
    Ps512,
}

/// Why a text is no signed text that may be a JWT-SVID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than 64 KiB.
    #[error("expected a token of at most {MAX_LENGTH} bytes, saw {seen}")]
    Length {
        /// How many bytes it has.
        seen: usize,
    },
    /// Not three parts with dots between them: another serialization, or an encrypted token (JWT-SVID, section 5.1).
    #[error("expected three parts with dots between them, saw {seen}")]
    Parts {
        /// How many parts there are.
        seen: usize,
    },
    /// A part is not base64url without padding (RFC 7515, section 2).
    #[error("expected the {part} of a token in base64url")]
    Encoding {
        /// `header`, `claims` or `signature`.
        part: &'static str,
    },
    /// A part is no JSON object, or an object in it has two members of one name (RFC 7515, section 4).
    #[error("expected the {part} of a token to be a JSON object in which no name stands twice")]
    Json {
        /// `header` or `claims`.
        part: &'static str,
    },
    /// A header parameter beside `alg`, `kid` and `typ` (JWT-SVID, section 2).
    #[error("expected no header parameters but alg, kid and typ, saw another one")]
    Parameter,
    /// `kid` is not a string (RFC 7515, section 4.1.4).
    #[error("expected the header parameter kid to be a string")]
    KeyId,
    /// `alg` is missing or none of the nine (JWT-SVID, section 2.1).
    #[error("expected one of the algorithms RS256 to RS512, ES256 to ES512 and PS256 to PS512")]
    Algorithm,
    /// `typ` is neither `JWT` nor `JOSE` (JWT-SVID, section 2.3).
    #[error("expected the type JWT or JOSE, or none")]
    Type,
}

/// A text that was taken apart; nobody has looked at its signature yet.
#[derive(Debug)]
pub(crate) struct Unverified<'a> {
    pub(crate) algorithm: Algorithm,
    pub(crate) key_id: Option<String>,
    pub(crate) claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl Algorithm {
    /// Every algorithm.
    pub const ALL: [Self; 9] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// Its name in `alg`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The algorithm of this name, in exactly these letters (RFC 7515, section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    /// The curve that it needs, if it is ECDSA.
    pub fn curve(self) -> Option<Curve> {
        match self {
            Self::Es256 => Some(Curve::P256),
            Self::Es384 => Some(Curve::P384),
            Self::Es512 => Some(Curve::P521),
            _ => None,
        }
    }

    /// Whether a key is of the kind that it needs.
    pub fn fits(self, key: &PublicJwk) -> bool {
        match key {
            PublicJwk::Ec { curve, .. } => self.curve() == Some(*curve),
            PublicJwk::Rsa { .. } => self.curve().is_none(),
        }
    }

    fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Self::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
            Self::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
            Self::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
            Self::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
            Self::Es256 | Self::Es384 | Self::Es512 => None,
        }
    }

    /// Whether `key` has signed `message`; a key of another kind has not.
    pub(crate) fn verifies(self, key: &PublicJwk, message: &[u8], signature: &[u8]) -> bool {
        match key {
            PublicJwk::Ec { curve, point } if self.curve() == Some(*curve) => {
                UnparsedPublicKey::new(curve.verification(), point).verify(message, signature).is_ok()
            }
            PublicJwk::Rsa { n, e } => self.rsa().is_some_and(|parameters| {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }),
            PublicJwk::Ec { .. } => false,
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<'a> Unverified<'a> {
    /// Takes a compact serialization apart (RFC 7515, section 3.1 and 5.2, steps 1 to 7).
    pub(crate) fn read(token: &'a str) -> Result<Self, JwsError> {
        if token.len() > MAX_LENGTH {
            return Err(JwsError::Length { seen: token.len() });
        }
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return Err(JwsError::Parts { seen: parts.len() }) };
        let (algorithm, key_id) = read_header(&object("header", header)?)?;
        let claims = object("claims", claims)?;
        let signature = bytes("signature", signature)?;
        let end = token.rfind('.').unwrap_or_default();
        let signed = token.as_bytes().get(..end).unwrap_or_default();
        Ok(Self { algorithm, key_id, claims, signed, signature })
    }

    /// Whether this key has signed it.
    pub(crate) fn is_signed_by(&self, key: &PublicJwk) -> bool {
        self.algorithm.verifies(key, self.signed, &self.signature)
    }
}

/// What goes before the signature: header and claims as they are signed.
pub(crate) fn signing_input(algorithm: Algorithm, key_id: &str, claims: &Map<String, Value>) -> String {
    let header = serde_json::json!({"alg": algorithm.as_str(), "kid": key_id, "typ": "JWT"}).to_string();
    let claims = Value::Object(claims.clone()).to_string();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// The whole compact serialization.
pub(crate) fn compact(input: &str, signature: &[u8]) -> String {
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn read_header(header: &Map<String, Value>) -> Result<(Algorithm, Option<String>), JwsError> {
    if header.keys().any(|name| !matches!(name.as_str(), "alg" | "kid" | "typ")) {
        return Err(JwsError::Parameter);
    }
    let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::from_name);
    let algorithm = algorithm.ok_or(JwsError::Algorithm)?;
    if header.get("typ").is_some_and(|kind| kind != "JWT" && kind != "JOSE") {
        return Err(JwsError::Type);
    }
    let key_id = match header.get("kid") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(JwsError::KeyId),
    };
    Ok((algorithm, key_id))
}

fn object(part: &'static str, text: &str) -> Result<Map<String, Value>, JwsError> {
    json::read_object(&bytes(part, text)?).map_err(|_| JwsError::Json { part })
}

fn bytes(part: &'static str, text: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JwsError::Encoding { part })
}
