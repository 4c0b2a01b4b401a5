//! A server's certificate and key in files, read again when they change.

use lictor_pki::tls::endpoint::{EndpointCertificate, certificate};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// A certificate for profile `https_web`: a chain in one PEM file, leaf first, and its key in another.
#[derive(Debug)]
pub struct FileCertificate {
    chain: PathBuf,
    key: PathBuf,
    read: Mutex<Read>,
}

#[derive(Debug)]
struct Read {
    /// The files as they were when they were read last, well or not.
    seen: [Option<Stamp>; 2],
    certificate: Arc<CertifiedKey>,
}

/// Device, inode, size, and time of the last change in nanoseconds: a file in the place of another one has another stamp.
type Stamp = (u64, u64, u64, i64, i64);

impl FileCertificate {
    /// Reads both files.
    ///
    /// # Errors
    /// A file cannot be read, is no PEM of its kind, or the key is not the certificate's.
    pub fn open(chain: PathBuf, key: PathBuf) -> io::Result<Self> {
        let seen = [&chain, &key].map(|path| stamp(path));
        let certificate = read(&chain, &key)?;
        Ok(Self { chain, key, read: Mutex::new(Read { seen, certificate }) })
    }
}

impl EndpointCertificate for FileCertificate {
    /// Two looks at file metadata for a handshake. What cannot be read, or does not fit together yet, keeps the last one.
    fn current(&self) -> Option<Arc<CertifiedKey>> {
        let seen = [&self.chain, &self.key].map(|path| stamp(path));
        let mut last = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if last.seen != seen {
            last.seen = seen;
            match read(&self.chain, &self.key) {
                Ok(certificate) => last.certificate = certificate,
                Err(error) => tracing::warn!(
                    chain = %self.chain.display(), key = %self.key.display(), %error,
                    "the bundle endpoint goes on with the certificate that it had"
                ),
            }
        }
        Some(Arc::clone(&last.certificate))
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

fn read(chain: &Path, key: &Path) -> io::Result<Arc<CertifiedKey>> {
    let certificates = certificates(chain)?;
    if certificates.is_empty() {
        return Err(io::Error::other(format!("expected a certificate in {}", chain.display())));
    }
    let text = fs::read(key).map_err(|error| named(key, &error))?;
    let key_der = PrivateKeyDer::from_pem_slice(&text).map_err(|error| named(key, &error))?;
    certificate(certificates, &key_der).map_err(|error| named(key, &error))
}

/// Every certificate of a PEM file, in its order.
pub(super) fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let text = fs::read(path).map_err(|error| named(path, &error))?;
    CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| named(path, &error))
}

fn named(path: &Path, error: &dyn std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {error}", path.display()))
}
