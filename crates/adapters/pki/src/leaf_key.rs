//! A workload's private key of any usual kind, and the forms that it is written in.

use crate::keys::WipedKey;
use crate::pem::{KEY, push_block};
use crate::svid::PrivateKey;
use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der, Pkcs8V1Der};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair,
};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData, RsaKeySize,
};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use std::fmt;
use x509_parser::asn1_rs::{Any, FromDer};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

/// The kind of a key, and its size in bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// RSA; 2048, 3072 and 4096 bits are made here.
    Rsa(u16),
    /// ECDSA on the NIST curve of so many bits: 256, 384 or 521.
    Ecdsa(u16),
    /// Ed25519.
    Ed25519,
}

/// How a key is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// The form of the key's own kind: PKCS#1 for RSA (RFC 8017, appendix A.1.2), RFC 5915 for ECDSA; Ed25519 has none, and is
    /// written as PKCS#8.
    Traditional,
    /// PKCS#8 (RFC 5958, version 1).
    Pkcs8,
}

/// A private key; wiped from memory when it is dropped, never printed.
pub struct LeafKey {
    pair: WipedKey,
    kind: Option<KeyKind>,
    pkcs8: PrivateKey,
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLeafKey {
    /// A kind or size that is not made here.
    #[error("expected RSA of 2048, 3072 or 4096 bits, ECDSA of 256, 384 or 521 bits, or Ed25519, saw {0}")]
    Kind(KeyKind),
    /// It cannot be made, or it is none.
    #[error("expected a private key: {0}")]
    Key(rcgen::Error),
    /// It is no PEM text with a key in it.
    #[error("expected a private key in PEM: {0}")]
    Pem(String),
    /// It has no such form.
    #[error("the key cannot be written in this form")]
    Form,
}

impl KeyKind {
    /// Every kind that is made here.
    pub const ALL: [Self; 7] = [
        Self::Rsa(2048),
        Self::Rsa(3072),
        Self::Rsa(4096),
        Self::Ecdsa(256),
        Self::Ecdsa(384),
        Self::Ecdsa(521),
        Self::Ed25519,
    ];
}

impl LeafKey {
    /// A new key.
    ///
    /// # Errors
    /// The kind is none of [`KeyKind::ALL`], or the system has no random numbers.
    pub fn generate(kind: KeyKind) -> Result<Self, InvalidLeafKey> {
        let rsa = |size| KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, size);
        let made = match kind {
            KeyKind::Rsa(2048) => rsa(RsaKeySize::_2048),
            KeyKind::Rsa(3072) => rsa(RsaKeySize::_3072),
            KeyKind::Rsa(4096) => rsa(RsaKeySize::_4096),
            KeyKind::Ecdsa(256) => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            KeyKind::Ecdsa(384) => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            KeyKind::Ecdsa(521) => KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512),
            KeyKind::Ed25519 => KeyPair::generate_for(&PKCS_ED25519),
            KeyKind::Rsa(_) | KeyKind::Ecdsa(_) => return Err(InvalidLeafKey::Kind(kind)),
        };
        Self::of(WipedKey(made.map_err(InvalidLeafKey::Key)?))
    }

    /// Reads the first key of a PEM text, in any of its forms.
    ///
    /// # Errors
    /// There is none, or it is of a kind that is not known.
    pub fn from_pem(text: &[u8]) -> Result<Self, InvalidLeafKey> {
        let mut der = PrivateKeyDer::from_pem_slice(text).map_err(|error| InvalidLeafKey::Pem(error.to_string()))?;
        let pair = KeyPair::try_from(&der).map(WipedKey).map_err(InvalidLeafKey::Key);
        zeroize::Zeroize::zeroize(&mut der);
        Self::of(pair?)
    }

    /// The DER of the first key of a PEM text, in the form that it has there.
    ///
    /// # Errors
    /// There is none.
    pub fn der_of_pem(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, InvalidLeafKey> {
        let mut der = PrivateKeyDer::from_pem_slice(text).map_err(|error| InvalidLeafKey::Pem(error.to_string()))?;
        let copy = Zeroizing::new(der.secret_der().to_vec());
        zeroize::Zeroize::zeroize(&mut der);
        Ok(copy)
    }

    fn of(pair: WipedKey) -> Result<Self, InvalidLeafKey> {
        let kind = kind_of(&pair.subject_public_key_info());
        let pkcs8 = canonical(kind, pair.0.serialized_der()).ok_or(InvalidLeafKey::Form)?;
        Ok(Self { pair, kind, pkcs8 })
    }

    /// Its kind and size; `None` for a size that has no number here.
    pub fn kind(&self) -> Option<KeyKind> {
        self.kind
    }

    /// Its public half, as SubjectPublicKeyInfo in DER (RFC 5280, section 4.1.2.7).
    pub fn public_key_info(&self) -> Vec<u8> {
        self.pair.subject_public_key_info()
    }

    pub(crate) fn public(&self) -> &impl PublicKeyData {
        &self.pair
    }

    /// The key in DER.
    ///
    /// # Errors
    /// It has no such form.
    pub fn to_der(&self, encoding: Encoding) -> Result<Zeroizing<Vec<u8>>, InvalidLeafKey> {
        self.written(encoding).map(|(_, der)| der)
    }

    /// The key in PEM, with the label of its form.
    ///
    /// # Errors
    /// It has no such form.
    pub fn to_pem(&self, encoding: Encoding) -> Result<Zeroizing<String>, InvalidLeafKey> {
        let (label, der) = self.written(encoding)?;
        let mut text = Zeroizing::new(String::new());
        push_block(&mut text, label, &der);
        Ok(text)
    }

    fn written(&self, encoding: Encoding) -> Result<(&'static str, Zeroizing<Vec<u8>>), InvalidLeafKey> {
        let pkcs8 = self.pkcs8.pkcs8();
        let form = |der: Option<&[u8]>| der.map(|der| Zeroizing::new(der.to_vec())).ok_or(InvalidLeafKey::Form);
        match (encoding, self.kind) {
            (Encoding::Traditional, Some(KeyKind::Rsa(_))) => Ok(("RSA PRIVATE KEY", form(within(pkcs8))?)),
            (Encoding::Traditional, Some(KeyKind::Ecdsa(bits))) => {
                let der: Option<EcPrivateKeyRfc5915Der<'_>> =
                    ecdsa(bits, pkcs8).and_then(|pair| pair.private_key().as_der().ok());
                Ok(("EC PRIVATE KEY", form(der.as_ref().map(|der| (**der).as_ref()))?))
            }
            _ => Ok((KEY, form(Some(pkcs8))?)),
        }
    }
}

/// A key as PKCS#8, version 1, whatever form it was in: others do not read version 2.
fn canonical(kind: Option<KeyKind>, der: &[u8]) -> Option<PrivateKey> {
    let document = |bytes: &[u8]| Some(PrivateKey::from_pkcs8(bytes.to_vec()));
    match kind? {
        KeyKind::Rsa(_) => {
            let pair = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)).ok()?;
            let made: Pkcs8V1Der<'_> = pair.as_der().ok()?;
            document(made.as_ref())
        }
        KeyKind::Ecdsa(bits) => document(ecdsa(bits, der)?.to_pkcs8v1().ok()?.as_ref()),
        KeyKind::Ed25519 => {
            let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
            document(pair.to_pkcs8v1().ok()?.as_ref())
        }
    }
}

fn ecdsa(bits: u16, der: &[u8]) -> Option<EcdsaKeyPair> {
    let algorithm: &'static EcdsaSigningAlgorithm = match bits {
        256 => &ECDSA_P256_SHA256_ASN1_SIGNING,
        384 => &ECDSA_P384_SHA384_ASN1_SIGNING,
        521 => &ECDSA_P521_SHA512_ASN1_SIGNING,
        _ => return None,
    };
    EcdsaKeyPair::from_private_key_der(algorithm, der).ok()
}

/// The key within PKCS#8: the third of its parts, an OCTET STRING (RFC 5958, section 2).
fn within(pkcs8: &[u8]) -> Option<&[u8]> {
    let (_, whole) = Any::from_der(pkcs8).ok()?;
    let (rest, _version) = Any::from_der(whole.data).ok()?;
    let (rest, _algorithm) = Any::from_der(rest).ok()?;
    Any::from_der(rest).ok().map(|(_, key)| key.data)
}

fn kind_of(info: &[u8]) -> Option<KeyKind> {
    let (_, info) = SubjectPublicKeyInfo::from_der(info).ok()?;
    match info.parsed().ok()? {
        PublicKey::RSA(key) => u16::try_from(key.key_size()).ok().map(KeyKind::Rsa),
        // An uncompressed point: a byte, then two numbers of whole bytes.
        PublicKey::EC(point) => match point.data().len() {
            65 => Some(KeyKind::Ecdsa(256)),
            97 => Some(KeyKind::Ecdsa(384)),
            133 => Some(KeyKind::Ecdsa(521)),
            _ => None,
        },
        PublicKey::Unknown(_) if info.algorithm.algorithm.to_id_string() == ED25519 => Some(KeyKind::Ed25519),
        _ => None,
    }
}

/// Source: RFC 8410, section 3.
const ED25519: &str = "1.3.101.112";

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ecdsa(bits) => write!(f, "ECDSA {bits}"),
            Self::Ed25519 => f.write_str("Ed25519"),
        }
    }
}

impl fmt::Debug for LeafKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Some(kind) => write!(f, "LeafKey({kind}, elided)"),
            None => f.write_str("LeafKey(elided)"),
        }
    }
}
