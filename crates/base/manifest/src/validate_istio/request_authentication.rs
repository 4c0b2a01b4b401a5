//! The webhook's view of a RequestAuthentication.

use super::jwks::{KeySet, jwks_uri};
use super::schema::duration_ms;
use super::{Problems, items, present, target, text};
use serde_json::Value;

pub(super) fn check(spec: &Value, problems: &mut Problems) {
    target::check(spec, problems);
    for (at, rule) in items(spec, "jwtRules").iter().enumerate().filter(|(_, rule)| !rule.is_null()) {
        jwt_rule(rule, &format!("spec.jwtRules[{at}]"), problems);
    }
}

fn jwt_rule(rule: &Value, path: &str, problems: &mut Problems) {
    let no_empty = |list: &str, message: &str, problems: &mut Problems| {
        if items(rule, list).iter().any(|item| item.as_str().unwrap_or_default().is_empty()) {
            problems.error(format!("{path}.{list}"), message);
        }
    };
    no_empty("audiences", "audience must be non-empty string", problems);
    let uri = if text(rule, "jwksUri").is_empty() { text(rule, "jwks_uri") } else { text(rule, "jwksUri") };
    if text(rule, "issuer").is_empty() && uri.is_empty() {
        problems.error(path, "issuer or jwksUri must be non-empty string");
    }
    if let Some(why) = jwks_uri(uri).err().filter(|_| !uri.is_empty()) {
        problems.error(format!("{path}.jwksUri"), why);
    }
    if !text(rule, "jwks").is_empty() {
        key_set(text(rule, "jwks"), &format!("{path}.jwks"), problems);
    }
    for (at, header) in items(rule, "fromHeaders").iter().enumerate() {
        let message = if header.is_null() { "non-null" } else { "non-empty string" };
        if text(header, "name").is_empty() {
            problems.error(format!("{path}.fromHeaders[{at}]"), format!("location header name must be {message}"));
        }
    }
    no_empty("fromParams", "location query must be non-empty string", problems);
    no_empty("fromCookies", "cookie name must be non-empty string", problems);
    for (at, claim) in items(rule, "outputClaimToHeaders").iter().enumerate() {
        let (path, header) = (format!("{path}.outputClaimToHeaders[{at}]"), text(claim, "header"));
        if claim.is_null() {
            problems.error(path, "outputClaimToHeaders must not be null");
        } else if header.is_empty() || text(claim, "claim").is_empty() {
            problems.error(path, "outputClaimToHeaders header and claim value must be non-empty string");
        } else if !header.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            problems.error(path, format!("header name {header} is not a valid header name"));
        }
    }
    let too_short = |timeout: &Value| timeout.as_str().and_then(duration_ms).is_none_or(|ms| ms < 1.0);
    if present(rule, "timeout").is_some_and(too_short) {
        problems.error(format!("{path}.timeout"), "duration must be greater than 1ms");
    }
}

fn key_set(jwks: &str, path: &str, problems: &mut Problems) {
    match KeySet::parse(jwks) {
        Err(why) => problems.error(path, format!("jwks parse error: {why}")),
        Ok(keys) if keys.has_private_key => {
            problems.warning(path, "jwks holds a private key; anyone who can read it can sign tokens");
        }
        Ok(_) => {}
    }
}
