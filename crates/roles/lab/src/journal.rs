//! The decision log: JSON lines in a file, the latest records in memory, and a live stream of them.

use lictor_model::Record;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::sync::broadcast;

/// Records that wait for the writer; beyond it new ones are dropped and counted.
const QUEUE: usize = 65_536;
/// Records kept in memory for `flows`.
const KEPT: usize = 20_000;
/// Records that a follower may lag behind.
const FOLLOWED: usize = 4_096;
/// The file is started anew at this size; one older file is kept.
const MAX_BYTES: u64 = 256 << 20;
/// A record waits so long for those after it. Waking the writer for each costs the data path more than the record does.
const GATHER: Duration = Duration::from_millis(10);

/// A shared decision log.
#[derive(Debug, Clone)]
pub struct Journal {
    queue: SyncSender<Record>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    kept: Mutex<VecDeque<Arc<Record>>>,
    live: broadcast::Sender<Arc<Record>>,
    dropped: AtomicU64,
}

impl Journal {
    /// Starts a log that writes to `path`; the file is readable by its owner only.
    pub fn start(path: &Path) -> io::Result<Self> {
        let file = create(path)?;
        let (queue, records) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            kept: Mutex::new(VecDeque::new()),
            live: broadcast::channel(FOLLOWED).0,
            dropped: AtomicU64::new(0),
        });
        let (path, writer) = (path.to_owned(), Arc::clone(&shared));
        thread::Builder::new().name("decision-log".to_owned()).spawn(move || {
            if let Err(error) = write(&records, file, &path, &writer) {
                tracing::error!(%error, path = %path.display(), "the decision log cannot be written any more");
                // Go on serving `flows` from memory.
                records.iter().for_each(|record| keep(&writer, record));
            }
        })?;
        Ok(Self { queue, shared })
    }

    /// Takes a record; never blocks. A full queue drops it and counts that.
    pub fn record(&self, record: Record) {
        if self.queue.try_send(record).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that were dropped because the queue was full.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// The latest records, oldest first.
    pub fn recent(&self) -> Vec<Arc<Record>> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The records from now on; a follower that is too slow loses the oldest.
    pub fn follow(&self) -> broadcast::Receiver<Arc<Record>> {
        self.shared.live.subscribe()
    }
}

fn create(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// Writes until every sender is gone. Sleeps without a timer while there is nothing to write.
fn write(records: &Receiver<Record>, file: File, path: &Path, shared: &Shared) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(64 << 10, file);
    let mut written = 0u64;
    while let Ok(first) = records.recv() {
        thread::sleep(GATHER);
        for record in std::iter::once(first).chain(records.try_iter()) {
            let line = serde_json::to_vec(&record).map_err(io::Error::other)?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
            written += line.len() as u64 + 1;
            keep(shared, record);
            if written > MAX_BYTES {
                out.flush()?;
                std::fs::rename(path, path.with_extension("jsonl.1"))?;
                out = BufWriter::with_capacity(64 << 10, create(path)?);
                written = 0;
            }
        }
        out.flush()?;
    }
    Ok(())
}

fn keep(shared: &Shared, record: Record) {
    let record = Arc::new(record);
    let mut kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() == KEPT {
        kept.pop_front();
    }
    kept.push_back(Arc::clone(&record));
    drop(kept);
    // Nobody may be following.
    shared.live.send(record).ok();
}
