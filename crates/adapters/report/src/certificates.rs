//! Certificates, and the Secrets that they fill.

use crate::authorities::moment;
use crate::format::Format;
use crate::style::{Style, Tone};
use crate::table::{Cell, Table};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use time::OffsetDateTime;

/// A Certificate and its status; the fields of the status are cert-manager's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateReport {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Secret, in the same namespace.
    pub secret_name: String,
    /// Who is to sign it, such as `ClusterIssuer.cert-manager.io/spiffe-issuer`.
    pub issuer: String,
    /// How it is.
    pub status: StatusReport,
}

/// The status of a Certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReport {
    /// `Ready`, and `Issuing` if there is anything to say about it.
    pub conditions: Vec<ConditionLine>,
    /// From when the certificate is valid.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub not_before: Option<OffsetDateTime>,
    /// Until when it is valid.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub not_after: Option<OffsetDateTime>,
    /// When it is renewed.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub renewal_time: Option<OffsetDateTime>,
    /// How many times it has been issued.
    pub revision: u64,
    /// When issuing it failed the last time; nothing after it has succeeded.
    #[serde(with = "time::serde::rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub last_failure_time: Option<OffsetDateTime>,
    /// How many times in a row it has failed.
    pub failed_issuance_attempts: u32,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionLine {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// Why, in one word.
    pub reason: String,
    /// Why, and what to do.
    pub message: String,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub last_transition_time: OffsetDateTime,
}

/// A Secret as Kubernetes writes it. It holds a private key: it is made to be shown, and only when it is asked for.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretDocument {
    /// `v1`.
    pub api_version: &'static str,
    /// `Secret`.
    pub kind: &'static str,
    /// Its name and what it carries.
    pub metadata: SecretMetadata,
    /// `kubernetes.io/tls`.
    #[serde(rename = "type")]
    pub secret_type: &'static str,
    /// Keys, and values in base64.
    pub data: BTreeMap<String, String>,
}

/// The metadata of a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SecretMetadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

impl CertificateReport {
    fn condition(&self, kind: &str) -> Option<&ConditionLine> {
        self.status.conditions.iter().find(|condition| condition.kind == kind)
    }
}

/// Certificates in the form that was asked for; what keeps one from being ready is told below the table.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn certificates(list: &[CertificateReport], format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(&list)? {
        return Ok(document);
    }
    let wide = style.wide || format == Format::Wide;
    let titles = ["CERTIFICATE", "READY", "SECRET", "ENDS", "RENEWED", "REASON"];
    let mut table = Table::new(titles.into_iter().chain(wide.then_some(["ISSUED", "ISSUER"]).into_iter().flatten()));
    for one in list {
        let ready = one.condition("Ready");
        let is_ready = ready.is_some_and(|ready| ready.status == "True");
        let time = |at: Option<OffsetDateTime>| at.map_or_else(|| "-".to_owned(), moment);
        let mut cells = vec![
            format!("{}/{}", one.namespace, one.name).into(),
            Cell::toned(if is_ready { Tone::Good } else { Tone::Bad }, if is_ready { "True" } else { "False" }),
            one.secret_name.as_str().into(),
            time(one.status.not_after).into(),
            time(one.status.renewal_time).into(),
            ready.map_or("-", |ready| &*ready.reason).into(),
        ];
        if wide {
            cells.push(one.status.revision.to_string().into());
            cells.push(one.issuer.as_str().into());
        }
        table.row(cells);
    }
    let mut out = table.render(style);
    for one in list {
        for condition in one.status.conditions.iter().filter(|condition| condition.status == "False") {
            let _ = writeln!(out, "\n{}/{}: {}", one.namespace, one.name, condition.message);
        }
    }
    Ok(out)
}

/// One Certificate in the form that was asked for.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn certificate(one: &CertificateReport, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(one)? {
        return Ok(document);
    }
    let status = &one.status;
    let mut out = String::new();
    // Writing to a String does not fail.
    let mut line = |title: &str, text: &str| {
        let _ = writeln!(out, "{title:<11} {text}");
    };
    line("certificate", &format!("{}/{}", one.namespace, one.name));
    line("secret", &one.secret_name);
    line("issuer", &one.issuer);
    line("revision", &status.revision.to_string());
    let times = [("valid from", status.not_before), ("ends", status.not_after), ("renewed", status.renewal_time)];
    for (title, at) in times.into_iter().filter_map(|(title, at)| Some((title, at?))) {
        line(title, &moment(at));
    }
    for condition in &status.conditions {
        let tone = if condition.status == "True" { Tone::Good } else { Tone::Bad };
        let since = moment(condition.last_transition_time);
        let _ = writeln!(
            out,
            "\n{} {}: {} since {since}\n  {}",
            condition.kind,
            style.paint(tone, &condition.status),
            condition.reason,
            condition.message
        );
    }
    Ok(out)
}

/// A Secret in the form that was asked for. The text has the sizes of its values, JSON and YAML have the values.
///
/// # Errors
/// When JSON or YAML cannot be written; this always can.
pub fn secret(secret: &SecretDocument, format: Format, style: Style) -> Result<String, serde_json::Error> {
    if let Some(document) = format.document(secret)? {
        return Ok(document);
    }
    let SecretMetadata { name, namespace, labels, annotations } = &secret.metadata;
    let mut out = format!("{namespace}/{name} ({})\n", secret.secret_type);
    for (title, pairs) in [("labels", labels), ("annotations", annotations)] {
        let _ = writeln!(out, "\n{title}");
        for (key, value) in pairs {
            let _ = writeln!(out, "  {key}={value}");
        }
    }
    let mut table = Table::new(["KEY", "BYTES"]);
    for (key, value) in &secret.data {
        let padding = value.bytes().rev().take_while(|byte| *byte == b'=').count();
        table.row(vec![key.as_str().into(), (value.len() / 4 * 3 - padding).to_string().into()]);
    }
    let _ = write!(out, "\n{}\nthe values: -o yaml\n", table.render(style));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{CertificateReport, ConditionLine, SecretDocument, SecretMetadata, StatusReport};
    use crate::{Format, Style};
    use time::{Duration, OffsetDateTime};

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time") + Duration::seconds(seconds)
    }

    fn reports() -> [CertificateReport; 2] {
        let condition = |status: &str, reason: &str, message: &str| ConditionLine {
            kind: "Ready".to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: at(0),
        };
        let ready = StatusReport {
            conditions: vec![condition("True", "Ready", "Certificate is up to date and has not expired")],
            not_before: Some(at(-60)),
            not_after: Some(at(3600)),
            renewal_time: Some(at(1800)),
            revision: 1,
            last_failure_time: None,
            failed_issuance_attempts: 0,
        };
        let refused = StatusReport {
            conditions: vec![condition("False", "URINotAllowed", "spiffe://cluster.local/ns/a/sa/b is of namespace a")],
            not_before: None,
            not_after: None,
            renewal_time: None,
            revision: 0,
            ..ready.clone()
        };
        let report = |name: &str, status| CertificateReport {
            namespace: "production".to_owned(),
            name: name.to_owned(),
            secret_name: format!("{name}-tls"),
            issuer: "ClusterIssuer.cert-manager.io/spiffe-issuer".to_owned(),
            status,
        };
        [report("workload", ready), report("stolen", refused)]
    }

    #[test]
    fn what_is_not_ready_says_why() {
        let reports = reports();
        insta::assert_snapshot!(super::certificates(&reports, Format::Text, Style::default()).expect("a text"), @r#"
        CERTIFICATE          READY  SECRET        ENDS                  RENEWED               REASON
        production/workload  True   workload-tls  2027-01-15T09:00:00Z  2027-01-15T08:30:00Z  Ready
        production/stolen    False  stolen-tls    -                     -                     URINotAllowed

        production/stolen: spiffe://cluster.local/ns/a/sa/b is of namespace a
        "#);
        insta::assert_snapshot!(super::certificate(&reports[0], Format::Text, Style::default()).expect("a text"), @r#"
        certificate production/workload
        secret      workload-tls
        issuer      ClusterIssuer.cert-manager.io/spiffe-issuer
        revision    1
        valid from  2027-01-15T07:59:00Z
        ends        2027-01-15T09:00:00Z
        renewed     2027-01-15T08:30:00Z

        Ready True: Ready since 2027-01-15T08:00:00Z
          Certificate is up to date and has not expired
        "#);
        insta::assert_snapshot!(super::certificate(&reports[0], Format::Yaml, Style::default()).expect("a text"), @r#"
        namespace: production
        name: workload
        secretName: workload-tls
        issuer: ClusterIssuer.cert-manager.io/spiffe-issuer
        status:
          conditions:
            - type: Ready
              status: "True"
              reason: Ready
              message: Certificate is up to date and has not expired
              lastTransitionTime: "2027-01-15T08:00:00Z"
          notBefore: "2027-01-15T07:59:00Z"
          notAfter: "2027-01-15T09:00:00Z"
          renewalTime: "2027-01-15T08:30:00Z"
          revision: 1
          failedIssuanceAttempts: 0
        "#);
    }

    #[test]
    fn a_secrets_values_are_in_the_document_alone() {
        let pairs = |key: &str, value: &str| [(key.to_owned(), value.to_owned())].into();
        let secret = SecretDocument {
            api_version: "v1",
            kind: "Secret",
            metadata: SecretMetadata {
                name: "workload-tls".to_owned(),
                namespace: "production".to_owned(),
                labels: pairs("controller.cert-manager.io/fao", "true"),
                annotations: pairs("cert-manager.io/certificate-name", "workload"),
            },
            secret_type: "kubernetes.io/tls",
            data: [("tls.key".to_owned(), "c2VjcmV0IQ==".to_owned())].into(),
        };
        let text = super::secret(&secret, Format::Text, Style::default()).expect("a text");
        assert!(!text.contains("c2Vj"));
        insta::assert_snapshot!(text, @r#"
        production/workload-tls (kubernetes.io/tls)

        labels
          controller.cert-manager.io/fao=true

        annotations
          cert-manager.io/certificate-name=workload

        KEY      BYTES
        tls.key  7

        the values: -o yaml
        "#);
        insta::assert_snapshot!(super::secret(&secret, Format::Yaml, Style::default()).expect("a text"), @r#"
        apiVersion: v1
        kind: Secret
        metadata:
          name: workload-tls
          namespace: production
          labels:
            controller.cert-manager.io/fao: "true"
          annotations:
            cert-manager.io/certificate-name: workload
        type: kubernetes.io/tls
        data:
          tls.key: c2VjcmV0IQ==
        "#);
    }
}
