//! Functions of OPA that the interpreter has not, and those that it has otherwise than OPA: the interpreter looks here first.
//!
//! Source: OPA, `docs/docs/policy-reference/builtins` and the compliance suite (`v1/test/cases`).

mod digest;
mod jwk;
mod jwt;
mod numbers;
mod signature;
mod text;
mod verification;

use regorus::{Engine, Value};
use signature::Algorithm;

/// Why a function has no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// What it was given is not what it takes: the call is undefined, as in OPA.
    #[error("the call is undefined")]
    Undefined,
    /// It would take more memory than a question may: the question has no answer.
    #[error("expected {0}")]
    Limit(String),
}

type Function = fn(&[Value]) -> Result<Value, Fault>;

/// Name, number of arguments, and what it computes.
const FUNCTIONS: [(&str, u8, Function); 27] = [
    ("crypto.hmac.equal", 2, digest::equal),
    ("crypto.hmac.sha1", 2, digest::hmac_sha1),
    ("crypto.hmac.sha256", 2, digest::hmac_sha256),
    ("crypto.hmac.sha512", 2, digest::hmac_sha512),
    ("crypto.sha1", 1, digest::sha1),
    ("crypto.sha256", 1, digest::sha256),
    ("io.jwt.decode", 1, jwt::decode),
    ("io.jwt.decode_verify", 2, verification::decode_verify),
    ("io.jwt.verify_eddsa", 2, |given| verification::verify(Algorithm::EdDsa, given)),
    ("io.jwt.verify_es256", 2, |given| verification::verify(Algorithm::Es256, given)),
    ("io.jwt.verify_es384", 2, |given| verification::verify(Algorithm::Es384, given)),
    ("io.jwt.verify_es512", 2, |given| verification::verify(Algorithm::Es512, given)),
    ("io.jwt.verify_hs256", 2, |given| verification::verify_secret(Algorithm::Hs256, given)),
    ("io.jwt.verify_hs384", 2, |given| verification::verify_secret(Algorithm::Hs384, given)),
    ("io.jwt.verify_hs512", 2, |given| verification::verify_secret(Algorithm::Hs512, given)),
    ("io.jwt.verify_ps256", 2, |given| verification::verify(Algorithm::Ps256, given)),
    ("io.jwt.verify_ps384", 2, |given| verification::verify(Algorithm::Ps384, given)),
    ("io.jwt.verify_ps512", 2, |given| verification::verify(Algorithm::Ps512, given)),
    ("io.jwt.verify_rs256", 2, |given| verification::verify(Algorithm::Rs256, given)),
    ("io.jwt.verify_rs384", 2, |given| verification::verify(Algorithm::Rs384, given)),
    ("io.jwt.verify_rs512", 2, |given| verification::verify(Algorithm::Rs512, given)),
    // The interpreter's own: without a limit, or with other values.
    ("bits.lsh", 2, numbers::shifted_left),
    ("numbers.range", 2, numbers::range),
    ("numbers.range_step", 3, numbers::range_step),
    ("json.is_valid", 1, text::is_json),
    ("strings.count", 2, text::count),
    ("strings.replace_n", 2, text::replaced),
];

/// How many arguments a function takes that the interpreter has not.
pub(crate) fn arguments(name: &str) -> Option<usize> {
    FUNCTIONS.iter().find(|(own, ..)| *own == name).map(|(_, arguments, _)| usize::from(*arguments))
}

/// Gives an engine the functions.
pub(crate) fn add(engine: &mut Engine) {
    for (name, arguments, function) in FUNCTIONS {
        let call = move |given: Vec<Value>| match function(&given) {
            Err(Fault::Undefined) => Ok(Value::Undefined),
            other => Ok(other?),
        };
        // It fails for a name that was added before; those here differ.
        engine.add_extension(name.to_owned(), arguments, Box::new(call)).ok();
    }
}

/// The text that an argument is.
fn text_of(given: &[Value], at: usize) -> Result<&str, Fault> {
    match given.get(at) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(Fault::Undefined),
    }
}

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;

    #[test]
    fn a_name_stands_once() {
        let mut names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FUNCTIONS.len());
    }
}
