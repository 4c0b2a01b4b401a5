//! The words of `lictor up` and `lictor control` about who signs identities.

use super::duration;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use lictor_lab::{Authorities, Secret, StoreOptions, TokenOptions, UpstreamFiles};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// An authority lives so many times as long as an SVID at least: it signs until the last sixth of its life, and what it
/// signs is not to end before its time.
const LIVES: u32 = 6;

#[derive(Debug, Args)]
pub(in crate::commands) struct AuthorityWords {
    /// How long an authority lives, at least six times as long as an SVID; the next one is prepared at half of it
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = duration)]
    ca_ttl: Duration,
    /// The CA that signs the authorities, in PEM, with what stands between it and the root; read again when it changes
    #[arg(long, value_name = "FILE", requires = "upstream_key")]
    upstream_cert: Option<PathBuf>,
    /// The private key of that CA, in PEM
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    upstream_key: Option<PathBuf>,
    /// The roots that pods are to believe, if the root is not the last certificate in the file of the CA
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    upstream_roots: Option<PathBuf>,
    /// Keep the authorities in this file, encrypted, so that whoever starts again goes on with them
    #[arg(long, value_name = "FILE", requires = "store_secret")]
    identity_store: Option<PathBuf>,
    /// The key of that file: 32 bytes, as they are or in base64 or hex
    #[arg(long, value_name = "FILE", requires = "identity_store", group = "store_secret")]
    identity_key_file: Option<PathBuf>,
    /// The file whose first line is the passphrase of that file
    #[arg(long, value_name = "FILE", requires = "identity_store", group = "store_secret")]
    identity_passphrase_file: Option<PathBuf>,
    /// Have a token hold the keys of the authorities: the module of PKCS#11 that leads to it
    #[arg(long, value_name = "FILE", requires_all = ["ca_pkcs11_token", "ca_pkcs11_pin_file"])]
    ca_pkcs11_module: Option<PathBuf>,
    /// The label of that token
    #[arg(long, value_name = "LABEL", requires = "ca_pkcs11_module")]
    ca_pkcs11_token: Option<String>,
    /// The file whose first line is the PIN of its user
    #[arg(long, value_name = "FILE", requires = "ca_pkcs11_module")]
    ca_pkcs11_pin_file: Option<PathBuf>,
}

impl AuthorityWords {
    /// The authorities that the words describe, for SVIDs that live so long.
    pub(in crate::commands) fn authorities(
        &self,
        svid_lifetime: Duration,
        certificate_issuers: &[String],
    ) -> Result<Authorities> {
        ensure!(
            self.ca_ttl >= svid_lifetime * LIVES,
            "--ca-ttl: expected at least six times --svid-ttl, which is {} s: an authority signs until the last sixth of its life",
            (svid_lifetime * LIVES).as_secs()
        );
        let upstream = match (&self.upstream_cert, &self.upstream_key) {
            (Some(certificate), Some(key)) => Some(UpstreamFiles {
                certificate: std::path::absolute(certificate)?,
                key: std::path::absolute(key)?,
                roots: self.upstream_roots.as_ref().map(std::path::absolute).transpose()?,
            }),
            _ => None,
        };
        let store = self.store()?;
        let token = self.token(store.is_some())?;
        Ok(Authorities {
            svid_lifetime,
            authority_lifetime: self.ca_ttl,
            upstream,
            store,
            token,
            certificate_issuers: certificate_issuers.to_vec(),
        })
    }

    /// The token; its keys outlive the lab where a store remembers them.
    fn token(&self, keeps: bool) -> Result<Option<TokenOptions>> {
        let (Some(module), Some(label), Some(pin)) =
            (&self.ca_pkcs11_module, &self.ca_pkcs11_token, &self.ca_pkcs11_pin_file)
        else {
            return Ok(None);
        };
        let text = std::fs::read_to_string(pin).map(Zeroizing::new).with_context(|| pin.display().to_string())?;
        let pin = Zeroizing::new(text.lines().next().unwrap_or_default().to_owned());
        Ok(Some(TokenOptions { module: std::path::absolute(module)?, label: label.clone(), pin, keeps }))
    }

    fn store(&self) -> Result<Option<StoreOptions>> {
        let Some(path) = &self.identity_store else { return Ok(None) };
        let secret = match (&self.identity_key_file, &self.identity_passphrase_file) {
            (Some(file), _) => secret(file, Secret::from_key_file)?,
            (None, Some(file)) => secret(file, Secret::from_passphrase_file)?,
            (None, None) => bail!("--identity-store: expected --identity-key-file or --identity-passphrase-file"),
        };
        Ok(Some(StoreOptions { path: std::path::absolute(path)?, secret }))
    }
}

fn secret<E: std::error::Error + Send + Sync + 'static>(
    file: &Path,
    read: impl FnOnce(&[u8]) -> Result<Secret, E>,
) -> Result<Secret> {
    let bytes = std::fs::read(file).map(Zeroizing::new).with_context(|| file.display().to_string())?;
    read(&bytes).with_context(|| file.display().to_string())
}
