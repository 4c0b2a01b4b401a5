//! The near end of a probe: a process in the source pod that opens the connections and says what came of them.

use super::ping::ping;
use lictor_model::Protocol;
use serde::{Deserialize, Serialize};
use std::io::{self, ErrorKind, Write};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// One connection to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The caller's number for it.
    pub id: u32,
    /// Whom to connect to; of ICMP, the port is the message's type.
    pub address: SocketAddr,
    /// TCP, UDP or ICMP.
    pub protocol: Protocol,
    /// What to say once connected.
    pub ask: Ask,
    /// How long to wait for each step before it counts as dropped, in milliseconds.
    pub patience_ms: u64,
}

/// What to say once connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ask {
    /// A line that a stand-in echo server answers.
    Echo,
    /// Nothing: whether the connection stays open is the answer.
    Open,
    /// An HTTP/1.1 request.
    Http {
        /// The method.
        method: String,
        /// Path and query.
        path: String,
        /// The `Host` header.
        host: String,
        /// Further headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The other end answered.
    Reached,
    /// Nothing came back in time.
    Dropped,
    /// The connection opened and was ended before an answer.
    Ended,
    /// The connection was refused: nobody listens there.
    Refused,
    /// An HTTP answer that a policy gave.
    Forbidden,
    /// The probe itself could not be made.
    Broken,
}

/// An attempt's outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// The attempt's number.
    pub id: u32,
    /// What came of it.
    pub outcome: Outcome,
}

/// Attempts that run at once.
const AT_ONCE: usize = 64;
/// A connection that nobody ends within this time is open.
const STAYS_OPEN: Duration = Duration::from_millis(400);
const LARGEST_HEAD: usize = 16 << 10;

/// Makes the attempts of a JSON list, and writes what came of each as JSON lines to `output`.
pub fn run(attempts: &str, mut output: impl Write) -> io::Result<()> {
    let attempts: Vec<Attempt> = serde_json::from_str(attempts)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let reported = runtime.block_on(async {
        use futures::StreamExt;
        let made = attempts
            .into_iter()
            .map(|attempt| async move { Reported { id: attempt.id, outcome: make(&attempt).await } });
        futures::stream::iter(made).buffer_unordered(AT_ONCE).collect::<Vec<_>>().await
    });
    for report in reported {
        serde_json::to_writer(&mut output, &report)?;
        output.write_all(b"\n")?;
    }
    output.flush()
}

/// Makes one attempt.
async fn make(attempt: &Attempt) -> Outcome {
    let result = match attempt.protocol {
        Protocol::Tcp => tcp(attempt).await,
        Protocol::Udp => udp(attempt).await,
        Protocol::Other(1 | 58) => {
            let attempt = attempt.clone();
            tokio::task::spawn_blocking(move || ping(&attempt)).await.map_err(io::Error::other).flatten()
        }
        _ => return Outcome::Broken,
    };
    result.unwrap_or_else(|error| match error.kind() {
        ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Outcome::Dropped,
        ErrorKind::ConnectionRefused => Outcome::Refused,
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Outcome::Ended,
        _ => Outcome::Broken,
    })
}

async fn tcp(attempt: &Attempt) -> io::Result<Outcome> {
    let patience = Duration::from_millis(attempt.patience_ms);
    let mut stream = timeout(patience, TcpStream::connect(attempt.address)).await??;
    match &attempt.ask {
        Ask::Open => {
            let mut byte = [0];
            match timeout(STAYS_OPEN, stream.read(&mut byte)).await {
                Err(_) => Ok(Outcome::Reached),
                Ok(Ok(0)) => Ok(Outcome::Ended),
                Ok(Ok(_)) => Ok(Outcome::Reached),
                Ok(Err(error)) => Err(error),
            }
        }
        Ask::Echo => {
            stream.write_all(b"WHOAMI\n").await?;
            let mut byte = [0];
            let count = timeout(patience, stream.read(&mut byte)).await??;
            Ok(if count == 0 { Outcome::Ended } else { Outcome::Reached })
        }
        Ask::Http { method, path, host, headers } => {
            let mut request =
                format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n");
            for (name, value) in headers {
                request.push_str(&format!("{name}: {value}\r\n"));
            }
            request.push_str("\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut head = Vec::new();
            while !head.windows(2).any(|pair| pair == b"\r\n") && head.len() < LARGEST_HEAD {
                if timeout(patience, stream.read_buf(&mut head)).await?? == 0 {
                    return Ok(Outcome::Ended);
                }
            }
            Ok(if head.starts_with(b"HTTP/1.1 403") { Outcome::Forbidden } else { Outcome::Reached })
        }
    }
}

async fn udp(attempt: &Attempt) -> io::Result<Outcome> {
    const TRIES: u32 = 3;
    let any: SocketAddr = if attempt.address.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(attempt.address).await?;
    let mut answer = [0; 1500];
    for _ in 0..TRIES {
        socket.send(b"WHOAMI").await?;
        let patience = Duration::from_millis(attempt.patience_ms) / TRIES;
        if let Ok(received) = timeout(patience, socket.recv(&mut answer)).await {
            return received.map(|_| Outcome::Reached);
        }
    }
    Ok(Outcome::Dropped)
}
