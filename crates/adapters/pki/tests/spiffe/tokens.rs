//! `tokens.json`: what a token proves to whoever believes a bundle.

use crate::keys::key;
use crate::{DOMAIN, Vectors, at, but, compare};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use lictor_pki::{Algorithm, Bundle, JwtKey, verify_token};
use serde::Deserialize;
use serde_json::{Map, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// How the header differs from the proper one.
    #[serde(default)]
    header: Map<String, Value>,
    /// The header as it is written.
    header_text: Option<String>,
    /// How the claims differ from the proper ones.
    #[serde(default)]
    claims: Map<String, Value>,
    /// The claims as they are written.
    claims_text: Option<String>,
    /// The name of the key that signs.
    signed_by: Option<String>,
    /// How it signs, if not as the header says.
    signed_with: Option<String>,
    /// The token of `{header}`, `{claims}` and `{signature}`, `{flipped}` (one bit of the signature is), `{other}`
    /// (claims that were not signed).
    token: Option<String>,
    /// The keys for tokens of the bundle.
    bundle: Option<Vec<Trusted>>,
    bundle_of: Option<String>,
    audience: Option<String>,
    #[serde(default)]
    at: i64,
    proves: Option<String>,
    refused: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trusted {
    key: String,
    kid: String,
    alg: Option<String>,
}

#[test]
fn tokens_prove_their_subject_or_nothing() {
    let vectors = Vectors::read("tokens.json");
    let (header, claims) = (vectors.proper("header"), vectors.proper("claims"));
    vectors.run(|case: &Case| {
        let token = token(case, &header, &claims);
        let domain = case.bundle_of.as_deref().unwrap_or(DOMAIN).parse().expect("a trust domain");
        let bundle = Bundle::new(domain, Vec::new(), 1).expect("a bundle").with_jwt_keys(trusted(case));
        let audience = case.audience.as_deref().unwrap_or("shop");
        let seen = verify_token(&token, &bundle, audience, at(case.at)).map(|svid| svid.id.to_string());
        compare(seen, case.proves.clone(), case.refused.as_deref())
    });
}

fn token(case: &Case, header: &Map<String, Value>, claims: &Map<String, Value>) -> String {
    let text = |text: &Option<String>, proper: &Map<String, Value>, changes: &Map<String, Value>| {
        text.clone().unwrap_or_else(|| Value::Object(but(proper.clone(), changes)).to_string())
    };
    let header_text = text(&case.header_text, header, &case.header);
    let named = serde_json::from_str::<Value>(&header_text).ok();
    let named = named.and_then(|header| header.get("alg").and_then(Value::as_str).map(str::to_owned));
    let algorithm = case.signed_with.clone().or(named).unwrap_or_else(|| "ES256".to_owned());
    let header = URL_SAFE_NO_PAD.encode(header_text);
    let signed_claims = URL_SAFE_NO_PAD.encode(text(&case.claims_text, claims, &case.claims));
    let signer = case.signed_by.as_deref().unwrap_or("P-256 one");
    let signature = key(signer).sign_token(&algorithm, format!("{header}.{signed_claims}").as_bytes());
    let mut flipped = signature.clone();
    flipped[0] ^= 1;
    let other = but(claims.clone(), &Map::from_iter([("sub".to_owned(), "spiffe://td.example/other".into())]));
    let form = case.token.as_deref().unwrap_or("{header}.{claims}.{signature}");
    form.replace("{header}", &header)
        .replace("{claims}", &signed_claims)
        .replace("{signature}", &URL_SAFE_NO_PAD.encode(&signature))
        .replace("{cut}", &URL_SAFE_NO_PAD.encode(&signature[1..]))
        .replace("{flipped}", &URL_SAFE_NO_PAD.encode(flipped))
        .replace("{zero}", &URL_SAFE_NO_PAD.encode(vec![0; signature.len()]))
        .replace("{other}", &URL_SAFE_NO_PAD.encode(Value::Object(other).to_string()))
}

fn trusted(case: &Case) -> Vec<JwtKey> {
    let usual = [Trusted { key: "P-256 one".to_owned(), kid: "one".to_owned(), alg: None }];
    let trusted = case.bundle.as_deref().unwrap_or(&usual);
    let jwt_key = |one: &Trusted| JwtKey {
        id: one.kid.clone(),
        key: key(&one.key).jwk(),
        algorithm: one.alg.as_deref().map(|name| Algorithm::from_name(name).expect("an algorithm")),
    };
    trusted.iter().map(jwt_key).collect()
}
