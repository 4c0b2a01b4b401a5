//! What verifiers of OpenID Connect look for, so that clouds and Vault accept JWT-SVIDs.
//!
//! Source: OpenID Connect Discovery 1.0, sections 3 and 4.

use super::url::{EndpointUrl, InvalidEndpointUrl};
use lictor_pki::Bundle;
use serde_json::json;
use std::fmt;
use std::str::FromStr;

/// Who issues tokens, as their `iss` says: an `https` URL without query and fragment (section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    url: String,
    path: String,
}

/// Why a text names no issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuer {
    /// No `https` URL with a host alone.
    #[error(transparent)]
    Url(#[from] InvalidEndpointUrl),
    /// A query or a fragment.
    #[error("expected an issuer without query and fragment")]
    Query,
}

impl Issuer {
    /// The URL, as tokens have it.
    pub fn as_str(&self) -> &str {
        &self.url
    }

    /// Where the discovery document is (section 4): below the issuer's own path.
    pub(super) fn document_path(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.path)
    }

    /// Where the keys are.
    pub(super) fn keys_path(&self) -> String {
        format!("{}/keys", self.path)
    }

    /// The discovery document. There is no endpoint to log in at: tokens come from the Workload API alone.
    pub(super) fn document(&self, bundle: &Bundle) -> String {
        let algorithms = bundle.signing_algorithms();
        let document = json!({
            "issuer": self.url,
            "jwks_uri": format!("{}/keys", self.url.trim_end_matches('/')),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms.iter().map(|one| one.as_str()).collect::<Vec<_>>(),
            "claims_supported": ["sub", "aud", "exp", "iat", "iss"],
        });
        document.to_string()
    }
}

impl FromStr for Issuer {
    type Err = InvalidIssuer;

    fn from_str(text: &str) -> Result<Self, InvalidIssuer> {
        let url: EndpointUrl = text.parse()?;
        // The parser of URLs drops a fragment.
        if text.contains(['?', '#']) {
            return Err(InvalidIssuer::Query);
        }
        Ok(Self { url: text.to_owned(), path: url.path_and_query().trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

#[cfg(test)]
mod tests {
    use super::{InvalidIssuer, Issuer};

    #[test]
    fn an_issuer_is_a_url_and_its_documents_lie_below_it() {
        let paths = |text: &str| {
            let issuer: Issuer = text.parse().expect(text);
            assert_eq!(issuer.as_str(), text);
            (issuer.document_path(), issuer.keys_path())
        };
        let wanted = ("/.well-known/openid-configuration".to_owned(), "/keys".to_owned());
        assert_eq!((paths("https://oidc.example"), paths("https://oidc.example/")), (wanted.clone(), wanted));
        assert_eq!(paths("https://oidc.example/a/b").0, "/a/b/.well-known/openid-configuration");
        for text in ["https://oidc.example/?a", "https://oidc.example/#a"] {
            assert_eq!(text.parse::<Issuer>(), Err(InvalidIssuer::Query));
        }
        for text in ["http://oidc.example", "oidc.example", "https://a@oidc.example"] {
            assert!(matches!(text.parse::<Issuer>(), Err(InvalidIssuer::Url(_))));
        }
    }
}
