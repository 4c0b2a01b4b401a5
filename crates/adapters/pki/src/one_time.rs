//! Secrets that are shown once and of which nothing but a digest is kept.

use crate::authority::IssueError;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;
use zeroize::Zeroizing;

/// Octets of a secret: nobody guesses it, so that its digest needs no salt and no slow function.
const LENGTH: usize = 32;

/// 256 random bits as text; wiped from memory when dropped, never printed by `Debug`.
pub struct OneTimeSecret(Zeroizing<String>);

/// What is kept of a secret: the SHA-256 of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretDigest([u8; 32]);

impl OneTimeSecret {
    /// A new one.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Self, IssueError> {
        let mut octets = Zeroizing::new([0; LENGTH]);
        aws_lc_rs::rand::fill(&mut *octets).map_err(|_| IssueError::Random)?;
        Ok(Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(*octets))))
    }

    /// The text, for whoever is to show it: letters, digits, dashes and underscores.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl SecretDigest {
    /// That of a text; white space around it does not count, as it comes out of a file.
    pub fn of(text: &str) -> Self {
        let mut octets = [0; 32];
        let made = digest(&SHA256, text.trim().as_bytes());
        octets.iter_mut().zip(made.as_ref()).for_each(|(octet, made)| *octet = *made);
        Self(octets)
    }

    /// Reads it back.
    pub fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The digest.
    pub fn octets(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its first 48 bits in hex, by which people call the secret without knowing it.
    pub fn id(&self) -> String {
        self.0.iter().take(6).map(|octet| format!("{octet:02x}")).collect()
    }
}

impl fmt::Debug for OneTimeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OneTimeSecret(elided)")
    }
}

#[cfg(test)]
mod tests {
    use super::{OneTimeSecret, SecretDigest};

    #[test]
    fn a_secret_is_known_by_its_digest_alone() {
        let (one, two) = (OneTimeSecret::new().expect("a secret"), OneTimeSecret::new().expect("a secret"));
        assert!(one.text().len() == 43 && one.text() != two.text());
        let digest = SecretDigest::of(one.text());
        assert_eq!(SecretDigest::of(&format!(" {}\n", one.text())), digest);
        assert_ne!(SecretDigest::of(two.text()), digest);
        assert_eq!(SecretDigest::from_octets(*digest.octets()), digest);
        assert_eq!((digest.id().len(), format!("{one:?}").as_str()), (12, "OneTimeSecret(elided)"));
    }
}
