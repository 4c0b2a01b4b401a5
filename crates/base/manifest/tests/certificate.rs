//! The kind Certificate of `cert-manager.io` as it is read.

use lictor_manifest::{
    Beyond, Certificate, CertificateKey, CertificateUsage, IssuerRef, KeyAlgorithm, KeyEncoding, KeyRotation, Object,
    OutputFormat, Renewal, read,
};
use std::sync::Arc;
use std::time::Duration;

fn certificates(text: &str) -> Vec<Arc<Certificate>> {
    let reading = read("certificate.yaml", text);
    assert!(reading.findings.is_empty(), "{:?}", reading.findings);
    let certificate = |object| match object {
        Object::Certificate(certificate) => certificate,
        other => panic!("expected a Certificate, found {}", other.meta().name),
    };
    reading.objects.into_iter().map(certificate).collect()
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn the_published_manifest_is_read_to_the_letter() {
    let [one] = &certificates(include_str!("../testdata/whole/certificate-mission.yaml"))[..] else { panic!("one") };
    assert_eq!((one.meta.name.to_string().as_str(), &*one.secret_name), ("default/workload-cert", "workload-tls"));
    assert_eq!((one.duration, one.renewal), (HOUR, Renewal::Before(HOUR / 2)));
    assert_eq!(one.issuer, IssuerRef::cluster("spiffe-issuer"));
    assert_eq!(one.uris, [Arc::from("spiffe://cluster.local/ns/production/sa/api-server")]);
    // What it leaves out is what cert-manager's defaults are.
    let key = CertificateKey {
        algorithm: KeyAlgorithm::Rsa(2048),
        encoding: KeyEncoding::Pkcs1,
        rotation: KeyRotation::Always,
    };
    assert_eq!(one.private_key, key);
    assert!(one.usages.is_empty() && !one.is_ca && one.beyond.is_empty() && one.output_formats.is_empty());
}

#[test]
fn every_field_is_read() {
    use CertificateUsage as U;
    let read = certificates(include_str!("../testdata/whole/certificate.yaml"));
    let all = &read[0];
    assert_eq!((&*all.common_name, all.dns_names.len()), ("api.production.svc", 2));
    assert_eq!((all.duration, all.renewal), (HOUR * 48, Renewal::Percentage(25)));
    assert_eq!(all.usages, [U::DigitalSignature, U::KeyAgreement, U::ServerAuth, U::ClientAuth]);
    let key = CertificateKey {
        algorithm: KeyAlgorithm::Ecdsa(384),
        encoding: KeyEncoding::Pkcs8,
        rotation: KeyRotation::Never,
    };
    assert_eq!(all.private_key, key);
    assert_eq!(all.output_formats, [OutputFormat::Der, OutputFormat::CombinedPem].into());
    assert_eq!(all.issuer.to_string(), "AwsIssuer.aws.test/other");
    assert_eq!(all.secret_template.labels["app"], "api");
    assert_eq!(all.secret_template.annotations.len(), 2);
    assert!(all.beyond.is_empty(), "a keystore that is not to be made is none");
}

#[test]
fn what_is_beyond_is_kept_field_by_field() {
    let read = certificates(include_str!("../testdata/whole/certificate.yaml"));
    let other = &read[1];
    let every = [
        Beyond::Subject,
        Beyond::LiteralSubject,
        Beyond::OtherNames,
        Beyond::EmailAddresses,
        Beyond::IpAddresses,
        Beyond::NameConstraints,
        Beyond::JksKeystore,
        Beyond::Pkcs12Keystore,
    ];
    assert_eq!(other.beyond, every.into());
    assert!(other.is_ca);
    assert_eq!((other.duration, other.renewal), (HOUR * 24 * 90, Renewal::Third));
    assert_eq!(other.private_key.algorithm, KeyAlgorithm::Ed25519);
    assert_eq!(other.issuer.to_string(), "Issuer.cert-manager.io/local");
    assert_eq!(other.usages, [CertificateUsage::OtherKey("cert sign"), CertificateUsage::OtherExtended("any")]);
}

#[test]
fn a_kind_of_another_group_with_its_name_is_passed_over() {
    let text = "apiVersion: acm.services.k8s.aws/v1alpha1\nkind: Certificate\nmetadata: {name: a}\nspec: {x: 1}\n";
    let reading = read("aws.yaml", text);
    assert!(!reading.has_errors() && matches!(&reading.objects[..], [Object::Other(..)]));
}
