//! A file in which authorities, Secrets, or join tokens and nodes outlive the process, sealed.

use lictor_pki::{Authorities, InvalidSaved, OpenError, SealError, SealingKey, Secret};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// What a store holds, opened.
pub(crate) type Document = Zeroizing<Vec<u8>>;

/// Owner alone.
const MODE: u32 = 0o600;

/// Where authorities are kept, and what opens them.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The file; it is made if it is missing.
    pub path: PathBuf,
    /// What it is sealed with.
    pub secret: Secret,
}

/// Why there is no store, or nothing was written to it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// Another process has it: two would overwrite each other's authorities.
    #[error("{}: another process has this store open", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It does not open.
    #[error("{}: {error}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// It opens, and holds no authorities of this trust domain.
    #[error("{}: {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: InvalidSaved,
    },
    /// It opens, and holds no Secrets.
    #[error("{}: expected Secrets (lictor-secrets/1): {error}", path.display())]
    Secrets {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// It opens, and holds no join tokens and nodes.
    #[error("{}: expected join tokens and nodes (lictor-members/1): {error}", path.display())]
    Members {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// It cannot be sealed.
    #[error("{}: {error}", path.display())]
    Seal {
        /// The file.
        path: PathBuf,
        /// Why.
        error: SealError,
    },
}

/// An open store; no other process opens it as long as this one lives.
pub(crate) struct Store {
    path: PathBuf,
    key: SealingKey,
    _lock: File,
}

impl StoreOptions {
    /// The store beside this one, with the same secret, that keeps Secrets.
    pub(crate) fn of_secrets(&self) -> Self {
        Self { path: beside(&self.path, ".secrets"), secret: self.secret.clone() }
    }

    /// The store beside this one, with the same secret, that keeps join tokens and nodes.
    pub(crate) fn of_members(&self) -> Self {
        Self { path: beside(&self.path, ".members"), secret: self.secret.clone() }
    }
}

impl Store {
    /// Opens a store, and returns what it holds; nothing if it is new.
    pub(crate) fn open(options: &StoreOptions) -> Result<(Self, Option<Document>), StoreError> {
        let StoreOptions { path, secret } = options;
        let path = path.clone();
        let lock = lock(&path)?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = SealingKey::new(secret).map_err(|error| StoreError::Seal { path: path.clone(), error })?;
                return Ok((Self { path, key, _lock: lock }, None));
            }
            Err(error) => return Err(StoreError::Io { path, error }),
        };
        let opened = SealingKey::open(&text, secret);
        let (key, plain) = opened.map_err(|error| StoreError::Open { path: path.clone(), error })?;
        Ok((Self { path, key, _lock: lock }, Some(plain)))
    }

    /// What is wrong with the content of this store.
    pub(crate) fn blame(&self, error: InvalidSaved) -> StoreError {
        StoreError::Content { path: self.path.clone(), error }
    }

    /// What is wrong with the Secrets in this store.
    pub(crate) fn blame_secrets(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError::Secrets { path: self.path.clone(), error: error.to_string() }
    }

    /// What is wrong with the join tokens and nodes in this store.
    pub(crate) fn blame_members(&self, error: impl std::fmt::Display) -> StoreError {
        StoreError::Members { path: self.path.clone(), error: error.to_string() }
    }

    /// Puts these authorities in the place of those that it holds: it holds the old ones or the new ones, at any moment,
    /// whatever ends the process or the machine.
    pub(super) fn save_authorities(&self, authorities: &Authorities) -> Result<(), StoreError> {
        self.save(&authorities.to_document().map_err(|error| self.blame(error))?)
    }

    /// Puts a document in the place of the one that it holds, in the same way.
    pub(crate) fn save(&self, plain: &[u8]) -> Result<(), StoreError> {
        let sealed = self.key.seal(plain).map_err(|error| StoreError::Seal { path: self.path.clone(), error })?;
        let beside = beside(&self.path, ".new");
        replace(&self.path, &beside, sealed.as_bytes()).map_err(|(path, error)| StoreError::Io { path, error })
    }
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let beside = beside(path, ".lock");
    let opened = OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(&beside);
    let file = opened.map_err(|error| StoreError::Io { path: beside.clone(), error })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::Io { path: beside, error }),
    }
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Written whole, on the disk, and only then under its name; an error comes with the file that it is about.
fn replace(path: &Path, beside: &Path, text: &[u8]) -> Result<(), (PathBuf, io::Error)> {
    let about = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    match fs::remove_file(beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err((beside.to_owned(), error)),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(MODE).open(beside).map_err(about(beside))?;
    file.write_all(text).and_then(|()| file.sync_all()).map_err(about(beside))?;
    fs::rename(beside, path).map_err(about(path))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(about(folder))
}
