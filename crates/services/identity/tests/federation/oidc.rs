//! Verifiers of OpenID Connect.

use crate::endpoints::{ask, trusting};
use crate::world::{There, Web};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use lictor_pki::TokenAuthority;
use serde_json::{Value, json};
use time::OffsetDateTime;

#[tokio::test]
async fn the_discovery_document_leads_to_the_keys_of_the_tokens() {
    let (there, web) = (There::new("other.example"), Web::new());
    let issuer = "https://oidc.other.example/spiffe";
    let at = there.serve_as(web.certificate(), Some(issuer.parse().unwrap())).await;
    let fetch = async |path: &str| {
        let (text, _) = ask(at, trusting(&web), &format!("GET {path}")).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json"), "{head}");
        serde_json::from_str::<Value>(body).unwrap()
    };
    let document = fetch("/spiffe/.well-known/openid-configuration").await;
    let wanted = json!({
        "issuer": issuer,
        "jwks_uri": "https://oidc.other.example/spiffe/keys",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
        "claims_supported": ["sub", "aud", "exp", "iat", "iss"],
    });
    assert_eq!(document, wanted);
    let keys = fetch("/spiffe/keys").await;
    let key = &keys["keys"][0];
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1), "authorities are not among them");
    assert_eq!((&key["use"], &key["alg"], &key["kid"]), (&json!("sig"), &json!("ES256"), &json!(kid(&there))));
    // The bundle of SPIFFE is where it was.
    assert_eq!(fetch("/").await["keys"].as_array().map(Vec::len), Some(2));
}

fn kid(there: &There) -> String {
    there.keyring.tokens().unwrap().public().id.clone()
}

/// By a library that knows nothing of SPIFFE, as a cloud or Vault would: from the document to the keys to the token.
#[tokio::test]
async fn a_verifier_of_others_accepts_our_tokens_and_no_others() {
    let (there, web) = (There::new("other.example"), Web::new());
    let issuer = "https://oidc.other.example";
    let at = there.serve_as(web.certificate(), Some(issuer.parse().unwrap())).await;
    let fetch = async |path: &str| {
        let (text, _) = ask(at, trusting(&web), &format!("GET {path}")).await;
        text.split_once("\r\n\r\n").unwrap().1.to_owned()
    };
    let document: Value = serde_json::from_str(&fetch("/.well-known/openid-configuration").await).unwrap();
    let keys = document["jwks_uri"].as_str().unwrap().strip_prefix(issuer).unwrap().to_owned();
    let keys: JwkSet = serde_json::from_str(&fetch(&keys).await).unwrap();
    let algorithms: Vec<Algorithm> =
        serde_json::from_value(document["id_token_signing_alg_values_supported"].clone()).unwrap();

    let verify = |token: &str| {
        let header = decode_header(token).map_err(|error| error.to_string())?;
        let key = header.kid.as_deref().and_then(|kid| keys.find(kid)).ok_or("no such key")?;
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(header.alg);
        validation.algorithms.clone_from(&algorithms);
        validation.set_audience(&["vault"]);
        validation.set_issuer(&[issuer]);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        let data = decode::<Value>(token, &key, &validation).map_err(|error| error.to_string())?;
        Ok::<_, String>(data.claims["sub"].as_str().unwrap_or_default().to_owned())
    };
    let tokens = there.keyring.tokens().unwrap();
    let id = "spiffe://other.example/ns/shop/sa/web".parse().unwrap();
    let issue = |tokens: &TokenAuthority, issuer: Option<&str>, audience: &str, age: i64| {
        let since = OffsetDateTime::now_utc() - time::Duration::seconds(age);
        tokens.issue_from(issuer, &id, &[audience.to_owned()], since, time::Duration::MINUTE).unwrap()
    };
    assert_eq!(verify(&issue(&tokens, Some(issuer), "vault", 0)).as_deref(), Ok(id.as_str()));
    let stranger = TokenAuthority::new("other.example".parse().unwrap()).unwrap();
    for (what, token) in [
        ("another audience", issue(&tokens, Some(issuer), "bank", 0)),
        ("another issuer", issue(&tokens, Some("https://elsewhere.example"), "vault", 0)),
        ("no issuer", issue(&tokens, None, "vault", 0)),
        ("expired", issue(&tokens, Some(issuer), "vault", 3600)),
        ("another key", issue(&stranger, Some(issuer), "vault", 0)),
    ] {
        assert!(verify(&token).is_err(), "{what}");
    }
}
