//! Where the keys of authorities are: in this process, or held by something that signs with them and gives none of them out.

use crate::authority::IssueError;
use crate::svid::PrivateKey;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroize;

/// Octets of each number of a P-256 signature.
const NUMBER: usize = 32;

/// A P-256 key that something else holds and signs with.
pub trait HeldKey: Send + Sync {
    /// What its holder finds it by; no secret.
    fn reference(&self) -> &str;

    /// The public key as an uncompressed point: 65 octets (SEC 1, section 2.3.3).
    fn public_point(&self) -> &[u8];

    /// Signs the SHA-256 of a message: the two numbers of the signature, 32 octets each, as RFC 7518, section 3.4, has them.
    ///
    /// # Errors
    /// The holder does not sign.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError>;
}

/// What holds keys of authorities, such as a hardware security module.
pub trait KeyStore: Send + Sync {
    /// Makes a key.
    ///
    /// # Errors
    /// It cannot.
    fn make(&self) -> Result<Arc<dyn HeldKey>, KeyStoreError>;

    /// The key of a reference.
    ///
    /// # Errors
    /// It is not there, or is of another kind.
    fn find(&self, reference: &str) -> Result<Arc<dyn HeldKey>, KeyStoreError>;

    /// Deletes a key that signs no more and is believed no more.
    ///
    /// # Errors
    /// It cannot.
    fn forget(&self, reference: &str) -> Result<(), KeyStoreError>;
}

/// Why a key store did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key store: {0}")]
pub struct KeyStoreError(pub String);

/// Where new keys of authorities are made: in a key store, or in this process.
#[derive(Clone, Default)]
pub struct Keys(Option<Arc<dyn KeyStore>>);

impl Keys {
    /// In this store.
    pub fn held_by(store: Arc<dyn KeyStore>) -> Self {
        Self(Some(store))
    }

    /// A new key that the store holds; `None` if there is none.
    pub(crate) fn make(&self) -> Result<Option<Arc<dyn HeldKey>>, KeyStoreError> {
        self.0.as_ref().map(|store| store.make()).transpose()
    }

    /// A key that the store holds.
    pub(crate) fn find(&self, reference: &str) -> Result<Arc<dyn HeldKey>, KeyStoreError> {
        let store = self.0.as_ref().ok_or_else(|| KeyStoreError(format!("expected one, which has key {reference}")))?;
        store.find(reference)
    }

    /// Deletes a key that the store holds.
    ///
    /// # Errors
    /// As [`KeyStore::forget`].
    pub fn forget(&self, reference: &str) -> Result<(), KeyStoreError> {
        self.0.as_ref().map_or(Ok(()), |store| store.forget(reference))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Keys(held)" } else { "Keys(own)" })
    }
}

/// A key whose encoded form is wiped when it is dropped.
pub(crate) struct WipedKey(pub(crate) KeyPair);

impl WipedKey {
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        Ok(Self(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?))
    }
}

impl Drop for WipedKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for WipedKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

/// The key of a certificate authority.
pub(crate) enum AuthorityKey {
    Own(WipedKey),
    Held(Arc<dyn HeldKey>),
}

/// A key as a store of authorities has it: itself, or what its holder finds it by.
pub(crate) enum SavedKey {
    Own(PrivateKey),
    Held(String),
}

impl AuthorityKey {
    /// A new key in this process.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        WipedKey::generate().map(Self::Own)
    }

    /// A new key where keys are made.
    pub(crate) fn made_in(keys: &Keys) -> Result<Self, IssueError> {
        Ok(match keys.make()? {
            Some(key) => Self::Held(key),
            None => Self::generate()?,
        })
    }
}

impl PublicKeyData for AuthorityKey {
    fn der_bytes(&self) -> &[u8] {
        match self {
            Self::Own(key) => key.der_bytes(),
            Self::Held(key) => key.public_point(),
        }
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        match self {
            Self::Own(key) => key.algorithm(),
            Self::Held(_) => &PKCS_ECDSA_P256_SHA256,
        }
    }
}

impl SigningKey for AuthorityKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        match self {
            Self::Own(key) => key.0.sign(message),
            Self::Held(key) => {
                let signature = key.sign(message).map_err(|_| rcgen::Error::RemoteKeyError)?;
                in_der(&signature).ok_or(rcgen::Error::RemoteKeyError)
            }
        }
    }
}

/// Two numbers as a certificate has them: a SEQUENCE of two INTEGERs (RFC 5480, appendix A).
fn in_der(signature: &[u8]) -> Option<Vec<u8>> {
    if signature.len() != 2 * NUMBER {
        return None;
    }
    let mut numbers = Vec::with_capacity(2 * NUMBER + 6);
    for number in signature.chunks(NUMBER) {
        let digits: Vec<u8> = number.iter().copied().skip_while(|octet| *octet == 0).collect();
        // The first bit is the sign.
        let pad = digits.first().is_none_or(|first| first & 0x80 != 0);
        let length = u8::try_from(digits.len() + usize::from(pad)).ok()?;
        numbers.extend([0x02, length]);
        numbers.extend(pad.then_some(0));
        numbers.extend(digits);
    }
    let mut der = vec![0x30, u8::try_from(numbers.len()).ok()?];
    der.extend(numbers);
    Some(der)
}

#[cfg(test)]
mod tests {
    use super::{HeldKey, KeyStore, KeyStoreError, Keys, in_der};
    use crate::{Authorities, Kind, Usage, unix_time, verify, verify_token};
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use time::{Duration, OffsetDateTime};

    #[test]
    fn a_signature_is_written_with_the_shortest_numbers() {
        let with = |first: &[u8], second: &[u8]| {
            let number = |tail: &[u8]| [vec![0; 32 - tail.len()], tail.to_vec()].concat();
            in_der(&[number(first), number(second)].concat())
        };
        assert_eq!(with(&[1], &[0x7f, 2]), Some(vec![0x30, 7, 2, 1, 1, 2, 2, 0x7f, 2]));
        assert_eq!(with(&[0x80], &[]), Some(vec![0x30, 7, 2, 2, 0, 0x80, 2, 1, 0]));
        assert_eq!(with(&[0xff; 32], &[0xff; 32]).map(|der| (der.len(), der[1])), Some((72, 70)));
        assert_eq!(in_der(&[0; 63]), None);
    }

    /// A key store in memory.
    #[derive(Clone, Default)]
    struct Drawer(Arc<Mutex<BTreeMap<String, Arc<DrawnKey>>>>);

    struct DrawnKey(String, EcdsaKeyPair);

    impl HeldKey for DrawnKey {
        fn reference(&self) -> &str {
            &self.0
        }

        fn public_point(&self) -> &[u8] {
            self.1.public_key().as_ref()
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
            let signed = self.1.sign(&SystemRandom::new(), message);
            signed.map(|signature| signature.as_ref().to_vec()).map_err(|_| KeyStoreError("no".to_owned()))
        }
    }

    impl KeyStore for Drawer {
        fn make(&self) -> Result<Arc<dyn HeldKey>, KeyStoreError> {
            let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
            let mut keys = self.0.lock().expect("the keys");
            let key = Arc::new(DrawnKey(format!("key-{}", keys.len()), pair));
            keys.insert(key.0.clone(), Arc::clone(&key));
            Ok(key)
        }

        fn find(&self, reference: &str) -> Result<Arc<dyn HeldKey>, KeyStoreError> {
            let found = self.0.lock().expect("the keys").get(reference).cloned();
            found.map(|key| key as Arc<dyn HeldKey>).ok_or_else(|| KeyStoreError(format!("there is no {reference}")))
        }

        fn forget(&self, reference: &str) -> Result<(), KeyStoreError> {
            self.0.lock().expect("the keys").remove(reference);
            Ok(())
        }
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time")
    }

    /// Whether certificates and tokens of these authorities prove their names to whoever has their bundle.
    fn proves(authorities: &Authorities) {
        let id = "spiffe://td.example/a".parse().expect("an identity");
        let bundle = authorities.bundle().expect("a bundle");
        let svid = authorities.signer().0.issue(&id, now(), Duration::MINUTE).expect("an SVID");
        assert_eq!(verify(&svid.chain, &bundle, unix_time(now()), Usage::Client), Ok(id.clone()));
        let token = authorities.tokens().issue(&id, &["x".to_owned()], now(), Duration::MINUTE).expect("a token");
        assert!(verify_token(&token, &bundle, "x", unix_time(now())).is_ok());
    }

    #[test]
    fn authorities_whose_keys_are_held_sign_are_saved_and_come_back_without_a_key() {
        let drawer = Drawer::default();
        let keys = Keys::held_by(Arc::new(drawer.clone()));
        let domain: lictor_model::TrustDomain = "td.example".parse().expect("a trust domain");
        let start = || Authorities::with_keys(keys.clone(), domain.clone(), None, Duration::HOUR, now());
        let mut own = start().expect("authorities");
        for kind in Kind::ALL {
            own.prepare(kind, now()).expect("another one");
            own.activate(kind, None, now()).expect("its turn");
        }
        proves(&own);
        assert_eq!(own.held_keys().len(), 4);
        assert!(own.signer().0.to_pem().is_err(), "nobody gives them out");
        let document = own.to_document().expect("a document");
        let text = String::from_utf8(document.to_vec()).expect("a text");
        assert!(text.contains("key-0") && !text.contains("\"key\""), "{text}");

        let read = |keys: &Keys| Authorities::from_document_with_keys(keys, &document, &domain, None, Duration::HOUR);
        let back = read(&keys).expect("the same authorities");
        assert_eq!(
            (back.bundle().expect("a bundle"), back.held_keys()),
            (own.bundle().expect("a bundle"), own.held_keys())
        );
        proves(&back);
        let refused = read(&Keys::default()).map(|_| ()).expect_err("a refusal").to_string();
        assert!(refused.contains("expected one, which has key key-"), "{refused}");
        keys.forget("key-0").expect("gone");
        let refused = read(&keys).map(|_| ()).expect_err("a refusal").to_string();
        assert!(refused.contains("there is no key-0"), "{refused}");
        // Another key under the same reference is no way in.
        let other = Drawer::default();
        (0..4).for_each(|_| drop(other.make().expect("a key")));
        let refused = read(&Keys::held_by(Arc::new(other))).map(|_| ()).expect_err("a refusal").to_string();
        assert_eq!(refused, "x509 authority 0: expected the key of the first certificate, saw another one");
    }
}
