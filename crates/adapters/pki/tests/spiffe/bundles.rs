//! `bundles.json`: JWK sets as trust bundles.

use crate::certificate::Certificate;
use crate::keys::key;
use crate::{DOMAIN, Vectors, at, but, compare, now};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use lictor_pki::{Bundle, TokenAuthority, Usage, verify, verify_token};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Map, Value};
use time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The bundle. In it, `{"$certificate": changes}` stands for an authority's certificate in base64, and a member
    /// `$key` for the members of that key, with those of the same object put over them.
    document: Option<Value>,
    /// The bundle as it is written.
    text: Option<String>,
    /// How many certificates are believed.
    #[serde(default)]
    x509: usize,
    /// The names of the keys for tokens.
    #[serde(default)]
    jwt: Vec<String>,
    #[serde(default)]
    sequence: u64,
    refresh_hint: Option<u64>,
    /// Place and reason of what is passed over, as `0 Use`.
    #[serde(default)]
    ignored: Vec<String>,
    refused: Option<String>,
}

#[test]
fn bundles_are_read_entry_by_entry() {
    let vectors = Vectors::read("bundles.json");
    let authority = vectors.proper("authority");
    vectors.run(|case: &Case| {
        let text = match (&case.text, &case.document) {
            (Some(text), None) => text.clone(),
            (None, Some(document)) => filled(document, &authority).to_string(),
            _ => return Err("expected a document or a text".to_owned()),
        };
        let read = match Bundle::from_jwks(DOMAIN.parse().expect("a trust domain"), text.as_bytes()) {
            Ok(read) => read,
            Err(error) => return compare(Err::<(), _>(error), None, case.refused.as_deref()),
        };
        if let Some(name) = &case.refused {
            return Err(format!("expected {name}, saw {read:?}"));
        }
        let bundle = read.bundle;
        let jwt: Vec<_> = bundle.jwt_keys().iter().map(|key| key.id.clone()).collect();
        let ignored: Vec<_> = read.ignored.iter().map(|one| format!("{} {:?}", one.at, one.reason)).collect();
        let seen = (bundle.authorities().len(), jwt, bundle.sequence(), bundle.refresh_hint(), ignored);
        let wanted = (case.x509, case.jwt.clone(), case.sequence, case.refresh_hint, case.ignored.clone());
        compare(Ok::<_, ()>(seen), Some(wanted), None)?;
        check_trust(&bundle)?;
        check_written(&bundle)
    });
}

/// No SVID of a kind is believed without keys of that kind, nor with keys of others.
fn check_trust(bundle: &Bundle) -> Result<(), String> {
    let id = "spiffe://td.example/a".parse().expect("an identity");
    let stranger = lictor_pki::CertificateAuthority::new(DOMAIN.parse().expect("a domain"), now(), Duration::HOUR);
    let svid = stranger.expect("a root").issue(&id, now(), Duration::MINUTE).expect("an SVID");
    if let Ok(id) = verify(&svid.chain, bundle, at(0), Usage::Client) {
        return Err(format!("a stranger proved {id}"));
    }
    let tokens = TokenAuthority::new(DOMAIN.parse().expect("a domain")).expect("an authority");
    let token = tokens.issue(&id, &["x".to_owned()], now(), Duration::MINUTE).expect("a token");
    match verify_token(&token, bundle, "x", at(0)) {
        Ok(svid) => Err(format!("a stranger's token proved {}", svid.id)),
        Err(_) => Ok(()),
    }
}

/// What is written is read as the same, and the keys for tokens alone without the certificates.
fn check_written(bundle: &Bundle) -> Result<(), String> {
    let domain = || DOMAIN.parse().expect("a trust domain");
    let written = bundle.to_jwks().map_err(|error| error.to_string())?;
    let again = Bundle::from_jwks(domain(), written.as_bytes()).map_err(|error| error.to_string())?;
    if again.bundle != *bundle || !again.ignored.is_empty() {
        return Err(format!("written as {written}, which is read as {again:?}"));
    }
    let tokens = Bundle::from_jwks(domain(), bundle.jwt_jwks().as_bytes()).map_err(|error| error.to_string())?;
    let alone = tokens.bundle.authorities().is_empty() && tokens.bundle.jwt_keys() == bundle.jwt_keys();
    if alone { Ok(()) } else { Err(format!("the keys for tokens alone are {}", bundle.jwt_jwks())) }
}

fn filled(value: &Value, authority: &Map<String, Value>) -> Value {
    match value {
        Value::Array(items) => items.iter().map(|item| filled(item, authority)).collect(),
        Value::Object(members) => {
            if let Some(changes) = members.get("$certificate").and_then(Value::as_object) {
                return STANDARD.encode(certificate(changes, authority)).into();
            }
            if let Some(text) = members.get("$base64url").and_then(Value::as_str) {
                return URL_SAFE_NO_PAD.encode(text).into();
            }
            let mut own = members.clone();
            let base = own.remove("$key").map(|name| key(name.as_str().expect("a key's name")).jwk().members());
            let whole = but(base.unwrap_or_default(), &own);
            whole.iter().map(|(name, value)| (name.clone(), filled(value, authority))).collect::<Map<_, _>>().into()
        }
        other => other.clone(),
    }
}

fn certificate(changes: &Map<String, Value>, authority: &Map<String, Value>) -> CertificateDer<'static> {
    let whole = Value::Object(but(authority.clone(), changes));
    serde_json::from_value::<Certificate>(whole).expect("a description").make(None)
}
