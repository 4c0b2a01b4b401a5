//! Keys by name: the same name is the same key throughout a run. Its first word is the kind.

use crate::der;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING,
    ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
};
use lictor_pki::{Curve, PublicJwk};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// A key pair.
pub(crate) struct Key {
    /// The private half, PKCS#8.
    pkcs8: Vec<u8>,
    /// `SubjectPublicKeyInfo`.
    pub(crate) info: Vec<u8>,
    kind: Kind,
}

enum Kind {
    Ec(Curve),
    Rsa,
    Ed25519,
}

/// The key of this name; made when it is first asked for.
pub(crate) fn key(name: &str) -> Arc<Key> {
    static KEYS: LazyLock<Mutex<HashMap<String, Arc<Key>>>> = LazyLock::new(Mutex::default);
    let mut keys = KEYS.lock().expect("the keys");
    Arc::clone(keys.entry(name.to_owned()).or_insert_with(|| Arc::new(Key::make(name))))
}

impl Key {
    fn make(name: &str) -> Self {
        match name.split(' ').next() {
            Some("P-256") => Self::ec(Curve::P256),
            Some("P-384") => Self::ec(Curve::P384),
            Some("P-521") => Self::ec(Curve::P521),
            Some("RSA-2048") => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
                let info = AsDer::as_der(pair.public_key()).expect("a public key").as_ref().to_vec();
                Self { pkcs8: AsDer::as_der(&pair).expect("a document").as_ref().to_vec(), info, kind: Kind::Rsa }
            }
            Some("Ed25519") => {
                let pair = Ed25519KeyPair::generate().expect("a key");
                let info = pair.public_key().as_der().expect("a public key").as_ref().to_vec();
                Self { pkcs8: pair.to_pkcs8().expect("a document").as_ref().to_vec(), info, kind: Kind::Ed25519 }
            }
            _ => panic!("expected a kind of key before the first blank, saw {name}"),
        }
    }

    fn ec(curve: Curve) -> Self {
        let pair = EcdsaKeyPair::generate(fixed(curve)).expect("a key");
        let info = pair.public_key().as_der().expect("a public key").as_ref().to_vec();
        Self { pkcs8: pair.to_pkcs8v1().expect("a document").as_ref().to_vec(), info, kind: Kind::Ec(curve) }
    }

    /// The public half as a JWK; Ed25519 has none here.
    pub(crate) fn jwk(&self) -> PublicJwk {
        match self.kind {
            Kind::Ec(curve) => {
                let pair = EcdsaKeyPair::from_pkcs8(fixed(curve), &self.pkcs8).expect("a key");
                PublicJwk::ec(curve, pair.public_key().as_ref()).expect("a point")
            }
            Kind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).expect("a key");
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                let numbers = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                PublicJwk::rsa(numbers.0, numbers.1).expect("a modulus")
            }
            Kind::Ed25519 => panic!("a token cannot be signed with Ed25519"),
        }
    }

    /// Signs a certificate; returns the algorithm's identifier and the signature.
    pub(crate) fn sign_certificate(&self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        match self.kind {
            Kind::Ec(curve) => {
                let (oid, algorithm) = match curve {
                    Curve::P256 => ("1.2.840.10045.4.3.2", &ECDSA_P256_SHA256_ASN1_SIGNING),
                    Curve::P384 => ("1.2.840.10045.4.3.3", &ECDSA_P384_SHA384_ASN1_SIGNING),
                    Curve::P521 => ("1.2.840.10045.4.3.4", &ECDSA_P521_SHA512_ASN1_SIGNING),
                };
                (der::sequence(&[der::oid(oid)]), self.ecdsa(algorithm, message))
            }
            Kind::Rsa => {
                let identifier = der::sequence(&[der::oid("1.2.840.113549.1.1.11"), vec![5, 0]]);
                (identifier, self.rsa(&RSA_PKCS1_SHA256, message))
            }
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).expect("a key");
                (der::sequence(&[der::oid("1.3.101.112")]), pair.sign(message).as_ref().to_vec())
            }
        }
    }

    /// Signs a token with the algorithm of this name.
    pub(crate) fn sign_token(&self, algorithm: &str, message: &[u8]) -> Vec<u8> {
        match algorithm {
            "RS256" => self.rsa(&RSA_PKCS1_SHA256, message),
            "RS384" => self.rsa(&RSA_PKCS1_SHA384, message),
            "RS512" => self.rsa(&RSA_PKCS1_SHA512, message),
            "PS256" => self.rsa(&RSA_PSS_SHA256, message),
            "PS384" => self.rsa(&RSA_PSS_SHA384, message),
            "PS512" => self.rsa(&RSA_PSS_SHA512, message),
            "ES256" => self.ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, message),
            "ES384" => self.ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, message),
            "ES512" => self.ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, message),
            "ES256 in DER" => self.ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, message),
            "HS256 with the public key" => {
                let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &self.info);
                aws_lc_rs::hmac::sign(&key, message).as_ref().to_vec()
            }
            other => panic!("expected an algorithm, saw {other}"),
        }
    }

    fn ecdsa(&self, algorithm: &'static EcdsaSigningAlgorithm, message: &[u8]) -> Vec<u8> {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &self.pkcs8).expect("a key of the algorithm's curve");
        pair.sign(&SystemRandom::new(), message).expect("a signature").as_ref().to_vec()
    }

    fn rsa(&self, encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).expect("an RSA key");
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), message, &mut signature).expect("a signature");
        signature
    }
}

fn fixed(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}
