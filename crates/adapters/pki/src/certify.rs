//! Certificates for keys that others hold: a workload's identity with further names beside it.

use crate::authority::{CertificateAuthority, IssueError};
use crate::leaf_key::LeafKey;
use crate::subject::add_names;
use lictor_model::SpiffeId;
use rcgen::KeyUsagePurpose;
use rustls_pki_types::CertificateDer;
use time::{Duration, OffsetDateTime};

/// What a certificate says beside its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'l> {
    /// Whom it names: its one URI.
    pub id: &'l SpiffeId,
    /// Its common name; none if it is empty.
    pub common_name: &'l str,
    /// The DNS names beside the identity.
    pub dns_names: Vec<&'l str>,
    /// Whether its key usage has `keyEncipherment`; `digitalSignature` it has in any case.
    pub key_encipherment: bool,
    /// Whether its key usage has `keyAgreement`.
    pub key_agreement: bool,
}

/// A certificate that was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    /// Leaf first, then the intermediates; the root is not part of it.
    pub chain: Vec<CertificateDer<'static>>,
    /// From when it is valid: a minute before it was signed.
    pub not_before: OffsetDateTime,
    /// Until when it is valid.
    pub not_after: OffsetDateTime,
}

impl CertificateAuthority {
    /// Signs the public half of a key for a workload, as [`issue`](Self::issue) does for one that it makes itself, with
    /// further names and key usages. Whether the workload may have those names is the caller's to know.
    ///
    /// Source: X509-SVID, sections 2 and 4: one URI, other names beside it as one likes.
    ///
    /// # Errors
    /// As [`issue`](Self::issue), and a name that is not ASCII.
    pub fn certify(
        &self,
        leaf: &Leaf<'_>,
        key: &LeafKey,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<Certified, IssueError> {
        let mut params = self.leaf_params(leaf.id, now, lifetime)?;
        add_names(&mut params, leaf.common_name, leaf.dns_names.iter().copied())?;
        let usages = [
            (leaf.key_encipherment, KeyUsagePurpose::KeyEncipherment),
            (leaf.key_agreement, KeyUsagePurpose::KeyAgreement),
        ];
        params.key_usages.extend(usages.into_iter().filter(|(asked, _)| *asked).map(|(_, usage)| usage));
        let signed = params.signed_by(key.public(), &self.issuer)?.der().clone();
        self.tally.note(params.not_after.unix_timestamp());
        Ok(Certified { chain: self.below_root(signed), not_before: params.not_before, not_after: params.not_after })
    }
}

#[cfg(test)]
mod tests {
    use super::Leaf;
    use crate::{CertificateAuthority, Encoding, KeyKind, LeafKey, LeafNames, Usage, certificates_to_pem};
    use crate::{unix_time, verify};
    use time::{Duration, OffsetDateTime};

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("a time")
    }

    #[test]
    fn every_kind_of_key_is_certified_and_proves_its_identity() {
        let root =
            CertificateAuthority::new("td".parse().expect("a trust domain"), now(), Duration::DAY).expect("a root");
        let authority = root.subordinate(now(), Duration::hours(10)).expect("an authority");
        let id = "spiffe://td/ns/a/sa/b".parse().expect("an identity");
        for kind in KeyKind::ALL {
            let key = LeafKey::generate(kind).expect("a key");
            let rsa = matches!(kind, KeyKind::Rsa(_));
            let leaf = Leaf {
                id: &id,
                common_name: "b.a.svc",
                dns_names: vec!["b.a.svc", "*.b.a.svc"],
                key_encipherment: rsa,
                key_agreement: false,
            };
            let made = authority.certify(&leaf, &key, now(), Duration::HOUR).expect("a certificate");
            let bundle = root.bundle(1);
            for usage in [Usage::Client, Usage::Server] {
                assert_eq!(verify(&made.chain, &bundle, unix_time(now()), usage), Ok(id.clone()), "{kind}");
            }
            let read = LeafNames::from_pem(certificates_to_pem(&made.chain).as_bytes()).expect("its names");
            assert_eq!((&*read.common_name, &read.public), ("b.a.svc", &key.public_key_info()), "{kind}");
            assert_eq!((read.issued, read.not_after), (now(), now() + Duration::HOUR));
            assert_eq!(
                (read.dns_names, read.uris),
                (vec!["b.a.svc".to_owned(), "*.b.a.svc".to_owned()], vec![id.to_string()])
            );
            assert!(!read.others);
            assert_eq!(read.authority, crate::subject_key_id(&authority.certificates()[0]));
            for encoding in [Encoding::Traditional, Encoding::Pkcs8] {
                let text = key.to_pem(encoding).expect("a text");
                let again = LeafKey::from_pem(text.as_bytes()).expect("the same key");
                assert_eq!((again.kind(), again.public_key_info()), (Some(kind), key.public_key_info()), "{kind}");
                assert_eq!(*again.to_pem(encoding).expect("a text"), *text, "{kind}");
            }
        }
        assert_eq!(authority.tally().count(), KeyKind::ALL.len() as u64);
    }

    #[test]
    fn the_forms_of_a_key_have_their_labels() {
        let label = |kind, encoding| {
            let text = LeafKey::generate(kind).expect("a key").to_pem(encoding).expect("a text");
            text.lines().next().expect("a line").trim_matches('-').to_owned()
        };
        use Encoding::{Pkcs8, Traditional};
        assert_eq!(label(KeyKind::Rsa(2048), Traditional), "BEGIN RSA PRIVATE KEY");
        assert_eq!(label(KeyKind::Ecdsa(256), Traditional), "BEGIN EC PRIVATE KEY");
        assert_eq!(label(KeyKind::Ed25519, Traditional), "BEGIN PRIVATE KEY");
        assert_eq!(label(KeyKind::Ecdsa(521), Pkcs8), "BEGIN PRIVATE KEY");
    }

    #[test]
    fn nobody_reads_a_key_out_of_something_else() {
        let bad = ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"];
        for text in bad {
            assert!(LeafKey::from_pem(text.as_bytes()).is_err(), "{text}");
            assert!(LeafNames::from_pem(text.as_bytes()).is_err(), "{text}");
        }
        let key = LeafKey::generate(KeyKind::Ed25519).expect("a key");
        assert_eq!(format!("{key:?}"), "LeafKey(Ed25519, elided)");
    }

    #[test]
    fn what_an_authority_may_not_name_it_does_not_certify() {
        let authority =
            CertificateAuthority::new("td".parse().expect("a trust domain"), now(), Duration::DAY).expect("a root");
        let key = LeafKey::generate(KeyKind::Ecdsa(256)).expect("a key");
        let certify = |id: &str, name: &'static str| {
            let id = id.parse().expect("an identity");
            let leaf =
                Leaf { id: &id, common_name: "", dns_names: vec![name], key_encipherment: false, key_agreement: false };
            authority.certify(&leaf, &key, now(), Duration::HOUR).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(certify("spiffe://td/a", "a.test"), Ok(()));
        assert!(certify("spiffe://other/a", "a.test").is_err() && certify("spiffe://td", "a.test").is_err());
        assert_eq!(
            certify("spiffe://td/a", "ü.test"),
            Err("expected a name of ASCII characters, saw ü.test".to_owned())
        );
    }
}
