//! `privateKey`, and the signature algorithm that goes with it.

use crate::fields::{Field, Record};
use crate::finding::Code;
use crate::{CertificateKey, KeyAlgorithm, KeyEncoding, KeyRotation};

/// What an algorithm is called.
#[derive(Clone, Copy)]
enum Family {
    Rsa,
    Ecdsa,
    Ed25519,
}

/// How the key is made.
pub(super) fn private_key(record: &mut Record<'_>) -> CertificateKey {
    let key = record.get("privateKey").and_then(|field| field.record(read)).unwrap_or_default();
    // A request is signed with it, and none is written here; it has to fit all the same.
    if let Some(field) = record.get("signatureAlgorithm").filter(|field| field.node.as_str() != Some("")) {
        let (rsa, ecdsa, edwards) = (
            ["SHA256WithRSA", "SHA384WithRSA", "SHA512WithRSA"],
            ["ECDSAWithSHA256", "ECDSAWithSHA384", "ECDSAWithSHA512"],
            ["PureEd25519"],
        );
        let words: Vec<_> = match key.algorithm {
            KeyAlgorithm::Rsa(_) => rsa.map(|word| (word, ())).to_vec(),
            KeyAlgorithm::Ecdsa(_) => ecdsa.map(|word| (word, ())).to_vec(),
            KeyAlgorithm::Ed25519 => edwards.map(|word| (word, ())).to_vec(),
        };
        field.word(Code::InvalidValue, &words);
    }
    key
}

fn read(record: &mut Record<'_>) -> CertificateKey {
    let families = [("RSA", Family::Rsa), ("ECDSA", Family::Ecdsa), ("Ed25519", Family::Ed25519)];
    let encodings = [("PKCS1", KeyEncoding::Pkcs1), ("PKCS8", KeyEncoding::Pkcs8)];
    let rotations = [("Always", KeyRotation::Always), ("Never", KeyRotation::Never)];
    let family = word(record, "algorithm", &families).unwrap_or(Family::Rsa);
    CertificateKey {
        algorithm: algorithm(record.get("size"), family),
        encoding: word(record, "encoding", &encodings).unwrap_or_default(),
        rotation: word(record, "rotationPolicy", &rotations).unwrap_or_default(),
    }
}

/// The word of a field; the empty one says nothing.
fn word<T: Copy>(record: &mut Record<'_>, key: &'static str, words: &[(&'static str, T)]) -> Option<T> {
    record.get(key).filter(|field| field.node.as_str() != Some(""))?.word(Code::InvalidValue, words)
}

/// The algorithm with its size; a size of zero says nothing.
fn algorithm(size: Option<Field<'_>>, family: Family) -> KeyAlgorithm {
    let given =
        size.as_ref().and_then(|field| field.integer(Code::InvalidValue, 0..=u16::MAX)).filter(|bits| *bits > 0);
    let wrong = |wanted: &str| size.iter().for_each(|field| field.wrong(Code::InvalidValue, wanted));
    match (family, given) {
        (Family::Rsa, None) => KeyAlgorithm::default(),
        (Family::Rsa, Some(bits)) => {
            if !(2048..=8192).contains(&bits) {
                wrong("a size of 2048 to 8192 bits for RSA");
            }
            KeyAlgorithm::Rsa(bits)
        }
        (Family::Ecdsa, None) => KeyAlgorithm::Ecdsa(256),
        (Family::Ecdsa, Some(bits)) => {
            if ![256, 384, 521].contains(&bits) {
                wrong("a size of 256, 384 or 521 for ECDSA");
            }
            KeyAlgorithm::Ecdsa(bits)
        }
        (Family::Ed25519, _) => KeyAlgorithm::Ed25519,
    }
}
