//! A Secret as Kubernetes has it, and how it is filled for a Certificate.

use lictor_certificates::{CertificateFacts, Held, KeyFacts, Names};
use lictor_manifest::{Certificate, IssuerRef, KeyAlgorithm, OutputFormat};
use lictor_pki::{Bundle, InvalidLeafKey, KeyKind, LeafKey, LeafNames};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// The key, in PEM.
pub const TLS_KEY: &str = "tls.key";
/// The certificate and what stands between it and the root, in PEM.
pub const TLS_CERTIFICATE: &str = "tls.crt";
/// The roots that the trust domain is believed by, in PEM.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// The key in DER, where `additionalOutputFormats` has `DER`.
const DER_KEY: &str = "key.der";
/// Key and certificate in one, where it has `CombinedPEM`.
const COMBINED: &str = "tls-combined.pem";

/// The label of every Secret of a Certificate.
const CONTROLLER: &str = "controller.cert-manager.io/fao";

/// A Secret of type `kubernetes.io/tls`. Its values are wiped when it is dropped, and never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Keys and values.
    pub data: BTreeMap<String, Zeroizing<Vec<u8>>>,
}

impl Secret {
    /// The type of every Secret of a Certificate.
    pub const TYPE: &str = "kubernetes.io/tls";

    /// A Secret with a key and its certificate, and nothing else yet.
    pub(super) fn of_pair(key: &Zeroizing<String>, chain: &str) -> Self {
        let value = |bytes: &[u8]| Zeroizing::new(bytes.to_vec());
        let data = [(TLS_KEY, value(key.as_bytes())), (TLS_CERTIFICATE, value(chain.as_bytes()))];
        Self { data: data.map(|(key, value)| (key.to_owned(), value)).into(), ..Self::default() }
    }

    /// The Secret with the same pair, and everything else as the Certificate and the bundle have it now.
    ///
    /// Source: cert-manager, `SecretsManager.setValues` and `AnnotationsForCertificate`. There `ca.crt` is what it was when the
    /// certificate was issued; here it follows the bundle, so that nobody misses an authority before it signs.
    pub(super) fn dressed(&self, certificate: &Certificate, bundle: &Bundle) -> Result<Self, InvalidLeafKey> {
        let empty = Zeroizing::default();
        let key = self.data.get(TLS_KEY).unwrap_or(&empty);
        let chain = self.data.get(TLS_CERTIFICATE).unwrap_or(&empty);
        let mut data = BTreeMap::from([(TLS_KEY, key.clone()), (TLS_CERTIFICATE, chain.clone())]);
        data.insert(CA_CERTIFICATE, Zeroizing::new(bundle.to_pem().into_bytes()));
        for format in &certificate.output_formats {
            match format {
                OutputFormat::Der => drop(data.insert(DER_KEY, LeafKey::der_of_pem(key)?)),
                OutputFormat::CombinedPem => {
                    let mut both = Zeroizing::new(Vec::with_capacity(key.len() + chain.len() + 1));
                    both.extend_from_slice(key);
                    both.push(b'\n');
                    both.extend_from_slice(chain);
                    data.insert(COMBINED, both);
                }
            }
        }
        let mut labels = certificate.secret_template.labels.clone();
        labels.insert(CONTROLLER.to_owned(), "true".to_owned());
        Ok(Self {
            labels,
            annotations: annotations(certificate, chain),
            data: data.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
        })
    }

    /// What there is to know about it, and the authority that signed its certificate.
    pub(super) fn facts(&self) -> (Held, Option<Arc<str>>) {
        let value = |key: &str| self.data.get(key).filter(|value| !value.is_empty());
        let names = value(TLS_CERTIFICATE).map(|text| LeafNames::from_pem(text));
        let authority = names.as_ref().and_then(|names| names.as_ref().ok()?.authority.as_deref().map(Arc::from));
        let annotation = |name: &str| self.annotations.get(name);
        let part = |name: &str, default: &str| {
            let text = annotation(name).map(String::as_str).filter(|text| !text.is_empty());
            Arc::from(text.unwrap_or(default))
        };
        let of = [ISSUER_NAME, ISSUER_KIND, ISSUER_GROUP];
        let says = of.iter().any(|name| annotation(name).is_some());
        let issuer = says.then(|| IssuerRef {
            group: part(ISSUER_GROUP, IssuerRef::GROUP),
            kind: part(ISSUER_KIND, IssuerRef::ISSUER),
            name: part(ISSUER_NAME, ""),
        });
        let held = Held {
            key: value(TLS_KEY).map(|text| key_facts(text)),
            certificate: names.map(|names| names.map(certificate_facts).map_err(|error| error.to_string())),
            certificate_name: self.certificate_name().map(Arc::from),
            issuer,
        };
        (held, authority)
    }

    /// The Certificate that it says it was issued for.
    pub(super) fn certificate_name(&self) -> Option<&str> {
        self.annotations.get(CERTIFICATE_NAME).map(String::as_str)
    }
}

const CERTIFICATE_NAME: &str = "cert-manager.io/certificate-name";
const ISSUER_NAME: &str = "cert-manager.io/issuer-name";
const ISSUER_KIND: &str = "cert-manager.io/issuer-kind";
const ISSUER_GROUP: &str = "cert-manager.io/issuer-group";

fn annotations(certificate: &Certificate, chain: &[u8]) -> BTreeMap<String, String> {
    let mut annotations = certificate.secret_template.annotations.clone();
    if let Ok(names) = LeafNames::from_pem(chain) {
        // No name that is issued here has a comma or a quote in it, so the list needs none of CSV's quotes.
        let details = [
            ("cert-manager.io/common-name", names.common_name),
            ("cert-manager.io/alt-names", names.dns_names.join(",")),
            ("cert-manager.io/ip-sans", String::new()),
            ("cert-manager.io/uri-sans", names.uris.join(",")),
        ];
        annotations.extend(details.map(|(key, value)| (key.to_owned(), value)));
    }
    let issuer = &certificate.issuer;
    let whose = [
        (CERTIFICATE_NAME, &certificate.meta.name.name),
        (ISSUER_NAME, &issuer.name),
        (ISSUER_KIND, &issuer.kind),
        (ISSUER_GROUP, &issuer.group),
    ];
    annotations.extend(whose.map(|(key, value)| (key.to_owned(), value.to_string())));
    annotations
}

fn key_facts(text: &[u8]) -> Result<KeyFacts, String> {
    let key = LeafKey::from_pem(text).map_err(|error| error.to_string())?;
    let algorithm = match key.kind() {
        Some(KeyKind::Rsa(bits)) => KeyAlgorithm::Rsa(bits),
        Some(KeyKind::Ecdsa(bits)) => KeyAlgorithm::Ecdsa(bits),
        Some(KeyKind::Ed25519) => KeyAlgorithm::Ed25519,
        None => return Err("expected RSA, ECDSA or Ed25519".to_owned()),
    };
    Ok(KeyFacts { algorithm, public: key.public_key_info() })
}

fn certificate_facts(names: LeafNames) -> CertificateFacts {
    let LeafNames { public, issued, not_after, common_name, dns_names, uris, others, .. } = names;
    let (dns_names, uris) = (dns_names.into_iter().collect(), uris.into_iter().collect());
    CertificateFacts {
        public,
        issued,
        not_after,
        names: Names { common_name, dns_names, uris, others },
        tainted: false,
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("labels", &self.labels)
            .field("annotations", &self.annotations)
            .field("keys", &self.data.keys())
            .finish_non_exhaustive()
    }
}
