//! A new policy is asked about what is open.

use crate::live::Question;
use crate::policy::{Inbound, Transport};
use crate::tests::bench::{Bench, DB, SIDE, WEB, echo, run, until};
use lictor_model::{By, Name};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECOND: Duration = Duration::from_secs(1);

fn only(port: u16) -> String {
    format!(
        "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: only, namespace: shop}}
spec: {{selector: {{matchLabels: {{app: db}}}}, rules: [{{to: [{{operation: {{ports: ['{port}']}}}}]}}]}}
"
    )
}

/// Sends and reads back one byte.
async fn turn(client: &mut TcpStream) -> std::io::Result<u8> {
    client.write_all(b"x").await?;
    client.read_u8().await
}

#[test]
fn a_transfer_that_a_new_policy_denies_ends_and_the_others_go_on() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        echo(bench.application(9000));
        let mut denied = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        let mut allowed = bench.open_from("shop/web", SocketAddr::new(DB, 9000)).await;
        let mut plain = bench.plaintext_from(SIDE, 5432).await;
        for client in [&mut denied, &mut allowed, &mut plain] {
            assert_eq!(turn(client).await.expect("a byte"), b'x');
        }
        // One transfer is under way, so that buffers are full.
        let transfer = tokio::task::spawn_local(async move {
            let (mut read, mut write) = denied.split();
            let send = async { while write.write_all(&[0; 65536]).await.is_ok() {} };
            let receive = async {
                let mut buffer = vec![0; 65536];
                while let Ok(1..) = read.read(&mut buffer).await {}
            };
            tokio::join!(send, receive);
            Instant::now()
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!transfer.is_finished());
        let changed = Instant::now();
        bench.apply(&only(9000));
        let ended = tokio::time::timeout(SECOND, transfer).await.expect("it ends").expect("it ends");
        assert!(ended.duration_since(changed) < SECOND);
        let error = tokio::time::timeout(SECOND, plain.read_u8()).await.expect("it ends").expect_err("no byte");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(turn(&mut allowed).await.expect("it goes on"), b'x');
        // And what comes now is judged by the new policy.
        let mut late = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        assert_eq!(turn(&mut late).await.expect_err("no byte").kind(), ErrorKind::ConnectionReset);

        let decision = bench
            .decisions()
            .into_iter()
            .find(|one| one.destination.port == 5432 && one.encrypted)
            .expect("a decision");
        let close = bench.close_of(decision.id).await;
        assert!(matches!(&close.ended_by, Some(By::Isolation(by)) if by.len() == 1), "{close:?}");
        assert!(close.bytes_sent > 1 && close.bytes_received > 1, "{close:?}");
        assert_eq!(bench.proxy.metrics().ended_by_policy.value(), 1, "the tunnelled one; the other is this worker's");
    });
}

#[test]
fn the_source_ends_what_its_egress_denies() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        echo(bench.listener(SocketAddr::new(SIDE, 80)));
        let mut inside = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        let mut outside = bench.open_from("shop/web", SocketAddr::new(SIDE, 80)).await;
        for client in [&mut inside, &mut outside] {
            assert_eq!(turn(client).await.expect("a byte"), b'x');
        }
        bench.apply(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: no-way-out, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Egress]
  egress: [{to: [{podSelector: {matchLabels: {app: db}}}]}]
",
        );
        let error = tokio::time::timeout(SECOND, outside.read_u8()).await.expect("it ends").expect_err("no byte");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(turn(&mut inside).await.expect("it goes on"), b'x');
    });
}

#[test]
fn a_stance_may_keep_what_is_open() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        let mut client = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        assert_eq!(turn(&mut client).await.expect("a byte"), b'x');
        let keep = "---
apiVersion: lictor.dev/v1alpha1
kind: Stance
metadata: {name: keep, namespace: shop}
spec: {layers: [authorization], mode: Enforce, established: keep}
";
        bench.apply(&(only(9000) + keep));
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(turn(&mut client).await.expect("it goes on"), b'x');
        let mut late = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        assert!(turn(&mut late).await.is_err());
        bench.apply(&only(9000));
        until(|| (bench.proxy.metrics().ended_by_policy.value() == 1).then_some(())).await;
        assert!(turn(&mut client).await.is_err());
    });
}

#[test]
fn a_streamed_answer_ends_when_its_request_is_denied() {
    run(async {
        let bench = Bench::new(&only(8080).replace("ports: ['8080']", "paths: [/stream]")).await;
        let listener = bench.application(8080);
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
            while stream.write_all(b"4\r\ntick\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut client = bench.open_from("shop/web", SocketAddr::new(DB, 8080)).await;
        client.write_all(b"GET /stream HTTP/1.1\r\nhost: db\r\n\r\n").await.expect("room");
        let mut seen = Vec::new();
        while !seen.ends_with(b"tick\r\n4\r\ntick\r\n") {
            seen.push(client.read_u8().await.expect("an answer"));
        }
        bench.apply(&only(8080).replace("ports: ['8080']", "paths: [/other]"));
        let mut rest = Vec::new();
        let end = tokio::time::timeout(SECOND, client.read_to_end(&mut rest)).await.expect("it ends");
        assert!(end.is_err() || !rest.ends_with(b"0\r\n\r\n"), "no orderly end: {}", rest.escape_ascii());
        let id = bench.decision().await.id;
        assert!(bench.close_of(id).await.ended_by.is_some());
    });
}

#[test]
fn a_policy_that_comes_while_a_connection_is_let_in_is_asked_too() {
    run(async {
        let bench = Bench::new("").await;
        let old = bench.worker.view();
        let question = Question::Connection(Rc::new(Inbound {
            way: lictor_model::Direction::Ingress,
            pod: Name::new("shop", "db"),
            source: WEB,
            destination: SocketAddr::new(DB, 5432),
            transport: Transport::Tunnel(bench.id("web")),
            sni: None,
        }));
        assert!(question.ask(&old).verdict.is_allow());
        bench.apply(&only(9000));
        let open = bench.worker.open(&old, question, None);
        tokio::time::timeout(SECOND, open.ending.told()).await.expect("it is told at once");
    });
}

#[test]
fn a_connection_for_requests_ends_with_its_way_in() {
    run(async {
        let bench = Bench::new(&only(8080).replace("ports: ['8080']", "paths: [/]")).await;
        let listener = bench.application(8080);
        tokio::task::spawn_local(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            let _ = stream.read(&mut head).await;
        });
        let mut client = bench.open_from("shop/web", SocketAddr::new(DB, 8080)).await;
        client.write_all(b"GET / HTTP/1.1\r\nhost: db\r\n\r\n").await.expect("room");
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok") {
            answer.push(client.read_u8().await.expect("an answer"));
        }
        // Idle between two requests. The rules on requests end nothing here, the next request would be judged.
        bench.apply(&only(8080).replace("ports: ['8080']", "paths: [/other]"));
        let still = tokio::time::timeout(Duration::from_millis(200), client.read_u8()).await;
        assert!(still.is_err(), "{still:?}");
        bench.apply(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shut, namespace: shop}
spec: {podSelector: {matchLabels: {app: db}}}
",
        );
        assert!(tokio::time::timeout(SECOND, client.read_u8()).await.expect("it ends").is_err());
    });
}
