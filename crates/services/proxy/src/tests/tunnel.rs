//! Connections by tunnel, from one application to the other.

use crate::pod::Known;
use crate::pool::Remote;
use crate::settings::Settings;
use crate::socket::Reach;
use crate::tests::bench::{Bench, DB, SIDE, WEB, echo, exchange, ipv6, run, until};
use lictor_model::{By, Layer, Name, Point, Protocol, Verdict};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ONLY_DB: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-db, namespace: shop}
spec: {selector: {matchLabels: {app: db}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/db]}}]}]}
";

fn db(port: u16) -> SocketAddr {
    SocketAddr::new(DB, port)
}

fn proxy_of_db(bench: &Bench) -> Remote {
    Remote { address: db(crate::ports::TUNNEL), identity: bench.id("db"), reach: Reach::ThisNode }
}

#[test]
fn bytes_cross_and_one_record_tells_of_it() {
    run(async {
        let bench = Bench::new("").await;
        let listener = bench.application(5432);
        let seen = std::rc::Rc::new(std::cell::Cell::new(None));
        tokio::task::spawn_local({
            let seen = std::rc::Rc::clone(&seen);
            async move {
                let (mut stream, peer) = listener.accept().await.expect("a connection");
                seen.set(Some(peer.ip()));
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.expect("bytes");
                stream.write_all(b"vale").await.expect("an answer");
                stream.shutdown().await.expect("an end");
                all.len()
            }
        });
        let client = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(client, b"ave, ave").await.expect("an answer"), b"vale");
        assert_eq!(seen.get(), Some(WEB), "the application sees its client's address");

        let decision = bench.decision().await;
        assert_eq!(
            (decision.verdict, decision.would, decision.layer),
            (Verdict::Allow, Verdict::Allow, Layer::Authorization)
        );
        assert_eq!((&decision.by, decision.protocol, decision.point), (&By::NoPolicy, Protocol::Tcp, Point::Proxy));
        assert_eq!(decision.source.pod, Some(Name::new("shop", "web")));
        assert_eq!(decision.source.identity, Some(bench.id("web")));
        assert_eq!((decision.source.address, decision.destination.address), (WEB, DB));
        assert_eq!((decision.destination.port, decision.destination.pod), (5432, Some(Name::new("shop", "db"))));
        assert_eq!(decision.destination.identity, Some(bench.id("db")));
        assert!(decision.encrypted && decision.method.is_none());
        let close = bench.close_of(decision.id).await;
        assert_eq!((close.bytes_sent, close.bytes_received, close.ended_by), (8, 4, None));
    });
}

#[test]
fn ipv6_works_like_ipv4() {
    run(async {
        let bench = Bench::new(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: from-web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]
",
        )
        .await;
        let to = SocketAddr::new(ipv6(DB), 5432);
        echo(bench.listener(to));
        let client = bench.open_from("shop/web", to).await;
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");
        let decision = bench.decision().await;
        assert_eq!((decision.source.address, decision.destination.address), (ipv6(WEB), ipv6(DB)));
        assert!(decision.encrypted);
        let client = bench.plaintext_from(ipv6(SIDE), 5432).await;
        assert!(exchange(client, b"ave").await.is_err());
        assert_eq!(bench.decisions().pop().expect("a decision").layer, Layer::Ingress);
    });
}

#[test]
fn much_crosses_both_ways_unchanged() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        let mut client = bench.open_from("shop/web", db(5432)).await;
        let sent: Vec<u8> = (0..20_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let (mut read, mut write) = client.split();
        let mut received = Vec::with_capacity(sent.len());
        let send = async {
            write.write_all(&sent).await.expect("room");
            write.shutdown().await.expect("an end");
        };
        let (_, count) = tokio::join!(send, read.read_to_end(&mut received));
        assert_eq!(count.expect("an end"), sent.len());
        assert!(received == sent, "other bytes than were sent");
    });
}

#[test]
fn tunnels_are_kept_and_a_new_certificate_means_a_new_one() {
    run(async {
        let bench = Bench::with("", Settings { workers: 1, streams_per_tunnel: 2, ..Settings::default() }).await;
        echo(bench.application(5432));
        let pod = std::rc::Rc::new(crate::pod::Pod::new(7, Known::new(bench.sockets("shop/web"))));
        let open =
            || async { bench.worker.pool.connect(&pod, &proxy_of_db(&bench), db(5432)).await.expect("a stream") };
        let opened = || bench.worker.metrics().tunnels_opened.value();
        let (one, two) = (open().await, open().await);
        assert_eq!(opened(), 1);
        let three = open().await;
        assert_eq!(opened(), 2, "two streams are as many as one tunnel takes");
        drop((one, two, three));
        drop(open().await);
        assert_eq!(opened(), 2);
        let now = time::OffsetDateTime::now_utc();
        bench.keyring.insert(bench.authority.issue(&bench.id("web"), now, time::Duration::HOUR).expect("an SVID"));
        drop(open().await);
        assert_eq!(opened(), 3);
        assert_eq!(bench.worker.metrics().tunnel_streams_opened.value(), 5);
    });
}

#[test]
fn an_old_tunnel_takes_no_new_connections_and_keeps_those_it_has() {
    run(async {
        let settings = Settings { workers: 1, tunnel_age: Duration::from_millis(200), ..Settings::default() };
        let bench = Bench::with("", settings).await;
        echo(bench.application(5432));
        let mut old = bench.open_from("shop/web", db(5432)).await;
        old.write_all(b"a").await.expect("room");
        assert_eq!(old.read_u8().await.expect("a byte"), b'a');
        tokio::time::sleep(Duration::from_millis(400)).await;
        let new = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(new, b"b").await.expect("an answer"), b"b");
        assert_eq!(bench.worker.metrics().tunnels_opened.value(), 2);
        assert_eq!(exchange(old, b"c").await.expect("an answer"), b"c");
    });
}

#[test]
fn a_pod_that_came_back_is_reached_by_a_new_tunnel() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        for round in 1..4 {
            let client = bench.open_from("shop/web", db(5432)).await;
            assert_eq!(exchange(client, b"x").await.expect("an answer"), b"x", "{round}");
            bench.proxy.add_pod(bench.sockets("shop/db")).await.expect("it replaces the one before");
        }
    });
}

#[test]
fn many_at_once_share_one_handshake() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        let pod = std::rc::Rc::new(crate::pod::Pod::new(7, Known::new(bench.sockets("shop/web"))));
        let proxy = proxy_of_db(&bench);
        let streams = (0..50).map(|_| bench.worker.pool.connect(&pod, &proxy, db(5432)));
        let streams = futures::future::join_all(streams).await;
        assert!(streams.iter().all(Result::is_ok));
        assert_eq!(bench.worker.metrics().tunnels_opened.value(), 1);
    });
}

#[test]
fn a_denied_connection_is_reset_and_recorded_once() {
    run(async {
        let bench = Bench::new(ONLY_DB).await;
        echo(bench.application(5432));
        let client = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(client, b"ave").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        let decision = bench.decision().await;
        assert_eq!((decision.verdict, decision.layer), (Verdict::Deny, Layer::Authorization));
        assert!(
            matches!(&decision.by, By::Isolation(by) if *by.first().expect("one").name.name == *"only-db"),
            "{:?}",
            decision.by
        );
    });
}

#[test]
fn a_denied_way_out_never_reaches_the_other_side() {
    run(async {
        let bench = Bench::new(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: stay, namespace: shop}
spec: {podSelector: {matchLabels: {app: web}}, policyTypes: [Egress]}
",
        )
        .await;
        echo(bench.application(5432));
        let client = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(client, b"ave").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        let decision = bench.decision().await;
        assert_eq!((decision.layer, decision.verdict, decision.encrypted), (Layer::Egress, Verdict::Deny, false));
        assert_eq!(bench.proxy.metrics().tunnels_accepted.value(), 0);
    });
}

#[test]
fn the_port_within_the_tunnel_is_the_one_that_network_policies_judge() {
    run(async {
        let bench = Bench::new(
            "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-5432, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress: [{ports: [{port: 5432}]}]
",
        )
        .await;
        echo(bench.application(5432));
        echo(bench.application(5433));
        let open = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(open, b"ave").await.expect("an answer"), b"ave");
        let shut = bench.open_from("shop/web", db(5433)).await;
        assert_eq!(exchange(shut, b"ave").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        let decisions = bench.decisions();
        let said: Vec<_> =
            decisions.iter().map(|decision| (decision.destination.port, decision.layer, decision.verdict)).collect();
        assert_eq!(said, [(5432, Layer::Authorization, Verdict::Allow), (5433, Layer::Ingress, Verdict::Deny)]);
    });
}

#[test]
fn in_audit_nothing_is_refused_and_the_would_be_verdict_is_recorded() {
    run(async {
        let bench = Bench::new(&format!(
            "{ONLY_DB}---
apiVersion: lictor.dev/v1alpha1
kind: Stance
metadata: {{name: slowly, namespace: shop}}
spec: {{layers: [authorization], mode: Audit}}
"
        ))
        .await;
        echo(bench.application(5432));
        let client = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");
        let decision = bench.decision().await;
        assert_eq!((decision.verdict, decision.would), (Verdict::Allow, Verdict::Deny));
        assert_eq!((decision.layer, decision.mode), (Layer::Authorization, lictor_model::Mode::Audit));
    });
}

#[test]
fn nothing_is_let_out_in_plaintext_when_there_is_no_tunnel() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        assert_eq!(bench.proxy.remove_pod(&Name::new("shop", "db")).await.ok(), Some(true));
        let client = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(client, b"ave").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        let decision = bench.decision().await;
        assert_eq!((decision.layer, decision.verdict), (Layer::Transport, Verdict::Deny));
        assert!(
            matches!(&decision.by, By::Unknown(why) if why.starts_with("cannot reach 127.1.0.12:15008")),
            "{:?}",
            decision.by
        );
    });
}

#[test]
fn a_closed_port_is_a_reset_and_not_a_denial() {
    run(async {
        let bench = Bench::new("").await;
        let client = bench.open_from("shop/web", db(5999)).await;
        assert_eq!(exchange(client, b"ave").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        assert_eq!(bench.decision().await.verdict, Verdict::Allow);
        assert_eq!(bench.proxy.metrics().unreachable.value(), 1);
    });
}

#[test]
fn what_is_outside_the_mesh_is_reached_as_it_is() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.listener(SocketAddr::new(SIDE, 80)));
        let client = bench.open_from("shop/web", SocketAddr::new(SIDE, 80)).await;
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");
        assert!(bench.decisions().is_empty(), "the kernel records what leaves the pod as it is");
    });
}

#[test]
fn strict_refuses_plaintext_and_permissive_serves_it() {
    run(async {
        let strict = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
";
        let bench = Bench::new(strict).await;
        echo(bench.application(5432));
        let client = bench.plaintext_from(SIDE, 5432).await;
        assert_eq!(exchange(client, b"ave").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        assert_eq!(bench.decision().await.layer, Layer::Transport);
        let client = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");

        bench.apply("");
        let client = bench.plaintext_from(SIDE, 5432).await;
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");
        let decision = bench.decisions().pop().expect("a decision");
        assert_eq!((decision.verdict, decision.encrypted, decision.source.identity), (Verdict::Allow, false, None));
        assert_eq!(decision.revision.0, 2);
    });
}

#[test]
fn a_pod_has_only_so_many_connections() {
    run(async {
        let bench = Bench::with("", Settings { workers: 1, connections_per_pod: 3, ..Settings::default() }).await;
        echo(bench.application(5432));
        // The tunnel has a place, and each connection in it.
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = bench.open_from("shop/web", db(5432)).await;
            client.write_all(b"x").await.expect("room");
            assert_eq!(client.read_u8().await.expect("an answer"), b'x');
            clients.push(client);
        }
        let third = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(third, b"x").await.expect_err("no answer").kind(), ErrorKind::ConnectionReset);
        assert_eq!(bench.proxy.metrics().over_connection_limit.value(), 1);
        assert_eq!(exchange(clients.remove(0), b"").await.expect("an end"), b"");
        until(|| (bench.decisions().len() == 2).then_some(())).await;
        let fourth = bench.open_from("shop/web", db(5432)).await;
        assert_eq!(exchange(fourth, b"x").await.expect("an answer"), b"x");
    });
}

#[test]
fn a_pod_that_is_gone_takes_its_connections_with_it() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        let mut client = bench.open_from("shop/web", db(5432)).await;
        client.write_all(b"ave").await.expect("room");
        assert_eq!(client.read_u8().await.expect("a byte"), b'a');
        assert_eq!(bench.proxy.remove_pod(&Name::new("shop", "db")).await.ok(), Some(true));
        assert_eq!(bench.proxy.remove_pod(&Name::new("shop", "db")).await.ok(), Some(false));
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(2), client.read_to_end(&mut rest)).await;
        assert!(ended.expect("it ends").is_err(), "by a reset");
        bench.proxy.add_pod(bench.sockets("shop/db")).await.expect("its ports are free again");
    });
}
