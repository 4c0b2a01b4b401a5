//! X.509-SVIDs and bundles as a Workload API sends them: certificates in DER, one right after the other.
//!
//! Source: SPIFFE Workload API, section 5.1.

use crate::bundle::{Bundle, InvalidAuthority};
use crate::svid::{PrivateKey, Svid};
use crate::verify::{PeerError, Usage, verify};
use crate::{not_after, not_before, tls, unix_time};
use lictor_model::{SpiffeId, TrustDomain};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why what was received is of no use.
#[derive(Debug, thiserror::Error)]
pub enum InvalidReceived {
    /// No certificate, or bytes among them that are none.
    #[error("expected certificates in DER, one after another, saw something else at byte {at}")]
    Certificates {
        /// Where it begins, from 0.
        at: usize,
    },
    /// A certificate of a bundle is no authority.
    #[error(transparent)]
    Authority(#[from] InvalidAuthority),
    /// The chain proves nothing to the bundle that came with it.
    #[error("its chain proves nothing by its own bundle: {0}")]
    Chain(#[from] PeerError),
    /// The leaf names another identity.
    #[error("expected a certificate of {wanted}, saw one of {seen}")]
    Identity {
        /// Whose it was said to be.
        wanted: SpiffeId,
        /// Whose it is.
        seen: SpiffeId,
    },
    /// No PKCS#8 key, or not the leaf's.
    #[error("expected the private key of the leaf in PKCS#8: {0}")]
    Key(rustls::Error),
}

impl Svid {
    /// An SVID that somebody else issued for `id`: `chain` leaf first, `key` in PKCS#8, unencrypted.
    ///
    /// # Errors
    /// At `now`, no peer that believes `bundle` would take it at both ends of a connection.
    pub fn from_received(
        id: &SpiffeId,
        chain: &[u8],
        key: PrivateKey,
        bundle: &Bundle,
        now: OffsetDateTime,
    ) -> Result<Self, InvalidReceived> {
        Self::from_chain(id, certificates(chain)?, key, bundle, now)
    }

    /// As [`from_received`](Self::from_received), where each certificate comes by itself.
    ///
    /// # Errors
    /// As [`from_received`](Self::from_received).
    pub fn from_chain(
        id: &SpiffeId,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKey,
        bundle: &Bundle,
        now: OffsetDateTime,
    ) -> Result<Self, InvalidReceived> {
        for usage in [Usage::Client, Usage::Server] {
            let seen = verify(&chain, bundle, unix_time(now), usage)?;
            if seen != *id {
                return Err(InvalidReceived::Identity { wanted: id.clone(), seen });
            }
        }
        let leaf = chain.first().ok_or(InvalidReceived::Certificates { at: 0 })?;
        let (Some(not_before), Some(not_after)) = (not_before(leaf), not_after(leaf)) else {
            return Err(InvalidReceived::Certificates { at: 0 });
        };
        let svid = Self { id: id.clone(), chain, key, not_before, not_after };
        tls::check_key(&svid).map_err(InvalidReceived::Key)?;
        Ok(svid)
    }
}

impl Bundle {
    /// The authorities of a trust domain, without keys for tokens.
    ///
    /// # Errors
    /// Anything among them that is no CA certificate; none at all.
    pub fn from_received(trust_domain: TrustDomain, authorities: &[u8]) -> Result<Self, InvalidReceived> {
        Ok(Self::new(trust_domain, certificates(authorities)?, 0)?)
    }
}

fn certificates(mut bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidReceived> {
    let length = bytes.len();
    let mut found = Vec::new();
    loop {
        let wrong = || InvalidReceived::Certificates { at: length - bytes.len() };
        let (rest, _) = X509Certificate::from_der(bytes).map_err(|_| wrong())?;
        let read = bytes.len() - rest.len();
        found.push(CertificateDer::from(bytes.get(..read).ok_or_else(wrong)?.to_vec()));
        if rest.is_empty() {
            return Ok(found);
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::InvalidReceived as E;
    use crate::forge::{domain, now};
    use crate::{Bundle, CertificateAuthority, PeerError, PrivateKey, Svid};
    use lictor_model::SpiffeId;
    use time::Duration;

    fn root() -> CertificateAuthority {
        CertificateAuthority::new(domain(), now(), Duration::DAY).expect("a root")
    }

    fn id(path: &str) -> SpiffeId {
        format!("spiffe://{}/{path}", domain()).parse().expect("an identity")
    }

    fn chain(svid: &Svid) -> Vec<u8> {
        svid.chain.iter().flat_map(|der| der.iter().copied()).collect()
    }

    #[test]
    fn what_an_authority_issues_arrives_as_it_was() {
        let (one, two) = (root(), root());
        let both = [one.bundle(1).concatenated_der(), two.bundle(1).concatenated_der()].concat();
        let bundle = Bundle::from_received(domain(), &both).expect("a bundle");
        assert_eq!(bundle.authorities().len(), 2);
        let sent = two.issue(&id("a"), now(), Duration::HOUR).expect("an SVID");
        let read = Svid::from_received(&id("a"), &chain(&sent), sent.key.clone(), &bundle, now()).expect("the same");
        assert_eq!((read.chain, read.not_before, read.not_after), (sent.chain, sent.not_before, sent.not_after));
    }

    #[test]
    fn what_no_peer_would_take_is_refused() {
        let (own, other) = (root(), root());
        let bundle = own.bundle(1);
        let svid = own.issue(&id("a"), now(), Duration::HOUR).expect("an SVID");
        let read = |name: &str, bytes: &[u8], key: &PrivateKey, bundle: &Bundle, hours: i64| {
            Svid::from_received(&id(name), bytes, key.clone(), bundle, now() + Duration::hours(hours)).map(drop)
        };
        let good = chain(&svid);
        assert!(read("a", &good, &svid.key, &bundle, 0).is_ok());
        assert!(matches!(read("b", &good, &svid.key, &bundle, 0), Err(E::Identity { .. })));
        assert!(matches!(read("a", &good, &svid.key, &bundle, 2), Err(E::Chain(PeerError::Expired { .. }))));
        let stranger = other.bundle(1);
        assert!(matches!(read("a", &good, &svid.key, &stranger, 0), Err(E::Chain(PeerError::UnknownAuthority))));
        let another = own.issue(&id("a"), now(), Duration::HOUR).expect("an SVID").key;
        assert!(matches!(read("a", &good, &another, &bundle, 0), Err(E::Key(_))));
        let no_key = PrivateKey::from_pkcs8(vec![0x30, 0]);
        assert!(matches!(read("a", &good, &no_key, &bundle, 0), Err(E::Key(_))));
        assert!(matches!(read("a", &[], &svid.key, &bundle, 0), Err(E::Certificates { at: 0 })));
        let cut = &good[..good.len() - 1];
        assert!(matches!(read("a", cut, &svid.key, &bundle, 0), Err(E::Certificates { at: 0 })));
        let more = [&good[..], &[0x30]].concat();
        let at_the_end = read("a", &more, &svid.key, &bundle, 0);
        assert!(matches!(at_the_end, Err(E::Certificates { at }) if at == good.len()), "{at_the_end:?}");
        assert!(matches!(Bundle::from_received(domain(), &good), Err(E::Authority(_))), "a leaf is no authority");
        assert!(matches!(Bundle::from_received(domain(), &[]), Err(E::Certificates { at: 0 })));
    }
}
