//! The two ends of a measured path: a server that sinks or echoes, and clients that time themselves.

use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

/// Counts what it is sent and answers with the count.
pub(crate) const SINK: u16 = 9001;
/// Sends back what it is sent.
pub(crate) const ECHO: u16 = 9002;

const CHUNK: usize = 256 << 10;
const MESSAGE: usize = 1024;

/// Serves both ports for ever.
pub(crate) fn serve() -> Result<()> {
    let sink = TcpListener::bind(("::", SINK)).or_else(|_| TcpListener::bind(("0.0.0.0", SINK)))?;
    let echo = TcpListener::bind(("::", ECHO)).or_else(|_| TcpListener::bind(("0.0.0.0", ECHO)))?;
    thread::spawn(move || each(&sink, drain));
    each(&echo, reflect);
    Ok(())
}

fn each(listener: &TcpListener, work: fn(TcpStream) -> std::io::Result<()>) {
    for stream in listener.incoming().flatten() {
        // A peer that goes away in the middle is the end of its connection, nothing more.
        let started = thread::Builder::new().stack_size(64 << 10).spawn(move || work(stream).ok());
        if let Err(error) = started {
            eprintln!("no thread for a connection: {error}");
        }
    }
}

fn drain(mut stream: TcpStream) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0u64;
    loop {
        match stream.read(&mut buffer)? {
            0 => return stream.write_all(&total.to_be_bytes()),
            count => total += count as u64,
        }
    }
}

fn reflect(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = [0; MESSAGE];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => stream.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}

/// Runs one load against `address` and prints its figures, one `name value` a line.
pub(crate) fn run(kind: &str, address: &str, amount: &str) -> Result<()> {
    let amount: u64 = amount.parse().context("expected a number")?;
    match kind {
        "bulk" => bulk(address, amount),
        "rtt" => round_trips(address, amount),
        "connect" => connections(address, amount),
        "fan" => fan(address, amount),
        "hold" => hold(address, amount),
        _ => bail!("unknown load {kind}"),
    }
}

/// Sends so many bytes; prints the seconds until the server has them all.
fn bulk(address: &str, bytes: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let chunk = vec![7; CHUNK];
    let start = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        stream.write_all(chunk.get(..count).unwrap_or_default())?;
        left -= count as u64;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    anyhow::ensure!(u64::from_be_bytes(total) == bytes, "the server got {} bytes", u64::from_be_bytes(total));
    println!("seconds {}", start.elapsed().as_secs_f64());
    Ok(())
}

/// Echoes 1 KiB so often on one connection; prints median and 99th percentile in microseconds.
fn round_trips(address: &str, count: u64) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let (message, mut answer) = ([7; MESSAGE], [0; MESSAGE]);
    let mut times = Vec::new();
    for _ in 0..count + count / 10 {
        let start = Instant::now();
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    // The first tenth warms up.
    let mut times = times.split_off(usize::try_from(count / 10)?);
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or(f64::NAN);
    println!("p50 {}\np99 {}", at(0.50), at(0.99));
    Ok(())
}

/// Opens so many connections one after the other, a byte to and fro on each; prints the seconds.
///
/// The name is looked up once: what DNS costs is another matter.
fn connections(address: &str, count: u64) -> Result<()> {
    let address = looked_up(address)?;
    let start = Instant::now();
    for _ in 0..count {
        touch(address)?;
    }
    println!("seconds {}", start.elapsed().as_secs_f64());
    Ok(())
}

/// Opens one connection to each of so many addresses: `{}` in `address` is their number.
fn fan(address: &str, count: u64) -> Result<()> {
    (0..count).try_for_each(|number| touch(looked_up(&address.replace("{}", &number.to_string()))?))
}

fn looked_up(address: &str) -> Result<SocketAddr> {
    address.to_socket_addrs()?.next().with_context(|| format!("{address} has no address"))
}

fn touch(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"x")?;
    Ok(stream.read_exact(&mut [0])?)
}

/// Opens so many connections, says so, and holds them until its standard input ends or 20 s pass.
fn hold(address: &str, count: u64) -> Result<()> {
    let mut open = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        open.push(stream);
    }
    println!("open {}", open.len());
    std::io::stdout().flush()?;
    thread::sleep(Duration::from_secs(20));
    Ok(())
}
