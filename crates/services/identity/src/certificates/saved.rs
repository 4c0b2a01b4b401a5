//! Secrets as a document: what a store seals.

use super::secret::Secret;
use super::state::{Kept, Record, State};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_certificates::{Request, Usages};
use lictor_manifest::{CertificateUsage, IssuerRef};
use lictor_model::Name;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

const FORMAT: &str = "lictor-secrets/1";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    format: String,
    secrets: Vec<SavedSecret>,
    /// How many times each Certificate has been issued.
    revisions: Vec<(String, String, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SavedSecret {
    namespace: String,
    name: String,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    data: BTreeMap<String, Value>,
    /// The public key that was signed, in base64.
    public: String,
    request: SavedRequest,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SavedRequest {
    id: String,
    common_name: String,
    dns_names: Vec<String>,
    usages: Vec<String>,
    key_encipherment: bool,
    key_agreement: bool,
    duration_seconds: u64,
    issuer: [String; 3],
}

/// A value in base64, wiped when it is dropped.
struct Value(Zeroizing<String>);

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(Zeroizing::new(text)))
    }
}

/// Everything that is to outlive the process, values in the clear: for a store that seals it.
pub(super) fn document(state: &State) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    let document = Document {
        format: FORMAT.to_owned(),
        secrets: state.secrets.iter().map(|(name, kept)| saved(name, kept)).collect(),
        revisions: state
            .revisions()
            .map(|(name, revision)| (name.namespace.to_string(), name.name.to_string(), revision))
            .collect(),
    };
    // Room for everything: a buffer that grows leaves copies of the keys behind.
    let room: usize = document.secrets.iter().flat_map(|one| one.data.values()).map(|value| value.0.len() + 512).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(room + 4096 * (document.secrets.len() + 1)));
    serde_json::to_writer(&mut *text, &document)?;
    Ok(text)
}

/// Secrets by name, and how many times each Certificate has been issued.
type Saved = (BTreeMap<Name, Kept>, BTreeMap<Name, u64>);

/// The Secrets of a document, and how many times each Certificate has been issued.
pub(super) fn read(document: &[u8]) -> Result<Saved, String> {
    let Document { format, secrets, revisions } =
        serde_json::from_slice(document).map_err(|error| error.to_string())?;
    if format != FORMAT {
        return Err(format!("saw {format}"));
    }
    let secrets = secrets.into_iter().map(|one| {
        let name = Name::new(&*one.namespace, &*one.name);
        let kept = kept(one).map_err(|what| format!("Secret {name}: {what}"))?;
        Ok((name, kept))
    });
    let revisions = revisions.into_iter().map(|(namespace, name, count)| (Name::new(&*namespace, &*name), count));
    Ok((secrets.collect::<Result<_, String>>()?, revisions.collect()))
}

fn saved(name: &Name, kept: &Kept) -> SavedSecret {
    let Record { request, public } = &kept.record;
    let value = |bytes: &Zeroizing<Vec<u8>>| {
        let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 4 / 3 + 4));
        STANDARD.encode_string(&**bytes, &mut text);
        Value(text)
    };
    let IssuerRef { group, kind, name: issuer } = &request.issuer;
    SavedSecret {
        namespace: name.namespace.to_string(),
        name: name.name.to_string(),
        labels: kept.secret.labels.clone(),
        annotations: kept.secret.annotations.clone(),
        data: kept.secret.data.iter().map(|(key, bytes)| (key.clone(), value(bytes))).collect(),
        public: STANDARD.encode(public),
        request: SavedRequest {
            id: request.id.to_string(),
            common_name: request.common_name.to_string(),
            dns_names: request.dns_names.iter().map(ToString::to_string).collect(),
            usages: request.asked_usages.iter().map(|usage| usage.as_str().to_owned()).collect(),
            key_encipherment: request.usages.key_encipherment,
            key_agreement: request.usages.key_agreement,
            duration_seconds: request.duration.as_secs(),
            issuer: [group, kind, issuer].map(ToString::to_string),
        },
    }
}

fn kept(saved: SavedSecret) -> Result<Kept, String> {
    let data = saved.data.into_iter().map(|(key, Value(text))| {
        let bytes = STANDARD.decode(&*text).map_err(|error| format!("{key}: {error}"))?;
        Ok((key, Zeroizing::new(bytes)))
    });
    let data = data.collect::<Result<_, String>>()?;
    let secret = Secret { labels: saved.labels, annotations: saved.annotations, data };
    let public = STANDARD.decode(&saved.public).map_err(|error| format!("public: {error}"))?;
    Ok(Kept::new(secret, Record { request: request(saved.request)?, public }))
}

fn request(saved: SavedRequest) -> Result<Request, String> {
    let usage = |word: &String| {
        use CertificateUsage as U;
        let known = [U::DigitalSignature, U::KeyEncipherment, U::KeyAgreement, U::ServerAuth, U::ClientAuth];
        let found = known.into_iter().find(|usage| usage.as_str() == word);
        found.ok_or_else(|| format!("expected a usage that is granted, saw {word}"))
    };
    let [group, kind, name] = saved.issuer.map(Arc::from);
    Ok(Request {
        id: saved.id.parse().map_err(|error| format!("id: {error}"))?,
        common_name: saved.common_name.into(),
        dns_names: saved.dns_names.into_iter().map(Arc::from).collect(),
        asked_usages: saved.usages.iter().map(usage).collect::<Result<_, _>>()?,
        usages: Usages { key_encipherment: saved.key_encipherment, key_agreement: saved.key_agreement },
        duration: Duration::from_secs(saved.duration_seconds),
        issuer: IssuerRef { group, kind, name },
    })
}
