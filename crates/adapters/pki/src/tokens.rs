//! An authority that signs JWT-SVIDs.

use crate::bundle::JwtKey;
use crate::jwk::{Curve, PublicJwk};
use crate::jws::{Algorithm, compact, signing_input};
use crate::keys::{HeldKey, KeyStoreError, Keys, SavedKey};
use crate::svid::PrivateKey;
use crate::tally::Tally;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RSA_PSS_SHA384, RSA_PSS_SHA512, RsaSignatureEncoding,
};
use lictor_model::{SpiffeId, TrustDomain};
use serde_json::{Map, Value, json};
use std::fmt;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// Why no token was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenIssueError {
    /// An identity of another trust domain.
    #[error("expected an identity of the trust domain {wanted}, saw {seen}")]
    TrustDomain {
        /// The trust domain of the authority.
        wanted: TrustDomain,
        /// The identity that was asked for.
        seen: SpiffeId,
    },
    /// The name of the whole trust domain, which is no workload's (JWT-SVID, section 3.1).
    #[error("expected the identity of a workload, saw {seen}, which names a whole trust domain")]
    NoPath {
        /// The identity that was asked for.
        seen: SpiffeId,
    },
    /// No audience, or an empty one (JWT-SVID, section 3.2).
    #[error("expected one audience or more, none of them empty")]
    Audience,
    /// A lifetime of less than a second.
    #[error("expected a lifetime of a second or more, saw {seen}")]
    Lifetime {
        /// The lifetime that was asked for.
        seen: Duration,
    },
    /// The key signs no more.
    #[error("expected a valid key for tokens, this one ended at {not_after}")]
    Expired {
        /// Its last second.
        not_after: OffsetDateTime,
    },
    /// The key is none that the algorithm can use.
    #[error("expected a private key for {algorithm}")]
    Key {
        /// The algorithm.
        algorithm: Algorithm,
    },
    /// The library could not sign.
    #[error("the token could not be signed")]
    Signing,
    /// The key store does not do its part.
    #[error(transparent)]
    Keys(#[from] KeyStoreError),
    /// Something else holds the key, and gives it to nobody.
    #[error("expected a key of this process, it is held by a key store")]
    Held,
}

/// The key that signs the tokens of one trust domain; another one than signs its certificates (SPIFFE Trust Domain and
/// Bundle, section 2: one protocol's signatures are of no use in the other).
pub struct TokenAuthority {
    trust_domain: TrustDomain,
    algorithm: Algorithm,
    key: SigningKey,
    public: JwtKey,
    /// No token outlives it; without one the key has no end.
    not_after: Option<OffsetDateTime>,
    tally: Tally,
}

enum SigningKey {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Held(Arc<dyn HeldKey>),
}

impl TokenAuthority {
    /// A new P-256 key, for ES256.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new(trust_domain: TrustDomain) -> Result<Self, TokenIssueError> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| TokenIssueError::Signing)?;
        Self::of(trust_domain, Algorithm::Es256, SigningKey::Ec(key))
    }

    /// With a new P-256 key where keys are made.
    pub(crate) fn made_in(keys: &Keys, trust_domain: TrustDomain) -> Result<Self, TokenIssueError> {
        match keys.make()? {
            Some(key) => Self::held(trust_domain, key),
            None => Self::new(trust_domain),
        }
    }

    /// With a P-256 key that something else holds, for ES256.
    pub(crate) fn held(trust_domain: TrustDomain, key: Arc<dyn HeldKey>) -> Result<Self, TokenIssueError> {
        Self::of(trust_domain, Algorithm::Es256, SigningKey::Held(key))
    }

    /// With a key that exists already.
    ///
    /// # Errors
    /// The key does not parse, or is not of the kind that the algorithm needs.
    pub fn with_key(
        trust_domain: TrustDomain,
        algorithm: Algorithm,
        key: &PrivateKey,
    ) -> Result<Self, TokenIssueError> {
        let wrong = |_| TokenIssueError::Key { algorithm };
        let key = match algorithm.curve() {
            Some(curve) => SigningKey::Ec(EcdsaKeyPair::from_pkcs8(signing(curve), key.pkcs8()).map_err(wrong)?),
            None => SigningKey::Rsa(RsaKeyPair::from_pkcs8(key.pkcs8()).map_err(wrong)?),
        };
        Self::of(trust_domain, algorithm, key)
    }

    fn of(trust_domain: TrustDomain, algorithm: Algorithm, key: SigningKey) -> Result<Self, TokenIssueError> {
        let public = match &key {
            SigningKey::Ec(pair) => {
                algorithm.curve().and_then(|curve| PublicJwk::ec(curve, pair.public_key().as_ref()))
            }
            SigningKey::Held(key) => PublicJwk::ec(Curve::P256, key.public_point()),
            SigningKey::Rsa(pair) => {
                let (n, e) = (pair.public_key().modulus(), pair.public_key().exponent());
                PublicJwk::rsa(n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero())
            }
        };
        let key_of = public.ok_or(TokenIssueError::Key { algorithm })?;
        let public = JwtKey { id: key_of.thumbprint(), key: key_of, algorithm: None };
        Ok(Self { trust_domain, algorithm, key, public, not_after: None, tally: Tally::default() })
    }

    /// The same key, whose tokens end at `not_after` at the latest.
    #[must_use]
    pub fn until(self, not_after: OffsetDateTime) -> Self {
        Self { not_after: Some(not_after), ..self }
    }

    /// A token that says to each of `audience` that whoever shows it is `id`, from now until `now + lifetime` or the
    /// key's own end, whichever is earlier.
    ///
    /// Its claims are `sub`, `aud`, `exp` and `iat`; a single audience is a string, as RFC 7519, section 4.1.3, allows.
    /// JWT-SVID, section 7.2, recommends one audience and, in section 7.1, a short life.
    ///
    /// # Errors
    /// The identity is not one that this authority may name, there is no audience, or the key has ended.
    pub fn issue(
        &self,
        id: &SpiffeId,
        audience: &[String],
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<String, TokenIssueError> {
        self.issue_from(None, id, audience, now, lifetime)
    }

    /// As [`issue`](Self::issue), with `issuer` as `iss` (RFC 7519, section 4.1.1): verifiers of OpenID Connect look for
    /// the keys below that URL. SPIFFE gives it no meaning.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_from(
        &self,
        issuer: Option<&str>,
        id: &SpiffeId,
        audience: &[String],
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<String, TokenIssueError> {
        if id.trust_domain_str() != self.trust_domain.as_str() {
            return Err(TokenIssueError::TrustDomain { wanted: self.trust_domain.clone(), seen: id.clone() });
        }
        if id.path().is_empty() {
            return Err(TokenIssueError::NoPath { seen: id.clone() });
        }
        if audience.is_empty() || audience.iter().any(String::is_empty) {
            return Err(TokenIssueError::Audience);
        }
        if lifetime < Duration::SECOND {
            return Err(TokenIssueError::Lifetime { seen: lifetime });
        }
        let left = self.not_after.map_or(lifetime, |not_after| not_after - now);
        if let Some(not_after) = self.not_after.filter(|_| left < Duration::SECOND) {
            return Err(TokenIssueError::Expired { not_after });
        }
        let issued_at = now.unix_timestamp();
        let expires_at = issued_at.saturating_add(lifetime.min(left).whole_seconds());
        let audience = match audience {
            [one] => json!(one),
            several => json!(several),
        };
        let mut claims = Map::from_iter([
            ("sub".to_owned(), json!(id.as_str())),
            ("aud".to_owned(), audience),
            ("exp".to_owned(), json!(expires_at)),
            ("iat".to_owned(), json!(issued_at)),
        ]);
        claims.extend(issuer.map(|issuer| ("iss".to_owned(), json!(issuer))));
        let token = self.sign(&claims)?;
        self.tally.note(expires_at);
        Ok(token)
    }

    /// When its last token ends at the latest, if the key has an end.
    pub fn not_after(&self) -> Option<OffsetDateTime> {
        self.not_after
    }

    /// What it has signed so far.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The public key, as the trust domain's bundle has it; its `kid` is the key's thumbprint (RFC 7638).
    pub fn public(&self) -> &JwtKey {
        &self.public
    }

    /// The trust domain that it signs for.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The algorithm that it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key(&self) -> Result<SavedKey, TokenIssueError> {
        let document = match &self.key {
            SigningKey::Held(key) => return Ok(SavedKey::Held(key.reference().to_owned())),
            SigningKey::Ec(pair) => pair.to_pkcs8v1().map(|document| document.as_ref().to_vec()),
            SigningKey::Rsa(pair) => pair.as_der().map(|document| document.as_ref().to_vec()),
        };
        document.map(|der| SavedKey::Own(PrivateKey::from_pkcs8(der))).map_err(|_| TokenIssueError::Signing)
    }

    fn sign(&self, claims: &Map<String, Value>) -> Result<String, TokenIssueError> {
        let failed = |_| TokenIssueError::Signing;
        let input = signing_input(self.algorithm, &self.public.id, claims);
        let random = SystemRandom::new();
        let signature = match &self.key {
            SigningKey::Held(key) => key.sign(input.as_bytes())?,
            SigningKey::Ec(pair) => pair.sign(&random, input.as_bytes()).map_err(failed)?.as_ref().to_vec(),
            SigningKey::Rsa(pair) => {
                let encoding = encoding(self.algorithm).ok_or(TokenIssueError::Signing)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, input.as_bytes(), &mut signature).map_err(failed)?;
                signature
            }
        };
        Ok(compact(&input, &signature))
    }
}

impl fmt::Debug for TokenAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenAuthority")
            .field("trust_domain", &self.trust_domain.as_str())
            .field("algorithm", &self.algorithm)
            .field("kid", &self.public.id)
            .finish_non_exhaustive()
    }
}

fn signing(curve: Curve) -> &'static EcdsaSigningAlgorithm {
    match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    }
}

fn encoding(algorithm: Algorithm) -> Option<&'static RsaSignatureEncoding> {
    match algorithm {
        Algorithm::Rs256 => Some(&RSA_PKCS1_SHA256),
        Algorithm::Rs384 => Some(&RSA_PKCS1_SHA384),
        Algorithm::Rs512 => Some(&RSA_PKCS1_SHA512),
        Algorithm::Ps256 => Some(&RSA_PSS_SHA256),
        Algorithm::Ps384 => Some(&RSA_PSS_SHA384),
        Algorithm::Ps512 => Some(&RSA_PSS_SHA512),
        Algorithm::Es256 | Algorithm::Es384 | Algorithm::Es512 => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{SavedKey, TokenAuthority, TokenIssueError as E};
    use crate::forge::{self, at, now};
    use crate::{Algorithm, Bundle, JwtSvid, PrivateKey, TokenError, verify_token};
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use lictor_model::SpiffeId;
    use time::Duration;

    fn bundle(authority: &TokenAuthority) -> Bundle {
        let nobody = Bundle::new(forge::domain(), Vec::new(), 1).expect("a bundle");
        nobody.with_jwt_keys(vec![authority.public().clone()])
    }

    fn id() -> SpiffeId {
        "spiffe://td.example/ns/shop/sa/cart".parse().expect("an identity")
    }

    /// A private key for this algorithm.
    fn key(algorithm: Algorithm) -> PrivateKey {
        match algorithm.curve() {
            Some(curve) => {
                let random = aws_lc_rs::rand::SystemRandom::new();
                let pkcs8 = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(super::signing(curve), &random);
                PrivateKey::from_pkcs8(pkcs8.expect("a key").as_ref().to_vec())
            }
            None => {
                let pair = KeyPair::generate(KeySize::Rsa2048).expect("a key");
                PrivateKey::from_pkcs8(pair.as_der().expect("a document").as_ref().to_vec())
            }
        }
    }

    #[test]
    fn tokens_of_every_algorithm_prove_their_subject() {
        let audience = ["a".to_owned(), "b".to_owned()];
        for algorithm in Algorithm::ALL {
            let authority =
                TokenAuthority::with_key(forge::domain(), algorithm, &key(algorithm)).expect("an authority");
            let token = authority.issue(&id(), &audience, now(), Duration::minutes(5)).expect("a token");
            let JwtSvid { id: seen, audience: meant, expires_at, claims } =
                verify_token(&token, &bundle(&authority), "b", at(0)).expect("a proof");
            assert_eq!((seen, meant.as_slice()), (id(), audience.as_slice()), "{algorithm}");
            assert_eq!(expires_at, now().unix_timestamp() + 300);
            assert_eq!(claims["iat"], now().unix_timestamp());
            let other = TokenAuthority::new(forge::domain()).expect("another authority");
            assert_eq!(verify_token(&token, &bundle(&other), "b", at(0)), Err(TokenError::UnknownKey));
            assert!(matches!(verify_token(&token, &bundle(&authority), "b", at(1)), Err(TokenError::Expired { .. })));
        }
    }

    #[test]
    fn only_workloads_of_the_own_trust_domain_get_a_token_and_only_for_someone() {
        let authority = TokenAuthority::new(forge::domain()).expect("an authority");
        assert_eq!((authority.algorithm(), authority.public().id.len()), (Algorithm::Es256, 43));
        let issue = |id: &str, audience: &[&str], life: i64| {
            let audience: Vec<String> = audience.iter().map(|&one| one.to_owned()).collect();
            authority.issue(&id.parse().expect("an identity"), &audience, now(), Duration::milliseconds(life))
        };
        assert!(matches!(issue("spiffe://other.example/a", &["x"], 5000), Err(E::TrustDomain { .. })));
        assert!(matches!(issue("spiffe://td.example", &["x"], 5000), Err(E::NoPath { .. })));
        assert_eq!(issue("spiffe://td.example/a", &[], 5000), Err(E::Audience));
        assert_eq!(issue("spiffe://td.example/a", &["x", ""], 5000), Err(E::Audience));
        assert!(matches!(issue("spiffe://td.example/a", &["x"], 999), Err(E::Lifetime { .. })));
        assert!(issue("spiffe://td.example/a", &["x"], 1000).is_ok());
    }

    #[test]
    fn no_token_outlives_its_key() {
        let end = now() + Duration::minutes(3);
        let authority = TokenAuthority::new(forge::domain()).expect("an authority").until(end);
        let issue = |at| authority.issue(&id(), &["x".to_owned()], at, Duration::minutes(5));
        let token = issue(now()).expect("a token");
        let read = verify_token(&token, &bundle(&authority), "x", at(0)).expect("a proof");
        assert_eq!((read.expires_at, authority.tally().last_expiry()), (end.unix_timestamp(), Some(end)));
        assert_eq!((issue(end), authority.tally().count()), (Err(E::Expired { not_after: end }), 1));
    }

    #[test]
    fn a_key_of_another_kind_is_refused_and_none_is_printed() {
        let key = key(Algorithm::Es384);
        let with = |algorithm| TokenAuthority::with_key(forge::domain(), algorithm, &key);
        for algorithm in Algorithm::ALL.into_iter().filter(|&algorithm| algorithm != Algorithm::Es384) {
            assert_eq!(with(algorithm).map(|_| ()), Err(E::Key { algorithm }));
        }
        let authority = with(Algorithm::Es384).expect("an authority");
        assert!(matches!(authority.key(), Ok(SavedKey::Own(own)) if own.pkcs8() == key.pkcs8()));
        let kid = &authority.public().id;
        let printed = format!("{authority:?}");
        assert_eq!(
            printed,
            format!("TokenAuthority {{ trust_domain: \"td.example\", algorithm: Es384, kid: \"{kid}\", .. }}")
        );
    }
}
