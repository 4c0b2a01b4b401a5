//! Where a lab serves the SPIFFE Broker API.

use anyhow::{Context, Result, ensure};
use lictor_identity::broker_api::{Answer, Brokers, bind};
use lictor_node::BrokerOptions;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The file of answers is started anew at this size; one older file is kept.
const MAX_BYTES: u64 = 64 << 20;

/// The SPIFFE Broker API of a lab.
#[derive(Debug, Clone)]
pub struct BrokerApi {
    /// Its socket. Pods see it, as they see the machine's files, unless it is below `/run/lictor`.
    pub socket: PathBuf,
    /// Who may ask.
    pub brokers: Brokers,
}

impl BrokerApi {
    /// Whoever sees the folder of the Workload API's socket must not see this one.
    ///
    /// Source: SPIRE's agent; SPIFFE Broker Endpoint, section 2.
    pub(crate) fn check(&self, workload_folder: &Path) -> Result<()> {
        let beside = self.socket.starts_with(workload_folder);
        ensure!(!beside, "the Broker API's socket cannot be in the folder of the Workload API's");
        Ok(())
    }

    /// Listens at its socket; what brokers are answered goes into the file at `log`, a line of JSON each.
    pub(crate) fn bind(&self, log: PathBuf) -> Result<BrokerOptions> {
        let log = Mutex::new(Log::create(log).context("the log of the Broker API cannot be written")?);
        let listener = bind(&self.socket);
        let listener =
            listener.with_context(|| format!("the Broker API cannot listen at {}", self.socket.display()))?;
        let sink = Arc::new(move |answer: Answer| {
            if let Err(error) = log.lock().unwrap_or_else(PoisonError::into_inner).write(&answer) {
                tracing::error!(%error, "the log of the Broker API cannot be written");
            }
        });
        Ok(BrokerOptions { listener, brokers: self.brokers.clone(), sink })
    }
}

/// A file of answers, readable by its owner only.
struct Log {
    path: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl Log {
    fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&path)?;
        Ok(Self { path, file, written: 0, limit: MAX_BYTES })
    }

    /// One write for a line, which a reader so never sees in part.
    fn write(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer).map_err(io::Error::other)?;
        line.push(b'\n');
        if self.written + line.len() as u64 > self.limit {
            std::fs::rename(&self.path, self.path.with_extension("jsonl.1"))?;
            *self = Self { limit: self.limit, ..Self::create(self.path.clone())? };
        }
        self.file.write_all(&line)?;
        self.written += line.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Log;
    use lictor_identity::broker_api::Answer;
    use std::os::unix::fs::PermissionsExt as _;
    use time::OffsetDateTime;

    #[test]
    fn the_file_is_its_owners_and_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("brokers.jsonl");
        let mut log = Log { limit: 300, ..Log::create(path.clone()).expect("a file") };
        for at in 0..5 {
            let answer = Answer {
                time: OffsetDateTime::UNIX_EPOCH,
                caller: Some("spiffe://td/proxy".parse().expect("an identity")),
                method: Some("FetchJWTSVID"),
                reference: Some(format!("process {at}")),
                pod: None,
                code: "NotFound".to_owned(),
                reason: "gone".to_owned(),
            };
            log.write(&answer).expect("a line");
        }
        let read = |path| std::fs::read_to_string(path).expect("a file");
        let (now, before) = (read(path.clone()), read(path.with_extension("jsonl.1")));
        assert_eq!((before.lines().count(), now.lines().count()), (2, 1), "{before} {now}");
        let line = r#"{"time":"1970-01-01T00:00:00Z","caller":"spiffe://td/proxy","method":"FetchJWTSVID","reference":"process 4","code":"NotFound","reason":"gone"}"#;
        assert_eq!(now.trim_end(), line);
        assert_eq!(std::fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    }
}
