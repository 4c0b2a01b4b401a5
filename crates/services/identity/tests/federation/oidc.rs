//! Verifiers of OpenID Connect.

use crate::endpoints::{ask, trusting};
use crate::world::{There, Web};
use serde_json::{Value, json};

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
