//! Keys of authorities in a hardware security module, by PKCS#11.
//!
//! **Purpose.** [`Token::open`] logs in to a token of a module; the [`Token`] is a [`KeyStore`] for `lictor-pki`: it makes P-256
//! keys, signs with them, and deletes them.
//!
//! **Invariants.**
//! - A private key is made in the token, sensitive and not extractable; nothing here ever has it.
//! - A key is found by the random identifier that it was made with (`CKA_ID`), and only if there is exactly one.
//! - Keys that nobody remembers after the process are session objects, which end with it.
//!
//! Source: PKCS #11 Cryptographic Token Interface Base Specification 3.0, and its current mechanisms (section 2.3, elliptic
//! curves).
//!
//! **Not here.** What is signed, and when a key is needed no more: that is `lictor-pki` and whoever keeps authorities.

use aws_lc_rs::digest::{SHA256, digest};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use lictor_pki::{HeldKey, KeyStore, KeyStoreError};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// The curve P-256 as `CKA_EC_PARAMS` has it: its object identifier in DER (RFC 5480, section 2.1.1.1).
const P256: [u8; 10] = [0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// Octets of an uncompressed point on it.
const POINT: usize = 65;
/// Octets of a signature: two numbers.
const SIGNATURE: usize = 64;
/// Octets of a key's identifier.
const ID: usize = 16;
/// What the keys are called, for whoever looks at the token.
const LABEL: &[u8] = b"lictor authority";

/// Which token, and what opens it.
#[derive(Clone)]
pub struct TokenOptions {
    /// The module: a shared library.
    pub module: PathBuf,
    /// The label of the token.
    pub label: String,
    /// The PIN of its user.
    pub pin: Zeroizing<String>,
    /// Whether keys outlive the process.
    pub keeps: bool,
}

/// Why a token cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The module does not load, or does not start.
    #[error("{}: {error}", module.display())]
    Module {
        /// The module.
        module: PathBuf,
        /// What went wrong.
        error: ModuleError,
    },
    /// There is no token of this label, or there are several.
    #[error("{}: expected one token labelled {label}, saw {seen}", module.display())]
    Token {
        /// The module.
        module: PathBuf,
        /// The label.
        label: String,
        /// How many there are.
        seen: usize,
    },
    /// The token does not take the PIN.
    #[error("the token {label} does not open: {error}")]
    Login {
        /// The label.
        label: String,
        /// What it says.
        error: ModuleError,
    },
}

/// A token that is logged in to. Cheap to clone; clones share the session.
#[derive(Clone)]
pub struct Token(Arc<Opened>);

struct Opened {
    session: Mutex<Session>,
    label: String,
    keeps: bool,
    // Ends the module when the last session is gone.
    _module: Pkcs11,
}

struct TokenKey {
    token: Token,
    reference: String,
    private: ObjectHandle,
    point: Vec<u8>,
}

impl Token {
    /// Loads the module and logs in. A process has one token of a module at a time: the end of one ends the module.
    ///
    /// # Errors
    /// The module does not load, there is no such token, or the PIN is wrong.
    pub fn open(options: &TokenOptions) -> Result<Self, OpenError> {
        let TokenOptions { module: path, label, pin, keeps } = options;
        let failed = |error| OpenError::Module { module: path.clone(), error };
        let module = started(path).map_err(failed)?;
        let mut fitting = Vec::new();
        for slot in module.get_slots_with_token().map_err(failed)? {
            if module.get_token_info(slot).map_err(failed)?.label() == label {
                fitting.push(slot);
            }
        }
        let [slot] = fitting[..] else {
            return Err(OpenError::Token { module: path.clone(), label: label.clone(), seen: fitting.len() });
        };
        let session = module.open_rw_session(slot).map_err(failed)?;
        let pin = AuthPin::new(pin.as_str().into());
        match session.login(UserType::User, Some(&pin)) {
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(error) => return Err(OpenError::Login { label: label.clone(), error }),
        }
        let (session, label, keeps) = (Mutex::new(session), label.clone(), *keeps);
        Ok(Self(Arc::new(Opened { session, label, keeps, _module: module })))
    }

    /// Speaks with the token; one at a time, as a session is.
    fn with<T>(&self, speak: impl FnOnce(&Session) -> Result<T, KeyStoreError>) -> Result<T, KeyStoreError> {
        speak(&self.0.session.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn key(&self, session: &Session, id: &[u8]) -> Result<TokenKey, KeyStoreError> {
        let only = |class| match session.find_objects(&of_id(class, id)).map_err(told)?[..] {
            [one] => Ok(one),
            ref several => {
                let message =
                    format!("expected one key {} in the token {}, saw {}", hex(id), self.0.label, several.len());
                Err(KeyStoreError(message))
            }
        };
        let (private, public) = (only(ObjectClass::PRIVATE_KEY)?, only(ObjectClass::PUBLIC_KEY)?);
        let wanted = [AttributeType::EcParams, AttributeType::EcPoint];
        let (mut params, mut point) = (None, None);
        for attribute in session.get_attributes(public, &wanted).map_err(told)? {
            match attribute {
                Attribute::EcParams(bytes) => params = Some(bytes),
                Attribute::EcPoint(bytes) => point = Some(bytes),
                _ => {}
            }
        }
        let point = point.as_deref().and_then(uncompressed).filter(|_| params.as_deref() == Some(&P256));
        let point = point.ok_or_else(|| KeyStoreError(format!("expected a P-256 key, {} is another one", hex(id))))?;
        Ok(TokenKey { token: self.clone(), reference: hex(id), private, point: point.to_vec() })
    }
}

/// A module that is ready. One that this process has started before is.
fn started(path: &Path) -> Result<Pkcs11, ModuleError> {
    let module = Pkcs11::new(path)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(error),
    }
}

impl KeyStore for Token {
    fn make(&self) -> Result<Arc<dyn HeldKey>, KeyStoreError> {
        let mut id = [0; ID];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| KeyStoreError("no random numbers".to_owned()))?;
        let shared = [
            Attribute::Token(self.0.keeps),
            Attribute::KeyType(KeyType::EC),
            Attribute::Id(id.to_vec()),
            Attribute::Label(LABEL.to_vec()),
        ];
        let public = [Attribute::Verify(true), Attribute::EcParams(P256.to_vec())];
        let private = [
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
        ];
        self.with(|session| {
            let (public, private) = ([&shared[..], &public].concat(), [&shared[..], &private].concat());
            session.generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private).map_err(told)?;
            Ok(Arc::new(self.key(session, &id)?) as Arc<dyn HeldKey>)
        })
    }

    fn find(&self, reference: &str) -> Result<Arc<dyn HeldKey>, KeyStoreError> {
        let id =
            unhex(reference).ok_or_else(|| KeyStoreError(format!("expected a key's identifier, saw {reference}")))?;
        self.with(|session| Ok(Arc::new(self.key(session, &id)?) as Arc<dyn HeldKey>))
    }

    fn forget(&self, reference: &str) -> Result<(), KeyStoreError> {
        let id =
            unhex(reference).ok_or_else(|| KeyStoreError(format!("expected a key's identifier, saw {reference}")))?;
        self.with(|session| {
            for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
                for object in session.find_objects(&of_id(class, &id)).map_err(told)? {
                    session.destroy_object(object).map_err(told)?;
                }
            }
            Ok(())
        })
    }
}

impl HeldKey for TokenKey {
    fn reference(&self) -> &str {
        &self.reference
    }

    fn public_point(&self) -> &[u8] {
        &self.point
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyStoreError> {
        let digest = digest(&SHA256, message);
        let sign = |session: &Session| session.sign(&Mechanism::Ecdsa, self.private, digest.as_ref()).map_err(told);
        let signature = self.token.with(sign)?;
        if signature.len() != SIGNATURE {
            return Err(KeyStoreError(format!("expected a signature of {SIGNATURE} octets, saw {}", signature.len())));
        }
        Ok(signature)
    }
}

fn of_id(class: ObjectClass, id: &[u8]) -> [Attribute; 3] {
    [Attribute::Class(class), Attribute::KeyType(KeyType::EC), Attribute::Id(id.to_vec())]
}

/// The point of `CKA_EC_POINT`, which is in an OCTET STRING; some modules leave that away.
fn uncompressed(point: &[u8]) -> Option<&[u8]> {
    let bare = point.strip_prefix(&[0x04, 0x41]).filter(|rest| rest.len() == POINT).unwrap_or(point);
    Some(bare).filter(|bare| bare.len() == POINT && bare.first() == Some(&0x04))
}

fn told(error: ModuleError) -> KeyStoreError {
    KeyStoreError(error.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * ID)?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit)).collect())
}

impl fmt::Debug for TokenOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, label, keeps, .. } = self;
        f.debug_struct("TokenOptions")
            .field("module", module)
            .field("label", label)
            .field("keeps", keeps)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Token").field(&self.0.label).finish()
    }
}
