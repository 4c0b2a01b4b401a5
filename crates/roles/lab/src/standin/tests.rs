//! A stand-in in a network namespace of its own, asked by real clients. Needs root.

use super::http::Seen;
use super::{Kind, Port, Sighting, StandIn, kind, run};
use crate::testing::in_new_netns;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lictor_model::Protocol;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

const TCP: u16 = 7000;
const UDP: u16 = 7001;
const HTTP: u16 = 7002;
const DETECT: u16 = 7003;
const SCTP: u16 = 7004;

/// Runs a stand-in named `a/b` with a port of each kind, and a client beside it.
fn with_stand_in<F: Future<Output = ()>>(client: impl FnOnce() -> F + Send + 'static) {
    in_new_netns(move || {
        let port = |port, protocol, kind| Port { port, protocol, kind };
        let ports = vec![
            port(TCP, Protocol::Tcp, Kind::Tcp),
            port(UDP, Protocol::Udp, Kind::Udp),
            port(HTTP, Protocol::Tcp, Kind::Http),
            port(DETECT, Protocol::Tcp, Kind::Detect),
        ];
        let stand_in = StandIn { pod: "a/b".to_owned(), ports };
        let (listening, listens) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = run(&stand_in, |_| listening.send(Ok(())).expect("the test waits"));
            let _ = listening.send(outcome);
        });
        listens.recv().expect("a stand-in").expect("listens");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), client()).await.expect("in time") });
    });
}

async fn connect(address: &str, port: u16) -> TcpStream {
    TcpStream::connect(SocketAddr::new(address.parse().expect("an address"), port)).await.expect("connects")
}

/// Sends bytes, ends the stream, and returns what came back.
async fn exchange(mut stream: TcpStream, bytes: &[u8]) -> String {
    stream.write_all(bytes).await.expect("written");
    stream.shutdown().await.expect("ended");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).await.expect("read");
    String::from_utf8(back).expect("text")
}

/// The head and body of an HTTP/1.1 answer.
async fn get(port: u16, target: &str) -> (String, String) {
    let request = format!("GET {target} HTTP/1.1\r\nhost: shop\r\nx-two: 1\r\nx-two: 2\r\nconnection: close\r\n\r\n");
    let answer = exchange(connect("127.0.0.1", port).await, request.as_bytes()).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned())
}

async fn http2(port: u16, request: Request<Full<Bytes>>) -> (StatusCode, Bytes, Option<HeaderMap>) {
    let stream = TokioIo::new(connect("::1", port).await);
    let (mut send, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    let response = send.send_request(request).await.expect("an answer");
    let status = response.status();
    let body = response.into_body().collect().await.expect("a body");
    let trailers = body.trailers().cloned();
    (status, body.to_bytes(), trailers)
}

#[test]
fn tcp_comes_back_and_says_who_answered() {
    with_stand_in(|| async {
        assert_eq!(
            exchange(connect("127.0.0.1", TCP).await, b"GET / HTTP/1.1\r\n\r\n").await,
            "GET / HTTP/1.1\r\n\r\n"
        );
        for address in ["127.0.0.1", "::1"] {
            let stream = connect(address, TCP).await;
            let me = stream.local_addr().expect("an address");
            let answer = exchange(stream, b"WHOAMI\nmore").await;
            let (line, rest) = answer.strip_prefix("WHOAMI\n").expect("the echo").split_once('\n').expect("a line");
            let sighting: Sighting = serde_json::from_str(line).expect("a sighting");
            assert_eq!((sighting, rest), (Sighting { pod: "a/b".to_owned(), peer: me }, "more"));
        }
        let bulk = "0123456789abcdef".repeat(1 << 16);
        let (mut read, mut write) = connect("127.0.0.1", TCP).await.into_split();
        let sent = bulk.clone();
        tokio::spawn(async move {
            write.write_all(sent.as_bytes()).await.expect("written");
            write.shutdown().await.expect("ended");
        });
        let mut back = String::new();
        read.read_to_string(&mut back).await.expect("read");
        assert!(back == bulk, "{} of {} bytes came back", back.len(), bulk.len());
    });
}

#[test]
fn udp_comes_back_and_says_who_answered() {
    with_stand_in(|| async {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let socket = UdpSocket::bind(address).await.expect("a socket");
            let me = socket.local_addr().expect("an address");
            socket.connect((me.ip(), UDP)).await.expect("connects");
            let mut buffer = vec![0; 70_000];
            let long = vec![7; 60_000];
            for datagram in [b"hello".as_slice(), b"", &long] {
                socket.send(datagram).await.expect("sent");
                let length = socket.recv(&mut buffer).await.expect("received");
                assert!(&buffer[..length] == datagram, "{length} bytes came back");
            }
            socket.send(b"WHOAMI").await.expect("sent");
            let length = socket.recv(&mut buffer).await.expect("received");
            let sighting: Sighting = serde_json::from_slice(&buffer[..length]).expect("a sighting");
            assert_eq!(sighting, Sighting { pod: "a/b".to_owned(), peer: me });
        }
    });
}

#[test]
fn http_says_what_it_saw() {
    with_stand_in(|| async {
        for port in [HTTP, DETECT] {
            let (head, body) = get(port, "/cart?x=1").await;
            assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
            let seen: Seen = serde_json::from_str(&body).expect("what was seen");
            assert_eq!(
                (&*seen.pod, &*seen.method, &*seen.path, &*seen.protocol),
                ("a/b", "GET", "/cart?x=1", "HTTP/1.1")
            );
            assert_eq!(seen.host.as_deref(), Some("shop"));
            assert_eq!(seen.headers.get("x-two").map(String::as_str), Some("1, 2"));
            assert!(seen.peer.ip().is_loopback() && seen.peer.is_ipv4(), "{}", seen.peer);

            let request = Request::post("http://shop:80/pay").body(Full::from("four")).expect("a request");
            let (status, body, _) = http2(port, request).await;
            let seen: Seen = serde_json::from_slice(&body).expect("what was seen");
            assert_eq!(
                (status, &*seen.method, &*seen.path, &*seen.protocol),
                (StatusCode::OK, "POST", "/pay", "HTTP/2.0")
            );
            assert_eq!((seen.host.as_deref(), seen.received), (Some("shop:80"), 4));
        }
    });
}

#[test]
fn the_query_shapes_the_answer() {
    with_stand_in(|| async {
        assert!(get(HTTP, "/?status=503").await.0.starts_with("HTTP/1.1 503 "));
        let (head, body) = get(HTTP, "/?bytes=100000&status=201").await;
        assert!(head.starts_with("HTTP/1.1 201 ") && head.contains("content-length: 100000"), "{head}");
        assert_eq!(body, "x".repeat(100_000));
        let before = Instant::now();
        get(HTTP, "/?delay=150").await;
        assert!(before.elapsed() >= Duration::from_millis(150), "{:?}", before.elapsed());
        for wrong in ["status=101", "status=x", "bytes=9999999999", "delay=9999999"] {
            assert!(get(HTTP, &format!("/?{wrong}")).await.0.starts_with("HTTP/1.1 400 "), "{wrong}");
        }
        let request = Request::post("http://shop/?echo").body(Full::from("this")).expect("a request");
        assert_eq!(http2(HTTP, request).await.1, "this");
    });
}

#[test]
fn grpc_ends_with_its_status() {
    with_stand_in(|| async {
        let call = |path: &str, body: &'static [u8]| {
            let request = Request::post(format!("http://shop{path}")).header("content-type", "application/grpc+proto");
            request.body(Full::from(body)).expect("a request")
        };
        let message = b"\0\0\0\0\x01m";
        for (path, wanted) in
            [("/shop.Cart/Add", message.as_slice()), ("/grpc.health.v1.Health/Check", b"\0\0\0\0\x02\x08\x01")]
        {
            let (status, body, trailers) = http2(HTTP, call(path, message)).await;
            assert_eq!((status, &*body), (StatusCode::OK, wanted), "{path}");
            let trailers = trailers.expect("trailers");
            assert_eq!(trailers.get("grpc-status").map(|value| value.as_bytes()), Some(b"0".as_slice()), "{path}");
        }
    });
}

#[test]
fn a_websocket_opens_and_echoes() {
    with_stand_in(|| async {
        let mut stream = connect("127.0.0.1", DETECT).await;
        let handshake = "GET /chat HTTP/1.1\r\nhost: shop\r\nupgrade: websocket\r\nconnection: keep-alive, Upgrade\r\n\
                         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
        stream.write_all(handshake.as_bytes()).await.expect("written");
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a head").into());
        }
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
        stream.write_all(b"\x81\x82\0\0\0\0hi").await.expect("written");
        let mut frame = [0; 4];
        stream.read_exact(&mut frame).await.expect("a frame");
        assert_eq!(&frame, b"\x81\x02hi");
    });
}

#[test]
fn a_protocol_that_the_kernel_lacks_is_said_and_the_rest_is_served() {
    in_new_netns(|| {
        let port = |port, protocol| Port { port, protocol, kind: Kind::Tcp };
        let ports = vec![port(SCTP, Protocol::Sctp), port(TCP, Protocol::Tcp)];
        let stand_in = StandIn { pod: "a/b".to_owned(), ports: ports.clone() };
        let (listening, listens) = mpsc::channel();
        std::thread::spawn(move || {
            run(&stand_in, |bound| listening.send((bound.served.clone(), bound.unserved.len())).expect("sent"))
        });
        let (served, unserved) = listens.recv().expect("it listens");
        assert_eq!(served.len() + unserved, ports.len(), "each port is one or the other");
        assert!(served.contains(&ports[1]));
    });
}

#[test]
fn a_port_that_is_taken_is_an_error() {
    in_new_netns(|| {
        let _taken = std::net::TcpListener::bind(("0.0.0.0", TCP)).expect("free in a new namespace");
        let ports = vec![Port { port: TCP, protocol: Protocol::Tcp, kind: Kind::Tcp }];
        let error = run(&StandIn { pod: String::new(), ports }, |_| panic!("must not listen")).expect_err("taken");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
        assert!(error.to_string().starts_with("cannot listen on 7000/TCP: "), "{error}");
    });
}

#[test]
fn a_port_speaks_what_its_manifest_calls_it() {
    for (name, app_protocol, protocol, wanted) in [
        ("http", None, Protocol::Tcp, Kind::Http),
        ("http2-admin", None, Protocol::Tcp, Kind::Http),
        ("grpc-web", None, Protocol::Tcp, Kind::Http),
        ("GRPC", None, Protocol::Tcp, Kind::Http),
        ("https", None, Protocol::Tcp, Kind::Tcp),
        ("redis-cache", None, Protocol::Tcp, Kind::Tcp),
        ("web", None, Protocol::Tcp, Kind::Detect),
        ("", None, Protocol::Tcp, Kind::Detect),
        ("httpx", None, Protocol::Tcp, Kind::Detect),
        ("tcp-db", Some("http"), Protocol::Tcp, Kind::Http),
        ("http", Some("tls"), Protocol::Tcp, Kind::Tcp),
        ("web", Some("kubernetes.io/h2c"), Protocol::Tcp, Kind::Http),
        ("http", Some("example.com/own"), Protocol::Tcp, Kind::Detect),
        ("http", None, Protocol::Udp, Kind::Udp),
        ("http", None, Protocol::Sctp, Kind::Tcp),
    ] {
        assert_eq!(kind(name, app_protocol, protocol), wanted, "{name} {app_protocol:?} {protocol}");
    }
}

#[test]
fn a_configuration_reads_as_it_writes() {
    let text = r#"{"pod":"a/b","ports":[{"port":80,"protocol":"TCP","kind":"http"}]}"#;
    let stand_in: StandIn = serde_json::from_str(text).expect("a configuration");
    assert_eq!(serde_json::to_string(&stand_in).expect("JSON"), text);
    assert!(serde_json::from_str::<StandIn>(r#"{"pod":"a/b","ports":[],"port":1}"#).is_err(), "an unknown field");
}
