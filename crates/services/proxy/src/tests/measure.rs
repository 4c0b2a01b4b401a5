//! What the path costs: direct and by tunnel in one run. `cargo test --release -p lictor-proxy -- --ignored --nocapture measure`
//!
//! Source and destination are on a worker each; CPU is theirs alone, kernel time included.

use crate::neighbours::Neighbours;
use crate::pod::{Known, Pod};
use crate::settings::Settings;
use crate::socket::Reach;
use crate::tests::bench::{Bench, DB, WEB, run};
use crate::worker::Worker;
use crate::{outbound, socket};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

const PORT: u16 = 5432;
const ENTRY: SocketAddr = SocketAddr::new(WEB, 25001);
/// The same, with a tunnel for each connection.
const SINGLE: SocketAddr = SocketAddr::new(WEB, 25002);

/// CPU time of the workers' threads.
fn workers() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads").filter_map(Result::ok);
    let spent = tasks.filter_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let times = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        name.starts_with("lictor-").then(|| times.split(' ').next()?.parse::<u64>().ok()).flatten()
    });
    Duration::from_nanos(spent.sum())
}

/// Memory of the process, in bytes.
fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").expect("the sizes");
    pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok()).expect("pages") * 4096.0
}

/// A thread that takes what is redirected out of `shop/web`.
fn source(bench: &Bench, port: u16, settings: Settings) {
    let (tls, view, recorder) = bench.parts();
    let sockets = bench.sockets("shop/web");
    std::thread::Builder::new()
        .name("lictor-source".to_owned())
        .spawn(move || {
            run(async {
                let metrics = std::sync::Arc::default();
                let worker = Worker::new(settings, tls, view, recorder, metrics, Neighbours::default());
                let pod = Rc::new(Pod::new(0, Known::new(sockets)));
                let listener = socket::listen(&pod.namespace, port, Reach::ThisNode).expect("a listener");
                while let Ok((client, peer)) = listener.accept().await {
                    socket::prepare(&client);
                    let to = SocketAddr::new(DB, PORT);
                    pod.spawn(outbound::serve(
                        Rc::clone(&worker),
                        Rc::clone(&pod),
                        client,
                        socket::canonical(peer),
                        to,
                    ));
                }
            });
        })
        .expect("a thread");
}

fn connect(bench: &Bench, to: SocketAddr) -> TcpStream {
    let stream = bench.namespace.within(|| TcpStream::connect(to)).expect("a connection");
    stream.set_nodelay(true).expect("a connection");
    stream
}

/// CPU seconds for a gigabyte.
fn bulk(bench: &Bench, what: &str, to: SocketAddr) -> f64 {
    let total: u64 = 2_000_000_000;
    let (cpu, began) = (workers(), Instant::now());
    let mut stream = connect(bench, to);
    stream.write_all(b"b").expect("room");
    let block = vec![7; 1 << 18];
    let mut left = total;
    while left > 0 {
        let some = block.len().min(left as usize);
        stream.write_all(&block[..some]).expect("room");
        left -= some as u64;
    }
    stream.shutdown(std::net::Shutdown::Write).expect("an end");
    let mut count = [0; 8];
    stream.read_exact(&mut count).expect("the count");
    assert_eq!(u64::from_be_bytes(count), total);
    let (cpu, took) = ((workers() - cpu).as_secs_f64(), began.elapsed().as_secs_f64());
    let cpu = cpu / (total as f64 / 1e9);
    println!("{what:<8} bulk        {:6.2} Gb/s   {cpu:5.2} CPU s/GB", total as f64 * 8e-9 / took);
    cpu
}

/// Microseconds for half of the round trips of 1 KiB.
fn round_trip(bench: &Bench, what: &str, to: SocketAddr) -> f64 {
    let mut stream = connect(bench, to);
    stream.write_all(b"e").expect("room");
    let mut block = [0; 1024];
    let cpu = workers();
    let mut times: Vec<f64> = (0..20_000)
        .map(|_| {
            let began = Instant::now();
            stream.write_all(&block).expect("room");
            stream.read_exact(&mut block).expect("an echo");
            began.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let p50 = times[times.len() / 2];
    let each = (workers() - cpu).as_secs_f64() * 1e6 / times.len() as f64;
    println!("{what:<8} round trip  p50 {p50:6.1} us  p99 {:6.1} us  {each:5.1} CPU us", times[times.len() * 99 / 100]);
    p50
}

/// CPU milliseconds for a connection that sends and gets one byte.
fn connection(bench: &Bench, what: &str, to: SocketAddr) -> f64 {
    let many = 3000;
    let mut block = [0];
    let cpu = workers();
    for _ in 0..many {
        let mut stream = connect(bench, to);
        stream.write_all(b"ex").expect("room");
        stream.read_exact(&mut block).expect("an echo");
    }
    let each = (workers() - cpu).as_secs_f64() * 1e3 / f64::from(many);
    println!("{what:<8} connection  {each:5.3} CPU ms");
    each
}

/// What connections cost that are opened and stay: CPU once, memory as long.
fn idle(bench: &Bench, what: &str, to: SocketAddr, many: usize) {
    let (cpu, memory) = (workers(), resident());
    let open: Vec<TcpStream> = (0..many)
        .map(|_| {
            let mut stream = connect(bench, to);
            stream.write_all(b"ex").expect("room");
            stream.read_exact(&mut [0]).expect("an echo");
            stream
        })
        .collect();
    std::thread::sleep(Duration::from_millis(500));
    let each = (workers() - cpu).as_secs_f64() * 1e3 / many as f64;
    let memory = (resident() - memory) / many as f64 / 1024.0;
    println!(
        "{what:<8} idle        {each:5.3} CPU ms, {memory:.1} KiB each, of {} (the application's thread included)",
        open.len()
    );
}

#[test]
#[ignore = "a measurement, not a test: it takes a minute and needs a quiet machine"]
fn measure_the_path() {
    run(async {
        let bench = Bench::new("").await;
        source(&bench, ENTRY.port(), bench.worker.settings);
        source(&bench, SINGLE.port(), Settings { streams_per_tunnel: 1, ..bench.worker.settings });
        let listener = bench.namespace.within(|| TcpListener::bind(SocketAddr::new(DB, PORT))).expect("a listener");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                std::thread::spawn(move || serve(stream.expect("a connection")));
            }
        });
        std::thread::sleep(Duration::from_millis(200));
        // One of them alone, to be looked at with a profiler.
        let only = std::env::var("LICTOR_MEASURE").unwrap_or_default();
        let application = SocketAddr::new(DB, PORT);
        if matches!(&*only, "" | "bulk") {
            bulk(&bench, "direct", application);
            bulk(&bench, "tunnel", ENTRY);
        }
        if matches!(&*only, "" | "round-trip") {
            let direct = round_trip(&bench, "direct", application);
            println!("ratio    round trip  {:.2}", round_trip(&bench, "tunnel", ENTRY) / direct);
        }
        if matches!(&*only, "" | "connection") {
            connection(&bench, "direct", application);
            connection(&bench, "tunnel", ENTRY);
        }
        if matches!(&*only, "" | "idle") {
            idle(&bench, "tunnel", ENTRY, 1000);
            idle(&bench, "1 each", SINGLE, 300);
        }
    });
}

/// `b`: counts what comes and says it at the end. `e`: an echo.
fn serve(mut stream: TcpStream) {
    stream.set_nodelay(true).expect("a connection");
    let mut kind = [0];
    let mut block = vec![0; 1 << 18];
    if stream.read_exact(&mut kind).is_err() {
        return;
    }
    let mut count = 0u64;
    while let Ok(some @ 1..) = stream.read(&mut block) {
        count += some as u64;
        if kind == *b"e" && stream.write_all(&block[..some]).is_err() {
            return;
        }
    }
    if kind == *b"b" {
        let _ = stream.write_all(&count.to_be_bytes());
    }
}
