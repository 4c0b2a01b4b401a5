//! Bytes and datagrams that come back.

use serde::{Deserialize, Serialize};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

/// The question that a stand-in answers with a [`Sighting`].
pub const WHOAMI: &str = "WHOAMI";

/// The largest payload of a UDP datagram over IPv4.
const DATAGRAM: usize = 65_507;
const CHUNK: usize = 16 * 1024;

/// Who answers, and whom it saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The pod that answers, as `namespace/name`.
    pub pod: String,
    /// The address and port that its socket saw; IPv4 as IPv4.
    pub peer: SocketAddr,
}

impl Sighting {
    /// The sighting as one line of JSON, with its newline.
    fn line(&self) -> io::Result<Vec<u8>> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        Ok(line)
    }
}

/// An address with IPv4 as IPv4, not mapped into IPv6 as a dual-stack socket sees it.
pub(super) fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Echoes a connection until its peer ends it.
///
/// Every byte comes back at once, so an answer does not depend on how the stream was cut into segments;
/// the sighting follows the newline of a first line that is [`WHOAMI`].
pub(super) async fn tcp(mut stream: TcpStream, seen: Sighting) -> io::Result<()> {
    let mut question = Some(0);
    loop {
        // An idle connection holds no buffer.
        stream.readable().await?;
        let mut chunk = vec![0; CHUNK];
        let read = stream.read(&mut chunk).await?;
        let Some(bytes) = chunk.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        match answer_after(&mut question, bytes) {
            Some(at) => {
                let (asked, rest) = bytes.split_at(at);
                stream.write_all(asked).await?;
                stream.write_all(&seen.line()?).await?;
                stream.write_all(rest).await?;
            }
            None => stream.write_all(bytes).await?,
        }
    }
    stream.shutdown().await
}

/// Where in `bytes` the first line ends, if it is the question; `matched` is how much of it came before,
/// or nothing once the line is known to be another.
fn answer_after(matched: &mut Option<usize>, bytes: &[u8]) -> Option<usize> {
    let question = WHOAMI.as_bytes().iter().chain(b"\n");
    let before = (*matched)?;
    let wanted = question.skip(before);
    let same = wanted.zip(bytes).take_while(|(wanted, seen)| wanted == seen).count();
    let length = WHOAMI.len() + 1;
    *matched = (same == bytes.len() && before + same < length).then_some(before + same);
    (before + same == length).then_some(same)
}

/// Echoes datagrams for ever.
pub(super) async fn udp(socket: UdpSocket, pod: String) -> io::Result<()> {
    loop {
        socket.readable().await?;
        let mut datagram = vec![0; DATAGRAM];
        loop {
            let (length, peer) = match socket.try_recv_from(&mut datagram) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // An ICMP error of an earlier answer; it is not about this socket.
                Err(_) => continue,
            };
            let bytes = datagram.get(..length).unwrap_or_default();
            let asked = bytes.strip_suffix(b"\n").unwrap_or(bytes) == WHOAMI.as_bytes();
            let answer =
                if asked { Sighting { pod: pod.clone(), peer: canonical(peer) }.line()? } else { bytes.to_vec() };
            // A datagram that cannot be sent is one that is lost.
            let _ = socket.send_to(&answer, peer).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::answer_after;

    #[test]
    fn the_question_is_found_however_it_is_cut() {
        for cut in 0..=7 {
            let (first, second) = b"WHOAMI\n".split_at(cut);
            let mut matched = Some(0);
            let found: Vec<_> = [first, second]
                .into_iter()
                .filter(|part| !part.is_empty())
                .filter_map(|part| answer_after(&mut matched, part))
                .collect();
            assert_eq!(found.len(), 1, "cut at {cut}");
            assert_eq!(matched, None, "asked once");
        }
    }

    #[test]
    fn another_first_line_is_only_echoed() {
        for text in ["WHOAMI?\n", "who\nWHOAMI\n", "\n"] {
            let mut matched = Some(0);
            assert_eq!(answer_after(&mut matched, text.as_bytes()), None, "{text}");
            assert_eq!(matched, None, "{text}");
        }
    }
}
