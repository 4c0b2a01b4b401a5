//! Whom an X.509-SVID names, and the DNS names that it has beside the identity.

use crate::authority::{CertificateAuthority, IssueError};
use crate::certify::Certified;
use crate::svid::Svid;
use lictor_model::{DnsName, SpiffeId};
use rcgen::{CertificateParams, DnType, SanType};
use rustls_pki_types::CertificateSigningRequestDer;
use std::sync::Arc;
use time::{Duration, OffsetDateTime};

/// The longest common name, in characters (RFC 5280, appendix A.1, `ub-common-name`).
const LONGEST_COMMON_NAME: usize = 64;

/// An identity with the DNS names of its certificates, in their order. One identity may have several subjects: the entries
/// of two pods can name the same identity and other names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject {
    /// The identity.
    pub id: SpiffeId,
    /// The DNS names; none for most.
    pub dns_names: Arc<[DnsName]>,
}

impl Subject {
    /// The first of the names, which the certificate has as its common name as well, as SPIRE's do. A name that is too long for
    /// one is among the others only.
    ///
    /// Source: SPIRE, `pkg/server/credtemplate/builder.go`, `BuildWorkloadX509SVIDTemplate`.
    pub fn common_name(&self) -> Option<&DnsName> {
        self.dns_names.first().filter(|name| name.as_str().len() <= LONGEST_COMMON_NAME)
    }
}

impl From<SpiffeId> for Subject {
    /// An identity without further names.
    fn from(id: SpiffeId) -> Self {
        Self { id, dns_names: Arc::default() }
    }
}

impl CertificateAuthority {
    /// As [`issue`](Self::issue), with the subject's DNS names after the identity. Whether the workload may have those names is
    /// the caller's to know.
    ///
    /// Source: X509-SVID, section 2: one URI, names of other kinds beside it as one likes.
    ///
    /// # Errors
    /// As [`issue`](Self::issue).
    pub fn issue_to(&self, subject: &Subject, now: OffsetDateTime, lifetime: Duration) -> Result<Svid, IssueError> {
        self.sign_own_key(&subject.id, &self.params_of(subject, now, lifetime)?)
    }

    /// Signs the public key of `request` (PKCS#10, DER) as [`issue_to`](Self::issue_to) would; every name, usage and extension
    /// that the request asks for is ignored.
    ///
    /// # Errors
    /// As [`issue`](Self::issue); a request that its own key has not signed; a key that is neither P-256 nor P-384.
    pub fn sign(
        &self,
        request: &CertificateSigningRequestDer<'_>,
        subject: &Subject,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<Certified, IssueError> {
        self.sign_request(request, &self.params_of(subject, now, lifetime)?)
    }

    fn params_of(
        &self,
        subject: &Subject,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<CertificateParams, IssueError> {
        let mut params = self.leaf_params(&subject.id, now, lifetime)?;
        let common_name = subject.common_name().map_or("", DnsName::as_str);
        add_names(&mut params, common_name, subject.dns_names.iter().map(DnsName::as_str))?;
        Ok(params)
    }
}

/// Gives a certificate a common name, if it is not empty, and DNS names.
///
/// # Errors
/// A name that is not ASCII.
pub(crate) fn add_names<'n>(
    params: &mut CertificateParams,
    common_name: &str,
    dns_names: impl Iterator<Item = &'n str>,
) -> Result<(), IssueError> {
    for name in dns_names {
        let ascii = name.try_into().map_err(|_| IssueError::Name { seen: name.to_owned() })?;
        params.subject_alt_names.push(SanType::DnsName(ascii));
    }
    if !common_name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, common_name);
    }
    Ok(())
}
