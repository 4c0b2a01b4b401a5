//! A certificate authority as a PEM file: its key, its certificate, and the chain up to the root.

use crate::authority::{CertificateAuthority, Parts};
use crate::bundle::{Bundle, InvalidAuthority};
use crate::jws::Algorithm;
use crate::keys::{AuthorityKey, SavedKey, WipedKey};
use crate::signing::{SigningFault, check_signer};
use crate::svid::PrivateKey;
use crate::tokens::{TokenAuthority, TokenIssueError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_model::{SpiffeId, TrustDomain};
use rcgen::{KeyPair, PublicKeyData};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::sync::Arc;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::{Zeroize, Zeroizing};

const LINE: usize = 64;

/// The label of a key in PKCS#8 (RFC 7468, section 10).
pub(crate) const KEY: &str = "PRIVATE KEY";

/// Why a PEM text is no certificate authority.
#[derive(Debug, thiserror::Error)]
pub enum InvalidAuthorityFile {
    /// The PEM itself is broken.
    #[error("expected PEM blocks: {0}")]
    Pem(rustls_pki_types::pem::Error),
    /// No certificate in it.
    #[error("expected the authority's certificate, saw none")]
    NoCertificate,
    /// The key does not parse.
    #[error("expected a PKCS#8 private key: {0}")]
    Key(rcgen::Error),
    /// The key for tokens does not parse, or cannot be made.
    #[error("expected a second private key that signs tokens: {0}")]
    TokenKey(TokenIssueError),
    /// More keys than one for certificates and one for tokens.
    #[error("expected two private keys at most, saw more")]
    Keys,
    /// The first certificate is for another key.
    #[error("expected the first certificate to be for the private key, it is for another one")]
    KeyMismatch,
    /// A certificate that does not parse or may not sign others.
    #[error(transparent)]
    Authority(#[from] InvalidAuthority),
    /// A certificate that the next one in the file has not signed.
    #[error("certificate {at}: expected it to be signed by the one after it")]
    Chain {
        /// Its place in the file, from 0.
        at: usize,
    },
    /// The root's name is not the SPIFFE ID of a trust domain (X509-SVID, section 3.2).
    #[error("expected the root to be named by a trust domain's SPIFFE ID: {0}")]
    TrustDomain(String),
}

impl CertificateAuthority {
    /// Key and certificates as PEM, this authority's own first, then the key for tokens. Whoever writes it to a file sees
    /// to the file's mode.
    ///
    /// # Errors
    /// A key cannot be written: something else holds it.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, TokenIssueError> {
        let mut text = Zeroizing::new(String::new());
        let SavedKey::Own(key) = self.key() else { return Err(TokenIssueError::Held) };
        push_block(&mut text, KEY, key.pkcs8());
        for certificate in self.certificates() {
            push_block(&mut text, "CERTIFICATE", certificate);
        }
        let SavedKey::Own(tokens) = self.tokens().key()? else { return Err(TokenIssueError::Held) };
        push_block(&mut text, KEY, tokens.pkcs8());
        Ok(text)
    }

    /// Reads what [`to_pem`](Self::to_pem) wrote, or a file that others made: a key, its certificate and the chain.
    ///
    /// The first key signs certificates, a second one (P-256, P-384, P-521 or RSA) tokens. Without a second one, tokens
    /// are signed by a new key each time the file is read.
    ///
    /// # Errors
    /// Key and certificates do not belong together, or the chain does not end in the root of a trust domain.
    pub fn from_pem(text: &str) -> Result<Self, InvalidAuthorityFile> {
        use InvalidAuthorityFile as E;
        let (key, token_key) = read_keys(text)?;
        let certificates = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(E::Pem)?;
        let mut chain = Vec::with_capacity(certificates.len());
        for (at, der) in certificates.iter().enumerate() {
            let Ok(([], parsed)) = X509Certificate::from_der(der) else {
                return Err(InvalidAuthority { at, fault: SigningFault::Malformed }.into());
            };
            check_signer(&parsed).map_err(|fault| InvalidAuthority { at, fault })?;
            chain.push(parsed);
        }
        let (Some(own), Some(root), Some(root_der)) = (chain.first(), chain.last(), certificates.last()) else {
            return Err(E::NoCertificate);
        };
        if own.public_key().raw != key.subject_public_key_info() {
            return Err(E::KeyMismatch);
        }
        for (at, (below, above)) in chain.iter().zip(chain.iter().skip(1)).enumerate() {
            if below.issuer() != above.subject() || below.verify_signature(Some(above.public_key())).is_err() {
                return Err(E::Chain { at });
            }
        }
        let id = crate::verify::uri_name(root).map_err(|error| E::TrustDomain(error.to_string()))?;
        let trust_domain = domain_of(&id)?;
        let malformed = |_| E::Authority(InvalidAuthority { at: 0, fault: SigningFault::Malformed });
        let starts = chain.iter().map(|parsed| parsed.validity().not_before.timestamp()).max().unwrap_or(i64::MAX);
        let ends = chain.iter().map(|parsed| parsed.validity().not_after.timestamp()).min().unwrap_or(i64::MIN);
        let not_before = OffsetDateTime::from_unix_timestamp(starts).map_err(malformed)?;
        let not_after = OffsetDateTime::from_unix_timestamp(ends).map_err(malformed)?;
        let tokens = Arc::new(token_authority(&trust_domain, token_key)?);
        let root = Bundle::new(trust_domain, vec![root_der.clone()], 0)?;
        drop(chain);
        let key = AuthorityKey::Own(WipedKey(key));
        Self::from_parts(Parts { key, certificates, root, tokens, not_before, not_after }).map_err(E::Key)
    }
}

/// Certificates as PEM, one after the other.
pub fn certificates_to_pem(certificates: &[CertificateDer<'_>]) -> String {
    let mut text = Zeroizing::new(String::new());
    certificates.iter().for_each(|der| push_block(&mut text, "CERTIFICATE", der));
    text.to_string()
}

/// The key for certificates, and the one for tokens if there is one.
fn read_keys(text: &str) -> Result<(KeyPair, Option<PrivateKey>), InvalidAuthorityFile> {
    use InvalidAuthorityFile as E;
    let mut secrets = PrivatePkcs8KeyDer::pem_slice_iter(text.as_bytes());
    let mut next = || secrets.next().transpose().map_err(E::Pem);
    let mut first = next()?.ok_or(E::Pem(rustls_pki_types::pem::Error::NoItemsFound))?;
    let key = KeyPair::try_from(&first).map_err(E::Key);
    first.zeroize();
    let second = next()?.map(|second| {
        let mut second = second;
        let key = PrivateKey::from_pkcs8(second.secret_pkcs8_der().to_vec());
        second.zeroize();
        key
    });
    match next()? {
        None => Ok((key?, second)),
        Some(mut third) => {
            third.zeroize();
            Err(E::Keys)
        }
    }
}

/// The authority of the second key, with the first algorithm that the key is of a kind for.
fn token_authority(
    trust_domain: &TrustDomain,
    key: Option<PrivateKey>,
) -> Result<TokenAuthority, InvalidAuthorityFile> {
    let Some(key) = key else {
        return TokenAuthority::new(trust_domain.clone()).map_err(InvalidAuthorityFile::TokenKey);
    };
    let kinds = [Algorithm::Es256, Algorithm::Es384, Algorithm::Es512];
    let made = kinds.into_iter().find_map(|kind| TokenAuthority::with_key(trust_domain.clone(), kind, &key).ok());
    match made {
        Some(authority) => Ok(authority),
        None => TokenAuthority::with_key(trust_domain.clone(), Algorithm::Rs256, &key)
            .map_err(InvalidAuthorityFile::TokenKey),
    }
}

fn domain_of(id: &SpiffeId) -> Result<TrustDomain, InvalidAuthorityFile> {
    if id.path().is_empty() {
        Ok(id.trust_domain())
    } else {
        Err(InvalidAuthorityFile::TrustDomain(format!("saw {id}, which names a workload")))
    }
}

/// Appends a block with this label.
pub(crate) fn push_block(text: &mut Zeroizing<String>, label: &str, der: &[u8]) {
    // Room for everything at once: a string that grows leaves copies of the key behind.
    let mut body = Zeroizing::new(String::with_capacity(der.len() * 4 / 3 + 4));
    STANDARD.encode_string(der, &mut body);
    let mut block = Zeroizing::new(String::with_capacity(text.len() + body.len() + body.len() / LINE + 128));
    block.push_str(text);
    block.push_str(&format!("-----BEGIN {label}-----\n"));
    for line in body.as_bytes().chunks(LINE) {
        block.extend(line.iter().map(|&byte| char::from(byte)));
        block.push('\n');
    }
    block.push_str(&format!("-----END {label}-----\n"));
    *text = block;
}

#[cfg(test)]
mod tests {
    use super::InvalidAuthorityFile as E;
    use crate::{CertificateAuthority, Usage, unix_time, verify};
    use time::{Duration, OffsetDateTime};

    fn root() -> CertificateAuthority {
        CertificateAuthority::new("td.example".parse().expect("a trust domain"), now(), Duration::days(1))
            .expect("a root")
    }

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time")
    }

    #[test]
    fn an_authority_reads_as_it_was_written() {
        let issuing = root().subordinate(now(), Duration::hours(5)).expect("an issuing authority");
        let text = issuing.to_pem().expect("a text");
        let read = CertificateAuthority::from_pem(&text).expect("the same authority");
        assert_eq!(*read.to_pem().expect("a text"), *text);
        assert_eq!(read.bundle(1), issuing.bundle(1), "the key for tokens among it");
        assert_eq!((read.not_before(), read.not_after()), (issuing.not_before(), issuing.not_after()));
        let id = "spiffe://td.example/x".parse().expect("an identity");
        let svid = read.issue(&id, now(), Duration::hours(1)).expect("an SVID");
        assert_eq!(verify(&svid.chain, &issuing.bundle(1), unix_time(now()), Usage::Client), Ok(id));
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let (one, other) = (root(), root());
        let issuing = one.subordinate(now(), Duration::hours(5)).expect("an issuing authority");
        let pem = |authority: &CertificateAuthority| {
            // Without the key for tokens, as a file that others made.
            let text = authority.to_pem().expect("a text").to_string();
            text[..text.rfind("-----BEGIN PRIVATE KEY").expect("a key")].to_owned()
        };
        let (one, other, issuing) = (pem(&one), pem(&other), pem(&issuing));
        assert!(CertificateAuthority::from_pem(&issuing).is_ok());
        let split = |text: &str| {
            let at = text.find("-----BEGIN CERTIFICATE").expect("a certificate");
            (text[..at].to_owned(), text[at..].to_owned())
        };
        let ((key, _), (_, stranger)) = (split(&one), split(&other));
        let (issuing_key, chain) = split(&issuing);
        let own = chain.split_inclusive("-----END CERTIFICATE-----\n").next().expect("its own certificate");
        let leaf = rcgen::generate_simple_self_signed(["x".to_owned()]).expect("a leaf").cert.pem();
        type Expected = fn(&E) -> bool;
        let cases: [(String, Expected); 9] = [
            (String::new(), |e| matches!(e, E::Pem(_))),
            (format!("{one}{key}{key}"), |e| matches!(e, E::Keys)),
            (format!("{one}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"), |e| {
                matches!(e, E::TokenKey(_))
            }),
            (key.clone(), |e| matches!(e, E::NoCertificate)),
            (format!("{key}{stranger}"), |e| matches!(e, E::KeyMismatch)),
            (format!("{issuing_key}{own}{stranger}"), |e| matches!(e, E::Chain { at: 0 })),
            (format!("{key}{leaf}"), |e| matches!(e, E::Authority(_))),
            (one.replace("BEGIN CERTIFICATE-----\n", "BEGIN CERTIFICATE-----\nAAAA"), |e| matches!(e, E::Authority(_))),
            (one.replace("BEGIN PRIVATE KEY-----\n", "BEGIN PRIVATE KEY-----\nAAAA"), |e| matches!(e, E::Key(_))),
        ];
        for (text, expected) in cases {
            let error = CertificateAuthority::from_pem(&text).expect_err("a refusal");
            assert!(expected(&error), "{error:?} for {}", text.lines().next().unwrap_or_default());
        }
    }
}
