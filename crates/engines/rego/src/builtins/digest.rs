//! `crypto.sha*` and `crypto.hmac.*`, in lower-case hexadecimal. There is no MD5: the crypto library has none.

use super::{Fault, text_of};
use aws_lc_rs::{constant_time, digest, hmac};
use regorus::Value;

pub(super) fn sha1(given: &[Value]) -> Result<Value, Fault> {
    digested(&digest::SHA1_FOR_LEGACY_USE_ONLY, given)
}

pub(super) fn sha256(given: &[Value]) -> Result<Value, Fault> {
    digested(&digest::SHA256, given)
}

pub(super) fn hmac_sha1(given: &[Value]) -> Result<Value, Fault> {
    authenticated(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, given)
}

pub(super) fn hmac_sha256(given: &[Value]) -> Result<Value, Fault> {
    authenticated(hmac::HMAC_SHA256, given)
}

pub(super) fn hmac_sha512(given: &[Value]) -> Result<Value, Fault> {
    authenticated(hmac::HMAC_SHA512, given)
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(super) fn equal(given: &[Value]) -> Result<Value, Fault> {
    let (one, other) = (text_of(given, 0)?, text_of(given, 1)?);
    Ok(Value::from(constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()))
}

fn digested(algorithm: &'static digest::Algorithm, given: &[Value]) -> Result<Value, Fault> {
    let digest = digest::digest(algorithm, text_of(given, 0)?.as_bytes());
    Ok(Value::from(hexadecimal(digest.as_ref())))
}

fn authenticated(algorithm: hmac::Algorithm, given: &[Value]) -> Result<Value, Fault> {
    let (message, key) = (text_of(given, 0)?, text_of(given, 1)?);
    let tag = hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), message.as_bytes());
    Ok(Value::from(hexadecimal(tag.as_ref())))
}

/// Two digits for each byte.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
