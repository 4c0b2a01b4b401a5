//! Certificates for nodes and their pods: their keys are made there, and stay there.

use super::certificates::{Holder, Holding};
use super::journal::Issued;
use super::{Ca, lock};
use lictor_pki::{Certified, IssueError, Subject, serial_number};
use rustls_pki_types::CertificateSigningRequestDer;
use std::sync::Arc;
use time::Duration;

impl Ca {
    /// Signs the public key of a request (PKCS#10, DER) for a node. From now on the node stands by the authority that signed
    /// it, until it has another certificate of this identity or this one has expired.
    ///
    /// # Errors
    /// As [`CertificateAuthority::sign`](lictor_pki::CertificateAuthority::sign).
    pub(crate) fn sign(
        &self,
        node: &Arc<str>,
        subject: &Subject,
        request: &[u8],
        lifetime: Duration,
    ) -> Result<Certified, IssueError> {
        let (id, now) = (&subject.id, self.now());
        let request = CertificateSigningRequestDer::from(request);
        // Held until the node is counted: who stands by an authority is looked for after it signs no more.
        let authorities = self.read();
        let (signer, authority) = authorities.signer();
        let certified = signer.sign(&request, subject, now, lifetime)?;
        let (authority, not_after) = (Arc::clone(authority), certified.not_after);
        let holding = Holding { id: id.clone(), authority: Arc::clone(&authority), not_after };
        lock(&self.0.held).insert(Holder::Node(Arc::clone(node), subject.clone()), holding, now);
        drop(authorities);
        let serial = certified.chain.first().and_then(serial_number).unwrap_or_default();
        lock(&self.0.journal).push(Issued { at: now, id: id.clone(), serial, authority, not_after });
        Ok(certified)
    }
}
