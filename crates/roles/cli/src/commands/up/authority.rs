//! The words of `lictor up` about who signs identities.

use super::duration;
use anyhow::{Result, ensure};
use clap::Args;
use lictor_lab::{Identity, UpstreamFiles};
use std::path::PathBuf;
use std::time::Duration;

/// An authority lives so many times as long as an SVID at least: it signs until the last sixth of its life, and what it
/// signs is not to end before its time.
const LIVES: u32 = 6;

#[derive(Debug, Args)]
pub(super) struct AuthorityWords {
    /// How long an authority lives, at least six times as long as an SVID; the next one is prepared at half of it
    #[arg(long, value_name = "TIME", default_value = "720h", value_parser = duration)]
    ca_ttl: Duration,
    /// The CA that signs the lab's authorities, in PEM, with what stands between it and the root; read again when it changes
    #[arg(long, value_name = "FILE", requires = "upstream_key")]
    upstream_cert: Option<PathBuf>,
    /// The private key of that CA, in PEM
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    upstream_key: Option<PathBuf>,
    /// The roots that pods are to believe, if the root is not the last certificate in the file of the CA
    #[arg(long, value_name = "FILE", requires = "upstream_cert")]
    upstream_roots: Option<PathBuf>,
}

impl AuthorityWords {
    pub(super) fn identity(&self, svid_lifetime: Duration) -> Result<Identity> {
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
        Ok(Identity { svid_lifetime, authority_lifetime: self.ca_ttl, upstream })
    }
}
