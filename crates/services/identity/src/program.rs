//! Which program a process runs.

use crate::process::{Process, ProcessError};
use aws_lc_rs::digest::{Context, SHA256};
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

/// A program that is larger has no digest: whoever asks must not keep the node busy with it.
const MOST: u64 = 512 << 20;

/// Digests that are remembered.
const REMEMBERED: usize = 64;

/// The path of a process' program, as the kernel names it: in the mounts of the process, and with ` (deleted)` behind one
/// that is gone.
pub(crate) fn path(process: &Process) -> Result<String, ProcessError> {
    process.told(|folder| {
        let path = format!("{folder}/exe");
        let target = fs::read_link(&path).map_err(|error| ProcessError::Read { path: path.clone(), error })?;
        let text = target.into_os_string().into_string();
        text.map_err(|_| ProcessError::Read { path, error: io::ErrorKind::InvalidData.into() })
    })
}

/// The digests of programs, each formed once for a file and its content.
#[derive(Debug, Default)]
pub(crate) struct Digests(Mutex<VecDeque<(Content, [u8; 32])>>);

/// What changes with the content of a file: a program that runs cannot be written to, and a write before or after sets
/// the time of the last change, which nobody can set at will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Content {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

impl Digests {
    /// The SHA-256 digest of a process' program. It may take a second for a large one.
    ///
    /// Whoever asks while another digest is formed waits for it, so that no more than one core is busy with this.
    pub(crate) fn of(&self, process: &Process) -> Result<[u8; 32], ProcessError> {
        process.told(|folder| {
            let path = format!("{folder}/exe");
            self.of_file(&path).map_err(|error| ProcessError::Read { path, error })
        })
    }

    fn of_file(&self, path: &str) -> io::Result<[u8; 32]> {
        let file = File::open(path)?;
        let found = file.metadata()?;
        let content = Content {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        // Nothing panics while it holds the lock.
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = remembered.iter().find(|(known, _)| *known == content) {
            return Ok(*digest);
        }
        let digest = digest(file)?;
        remembered.truncate(REMEMBERED - 1);
        remembered.push_front((content, digest));
        Ok(digest)
    }
}

fn digest(file: File) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    let mut rest = file.take(MOST + 1);
    let mut buffer = vec![0; 128 << 10];
    let mut length = 0;
    loop {
        let count = rest.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        length += count as u64;
        context.update(buffer.get(..count).unwrap_or_default());
    }
    if length > MOST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the program is larger than 512 MiB"));
    }
    context.finish().as_ref().try_into().map_err(|_| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::Digests;
    use std::fs;

    #[test]
    fn a_digest_is_of_the_content_that_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("program");
        let (digests, path_text) = (Digests::default(), path.to_str().expect("a path"));
        let hex = || digests.of_file(path_text).expect("a digest").map(|byte| format!("{byte:02x}")).concat();
        // Source: FIPS 180-4's example of `abc`, and the digest of nothing.
        fs::write(&path, "abc").expect("a file");
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((hex().as_str(), hex().as_str()), (abc, abc));
        fs::write(&path, "").expect("a file");
        assert_eq!(hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        fs::remove_file(&path).expect("no file");
        assert!(digests.of_file(path_text).is_err());
    }
}
