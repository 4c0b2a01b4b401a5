//! A bundle's keys for tokens, as verifiers of OpenID Connect want them.
//!
//! Source: RFC 7517, section 4; OpenID Connect Discovery 1.0, section 3 (`jwks_uri`); OpenID Connect Core 1.0, section
//! 10.1. These verifiers know the use `sig` and no SPIFFE: authorities are not in it, and `jwt-svid` would be passed over.

use crate::bundle::{Bundle, JwtKey};
use crate::jwk::{Curve, PublicJwk};
use crate::jws::Algorithm;
use serde_json::{Value, json};

impl Bundle {
    /// The keys for tokens as a JWK set with `use`, `kid` and `alg`.
    ///
    /// `alg` is missing for an RSA key that is for several algorithms.
    pub fn oidc_jwks(&self) -> String {
        let keys = self.jwt_keys().iter().map(|key| {
            let mut members = key.key.members();
            members.insert("use".to_owned(), json!("sig"));
            members.insert("kid".to_owned(), json!(key.id));
            if let [only] = key.algorithms().as_slice() {
                members.insert("alg".to_owned(), json!(only.as_str()));
            }
            Value::Object(members)
        });
        json!({"keys": keys.collect::<Vec<_>>()}).to_string()
    }

    /// The algorithms that the trust domain's tokens may be signed with, each once.
    pub fn signing_algorithms(&self) -> Vec<Algorithm> {
        let of_keys: Vec<Algorithm> = self.jwt_keys().iter().flat_map(JwtKey::algorithms).collect();
        Algorithm::ALL.into_iter().filter(|algorithm| of_keys.contains(algorithm)).collect()
    }
}

impl JwtKey {
    /// What it may sign: the algorithm that it is for; else the one of its curve, or each of RSA.
    fn algorithms(&self) -> Vec<Algorithm> {
        if let Some(only) = self.algorithm {
            return vec![only];
        }
        match &self.key {
            PublicJwk::Ec { curve: Curve::P256, .. } => vec![Algorithm::Es256],
            PublicJwk::Ec { curve: Curve::P384, .. } => vec![Algorithm::Es384],
            PublicJwk::Ec { curve: Curve::P521, .. } => vec![Algorithm::Es512],
            key @ PublicJwk::Rsa { .. } => Algorithm::ALL.into_iter().filter(|one| one.fits(key)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::forge;
    use crate::{Algorithm, Bundle, TokenAuthority};
    use serde_json::Value;

    #[test]
    fn keys_say_their_use_their_name_and_their_algorithm() {
        let tokens = TokenAuthority::new(forge::domain()).expect("an authority");
        let nobody = Bundle::new(forge::domain(), Vec::new(), 1).expect("a bundle");
        let bundle = nobody.clone().with_jwt_keys(vec![tokens.public().clone()]);
        let set: Value = serde_json::from_str(&bundle.oidc_jwks()).expect("JSON");
        let key = &set["keys"][0];
        let text = |name: &str| key[name].as_str().expect("a text").to_owned();
        assert_eq!((text("use"), text("kid"), text("alg")), ("sig".into(), tokens.public().id.clone(), "ES256".into()));
        assert_eq!((text("kty"), text("crv")), ("EC".into(), "P-256".into()));
        assert_eq!(bundle.signing_algorithms(), [Algorithm::Es256]);
        assert_eq!((nobody.oidc_jwks(), nobody.signing_algorithms()), (r#"{"keys":[]}"#.into(), Vec::new()));
    }
}
