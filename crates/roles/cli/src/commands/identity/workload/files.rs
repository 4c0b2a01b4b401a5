//! SVIDs and bundles as files: what other programs read.

use anyhow::{Context, Result, bail};
use lictor_pki::certificates_to_pem;
use lictor_wire::workload::X509svidResponse;
use nix::sys::stat::{Mode, umask};
use rustls_pki_types::CertificateDer;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Writes what was fetched under the names that SPIRE's agent gives: `svid.0.pem`, `svid.0.key`, `bundle.0.pem` and
/// `federated_bundle.0.0.pem`, the numbers by identity and by trust domain in their order.
pub(super) fn write_x509(folder: &Path, answer: &X509svidResponse) -> Result<Vec<PathBuf>> {
    let mut written = Vec::new();
    for (at, svid) in answer.svids.iter().enumerate() {
        let key = Zeroizing::new(pem_of_key(&svid.x509_svid_key));
        written.push(write(folder, &format!("svid.{at}.pem"), pem(&svid.x509_svid)?.as_bytes(), 0o644)?);
        written.push(write(folder, &format!("svid.{at}.key"), key.as_bytes(), 0o600)?);
        written.push(write(folder, &format!("bundle.{at}.pem"), pem(&svid.bundle)?.as_bytes(), 0o644)?);
        let mut federated: Vec<_> = answer.federated_bundles.iter().collect();
        federated.sort();
        for (other, (_, bundle)) in federated.into_iter().enumerate() {
            let name = format!("federated_bundle.{at}.{other}.pem");
            written.push(write(folder, &name, pem(bundle)?.as_bytes(), 0o644)?);
        }
    }
    Ok(written)
}

/// Writes a file in one step: whoever reads it sees the old content or the new one. The folder is made if it is missing.
pub(super) fn write(folder: &Path, name: &str, content: &[u8], mode: u32) -> Result<PathBuf> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).with_context(|| folder.display().to_string())?;
    let (path, beside) = (folder.join(name), folder.join(format!(".{name}.{}", std::process::id())));
    let to = || format!("cannot write {}", path.display());
    let before = umask(Mode::empty());
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside);
    umask(before);
    let written = file.and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&beside, &path)
    });
    if written.is_err() {
        // What could not be written is of no use; that it cannot be removed either changes nothing.
        let _ = fs::remove_file(&beside);
    }
    written.with_context(to)?;
    Ok(path)
}

/// Certificates that stand one after the other, as the Workload API sends them.
pub(super) fn certificates(mut der: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let length = length(der).filter(|length| *length <= der.len());
        let Some((one, rest)) = length.and_then(|length| der.split_at_checked(length)) else {
            bail!("the Workload API sent bytes that are no certificates");
        };
        found.push(CertificateDer::from(one.to_vec()));
        der = rest;
    }
    Ok(found)
}

/// How long the DER value is that begins here, with its tag and length. Source: X.690, section 8.1.3.
fn length(der: &[u8]) -> Option<usize> {
    let (tag, first) = (der.first()?, *der.get(1)?);
    if *tag != 0x30 {
        return None;
    }
    if first < 0x80 {
        return Some(2 + usize::from(first));
    }
    let count = usize::from(first & 0x7f);
    let bytes = der.get(2..2 + count).filter(|_| (1..=4).contains(&count))?;
    let content = bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    content.checked_add(2 + count)
}

fn pem(der: &[u8]) -> Result<String> {
    Ok(certificates_to_pem(&certificates(der)?))
}

/// Source: RFC 7468, section 10.
fn pem_of_key(pkcs8: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in pkcs8.chunks(48) {
        for three in line.chunks(3) {
            let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for at in 0..4 {
                let digit = ALPHABET.get((bits >> (18 - 6 * at) & 63) as usize).copied().unwrap_or(b'=');
                out.push(if at <= three.len() { char::from(digit) } else { '=' });
            }
        }
        out.push('\n');
    }
    out.push_str("-----END PRIVATE KEY-----\n");
    out
}

#[cfg(test)]
mod tests {
    use super::{certificates, pem_of_key, write};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn values_are_told_apart_by_their_lengths() {
        let long = [&[0x30, 0x82, 0x01, 0x00][..], &[7; 256]].concat();
        let two = [&[0x30, 2, 1, 1][..], &long].concat();
        let read = certificates(&two).expect("two values");
        assert_eq!(read.iter().map(|one| one.len()).collect::<Vec<_>>(), [4, 260]);
        assert!(certificates(&[]).expect("none").is_empty());
        for broken in
            [&[0x30][..], &[0x30, 2, 1], &[0x31, 0], &[0x30, 0x80], &[0x30, 0x85, 0, 0, 0, 0, 0], &[0x30, 0x81]]
        {
            assert!(certificates(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn a_key_is_base64_in_lines_of_64() {
        assert_eq!(pem_of_key(b"Man"), "-----BEGIN PRIVATE KEY-----\nTWFu\n-----END PRIVATE KEY-----\n");
        assert!(pem_of_key(b"Ma").contains("\nTWE=\n") && pem_of_key(b"M").contains("\nTQ==\n"));
        let long = pem_of_key(&[0; 100]);
        assert_eq!(long.lines().map(str::len).collect::<Vec<_>>(), [27, 64, 64, 8, 25]);
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_with_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("new");
        for content in ["old", "new"] {
            let path = write(&below, "svid.0.key", content.as_bytes(), 0o600).expect("a file");
            assert_eq!(fs::read_to_string(&path).expect("a file"), content);
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::read_dir(&below).expect("a folder").count(), 1, "nothing is left beside it");
        assert_eq!(fs::metadata(&below).expect("a folder").permissions().mode() & 0o777, 0o700);
    }
}
