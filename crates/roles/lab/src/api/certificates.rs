//! The routes about Certificates and their Secrets. The values of a Secret go out over this socket alone, which is root's.

use super::routes::{form, rendered};
use super::{Answer, Query};
use crate::lab::Lab;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use lictor_identity::certificates::{CertificateStatus, Condition, Secret};
use lictor_model::Name;
use lictor_report::{CertificateReport, ConditionLine, SecretDocument, SecretMetadata, StatusReport};

/// Answers what is asked below `/v1/identity/certificates`; nothing if there is no such route.
pub(super) fn answer(method: &Method, step: &str, query: &Query, lab: &Lab) -> Option<Answer> {
    let Some(certificates) = &lab.certificates else {
        return Some(Answer::refused(
            "this lab has no authorities: its identities come from another Workload API, so no Certificate is served",
        ));
    };
    let (format, style) = form(query);
    let name = || Name::parse(query.text("name").unwrap_or_default(), query.text("namespace").unwrap_or("default"));
    Some(match (method.as_str(), step) {
        ("GET", "") => {
            let wanted =
                |status: &CertificateStatus| query.text("namespace").is_none_or(|own| *status.name.namespace == *own);
            let list: Vec<_> = certificates.list().into_iter().filter(wanted).map(report).collect();
            rendered(lictor_report::certificates(&list, format, style), 0)
        }
        ("GET", "/describe") => {
            let found = certificates.list().into_iter().find(|status| status.name == name());
            match found.map(report) {
                Some(one) => rendered(lictor_report::certificate(&one, format, style), 0),
                None => Answer::refused(format!("there is no Certificate {}", name())),
            }
        }
        ("GET", "/secret") => match certificates.secret(&name()) {
            Some(secret) => rendered(lictor_report::secret(&document(&name(), &secret), format, style), 0),
            None => Answer::refused(format!("there is no Secret {} of a Certificate", name())),
        },
        ("POST", "/renew") => match certificates.renew(&name()) {
            Ok(()) => Answer::new(format!("Certificate {} is issued again\n", name()), 0),
            Err(error) => Answer::refused(error.to_string()),
        },
        ("POST", "/delete-secret") => match certificates.delete_secret(&name()) {
            Ok(()) => Answer::new(format!("Secret {} is deleted\n", name()), 0),
            Err(error) => Answer::refused(error.to_string()),
        },
        _ => return None,
    })
}

fn report(status: CertificateStatus) -> CertificateReport {
    CertificateReport {
        namespace: status.name.namespace.to_string(),
        name: status.name.name.to_string(),
        secret_name: status.secret.name.to_string(),
        issuer: status.issuer.to_string(),
        status: StatusReport {
            conditions: status.conditions.into_iter().map(condition).collect(),
            not_before: status.not_before,
            not_after: status.not_after,
            renewal_time: status.renewal,
            revision: status.revision,
            last_failure_time: status.last_failure,
            failed_issuance_attempts: status.failed_attempts,
        },
    }
}

fn condition(condition: Condition) -> ConditionLine {
    let Condition { kind, holds, reason, message, since } = condition;
    let status = if holds { "True" } else { "False" };
    let since = since.replace_nanosecond(0).unwrap_or(since);
    ConditionLine { kind: kind.to_owned(), status: status.to_owned(), reason, message, last_transition_time: since }
}

fn document(name: &Name, secret: &Secret) -> SecretDocument {
    let Secret { labels, annotations, data } = secret;
    SecretDocument {
        api_version: "v1",
        kind: "Secret",
        metadata: SecretMetadata {
            name: name.name.to_string(),
            namespace: name.namespace.to_string(),
            labels: labels.clone(),
            annotations: annotations.clone(),
        },
        secret_type: Secret::TYPE,
        data: data.iter().map(|(key, value)| (key.clone(), STANDARD.encode(&**value))).collect(),
    }
}
