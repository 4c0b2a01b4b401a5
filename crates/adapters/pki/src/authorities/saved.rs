//! Authorities as a document, keys among it: what a store seals.

use super::slot::{Authority, Slot, Slots};
use super::{Authorities, State};
use crate::authority::{CertificateAuthority, Parts};
use crate::bundle::Bundle;
use crate::jws::Algorithm;
use crate::keys::{AuthorityKey, HeldKey, Keys, SavedKey, WipedKey};
use crate::svid::PrivateKey;
use crate::tokens::TokenAuthority;
use crate::upstream::{self, Upstream};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_model::TrustDomain;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

const FORMAT: &str = "lictor-authorities/1";

/// Why a document holds no authorities.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSaved {
    /// It is none.
    #[error("expected the authorities of a trust domain ({FORMAT}): {0}")]
    Format(String),
    /// Those of another trust domain.
    #[error("expected the authorities of {wanted}, saw those of {seen}")]
    TrustDomain {
        /// The trust domain that they are wanted of.
        wanted: TrustDomain,
        /// Whose they are.
        seen: String,
    },
    /// One of them is not whole.
    #[error("{kind} authority {at}: {what}")]
    Authority {
        /// `x509` or `jwt`.
        kind: super::Kind,
        /// Its place, from 0.
        at: usize,
        /// What is wrong with it.
        what: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    format: String,
    trust_domain: String,
    sequence: u64,
    x509: Vec<Entry>,
    jwt: Vec<Entry>,
}

/// An authority; times in Unix seconds, DER in base64.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    state: String,
    since: i64,
    not_after: i64,
    stopped: Option<i64>,
    issued: u64,
    last_expiry: Option<i64>,
    /// PKCS#8, of a key that was in the process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Key>,
    /// What the key store finds it by, of a key that it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held_key: Option<String>,
    /// Of one for certificates: its own first, the root last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<String>,
    /// Of one for certificates: what peers believe it by.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roots: Vec<String>,
    /// Of one for tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    algorithm: Option<String>,
}

/// A key in base64, wiped when it is dropped.
struct Key(Zeroizing<String>);

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

impl Authorities {
    /// Everything as a document, private keys in the clear: for a store that seals it.
    ///
    /// # Errors
    /// A key cannot be written.
    pub fn to_document(&self) -> Result<Zeroizing<Vec<u8>>, InvalidSaved> {
        let x509 = self.x509.all().map(|slot| {
            let authority = &slot.authority;
            let encode = |ders: &[CertificateDer<'_>]| ders.iter().map(|der| STANDARD.encode(der)).collect();
            Entry {
                certificates: encode(authority.certificates()),
                roots: encode(authority.roots()),
                ..entry(slot, &authority.key())
            }
        });
        let jwt = self.jwt.all().enumerate().map(|(at, slot)| {
            let key = slot.authority.key();
            let key = key.map_err(|error| invalid::<TokenAuthority>(at, error))?;
            Ok(Entry { algorithm: Some(slot.authority.algorithm().to_string()), ..entry(slot, &key) })
        });
        let document = Document {
            format: FORMAT.to_owned(),
            trust_domain: self.trust_domain.to_string(),
            sequence: self.sequence,
            x509: x509.collect(),
            jwt: jwt.collect::<Result<_, InvalidSaved>>()?,
        };
        // Room for everything: a buffer that grows leaves copies of the keys behind.
        let mut text = Zeroizing::new(Vec::with_capacity(16 * 1024 * (document.x509.len() + document.jwt.len())));
        serde_json::to_writer(&mut *text, &document).map_err(|error| InvalidSaved::Format(error.to_string()))?;
        Ok(text)
    }

    /// The authorities of a document. A new one lives for `life`, and is signed by `upstream` if there is one.
    ///
    /// How much the active ones had signed after the document was written is not in it; they are believed to their own end.
    ///
    /// # Errors
    /// It is no such document, is another trust domain's, or an authority in it is not whole.
    pub fn from_document(
        document: &[u8],
        trust_domain: &TrustDomain,
        upstream: Option<Arc<Upstream>>,
        life: Duration,
    ) -> Result<Self, InvalidSaved> {
        Self::from_document_with_keys(&Keys::default(), document, trust_domain, upstream, life)
    }

    /// As [`from_document`](Self::from_document), with the keys that a key store holds.
    ///
    /// # Errors
    /// As [`from_document`](Self::from_document), and a key that the store does not have.
    pub fn from_document_with_keys(
        keys: &Keys,
        document: &[u8],
        trust_domain: &TrustDomain,
        upstream: Option<Arc<Upstream>>,
        life: Duration,
    ) -> Result<Self, InvalidSaved> {
        let read: Document =
            serde_json::from_slice(document).map_err(|error| InvalidSaved::Format(error.to_string()))?;
        let Document { format, trust_domain: seen, sequence, x509, jwt } = read;
        if format != FORMAT {
            return Err(InvalidSaved::Format(format!("saw {format}")));
        }
        if seen != trust_domain.as_str() {
            return Err(InvalidSaved::TrustDomain { wanted: trust_domain.clone(), seen });
        }
        let jwt = slots(jwt, |at, entry| token_authority(keys, trust_domain, at, entry))?;
        let tokens = &jwt.active.authority;
        let x509 = slots(x509, |at, entry| certificate_authority(keys, tokens, at, entry))?;
        Ok(Self { trust_domain: trust_domain.clone(), life, upstream, keys: keys.clone(), x509, jwt, sequence })
    }
}

fn entry<A: Authority>(slot: &Slot<A>, key: &SavedKey) -> Entry {
    let tally = slot.authority.tally();
    let (key, held_key) = match key {
        SavedKey::Own(key) => {
            let mut text = Zeroizing::new(String::with_capacity(key.pkcs8().len() * 4 / 3 + 4));
            STANDARD.encode_string(key.pkcs8(), &mut text);
            (Some(Key(text)), None)
        }
        SavedKey::Held(reference) => (None, Some(reference.clone())),
    };
    Entry {
        state: slot.state.to_string(),
        since: slot.since.unix_timestamp(),
        not_after: slot.not_after.unix_timestamp(),
        stopped: slot.stopped.map(OffsetDateTime::unix_timestamp),
        issued: tally.count(),
        last_expiry: tally.last_expiry().map(OffsetDateTime::unix_timestamp),
        key,
        held_key,
        certificates: Vec::new(),
        roots: Vec::new(),
        algorithm: None,
    }
}

fn invalid<A: Authority>(at: usize, what: impl ToString) -> InvalidSaved {
    InvalidSaved::Authority { kind: A::KIND, at, what: what.to_string() }
}

/// One active authority, one prepared at most, and those that were.
fn slots<A: Authority>(
    entries: Vec<Entry>,
    mut read: impl FnMut(usize, &Entry) -> Result<A, InvalidSaved>,
) -> Result<Slots<A>, InvalidSaved> {
    let (mut active, mut next, mut old) = (None, None, Vec::new());
    for (at, entry) in entries.iter().enumerate() {
        let slot = slot(at, entry, read(at, entry)?)?;
        let place = match slot.state {
            State::Active => &mut active,
            State::Prepared => &mut next,
            State::Old | State::Tainted => {
                old.push(slot);
                continue;
            }
        };
        let state = slot.state;
        if place.replace(slot).is_some() {
            return Err(invalid::<A>(at, format!("expected one {state} authority, saw another one")));
        }
    }
    let active = active.ok_or_else(|| invalid::<A>(0, "expected one that is active, saw none"))?;
    Ok(Slots { active, next, old })
}

fn slot<A: Authority>(at: usize, entry: &Entry, authority: A) -> Result<Slot<A>, InvalidSaved> {
    let moment = |seconds: i64| OffsetDateTime::from_unix_timestamp(seconds).map_err(|error| invalid::<A>(at, error));
    let states = [State::Prepared, State::Active, State::Old, State::Tainted];
    let state = states.into_iter().find(|state| state.as_str() == entry.state);
    let state = state.ok_or_else(|| invalid::<A>(at, format!("expected a state, saw {}", entry.state)))?;
    let stopped = entry.stopped.map(moment).transpose()?;
    if stopped.is_some() != matches!(state, State::Old | State::Tainted) {
        return Err(invalid::<A>(at, "expected the time at which it stopped of one that has, and of no other"));
    }
    let not_after = moment(entry.not_after)?;
    // What was signed after the document was written is valid to the authority's own end at most.
    let last = match state {
        State::Active => Some(not_after),
        _ if A::SIGNS_WHEN_OLD && stopped.is_some() => Some(not_after),
        _ => entry.last_expiry.map(moment).transpose()?,
    };
    authority.tally().resume(entry.issued, last);
    let id = authority.id().ok_or_else(|| invalid::<A>(at, "expected a name"))?.into();
    Ok(Slot { authority: Arc::new(authority), id, state, since: moment(entry.since)?, not_after, stopped })
}

/// The key of an authority, in this process or held by the key store.
fn key<A: Authority>(
    keys: &Keys,
    at: usize,
    entry: &Entry,
) -> Result<Result<PrivateKey, Arc<dyn HeldKey>>, InvalidSaved> {
    match (&entry.key, &entry.held_key) {
        (Some(key), None) => {
            let der = STANDARD.decode(key.0.as_bytes()).map_err(|_| invalid::<A>(at, "expected a key in base64"))?;
            Ok(Ok(PrivateKey::from_pkcs8(der)))
        }
        (None, Some(reference)) => keys.find(reference).map(Err).map_err(|error| invalid::<A>(at, error)),
        _ => Err(invalid::<A>(at, "expected its key, or what the key store finds it by")),
    }
}

fn token_authority(
    keys: &Keys,
    trust_domain: &TrustDomain,
    at: usize,
    entry: &Entry,
) -> Result<TokenAuthority, InvalidSaved> {
    let wrong = |what: String| invalid::<TokenAuthority>(at, what);
    let named = entry.algorithm.as_deref().unwrap_or_default();
    let algorithm =
        Algorithm::from_name(named).ok_or_else(|| wrong(format!("expected an algorithm, saw {named:?}")))?;
    let authority = match key::<TokenAuthority>(keys, at, entry)? {
        Ok(key) => TokenAuthority::with_key(trust_domain.clone(), algorithm, &key),
        Err(_) if algorithm != Algorithm::Es256 => {
            return Err(wrong(format!("expected ES256 of a held key, saw {named}")));
        }
        Err(held) => TokenAuthority::held(trust_domain.clone(), held),
    };
    let not_after = OffsetDateTime::from_unix_timestamp(entry.not_after).map_err(|error| wrong(error.to_string()))?;
    Ok(authority.map_err(|error| wrong(error.to_string()))?.until(not_after))
}

fn certificate_authority(
    keys: &Keys,
    tokens: &Arc<TokenAuthority>,
    at: usize,
    entry: &Entry,
) -> Result<CertificateAuthority, InvalidSaved> {
    let wrong = |what: String| invalid::<CertificateAuthority>(at, what);
    let decode = |texts: &[String]| {
        let ders = texts.iter().map(|text| STANDARD.decode(text).map(CertificateDer::from));
        ders.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(error.to_string()))
    };
    let (certificates, roots) = (decode(&entry.certificates)?, decode(&entry.roots)?);
    let key = match key::<CertificateAuthority>(keys, at, entry)? {
        Ok(key) => {
            let pair = upstream::key_pair(&key).ok_or_else(|| wrong("expected a private key".to_owned()))?;
            AuthorityKey::Own(WipedKey(pair))
        }
        Err(held) => AuthorityKey::Held(held),
    };
    upstream::check_key(&key, &certificates).map_err(|error| wrong(error.to_string()))?;
    let (not_before, not_after) = upstream::validity(&certificates).map_err(|error| wrong(error.to_string()))?;
    let parts = Parts {
        key,
        certificates,
        root: Bundle::new(tokens.trust_domain().clone(), roots, 0).map_err(|error| wrong(error.to_string()))?,
        tokens: Arc::clone(tokens),
        not_before,
        not_after,
    };
    CertificateAuthority::from_parts(parts).map_err(|error| wrong(error.to_string()))
}
