//! Requests: asked about one by one, forwarded as they came.

use crate::tests::bench::{Bench, DB, exchange, run, until};
use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, BodyStream, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use lictor_model::{Layer, Name, Point, Verdict};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// GET below /public, nothing below /admin, and WebSockets.
const RULES: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: read, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  rules:
  - to: [{operation: {methods: [GET, POST], paths: [/public/*, //*, /grpc.Echo/*]}}]
    from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
  - to: [{operation: {paths: [/chat]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-admin, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  action: DENY
  rules: [{to: [{operation: {paths: [/admin*]}}]}]
";

#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move {
            task.await;
        });
    }
}

/// Serves [`answer`].
pub(super) fn application(listener: TcpListener) {
    tokio::task::spawn_local(async move {
        while let Ok((stream, peer)) = listener.accept().await {
            let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, peer)) });
            tokio::task::spawn_local(async move {
                let _ = auto::Builder::new(Local).serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
}

/// Tells what was asked by whom in headers, sends the body back, and trailers after it.
fn answer(request: Request<Incoming>, peer: SocketAddr) -> Response<BoxBody<Bytes, hyper::Error>> {
    let line = format!("{} {} {:?} from {}", request.method(), request.uri(), request.version(), peer.ip());
    let (parts, body) = request.into_parts();
    let value = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned();
    let lengths = ["content-length", "transfer-encoding"].map(|name| parts.headers.contains_key(name));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let end = futures::stream::iter([Ok(Frame::trailers(trailers))]);
    let body = BodyExt::boxed(StreamBody::new(BodyStream::new(body).chain(end)));
    let response = Response::builder().header("x-line", line).header("x-host", value("host"));
    let response = response.header("x-upgrade", value("upgrade")).header("trailer", "grpc-status");
    let lengths = lengths.into_iter().filter(|length| *length).count();
    response.header("x-lengths", lengths).body(body).expect("a response")
}

pub(super) async fn client1(stream: TcpStream) -> http1::SendRequest<Full<Bytes>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1");
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    sender
}

async fn client2<B: hyper::body::Body + Unpin + 'static>(stream: TcpStream) -> http2::SendRequest<B>
where
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let builder = http2::Builder::new(Local).timer(TokioTimer::new()).handshake(TokioIo::new(stream));
    let (sender, connection) = builder.await.expect("HTTP/2");
    tokio::task::spawn_local(async move {
        let _ = connection.await;
    });
    sender
}

pub(super) fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "db:8080").body(Full::default()).expect("a request")
}

pub(super) async fn text(response: Response<Incoming>) -> String {
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

fn line(response: &Response<Incoming>) -> &str {
    response.headers().get("x-line").and_then(|value| value.to_str().ok()).expect("the line")
}

const DB_HTTP: SocketAddr = SocketAddr::new(DB, 8080);

#[test]
fn each_request_is_judged_and_recorded() {
    run(async {
        let bench = Bench::new(RULES).await;
        application(bench.application(8080));
        let mut client = client1(bench.open_from("shop/web", DB_HTTP).await).await;
        let post =
            Request::post("/public/a?q=1").header("host", "db:8080").body(Full::from("four")).expect("a request");
        let allowed = client.send_request(post).await.expect("an answer");
        assert_eq!((allowed.status(), allowed.version()), (StatusCode::OK, Version::HTTP_11));
        assert_eq!(line(&allowed), "POST /public/a?q=1 HTTP/1.1 from 127.1.0.11");
        assert_eq!(allowed.headers().get("x-host").map(|value| value.as_bytes()), Some(&b"db:8080"[..]));
        assert_eq!(text(allowed).await, "four");

        let denied = client.send_request(get("/private?x=1")).await.expect("an answer");
        assert_eq!(denied.status(), StatusCode::FORBIDDEN);
        assert_eq!(
            denied.headers().get("content-type").map(|value| value.as_bytes()),
            Some(&b"text/plain; charset=utf-8"[..])
        );
        assert_eq!(
            text(denied).await,
            "RBAC: access denied\n\
             denied at authorization, by default, isolated by shop/read\n\
             to see why: lictor why shop/web shop/db:8080 --method GET --path /private\n"
        );
        let denied = client.send_request(get("/admin/x")).await.expect("an answer");
        assert!(text(denied).await.contains("by AuthorizationPolicy shop/no-admin spec.rules[0]\n"));
        let again = client.send_request(get("/public/b")).await.expect("an answer");
        assert_eq!(line(&again), "GET /public/b HTTP/1.1 from 127.1.0.11");

        let decisions = bench.decisions();
        let said: Vec<_> = decisions.iter().map(|one| (one.verdict, one.path.as_deref().unwrap_or_default())).collect();
        use Verdict::{Allow, Deny};
        assert_eq!(said, [(Allow, "/public/a"), (Deny, "/private"), (Deny, "/admin/x"), (Allow, "/public/b")]);
        let first = decisions.first().expect("a decision");
        assert_eq!((first.method.as_deref(), first.host.as_deref()), (Some("POST"), Some("db:8080")));
        assert_eq!((first.point, first.layer, first.encrypted), (Point::Http, Layer::Authorization, true));
        assert_eq!(first.source.pod, Some(Name::new("shop", "web")));
        let close = bench.close_of(first.id).await;
        assert_eq!((close.bytes_sent, close.bytes_received), (4, 4));
        assert_eq!(bench.proxy.metrics().tunnel_streams_accepted.value(), 1, "one connection");
    });
}

#[test]
fn two_readings_of_a_path_never_differ() {
    run(async {
        let bench = Bench::new(RULES).await;
        application(bench.application(8080));
        let mut client = client1(bench.open_from("shop/web", DB_HTTP).await).await;
        for (sent, status, seen) in [
            ("/public/../public/./a", 200, "/public/a"),
            ("/x/../admin", 403, ""),
            ("/public/%2e%2e/admin", 403, ""),
            ("//admin", 403, ""),
            ("//other", 200, "//other"),
            ("/public/..%2fadmin", 400, ""),
            ("/public/..;/admin", 400, ""),
            ("/public/%zz", 400, ""),
            ("/%70ublic/b?a=../b", 200, "/public/b?a=../b"),
        ] {
            let response = client.send_request(get(sent)).await.expect("an answer");
            assert_eq!(response.status(), status, "{sent}");
            if status == 200 {
                assert_eq!(line(&response), format!("GET {seen} HTTP/1.1 from 127.1.0.11"), "{sent}");
            }
            text(response).await;
        }
        assert_eq!(bench.proxy.metrics().malformed_requests.value(), 3);
        let refused = bench.decisions().into_iter().find(|one| one.path.as_deref() == Some("/public/..;/admin"));
        let why = "expected a path whose dot segments mean the same to every reader";
        assert_eq!(refused.map(|one| (one.verdict, one.by.to_string())), Some((Verdict::Deny, why.to_owned())));
    });
}

#[test]
fn a_request_with_two_meanings_is_refused() {
    run(async {
        let bench = Bench::new(RULES).await;
        application(bench.application(8080));
        for head in [
            "GET http://db/public/a HTTP/1.1\r\nhost: other\r\n\r\n",
            "GET /public/a HTTP/1.1\r\nhost: db\r\nhost: db\r\n\r\n",
            "GET /public/a HTTP/1.1\r\n\r\n",
            "POST /public/a HTTP/1.1\r\nhost: db\r\ncontent-length: 4\r\ncontent-length: 5\r\n\r\nfour",
            "POST /public/a HTTP/1.1\r\nhost: db\r\ntransfer-encoding: chunked, identity\r\n\r\nfour",
            "GET /public/a HTTP/1.1\r\nhost: db\r\nx y: z\r\n\r\n",
            "\x16\x03\x01\x02\x00 this is TLS",
        ] {
            let answer =
                exchange(bench.open_from("shop/web", DB_HTTP).await, head.as_bytes()).await.expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 400 "), "{head:?}: {}", answer.escape_ascii());
        }
        let long = format!("GET /public/a HTTP/1.1\r\nhost: db\r\nx: {}\r\n\r\n", "x".repeat(80_000));
        let answer = exchange(bench.open_from("shop/web", DB_HTTP).await, long.as_bytes()).await.expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 431 "), "{}", answer.escape_ascii());
        // Of two lengths only the coding goes on, and the connection ends (RFC 9112, section 6.3).
        let both = "POST /public/a HTTP/1.1\r\nhost: db\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /";
        let answer = exchange(bench.open_from("shop/web", DB_HTTP).await, both.as_bytes()).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("x-lengths: 1\r\n") && answer.contains("connection: close\r\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "one status line, one request line: {answer}");
        let absolute = "GET http://db/public/a HTTP/1.1\r\nhost: db\r\nconnection: close\r\n\r\n";
        let answer =
            exchange(bench.open_from("shop/web", DB_HTTP).await, absolute.as_bytes()).await.expect("an answer");
        assert!(String::from_utf8_lossy(&answer).contains("GET /public/a HTTP/1.1 from"), "{}", answer.escape_ascii());
    });
}

#[test]
fn http2_streams_with_trailers() {
    run(async {
        let bench = Bench::new(RULES).await;
        application(bench.application(8080));
        type Streamed = StreamBody<futures::channel::mpsc::UnboundedReceiver<Result<Frame<Bytes>, Infallible>>>;
        let mut client = client2::<Streamed>(bench.open_from("shop/web", DB_HTTP).await).await;
        let (sender, body) = futures::channel::mpsc::unbounded();
        let uri = "http://db:8080/grpc.Echo/Chat";
        let request = Request::post(uri).header("te", "trailers").body(StreamBody::new(body)).expect("a request");
        let response = client.send_request(request).await.expect("an answer before the body ends");
        assert_eq!((response.status(), response.version()), (StatusCode::OK, Version::HTTP_2));
        assert_eq!(line(&response), "POST http://db:8080/grpc.Echo/Chat HTTP/2.0 from 127.1.0.11");
        let mut answers = response.into_body();
        for word in ["one", "two"] {
            sender.unbounded_send(Ok(Frame::data(Bytes::from(word)))).expect("room");
            let frame = answers.frame().await.expect("a frame").expect("a frame");
            assert_eq!(frame.data_ref().map(Bytes::as_ref), Some(word.as_bytes()));
        }
        drop(sender);
        let last = answers.frame().await.expect("trailers").expect("trailers");
        assert_eq!(
            last.trailers_ref().and_then(|map| map.get("grpc-status")).map(|value| value.as_bytes()),
            Some(&b"0"[..])
        );
        assert!(answers.frame().await.is_none());

        let requests = (0..20).map(|at| {
            let (_, body) = futures::channel::mpsc::unbounded();
            let path = if at % 2 == 0 { "public/a" } else { "admin" };
            client
                .clone()
                .send_request(Request::get(format!("http://db/{path}")).body(StreamBody::new(body)).expect("a request"))
        });
        let answers = futures::future::join_all(requests).await;
        let statuses: Vec<u16> =
            answers.into_iter().map(|answer| answer.expect("an answer").status().as_u16()).collect();
        assert_eq!(statuses, [200, 403].repeat(10));
    });
}

#[test]
fn a_websocket_goes_through() {
    run(async {
        let bench = Bench::new(RULES).await;
        let listener = bench.application(8080);
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.expect("a head"));
            }
            let head = String::from_utf8(head).expect("text");
            assert!(head.starts_with("GET /chat HTTP/1.1\r\n") && head.contains("Sec-WebSocket-Key: x\r\n"), "{head}");
            let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
            stream.write_all(answer.as_bytes()).await.expect("room");
            let (mut read, mut write) = stream.split();
            tokio::io::copy(&mut read, &mut write).await.expect("an echo");
        });
        let mut client = bench.open_from("shop/web", DB_HTTP).await;
        let head = "GET /chat HTTP/1.1\r\nHost: db\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
        client.write_all(head.as_bytes()).await.expect("room");
        let mut answer = Vec::new();
        while !answer.ends_with(b"hello") {
            answer.push(client.read_u8().await.expect("an answer"));
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"), "{}", answer.escape_ascii());
        client.write_all(b"\x81\x03ave").await.expect("room");
        let mut frame = [0; 5];
        client.read_exact(&mut frame).await.expect("an echo");
        assert_eq!(&frame, b"\x81\x03ave");
        assert_eq!(bench.decision().await.path.as_deref(), Some("/chat"));
        // A policy that denies it ends it.
        bench.apply("");
        client.write_all(b"x").await.expect("room");
        assert_eq!(client.read_u8().await.expect("still open"), b'x');
        bench.apply(&RULES.replace("/chat", "/other"));
        assert!(tokio::time::timeout(Duration::from_secs(1), client.read_u8()).await.expect("it ends").is_err());
        let id = bench.decision().await.id;
        let close = bench.close_of(id).await;
        assert_eq!((close.bytes_sent, close.bytes_received, close.ended_by.is_some()), (6, 11, true));
    });
}

#[test]
fn an_upgrade_to_http2_is_not_offered_on() {
    run(async {
        let bench = Bench::new(RULES).await;
        application(bench.application(8080));
        let head = "GET /public/a HTTP/1.1\r\nhost: db\r\nconnection: Upgrade, HTTP2-Settings, close\r\n\
                    upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n";
        let answer = exchange(bench.open_from("shop/web", DB_HTTP).await, head.as_bytes()).await.expect("an answer");
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("x-upgrade: none\r\n"), "{answer}");
    });
}

#[test]
fn an_application_that_does_not_answer_is_said_so() {
    run(async {
        let bench = Bench::new(RULES).await;
        let mut client = client1(bench.open_from("shop/web", DB_HTTP).await).await;
        let response = client.send_request(get("/public/a")).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        // One that closes its connections between two requests is connected again.
        let listener = bench.application(8080);
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            }
        });
        for _ in 0..3 {
            let response = client.send_request(get("/public/a")).await.expect("an answer");
            assert_eq!(response.status(), StatusCode::OK);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        until(|| (bench.decisions().len() == 4).then_some(())).await;
    });
}
