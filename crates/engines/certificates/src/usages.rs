//! What a certificate is for.

use lictor_manifest::{CertificateUsage, KeyAlgorithm};

/// The key usages of a leaf beside `digitalSignature`, which each has. Each is for servers and for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usages {
    /// `keyEncipherment`.
    pub key_encipherment: bool,
    /// `keyAgreement`.
    pub key_agreement: bool,
}

/// What a list of usages comes to, or the first of the list that an X509-SVID may not have, by its place, and why.
///
/// Without a key usage the default is cert-manager's, `digital signature` and `key encipherment`; the latter for RSA alone, as
/// RFC 8813, section 3, has it. Without an extended one it is both ends of TLS.
///
/// Source: X509-SVID, sections 4.3 and 4.4: `digitalSignature` is set, `keyCertSign` and `cRLSign` are not, and an extended key
/// usage has both ends.
///
/// # Errors
/// A usage that is refused (its place), or one that is missing (none).
pub fn usages(asked: &[CertificateUsage], algorithm: KeyAlgorithm) -> Result<Usages, (Option<usize>, String)> {
    use CertificateUsage as U;
    let other = asked.iter().position(|usage| matches!(usage, U::OtherKey(_) | U::OtherExtended(_)));
    if let Some(at) = other {
        let word = asked.get(at).map_or("", |usage| usage.as_str());
        return Err((Some(at), format!("`{word}` is for no SVID: leave it out (X509-SVID, sections 4.3 and 4.4)")));
    }
    let has = |usage| asked.contains(&usage);
    for (one, other) in [(U::ServerAuth, U::ClientAuth), (U::ClientAuth, U::ServerAuth)] {
        if has(one) && !has(other) {
            let what = format!(
                "`{}` without `{}`: an SVID is for both ends or names none (X509-SVID, section 4.4)",
                one.as_str(),
                other.as_str()
            );
            return Err((asked.iter().position(|usage| *usage == one), what));
        }
    }
    if asked.iter().all(|usage| usage.is_extended()) {
        return Ok(Usages { key_encipherment: matches!(algorithm, KeyAlgorithm::Rsa(_)), key_agreement: false });
    }
    if !has(U::DigitalSignature) {
        return Err((None, "expected `digital signature` among the key usages (X509-SVID, section 4.3)".to_owned()));
    }
    Ok(Usages { key_encipherment: has(U::KeyEncipherment), key_agreement: has(U::KeyAgreement) })
}
