//! Trust bundles as JSON Web Key Sets.
//!
//! Source: SPIFFE Trust Domain and Bundle, section 4; X509-SVID, section 6; JWT-SVID, section 6; RFC 7517.

use crate::bundle::{Bundle, JwtKey};
use crate::json;
use crate::jwk::PublicJwk;
use crate::jws::Algorithm;
use crate::signing::{SigningFault, check_signer};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lictor_model::TrustDomain;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

const X509_USE: &str = "x509-svid";
const JWT_USE: &str = "jwt-svid";

/// The object identifier of Ed25519 (RFC 8410, section 3).
const ED25519: &str = "1.3.101.112";

/// Why a text is no trust bundle. Nothing of it is to be used; what was believed before may stay.
#[derive(Debug, thiserror::Error)]
pub enum InvalidBundle {
    /// No JSON object, or one with two members of one name.
    #[error("expected a JSON object in which no name stands twice: {0}")]
    Json(serde_json::Error),
    /// `keys` is missing or no array (section 4.1.3).
    #[error("expected the member keys with an array of keys")]
    Keys,
    /// A number that is none, is negative, or has more than 64 bits (sections 4.1.1 and 4.1.2).
    #[error("expected {name} to be a whole number from 0")]
    Number {
        /// `spiffe_sequence` or `spiffe_refresh_hint`.
        name: &'static str,
    },
    /// An authority's certificate was read once and not the second time.
    #[error(transparent)]
    Authority(#[from] crate::InvalidAuthority),
}

/// A trust bundle and what of the text is not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadBundle {
    /// The usable keys; without any of a kind, no SVID of that kind is believed.
    pub bundle: Bundle,
    /// The entries that were passed over, in the text's order.
    pub ignored: Vec<IgnoredKey>,
}

/// An entry of `keys` that was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its place in `keys`, from 0.
    pub at: usize,
    /// Why.
    pub reason: Unusable,
}

/// Why an entry of `keys` is of no use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// Not an object.
    #[error("expected a key to be an object")]
    NotAnObject,
    /// `use` is missing or another one than the two (section 4.2.2).
    #[error("expected the use x509-svid or jwt-svid")]
    Use,
    /// `kty` is missing or unknown (section 4.2.1).
    #[error("expected the key type EC or RSA, or OKP with a certificate")]
    KeyType,
    /// `x5c` is missing or empty (X509-SVID, section 6.2).
    #[error("expected x5c with a certificate")]
    NoCertificate,
    /// The first value of `x5c` is no certificate that may sign.
    #[error("expected a CA certificate in x5c: {0}")]
    Certificate(#[from] SigningFault),
    /// The certificate is for another key than the entry (RFC 7517, section 4.7).
    #[error("expected the certificate in x5c to be for the key of the entry")]
    OtherKey,
    /// `kid` is missing, empty or no string (JWT-SVID, section 6.1).
    #[error("expected kid with the name of the key")]
    KeyId,
    /// `alg` is none of the nine, or not for this kind of key (RFC 7517, section 4.4).
    #[error("expected alg to be an algorithm of the key")]
    Algorithm,
    /// `key_ops` does not have `verify` (RFC 7517, section 4.3).
    #[error("expected key_ops to have verify")]
    Operations,
    /// The parameters of the key are missing or make no key (RFC 7518, section 6).
    #[error("expected the parameters of a public key")]
    Parameters,
    /// The private half is there (RFC 7518, sections 6.2.2 and 6.3.2): everybody can sign with it.
    #[error("expected a public key, saw a private one")]
    Private,
}

/// A certificate whose key has no form as JWK here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("authority {at} of the bundle: expected a key on P-256, P-384, P-521 or Ed25519, or of RSA")]
pub struct NoJwk {
    /// Its place in the bundle, from 0.
    pub at: usize,
}

impl Bundle {
    /// Reads the bundle of a trust domain, whose name the text does not have: whoever fetched it knows (section 3).
    ///
    /// An entry that is unknown or unusable is passed over, the others stay. A bundle without `spiffe_sequence` has
    /// sequence 0. Members that are not defined are not looked at.
    ///
    /// # Errors
    /// The text is no JWK set at all. An empty `keys` is none: it takes back every key (section 4.1.3).
    pub fn from_jwks(trust_domain: TrustDomain, text: &[u8]) -> Result<ReadBundle, InvalidBundle> {
        let members = json::read_object(text).map_err(InvalidBundle::Json)?;
        let sequence = number(&members, "spiffe_sequence")?.unwrap_or(0);
        let refresh_hint = number(&members, "spiffe_refresh_hint")?;
        let keys = members.get("keys").and_then(Value::as_array).ok_or(InvalidBundle::Keys)?;
        let (mut authorities, mut jwt_keys, mut ignored) = (Vec::new(), Vec::new(), Vec::new());
        for (at, key) in keys.iter().enumerate() {
            match read_entry(key) {
                // The union of the entries (X509-SVID, section 6.2).
                Ok(Entry::X509(certificate)) if authorities.contains(&certificate) => {}
                Ok(Entry::X509(certificate)) => authorities.push(certificate),
                Ok(Entry::Jwt(key)) => jwt_keys.push(key),
                Err(reason) => ignored.push(IgnoredKey { at, reason }),
            }
        }
        let bundle = Self::new(trust_domain, authorities, sequence)?;
        Ok(ReadBundle { bundle: bundle.with_jwt_keys(jwt_keys).with_refresh_hint(refresh_hint), ignored })
    }

    /// Reads the keys for tokens of a standard JWK set, as a Workload API sends them (section 6.2.2 there): every key of
    /// it is one, and `use` is absent, `sig` or `jwt-svid`. Entries that are of no use are named beside the keys.
    ///
    /// # Errors
    /// The text is no JWK set at all.
    pub fn read_token_keys(text: &[u8]) -> Result<(Vec<JwtKey>, Vec<IgnoredKey>), InvalidBundle> {
        let members = json::read_object(text).map_err(InvalidBundle::Json)?;
        let (mut jwt_keys, mut ignored) = (Vec::new(), Vec::new());
        for (at, key) in members.get("keys").and_then(Value::as_array).ok_or(InvalidBundle::Keys)?.iter().enumerate() {
            match read_token_entry(key) {
                Ok(key) => jwt_keys.push(key),
                Err(reason) => ignored.push(IgnoredKey { at, reason }),
            }
        }
        Ok((jwt_keys, ignored))
    }

    /// The bundle as a JWK set, as one control plane hands it to another.
    ///
    /// # Errors
    /// An authority has a key of a kind that is not written here; leaving it out would end trust in silence.
    pub fn to_jwks(&self) -> Result<String, NoJwk> {
        let mut keys = Vec::with_capacity(self.authorities().len() + self.jwt_keys().len());
        for (at, certificate) in self.authorities().iter().enumerate() {
            let mut members = certificate_members(certificate).ok_or(NoJwk { at })?;
            members.insert("use".to_owned(), json!(X509_USE));
            members.insert("x5c".to_owned(), json!([STANDARD.encode(certificate)]));
            keys.push(Value::Object(members));
        }
        keys.extend(self.jwt_keys().iter().map(jwt_entry));
        let mut set = Map::from_iter([("keys".to_owned(), Value::Array(keys))]);
        set.insert("spiffe_sequence".to_owned(), json!(self.sequence()));
        if let Some(seconds) = self.refresh_hint() {
            set.insert("spiffe_refresh_hint".to_owned(), json!(seconds));
        }
        Ok(Value::Object(set).to_string())
    }

    /// The keys for tokens alone, as a standard JWK set: what the Workload API sends (section 6.2.2 there).
    pub fn jwt_jwks(&self) -> String {
        json!({"keys": self.jwt_keys().iter().map(jwt_entry).collect::<Vec<_>>()}).to_string()
    }
}

enum Entry {
    X509(CertificateDer<'static>),
    Jwt(JwtKey),
}

fn read_entry(key: &Value) -> Result<Entry, Unusable> {
    let members = key.as_object().ok_or(Unusable::NotAnObject)?;
    let usage = members.get("use").and_then(Value::as_str).ok_or(Unusable::Use)?;
    let kind = members.get("kty").and_then(Value::as_str).ok_or(Unusable::KeyType)?;
    match (usage, kind) {
        (X509_USE, "EC" | "RSA" | "OKP") => Ok(Entry::X509(read_certificate(members)?)),
        (JWT_USE, "EC" | "RSA") => Ok(Entry::Jwt(read_jwt_key(members)?)),
        (X509_USE | JWT_USE, _) => Err(Unusable::KeyType),
        _ => Err(Unusable::Use),
    }
}

fn read_token_entry(key: &Value) -> Result<JwtKey, Unusable> {
    let members = key.as_object().ok_or(Unusable::NotAnObject)?;
    if members.get("use").is_some_and(|usage| usage != JWT_USE && usage != "sig") {
        return Err(Unusable::Use);
    }
    match members.get("kty").and_then(Value::as_str) {
        Some("EC" | "RSA") => read_jwt_key(members),
        _ => Err(Unusable::KeyType),
    }
}

/// The first value of `x5c`; all others are passed over (X509-SVID, section 6.2).
fn read_certificate(members: &Map<String, Value>) -> Result<CertificateDer<'static>, Unusable> {
    let values = members.get("x5c").and_then(Value::as_array);
    let first = values.and_then(|values| values.first()).ok_or(Unusable::NoCertificate)?;
    let malformed = Unusable::Certificate(SigningFault::Malformed);
    // RFC 7517, section 4.7: base64, not base64url.
    let der = first.as_str().and_then(|text| STANDARD.decode(text).ok()).ok_or(malformed)?;
    let Ok(([], parsed)) = X509Certificate::from_der(&der) else { return Err(malformed) };
    check_signer(&parsed)?;
    // A key without parameters is the certificate's; one with others is a contradiction.
    let has_key = ["n", "x"].iter().any(|name| members.contains_key(*name));
    let own = parsed_members(&parsed);
    if has_key && own.is_none_or(|own| own.iter().any(|(name, value)| members.get(name) != Some(value))) {
        return Err(Unusable::OtherKey);
    }
    webpki::anchor_from_trusted_cert(&CertificateDer::from(der.as_slice())).map_err(|_| malformed)?;
    Ok(der.into())
}

fn read_jwt_key(members: &Map<String, Value>) -> Result<JwtKey, Unusable> {
    let id = members.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or(Unusable::KeyId)?;
    if members.contains_key("d") {
        return Err(Unusable::Private);
    }
    let verifies = |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
    if members.get("key_ops").is_some_and(|operations| !verifies(operations)) {
        return Err(Unusable::Operations);
    }
    let key = PublicJwk::from_members(members).ok_or(Unusable::Parameters)?;
    let algorithm = match members.get("alg") {
        None => None,
        Some(name) => {
            let algorithm = name.as_str().and_then(Algorithm::from_name).filter(|algorithm| algorithm.fits(&key));
            Some(algorithm.ok_or(Unusable::Algorithm)?)
        }
    };
    Ok(JwtKey { id: id.to_owned(), key, algorithm })
}

fn jwt_entry(key: &JwtKey) -> Value {
    let mut members = key.key.members();
    members.insert("use".to_owned(), json!(JWT_USE));
    members.insert("kid".to_owned(), json!(key.id));
    if let Some(algorithm) = key.algorithm {
        members.insert("alg".to_owned(), json!(algorithm.as_str()));
    }
    Value::Object(members)
}

fn certificate_members(certificate: &CertificateDer<'_>) -> Option<Map<String, Value>> {
    parsed_members(&X509Certificate::from_der(certificate).ok()?.1)
}

/// The members of a JWK for the key of a certificate (RFC 7518, section 6; RFC 8037, section 2, for Ed25519).
fn parsed_members(certificate: &X509Certificate<'_>) -> Option<Map<String, Value>> {
    let info = certificate.public_key();
    if info.algorithm.algorithm.to_id_string() == ED25519 {
        let x = URL_SAFE_NO_PAD.encode(&info.subject_public_key.data);
        let members = [("kty", json!("OKP")), ("crv", json!("Ed25519")), ("x", json!(x))];
        return Some(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
    }
    PublicJwk::of_certificate(certificate).map(|key| key.members())
}

fn number(members: &Map<String, Value>, name: &'static str) -> Result<Option<u64>, InvalidBundle> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(InvalidBundle::Number { name }),
    }
}
