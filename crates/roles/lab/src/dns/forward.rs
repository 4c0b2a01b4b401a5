//! Questions about other zones, passed on to the machine's own resolvers.

use super::message::{Data, HEADER, IN, LONGEST, Record, TRUNCATED, kind, word};
use super::name::{DnsName, Malformed};
use aws_lc_rs::rand;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

const PORT: u16 = 53;
/// resolv.conf(5): no more are used.
const MOST_SERVERS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(2);
/// How many records of an answer are read.
pub(super) const MOST_RECORDS: usize = 64;

/// The resolvers of the machine, asked one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Upstreams(Vec<SocketAddr>);

/// How a question is passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Udp,
    Tcp,
}

impl Upstreams {
    /// Resolvers at these addresses.
    pub fn new(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self(servers.into_iter().take(MOST_SERVERS).collect())
    }

    /// The `nameserver` lines of a `resolv.conf`; one with an interface (`fe80::1%eth0`) is left out.
    pub fn of_resolv_conf(text: &str) -> Self {
        let servers = text.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let address: IpAddr = words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()?;
            Some(SocketAddr::new(address, PORT))
        });
        Self::new(servers)
    }

    /// Whether there are none, so that nothing outside the zone can be answered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The answer to a query as the first resolver gives it that gives any, with the query's own number.
    pub(super) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        for server in &self.0 {
            match timeout(PATIENCE, exchange(*server, query, transport)).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "a resolver of the machine does not answer"),
                Err(_) => tracing::debug!(%server, "a resolver of the machine takes too long"),
            }
        }
        None
    }

    /// The records that a name has elsewhere, of one type, with the aliases that lead to them.
    pub(super) async fn look_up(&self, name: &DnsName, kind: u16) -> Option<Vec<Record>> {
        let mut query = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend_from_slice(name.wire());
        query.extend([kind, IN].into_iter().flat_map(u16::to_be_bytes));
        let mut answer = self.ask(&query, Transport::Udp).await?;
        if word(&answer, 2).is_ok_and(|flags| flags & TRUNCATED != 0) {
            answer = self.ask(&query, Transport::Tcp).await?;
        }
        records(&answer).ok()
    }
}

/// Asks one resolver under a number and port that nobody can guess (RFC 5452).
async fn exchange(server: SocketAddr, query: &[u8], transport: Transport) -> io::Result<Vec<u8>> {
    let mut id = [0; 2];
    rand::fill(&mut id).map_err(|_| io::Error::other("the kernel gives no random bytes"))?;
    let mut asked = query.to_vec();
    let own = asked.get_mut(..2).map(|to| to.copy_from_slice(&id)).and(query.get(..2)).unwrap_or_default();
    let mut answer = match transport {
        Transport::Udp => over_udp(server, &asked).await?,
        Transport::Tcp => over_tcp(server, &asked).await?,
    };
    if let Some(to) = answer.get_mut(..2) {
        to.copy_from_slice(own);
    }
    Ok(answer)
}

async fn over_udp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(server).await?;
    socket.send(asked).await?;
    let mut answer = vec![0; LONGEST];
    loop {
        let length = socket.recv(&mut answer).await?;
        if is_answer_to(asked, answer.get(..length).unwrap_or_default()) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(asked.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), asked].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if is_answer_to(asked, &answer) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Whether a message is a response with the number and question of a query.
fn is_answer_to(asked: &[u8], answer: &[u8]) -> bool {
    let question = |message: &[u8]| {
        let (name, next) = DnsName::read(message, HEADER)?;
        Ok::<_, Malformed>((name, word(message, next)?, word(message, next + 2)?))
    };
    let is_response = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    is_response && answer.get(..2) == asked.get(..2) && question(answer).is_ok_and(|read| question(asked) == Ok(read))
}

/// The addresses and aliases in the answer section of a message.
pub(super) fn records(message: &[u8]) -> Result<Vec<Record>, Malformed> {
    let (_, question_end) = DnsName::read(message, HEADER)?;
    let mut at = question_end + 4;
    let mut records = Vec::new();
    for _ in 0..usize::from(word(message, 6)?).min(MOST_RECORDS) {
        let (name, fixed) = DnsName::read(message, at)?;
        let ttl = u32::from(word(message, fixed + 4)?) << 16 | u32::from(word(message, fixed + 6)?);
        let (start, length) = (fixed + 10, usize::from(word(message, fixed + 8)?));
        let data = message.get(start..start + length).ok_or(Malformed)?;
        let data = match word(message, fixed)? {
            kind::A => <[u8; 4]>::try_from(data).map(|bytes| Some(Data::A(bytes.into()))).map_err(|_| Malformed)?,
            kind::AAAA => {
                <[u8; 16]>::try_from(data).map(|bytes| Some(Data::Aaaa(bytes.into()))).map_err(|_| Malformed)?
            }
            kind::CNAME => Some(Data::Cname(DnsName::read(message, start)?.0)),
            _ => None,
        };
        records.extend(data.map(|data| Record { name, ttl, data }));
        at = start + length;
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::Upstreams;

    #[test]
    fn the_machines_resolvers_are_read() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.2\n nameserver\t::1 \nnameserver fe80::1%eth0\nnameserver";
        let wanted = ["10.0.0.2:53".parse().expect("an address"), "[::1]:53".parse().expect("an address")];
        assert_eq!(Upstreams::of_resolv_conf(text), Upstreams::new(wanted));
        assert!(Upstreams::of_resolv_conf("options x\n").is_empty());
    }
}
