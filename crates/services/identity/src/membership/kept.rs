//! What a node keeps: its SVID with the key, and the last bundle, in a file for the owner alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_model::SpiffeId;
use lictor_pki::{Bundle, PrivateKey, Svid, not_after, not_before};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::{Zeroize, Zeroizing};

const FORMAT: &str = "lictor-node/1";

/// Owner alone.
const MODE: u32 = 0o600;

/// Why there is nothing to go on with.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// The file system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{}: expected what a node has kept ({FORMAT}): {error}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// Others can read it, so that its key is nobody's.
    #[error("{}: expected a file that its owner alone can read, its mode is {mode:o}", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
}

pub(super) struct Kept {
    pub(super) svid: Svid,
    pub(super) bundle: Bundle,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    format: String,
    /// DER in base64, leaf first.
    chain: Vec<String>,
    /// PKCS#8 in base64.
    key: String,
    bundle: serde_json::Value,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

/// What was kept; nothing if there is no file yet.
pub(super) fn read(path: &Path, own: &SpiffeId) -> Result<Option<Kept>, KeptError> {
    let io = |error| KeptError::Io { path: path.to_owned(), error };
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    if mode & 0o077 != 0 {
        return Err(KeptError::Mode { path: path.to_owned(), mode });
    }
    let text = Zeroizing::new(fs::read(path).map_err(io)?);
    parse(&text, own).map(Some).map_err(|error| KeptError::Content { path: path.to_owned(), error })
}

fn parse(text: &[u8], own: &SpiffeId) -> Result<Kept, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!("saw {}", document.format));
    }
    let octets = |what: &str, text: &str| STANDARD.decode(text).map_err(|error| format!("{what}: {error}"));
    let chain = document.chain.iter().map(|der| octets("chain", der).map(CertificateDer::from));
    let chain = chain.collect::<Result<Vec<_>, String>>()?;
    let leaf = chain.first().ok_or("expected a certificate")?;
    let seen = lictor_pki::identity_of(leaf).map_err(|error| error.to_string())?;
    if seen != *own {
        return Err(format!("expected the certificate of {own}, saw that of {seen}"));
    }
    let (Some(not_before), Some(not_after)) = (not_before(leaf), not_after(leaf)) else {
        return Err("expected a certificate".to_owned());
    };
    let key = PrivateKey::from_pkcs8(octets("key", &document.key)?);
    let bundle = Bundle::from_jwks(own.trust_domain(), document.bundle.to_string().as_bytes());
    let bundle = bundle.map_err(|error| format!("bundle: {error}"))?.bundle;
    Ok(Kept { svid: Svid { id: seen, chain, key, not_before, not_after }, bundle })
}

/// Puts these in the place of what was kept before.
pub(super) fn write(path: &Path, svid: &Svid, bundle: &Bundle) -> Result<(), KeptError> {
    let content = |error: String| KeptError::Content { path: path.to_owned(), error };
    let bundle = bundle.to_jwks().map_err(|error| content(error.to_string()))?;
    let document = Document {
        format: FORMAT.to_owned(),
        chain: svid.chain.iter().map(|der| STANDARD.encode(der)).collect(),
        key: STANDARD.encode(svid.key.pkcs8()),
        bundle: serde_json::from_str(&bundle).map_err(|error| content(error.to_string()))?,
    };
    // Room for everything: a buffer that grows leaves copies of the key behind.
    let mut text = Zeroizing::new(Vec::with_capacity(64 * 1024 + 2 * bundle.len()));
    serde_json::to_writer(&mut *text, &document).map_err(|error| content(error.to_string()))?;
    replace(path, &text).map_err(|error| KeptError::Io { path: path.to_owned(), error })
}

/// Written whole, on the disk, and only then under its name.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().create_new(true).write(true).mode(MODE).open(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::{KeptError, read, write};
    use lictor_pki::{CertificateAuthority, Svid};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use time::{Duration, OffsetDateTime};

    fn authority() -> (CertificateAuthority, Svid) {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let authority = CertificateAuthority::new("td".parse().expect("a trust domain"), now, Duration::DAY);
        let authority = authority.expect("a root");
        let id = "spiffe://td/lictor/node/a".parse().expect("an identity");
        let svid = authority.issue(&id, now, Duration::HOUR).expect("an SVID");
        (authority, svid)
    }

    #[test]
    fn what_is_kept_comes_back_to_its_node_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node");
        let (authority, svid) = authority();
        assert!(read(&path, &svid.id).expect("no file yet").is_none());
        write(&path, &svid, &authority.bundle(3)).expect("kept");
        let kept = read(&path, &svid.id).expect("readable").expect("kept");
        assert_eq!((kept.svid.chain, kept.svid.key.pkcs8()), (svid.chain.clone(), svid.key.pkcs8()));
        assert_eq!((kept.svid.not_after, kept.bundle), (svid.not_after, authority.bundle(3)));
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);

        let other = "spiffe://td/lictor/node/b".parse().expect("an identity");
        let refused = read(&path, &other).map(|_| ()).expect_err("a refusal").to_string();
        assert!(
            refused.ends_with(
                "expected the certificate of spiffe://td/lictor/node/b, saw that of spiffe://td/lictor/node/a"
            )
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("another mode");
        let refused = read(&path, &svid.id).map(|_| ()).expect_err("a refusal");
        assert!(matches!(refused, KeptError::Mode { mode: 0o640, .. }));
    }

    #[test]
    fn something_else_is_not_taken_for_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node");
        let (authority, svid) = authority();
        write(&path, &svid, &authority.bundle(3)).expect("kept");
        let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).expect("a text")).expect("JSON");
        let with = |member: &str, value: serde_json::Value| {
            let mut text = good.clone();
            text[member] = value;
            text.to_string()
        };
        for text in [
            String::new(),
            "{}".to_owned(),
            with("format", "x".into()),
            with("chain", serde_json::json!([])),
            with("chain", serde_json::json!(["AAAA"])),
            with("key", "?".into()),
            with("bundle", serde_json::json!({})),
            with("more", 1.into()),
        ] {
            fs::write(&path, &text).expect("a file");
            assert!(matches!(read(&path, &svid.id), Err(KeptError::Content { .. })), "{text}");
        }
    }
}
