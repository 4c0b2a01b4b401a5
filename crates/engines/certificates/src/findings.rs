//! What there is to say about the Certificates of a snapshot where they stand.

use crate::judge::{Reason, judge};
use crate::rules::Rules;
use lictor_cluster::Snapshot;
use lictor_manifest::{Code, Finding};

/// A finding for each Certificate that is not served, at the field that is refused.
pub fn findings(snapshot: &Snapshot, rules: &Rules) -> Vec<Finding> {
    let finding = |certificate: &std::sync::Arc<lictor_manifest::Certificate>| {
        let refusal = judge(certificate, snapshot, rules).err()?;
        let code = match refusal.reason {
            Reason::IssuerNotFound => Code::CertificateOfOthers,
            _ => Code::CertificateRefused,
        };
        let meta = &certificate.meta;
        let message = format!("Certificate {}: `{}`: {}", meta.name, refusal.path, refusal.message);
        Some(Finding::new(code, meta.origin.position(&refusal.path), message))
    };
    snapshot.certificates.by_name.values().filter_map(finding).collect()
}
