//! Secrets at rest: AES-256-GCM under a key of a file, or one that is derived from a passphrase.
//!
//! A sealed text is one JSON object; `docs/identity-store.md` states it. Everything in it that is not sealed is bound to
//! what is: a header that was changed does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::pbkdf2::{self, PBKDF2_HMAC_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::num::NonZeroU32;
use zeroize::Zeroizing;

const FORMAT: &str = "lictor-sealed/1";
const CIPHER: &str = "aes-256-gcm";
const KEY: usize = 32;
const SALT: usize = 16;

/// Rounds of PBKDF2 for new stores: what OWASP's password storage cheat sheet asks of HMAC-SHA-256.
const ROUNDS: u32 = 600_000;

/// Rounds that are believed when they are read: fewer would be weak, more would only keep the reader busy.
const MOST_ROUNDS: u32 = 10_000_000;

/// What a person holds to open a store.
#[derive(Clone)]
pub enum Secret {
    /// A key of 32 octets.
    Key(Zeroizing<[u8; KEY]>),
    /// A passphrase, from which a key is derived by PBKDF2.
    Passphrase(Zeroizing<Vec<u8>>),
}

/// A file that holds no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    /// Not a key.
    #[error("expected a key of 32 octets, as they are or in base64 or hex (`openssl rand -base64 32` makes one)")]
    Key,
    /// Nothing in it.
    #[error("expected a passphrase in the first line, saw none")]
    Passphrase,
}

/// Why nothing was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The system's random number generator does not work.
    #[error("the system's random number generator failed")]
    Random,
    /// The library could not encrypt.
    #[error("the library could not encrypt")]
    Encrypt,
}

/// Why a sealed text does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is none.
    #[error("expected a sealed store ({FORMAT}): {0}")]
    Format(String),
    /// A passphrase is needed, a key was given.
    #[error("it is sealed with a passphrase, and a key file was given")]
    WantsPassphrase,
    /// A key is needed, a passphrase was given.
    #[error("it is sealed with a key, and a passphrase was given")]
    WantsKey,
    /// Another key or passphrase than it was sealed with; or it was changed since. The cipher does not tell which.
    #[error("it does not open with this {with}: another one sealed it, or it was changed since")]
    WrongSecret {
        /// `key` or `passphrase`.
        with: &'static str,
    },
}

/// The key that a store is sealed with, ready for use.
pub struct SealingKey {
    kdf: Kdf,
    key: LessSafeKey,
}

/// How the key comes from the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
enum Kdf {
    None,
    #[serde(rename = "pbkdf2-hmac-sha256")]
    Pbkdf2 {
        iterations: u32,
        salt: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed {
    format: String,
    cipher: String,
    kdf: Kdf,
    nonce: String,
    sealed: String,
}

impl Secret {
    /// The key of a file: 32 octets as they are, or their base64 or hex with white space around it.
    ///
    /// # Errors
    /// It is none of these.
    pub fn from_key_file(bytes: &[u8]) -> Result<Self, InvalidSecret> {
        if let Ok(key) = <[u8; KEY]>::try_from(bytes) {
            return Ok(Self::Key(Zeroizing::new(key)));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidSecret::Key)?.trim();
        let octets = if text.len() == 2 * KEY { unhex(text) } else { STANDARD.decode(text).ok().map(Zeroizing::new) };
        let octets = octets.ok_or(InvalidSecret::Key)?;
        let key = <[u8; KEY]>::try_from(octets.as_slice()).map_err(|_| InvalidSecret::Key)?;
        Ok(Self::Key(Zeroizing::new(key)))
    }

    /// The passphrase of a file: its first line.
    ///
    /// # Errors
    /// The line is empty.
    pub fn from_passphrase_file(bytes: &[u8]) -> Result<Self, InvalidSecret> {
        let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            Err(InvalidSecret::Passphrase)
        } else {
            Ok(Self::Passphrase(Zeroizing::new(line.to_vec())))
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Passphrase(_) => "passphrase",
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, elided)", self.word())
    }
}

impl SealingKey {
    /// A key for a new store; from a passphrase it is derived with a salt of its own.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(secret: &Secret) -> Result<Self, SealError> {
        let kdf = match secret {
            Secret::Key(_) => Kdf::None,
            Secret::Passphrase(_) => {
                let mut salt = [0; SALT];
                aws_lc_rs::rand::fill(&mut salt).map_err(|_| SealError::Random)?;
                Kdf::Pbkdf2 { iterations: ROUNDS, salt: STANDARD.encode(salt) }
            }
        };
        Self::derive(secret, kdf).map_err(|_| SealError::Encrypt)
    }

    fn derive(secret: &Secret, kdf: Kdf) -> Result<Self, OpenError> {
        let mut octets = Zeroizing::new([0; KEY]);
        match (secret, &kdf) {
            (Secret::Key(key), Kdf::None) => octets.copy_from_slice(key.as_slice()),
            (Secret::Passphrase(passphrase), Kdf::Pbkdf2 { iterations, salt }) => {
                let rounds =
                    NonZeroU32::new(*iterations).filter(|rounds| (ROUNDS..=MOST_ROUNDS).contains(&rounds.get()));
                let refused =
                    || OpenError::Format(format!("{iterations} iterations, expected {ROUNDS} to {MOST_ROUNDS}"));
                let salt = STANDARD.decode(salt).map_err(|error| OpenError::Format(format!("salt: {error}")))?;
                pbkdf2::derive(
                    PBKDF2_HMAC_SHA256,
                    rounds.ok_or_else(refused)?,
                    &salt,
                    passphrase,
                    octets.as_mut_slice(),
                );
            }
            (Secret::Key(_), Kdf::Pbkdf2 { .. }) => return Err(OpenError::WantsPassphrase),
            (Secret::Passphrase(_), Kdf::None) => return Err(OpenError::WantsKey),
        }
        let key = UnboundKey::new(&AES_256_GCM, octets.as_slice());
        let key = key.map_err(|_| OpenError::Format("the key does not fit the cipher".to_owned()))?;
        Ok(Self { kdf, key: LessSafeKey::new(key) })
    }

    /// Seals a text under a nonce of its own.
    ///
    /// # Errors
    /// The system has no random numbers, or the library cannot encrypt.
    pub fn seal(&self, plain: &[u8]) -> Result<String, SealError> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| SealError::Random)?;
        // Room for the tag as well: a vector that grows leaves a copy of the secret behind.
        let mut text = Zeroizing::new(Vec::with_capacity(plain.len() + AES_256_GCM.tag_len()));
        text.extend_from_slice(plain);
        let header = Aad::from(bound(&self.kdf));
        self.key
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), header, &mut *text)
            .map_err(|_| SealError::Encrypt)?;
        let sealed = Sealed {
            format: FORMAT.to_owned(),
            cipher: CIPHER.to_owned(),
            kdf: self.kdf.clone(),
            nonce: STANDARD.encode(nonce),
            sealed: STANDARD.encode(&*text),
        };
        serde_json::to_string_pretty(&sealed).map(|text| text + "\n").map_err(|_| SealError::Encrypt)
    }

    /// Opens a sealed text, and the key to seal the next one with.
    ///
    /// # Errors
    /// It is no sealed text, or another secret's.
    pub fn open(text: &str, secret: &Secret) -> Result<(Self, Zeroizing<Vec<u8>>), OpenError> {
        let Sealed { format, cipher, kdf, nonce, sealed } =
            serde_json::from_str(text).map_err(|error| OpenError::Format(error.to_string()))?;
        if format != FORMAT || cipher != CIPHER {
            return Err(OpenError::Format(format!("saw {format} with {cipher}")));
        }
        let octets = |name: &str, text: &str| {
            STANDARD.decode(text).map_err(|error| OpenError::Format(format!("{name}: {error}")))
        };
        let nonce = <[u8; NONCE_LEN]>::try_from(octets("nonce", &nonce)?.as_slice())
            .map_err(|_| OpenError::Format(format!("expected a nonce of {NONCE_LEN} octets")))?;
        let mut text = Zeroizing::new(octets("sealed", &sealed)?);
        let own = Self::derive(secret, kdf)?;
        let header = Aad::from(bound(&own.kdf));
        let opened = own.key.open_in_place(Nonce::assume_unique_for_key(nonce), header, &mut text);
        let length = opened.map_err(|_| OpenError::WrongSecret { with: secret.word() })?.len();
        text.truncate(length);
        Ok((own, text))
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SealingKey").field("kdf", &self.kdf).finish_non_exhaustive()
    }
}

/// What is not sealed, as the tag covers it.
fn bound(kdf: &Kdf) -> Vec<u8> {
    let kdf = match kdf {
        Kdf::None => "none".to_owned(),
        Kdf::Pbkdf2 { iterations, salt } => format!("pbkdf2-hmac-sha256\n{iterations}\n{salt}"),
    };
    format!("{FORMAT}\n{CIPHER}\n{kdf}\n").into_bytes()
}

fn unhex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = Zeroizing::new(digits?);
    Some(Zeroizing::new(digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect()))
}

#[cfg(test)]
mod tests {
    use super::{InvalidSecret, Kdf, OpenError, SealingKey, Secret};
    use proptest::prelude::*;

    fn key(octet: u8) -> Secret {
        Secret::from_key_file(&[octet; 32]).expect("a key")
    }

    #[test]
    fn only_the_secret_that_sealed_a_text_opens_it() {
        let passphrase = |text: &str| Secret::from_passphrase_file(text.as_bytes()).expect("a passphrase");
        let (by_key, by_phrase) = (key(1), passphrase("correct horse\nsecond line"));
        let seal = |secret: &Secret| SealingKey::new(secret).expect("a key").seal(b"the secret").expect("a text");
        let open = |text: &str, secret: &Secret| SealingKey::open(text, secret).map(|(_, plain)| plain.to_vec());
        let (one, two) = (seal(&by_key), seal(&by_phrase));
        assert!(!one.contains("secret") && two.contains("600000"));
        assert_eq!((open(&one, &by_key), open(&two, &by_phrase)), (Ok(b"the secret".into()), Ok(b"the secret".into())));
        assert_eq!(open(&two, &passphrase("correct horse\r")), Ok(b"the secret".into()));
        assert_eq!(open(&one, &key(2)), Err(OpenError::WrongSecret { with: "key" }));
        assert_eq!(open(&two, &passphrase("wrong")), Err(OpenError::WrongSecret { with: "passphrase" }));
        assert_eq!(open(&one, &by_phrase), Err(OpenError::WantsKey));
        assert_eq!(open(&two, &by_key), Err(OpenError::WantsPassphrase));
        let weak = two.replace("600000", "1");
        assert!(matches!(open(&weak, &by_phrase), Err(OpenError::Format(_))), "a header cannot make it weak");
        let other = two.replace("600000", "600001");
        assert!(matches!(open(&other, &by_phrase), Err(OpenError::WrongSecret { .. })));
        assert!(matches!(open("{}", &by_key), Err(OpenError::Format(_))));
        assert_ne!(one, seal(&by_key), "each text has a nonce of its own");
        assert_eq!(format!("{by_key:?}"), "Secret(key, elided)");
    }

    #[test]
    fn a_header_of_another_text_does_not_open_it() {
        let kdf = Kdf::Pbkdf2 { iterations: 600_000, salt: "AAAA".to_owned() };
        let SealingKey { key: same, .. } = SealingKey::new(&key(1)).expect("a key");
        let sealed = SealingKey { kdf, key: same }.seal(b"the secret").expect("a text");
        let mut text: serde_json::Value = serde_json::from_str(&sealed).expect("JSON");
        text["kdf"] = serde_json::json!({"name": "none"});
        let opened = SealingKey::open(&text.to_string(), &key(1)).map(|_| ());
        assert_eq!(opened, Err(OpenError::WrongSecret { with: "key" }));
    }

    #[test]
    fn a_key_is_written_in_one_of_three_ways() {
        let hex = "0123456789abcdefABCDEF00".to_owned() + &"0".repeat(40);
        let text = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
        for good in [&[7; 32][..], hex.as_bytes(), text.as_bytes()] {
            assert!(Secret::from_key_file(good).is_ok());
        }
        for bad in [&[7; 31][..], b"", b"AAAA", &[b'g'; 64], &[0xff; 64]] {
            assert_eq!(Secret::from_key_file(bad).err(), Some(InvalidSecret::Key));
        }
        assert_eq!(Secret::from_passphrase_file(b"\nx").err(), Some(InvalidSecret::Passphrase));
    }

    proptest! {
        #[test]
        fn a_text_that_was_changed_anywhere_does_not_open(at in any::<prop::sample::Index>(), with in 0x20_u8..0x7f) {
            let sealed = SealingKey::new(&key(1)).expect("a key").seal(b"the secret").expect("a text");
            let mut changed = sealed.clone().into_bytes();
            let at = at.index(changed.len());
            changed[at] = with;
            let changed = String::from_utf8(changed).expect("a text");
            let opened = SealingKey::open(&changed, &key(1));
            // White space between the fields, and a field that says the same in other words, are no change.
            if let Ok((_, plain)) = opened {
                prop_assert_eq!(&*plain, b"the secret");
            }
        }
    }
}
