//! What a client reads when its request was refused.

use crate::policy::Ruling;
use std::fmt::Write;

/// The text of a 403: Envoy's line first, then who decided, then the command that explains it.
///
/// `source` and `destination` are written as `lictor why` reads them.
pub(crate) fn text(ruling: &Ruling, source: &str, destination: &str, method: &str, path: &str) -> String {
    let mut text = String::from("RBAC: access denied\n");
    // Writing to a string does not fail.
    let _ = writeln!(text, "denied at {}, by {}", ruling.layer, ruling.by);
    let (method, path) = (quoted(method), quoted(path));
    let _ = writeln!(text, "to see why: lictor why {source} {destination} --method {method} --path {path}");
    text
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'_' | b'.' | b'~' | b'%' | b'=' | b',' | b':');
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::{quoted, text};
    use crate::policy::Ruling;
    use lictor_model::{By, Layer, Mode, Name, PolicyKind, PolicyRef, Verdict};

    #[test]
    fn a_denial_names_its_policy_and_the_command() {
        let policy = PolicyRef::whole(PolicyKind::AuthorizationPolicy, Name::new("payments", "no-delete"));
        let ruling = Ruling {
            layer: Layer::Authorization,
            mode: Mode::Enforce,
            verdict: Verdict::Deny,
            would: Verdict::Deny,
            by: By::Policy(policy.at("spec.rules[0]")),
            audited_by: Vec::new(),
        };
        assert_eq!(
            text(&ruling, "checkout/web", "payments/api:8080", "DELETE", "/orders/7"),
            "RBAC: access denied\n\
             denied at authorization, by AuthorizationPolicy payments/no-delete spec.rules[0]\n\
             to see why: lictor why checkout/web payments/api:8080 --method DELETE --path /orders/7\n"
        );
    }

    #[test]
    fn what_a_client_sent_stays_one_word() {
        assert_eq!(quoted("/a'b;$(x)"), r"'/a'\''b;$(x)'");
        assert_eq!(quoted(""), "''");
    }
}
