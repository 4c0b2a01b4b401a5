//! An upstream authority in files, read again when they change.

use lictor_model::TrustDomain;
use lictor_pki::{InvalidUpstream, Upstream, UpstreamPart, UpstreamPem};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where an upstream's certificate, key and roots are. cert-manager writes them as `tls.crt`, `tls.key` and `ca.crt`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamFiles {
    /// Its certificate, and what stands between it and the root.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The roots that peers are to believe; without, the last certificate of the chain is the root.
    pub roots: Option<PathBuf>,
}

/// Why there is no upstream.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// What is in it is no upstream.
    #[error("{}: {error}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: InvalidUpstream,
    },
}

/// What the files held when they were last looked at.
#[derive(PartialEq, Eq)]
struct Texts {
    certificate: String,
    key: Zeroizing<String>,
    roots: Option<String>,
}

/// The files, and what was in them.
pub(super) struct Watched {
    files: UpstreamFiles,
    seen: Option<Texts>,
}

impl UpstreamFiles {
    fn texts(&self) -> Result<Texts, UpstreamError> {
        let text = |path: &Path| {
            fs::read_to_string(path).map_err(|error| UpstreamError::Read { path: path.to_owned(), error })
        };
        Ok(Texts {
            certificate: text(&self.certificate)?,
            key: Zeroizing::new(text(&self.key)?),
            roots: self.roots.as_deref().map(text).transpose()?,
        })
    }

    fn path_of(&self, part: UpstreamPart) -> PathBuf {
        match (part, &self.roots) {
            (UpstreamPart::Key, _) => self.key.clone(),
            (UpstreamPart::Roots, Some(roots)) => roots.clone(),
            (UpstreamPart::Certificate | UpstreamPart::Roots, _) => self.certificate.clone(),
        }
    }
}

impl Watched {
    pub(super) fn new(files: UpstreamFiles) -> Self {
        Self { files, seen: None }
    }

    /// The next look finds something new, whatever is there.
    pub(super) fn forget(&mut self) {
        self.seen = None;
    }

    /// The upstream, if the files hold something else than when they were last looked at. While certificate and key are
    /// replaced one after the other they do not fit; that is an error, and the next look finds the rest.
    pub(super) fn look(&mut self, trust_domain: &TrustDomain) -> Result<Option<Upstream>, UpstreamError> {
        let texts = match self.files.texts() {
            Ok(texts) => texts,
            Err(error) => {
                self.forget();
                return Err(error);
            }
        };
        if self.seen.as_ref() == Some(&texts) {
            return Ok(None);
        }
        let pem = UpstreamPem { certificate: &texts.certificate, key: &texts.key, roots: texts.roots.as_deref() };
        let read = Upstream::from_pem(trust_domain, pem);
        self.seen = Some(texts);
        match read {
            Ok(upstream) => Ok(Some(upstream)),
            Err((part, error)) => Err(UpstreamError::Invalid { path: self.files.path_of(part), error }),
        }
    }
}
