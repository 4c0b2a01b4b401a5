//! The keys that a policy gives to verify a token by: a certificate or a public key in PEM, a JWK, or a set of them.
//!
//! Source: OPA, `v1/topdown/tokens.go`, `parseKeysFromCertOrJWK`; RFC 7517; RFC 7518, section 6; RFC 8037, section 2.

use super::signature::{Algorithm, Curve, Key};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use x509_parser::pem::parse_x509_pem;
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

/// A key and what a set says of it.
#[derive(Debug)]
pub(super) struct NamedKey {
    pub(super) key: Key,
    pub(super) id: Option<String>,
    pub(super) algorithm: Option<String>,
}

/// The tag of a point that is written as both its coordinates (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// The object identifier of Ed25519 (RFC 8410, section 3).
const ED25519: &str = "1.3.101.112";

/// Reads keys; `None` where the text is none of the forms, or has a key that cannot be read.
pub(super) fn keys(text: &str) -> Option<Vec<NamedKey>> {
    if text.contains("-----BEGIN") {
        return Some(vec![NamedKey { key: of_pem(text)?, id: None, algorithm: None }]);
    }
    let members: Map<String, Value> = serde_json::from_str(text).ok()?;
    let all = match members.get("keys") {
        Some(keys) => keys.as_array()?.iter().map(|key| of_jwk(key.as_object()?)).collect::<Option<Vec<_>>>()?,
        None => vec![of_jwk(&members)?],
    };
    // A key for an algorithm that no token is verified by here, for encryption for one, is passed over.
    let known = |key: &NamedKey| key.algorithm.as_deref().is_none_or(|name| Algorithm::named(name).is_some());
    Some(all.into_iter().filter(known).collect())
}

/// One block, and nothing after it.
fn of_pem(text: &str) -> Option<Key> {
    let (rest, block) = parse_x509_pem(text.as_bytes()).ok()?;
    if !rest.is_empty() {
        return None;
    }
    match block.label.as_str() {
        "CERTIFICATE" => match X509Certificate::from_der(&block.contents).ok()? {
            ([], certificate) => of_info(certificate.public_key()),
            _ => None,
        },
        "PUBLIC KEY" => match SubjectPublicKeyInfo::from_der(&block.contents).ok()? {
            ([], info) => of_info(&info),
            _ => None,
        },
        _ => None,
    }
}

fn of_info(info: &SubjectPublicKeyInfo<'_>) -> Option<Key> {
    let bytes = &*info.subject_public_key.data;
    if info.algorithm.algorithm.to_id_string() == ED25519 {
        return Some(Key::Ed25519(bytes.to_vec()));
    }
    match info.parsed().ok()? {
        PublicKey::RSA(key) => Some(Key::Rsa { n: number(key.modulus), e: number(key.exponent) }),
        PublicKey::EC(_) => {
            let parameters = info.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
            let curve = Curve::ALL.into_iter().find(|curve| curve.oid() == parameters);
            Some(curve.map_or(Key::Other, |curve| Key::Ec { curve, point: bytes.to_vec() }))
        }
        _ => Some(Key::Other),
    }
}

fn of_jwk(members: &Map<String, Value>) -> Option<NamedKey> {
    let text = |name: &str| members.get(name)?.as_str();
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    // A member that is there has to be a text.
    let optional = |name: &str| match members.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text.clone())),
        Some(_) => None,
    };
    let key = match text("kty")? {
        "oct" => Key::Secret(bytes("k")?),
        _ if members.contains_key("d") => Key::Other,
        "RSA" => Key::Rsa { n: number(&bytes("n")?), e: number(&bytes("e")?) },
        "EC" => of_coordinates(text("crv")?, &bytes("x")?, &bytes("y")?),
        "OKP" if text("crv")? == "Ed25519" => Key::Ed25519(bytes("x")?),
        "OKP" => Key::Other,
        _ => return None,
    };
    Some(NamedKey { key, id: optional("kid")?, algorithm: optional("alg")? })
}

fn of_coordinates(name: &str, x: &[u8], y: &[u8]) -> Key {
    match Curve::ALL.into_iter().find(|curve| curve.name() == name) {
        Some(curve) if x.len() == curve.coordinate() && y.len() == curve.coordinate() => {
            Key::Ec { curve, point: [&[UNCOMPRESSED], x, y].concat() }
        }
        _ => Key::Other,
    }
}

/// A number without zeros in front.
fn number(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}

impl Curve {
    const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its name in `crv`.
    fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::P384 => "P-384",
            Self::P521 => "P-521",
        }
    }

    /// Bytes of a coordinate (RFC 7518, section 6.2.1.2).
    fn coordinate(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// Its object identifier in a certificate (RFC 5480, section 2.1.1.1).
    fn oid(self) -> &'static str {
        match self {
            Self::P256 => "1.2.840.10045.3.1.7",
            Self::P384 => "1.3.132.0.34",
            Self::P521 => "1.3.132.0.35",
        }
    }
}
