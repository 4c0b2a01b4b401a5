//! Ports of which nothing is declared: the first bytes tell what is spoken.

use crate::sni::tests::greeting;
use crate::tests::bench::{Bench, DB, SIDE, WEB, echo, exchange, run};
use crate::tests::http::{application, client1, get, text};
use http::StatusCode;
use lictor_model::{Layer, Point, Verdict};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const L4_TOO: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]
  - to: [{operation: {paths: [/health]}}]
";

#[test]
fn where_nothing_is_declared_the_first_bytes_tell() {
    run(async {
        let bench = Bench::new(L4_TOO).await;
        let listener = bench.application(9000);
        tokio::task::spawn_local(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(b"220 ready\r\n").await.expect("room");
                let mut all = Vec::new();
                let _ = stream.read_to_end(&mut all).await;
                let _ = stream.write_all(&all).await;
            }
        });
        // The server speaks first.
        let mut client = bench.open_from("shop/web", SocketAddr::new(DB, 9000)).await;
        let mut greeting = [0; 11];
        client.read_exact(&mut greeting).await.expect("a greeting");
        assert_eq!(&greeting, b"220 ready\r\n");
        assert_eq!(exchange(client, b"QUIT").await.expect("an end"), b"QUIT");
        let decision = bench.decision().await;
        assert_eq!((decision.point, decision.verdict), (Point::Proxy, Verdict::Allow));
        // The client speaks first, and not HTTP; who is not web has only a path, which this is not.
        let client = bench.open_from("shop/web", SocketAddr::new(DB, 9000)).await;
        assert_eq!(exchange(client, b"\x00\x01").await.expect("an answer"), b"220 ready\r\n\x00\x01");
        let client = bench.plaintext_from(SIDE, 9000).await;
        assert_eq!(exchange(client, b"\x00\x01").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        let verdicts: Vec<_> = bench.decisions().iter().map(|one| (one.point, one.verdict)).collect();
        assert_eq!(verdicts.last(), Some(&(Point::Proxy, Verdict::Deny)));
    });
}

#[test]
fn a_check_of_a_port_is_no_refusal() {
    run(async {
        let bench = Bench::new(L4_TOO).await;
        for port in [8080, 9000] {
            let client = bench.plaintext_from(SIDE, port).await;
            assert_eq!(exchange(client, b"").await.expect("an orderly end"), b"", "{port}");
        }
        let said: Vec<_> = bench.decisions().iter().map(|one| (one.destination.port, one.layer, one.verdict)).collect();
        assert_eq!(said, [(8080, Layer::Ingress, Verdict::Allow), (9000, Layer::Ingress, Verdict::Allow)]);
    });
}

#[test]
fn who_waits_before_a_request_is_not_taken_for_something_else() {
    run(async {
        let bench = Bench::new(L4_TOO).await;
        application(bench.application(9000));
        for source in [Some(SIDE), None] {
            let stream = match source {
                Some(source) => bench.plaintext_from(source, 9000).await,
                None => bench.open_from("shop/web", SocketAddr::new(DB, 9000)).await,
            };
            tokio::time::sleep(Duration::from_millis(400)).await;
            let mut client = client1(stream).await;
            let health = client.send_request(get("/health")).await.expect("an answer");
            assert_eq!(health.status(), StatusCode::OK, "{source:?}");
            text(health).await;
            let other = client.send_request(get("/other")).await.expect("an answer");
            assert_eq!(other.status().as_u16(), if source.is_some() { 403 } else { 200 }, "{source:?}");
        }
        let sources: Vec<_> = bench.decisions().iter().map(|one| (one.source.address, one.encrypted)).collect();
        assert_eq!(sources, [(SIDE, false), (SIDE, false), (WEB, true), (WEB, true)]);
    });
}

#[test]
fn a_rule_on_the_server_name_sees_it() {
    run(async {
        let bench = Bench::new(
            "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: by-name, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  rules: [{when: [{key: connection.sni, values: [shop.example]}]}]
",
        )
        .await;
        echo(bench.application(9000));
        for (name, wanted) in [("shop.example", true), ("other.example", false)] {
            let greeting = greeting(name);
            let mut client = bench.open_from("shop/web", SocketAddr::new(DB, 9000)).await;
            let (first, second) = greeting.split_at(greeting.len() / 2);
            client.write_all(first).await.expect("room");
            tokio::time::sleep(Duration::from_millis(20)).await;
            client.write_all(second).await.expect("room");
            let mut answer = vec![0; greeting.len()];
            let answered = client.read_exact(&mut answer).await.is_ok();
            assert_eq!((answered, answered && answer == greeting), (wanted, wanted), "{name}");
        }
        let client = bench.open_from("shop/web", SocketAddr::new(DB, 9000)).await;
        assert!(exchange(client, b"not TLS").await.is_err());
    });
}
