//! The X.509 source.

use crate::{Result, mtls, say};
use serde_json::json;
use spiffe::{BundleSource, WorkloadApiClient, X509Source};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Asks once and gives up at the first refusal; a source would ask again.
pub(crate) async fn fetch() -> Result<()> {
    let svid = WorkloadApiClient::connect_env().await?.fetch_x509_svid().await?;
    say(&json!({"id": svid.spiffe_id().to_string()}));
    Ok(())
}

/// Prints each state of the source that has another leaf, `count` of them, each verified against the source's own bundles.
pub(crate) async fn states(count: usize) -> Result<()> {
    let source = X509Source::new().await?;
    let mut updates = source.updated();
    let mut last = String::new();
    let mut seen = 0;
    while seen < count {
        let svid = source.svid()?;
        let leaf = svid.cert_chain().first().ok_or("an SVID without a certificate")?.as_bytes().to_vec();
        let serial = serial(&leaf)?;
        if serial == last {
            updates.changed().await?;
            continue;
        }
        let domain = svid.spiffe_id().trust_domain();
        let bundle = source.bundle_for_trust_domain(domain)?.ok_or("no bundle of the own trust domain")?;
        say(&json!({
            "id": svid.spiffe_id().to_string(),
            "verified": mtls::verified(&source).await?,
            "serial": serial,
            "not_after": X509Certificate::from_der(&leaf)?.1.validity().not_after.to_string(),
            "authorities": bundle.authorities().len(),
        }));
        last = serial;
        seen += 1;
    }
    Ok(())
}

/// A certificate's serial number, in hexadecimal.
pub(crate) fn serial(certificate: &[u8]) -> Result<String> {
    Ok(format!("{:x}", X509Certificate::from_der(certificate)?.1.serial))
}
