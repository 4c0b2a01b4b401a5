//! Public keys as JSON Web Keys.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, EcdsaVerificationAlgorithm,
    ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use x509_parser::prelude::X509Certificate;
use x509_parser::public_key::PublicKey;

/// Sizes of RSA moduli that are believed, in bits; RFC 7518, section 3.3, has the lower one.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The tag of a point that is written as both its coordinates (SEC 1, section 2.3.3).
const UNCOMPRESSED: u8 = 4;

/// An elliptic curve of RFC 7518, section 6.2.1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Curve {
    /// P-256.
    P256,
    /// P-384.
    P384,
    /// P-521.
    P521,
}

/// A public key that signatures are verified with; it is known to be one: a point on its curve, a modulus of a size
/// that is believed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PublicJwk {
    /// A point on a curve.
    Ec {
        /// The curve.
        curve: Curve,
        /// The point, uncompressed: 4, then both coordinates in the curve's length.
        point: Vec<u8>,
    },
    /// An RSA key, numbers big-endian without zeros in front.
    Rsa {
        /// The modulus.
        n: Vec<u8>,
        /// The exponent.
        e: Vec<u8>,
    },
}

impl Curve {
    /// Every curve.
    pub const ALL: [Self; 3] = [Self::P256, Self::P384, Self::P521];

    /// Its name in `crv`.
    pub fn as_str(self) -> &'static str {
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

    /// ECDSA with the one hash that JWS has for the curve (RFC 7518, section 3.4).
    pub(crate) fn verification(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::P521 => &ECDSA_P521_SHA512_FIXED,
        }
    }
}

impl PublicJwk {
    /// A point on a curve, uncompressed; `None` if it is not on it.
    pub fn ec(curve: Curve, point: &[u8]) -> Option<Self> {
        let whole = point.len() == 1 + 2 * curve.coordinate() && point.first() == Some(&UNCOMPRESSED);
        let on_curve = whole && ParsedPublicKey::new(curve.verification(), point).is_ok();
        on_curve.then(|| Self::Ec { curve, point: point.to_vec() })
    }

    /// An RSA key; `None` if the modulus has not 2048 to 8192 bits, the exponent is even, 1 or longer than 33 bits, or a
    /// number has zeros in front.
    pub fn rsa(n: &[u8], e: &[u8]) -> Option<Self> {
        let (first, last) = (n.first()?, n.last()?);
        let bits = n.len() * 8 - first.leading_zeros() as usize;
        let exponent = e.iter().try_fold(0_u64, |sum, &byte| sum.checked_mul(256)?.checked_add(u64::from(byte)))?;
        let sound = *first != 0
            && e.first() != Some(&0)
            && RSA_BITS.contains(&bits)
            && last & 1 == 1
            && exponent & 1 == 1
            && (3..1 << 33).contains(&exponent);
        sound.then(|| Self::Rsa { n: n.to_vec(), e: e.to_vec() })
    }

    /// The key of a JWK (RFC 7518, sections 6.2.1 and 6.3.1); `None` if it is of another type, or its parameters are
    /// missing, not of the full length, or no key.
    pub fn from_members(members: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| members.get(name)?.as_str();
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        match text("kty")? {
            "EC" => {
                let name = text("crv")?;
                let curve = Curve::ALL.into_iter().find(|curve| curve.as_str() == name)?;
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != curve.coordinate() || y.len() != curve.coordinate() {
                    return None;
                }
                Self::ec(curve, &[&[UNCOMPRESSED], &*x, &*y].concat())
            }
            "RSA" => Self::rsa(&bytes("n")?, &bytes("e")?),
            _ => None,
        }
    }

    /// The members of a JWK that say which key it is, `kty` among them.
    pub fn members(&self) -> Map<String, Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let value = match self {
            Self::Ec { curve, point } => {
                let (x, y) = point.get(1..).unwrap_or_default().split_at(curve.coordinate());
                json!({"kty": "EC", "crv": curve.as_str(), "x": text(x), "y": text(y)})
            }
            Self::Rsa { n, e } => json!({"kty": "RSA", "n": text(n), "e": text(e)}),
        };
        match value {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// The key that a certificate is for; `None` if it is of a kind that has no JWS algorithm here.
    pub(crate) fn of_certificate(certificate: &X509Certificate<'_>) -> Option<Self> {
        let info = certificate.public_key();
        match info.parsed().ok()? {
            PublicKey::RSA(key) => Self::rsa(without_zeros(key.modulus), without_zeros(key.exponent)),
            PublicKey::EC(point) => {
                let oid = info.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string();
                let curve = Curve::ALL.into_iter().find(|curve| curve.oid() == oid)?;
                Self::ec(curve, point.data())
            }
            _ => None,
        }
    }

    /// The same key always has the same one: SHA-256 of its members in the order of RFC 7638, section 3, as base64url.
    pub fn thumbprint(&self) -> String {
        let sorted: BTreeMap<String, Value> = self.members().into_iter().collect();
        let members: Vec<String> = sorted.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let members = format!("{{{}}}", members.join(","));
        URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, members.as_bytes()))
    }
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Curve, PublicJwk};
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Map, Value};

    fn members(text: &str) -> Map<String, Value> {
        crate::json::read_object(text.as_bytes()).expect("an object")
    }

    /// The keys of RFC 7517, appendix A.1.
    const EC: &str = r#"{"crv":"P-256","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    const RSA: &str = r#"{"e":"AQAB","kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#;

    #[test]
    fn a_key_reads_as_it_is_written() {
        for text in [EC, RSA] {
            let members = members(text);
            let key = PublicJwk::from_members(&members).expect("a key");
            assert_eq!(key.members(), members);
        }
        // RFC 7638, section 3.1, computes the thumbprint of this very key.
        let key = PublicJwk::from_members(&members(RSA)).expect("a key");
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_coordinate_has_the_length_of_its_curve() {
        let whole = members(EC);
        let PublicJwk::Ec { point, .. } = PublicJwk::from_members(&whole).expect("a key") else { panic!("EC") };
        for split in 0..=64 {
            let mut members = whole.clone();
            let (x, y) = point[1..].split_at(split);
            members.insert("x".to_owned(), URL_SAFE_NO_PAD.encode(x).into());
            members.insert("y".to_owned(), URL_SAFE_NO_PAD.encode(y).into());
            assert_eq!(PublicJwk::from_members(&members).is_some(), split == 32, "{split} bytes of x");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let PublicJwk::Rsa { n, e } = PublicJwk::from_members(&members(RSA)).expect("a key") else { panic!("RSA") };
        assert!(PublicJwk::rsa(&n[1..], &e).is_none(), "2040 bits");
        assert!(PublicJwk::rsa(&[&[0], &*n].concat(), &e).is_none(), "a zero in front");
        for exponent in [&[1][..], &[2], &[], &[0, 3], &[2, 0, 0, 0, 1], &[1; 9]] {
            assert!(PublicJwk::rsa(&n, exponent).is_none(), "{exponent:?}");
        }
        assert!(PublicJwk::rsa(&[], &e).is_none());
        let PublicJwk::Ec { mut point, .. } = PublicJwk::from_members(&members(EC)).expect("a key") else {
            panic!("EC")
        };
        assert!(PublicJwk::ec(Curve::P384, &point).is_none() && PublicJwk::ec(Curve::P256, &[]).is_none());
        point[64] ^= 1;
        assert!(PublicJwk::ec(Curve::P256, &point).is_none(), "beside the curve");
    }
}
