//! Tunnels between pods of two workers.

use crate::pod::PodSockets;
use crate::settings::Settings;
use crate::tests::bench::{Bench, DB, echo, exchange, run, until};
use crate::tests::net::namespace;
use lictor_model::{Name, Verdict};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SERVICE: SocketAddr = SocketAddr::new(DB, 5432);
const DENY: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nobody, namespace: shop}
spec: {}
";

/// `shop/db` on one worker, `shop/web` on the other, and a connection between them that was answered once.
async fn two_workers() -> (Bench, TcpStream) {
    let bench = Bench::with("", Settings { workers: 2, ..Settings::default() }).await;
    echo(bench.application(SERVICE.port()));
    let web = PodSockets { namespace: namespace().try_clone().expect("a descriptor"), ..bench.sockets("shop/web") };
    bench.proxy.add_pod(web).await.expect("listeners");
    let mut client = bench.open_from("shop/web", SERVICE).await;
    client.write_all(b"x").await.expect("room");
    assert_eq!(client.read_u8().await.expect("an answer"), b'x');
    (bench, client)
}

#[test]
fn a_tunnel_is_served_where_its_source_is_at_home() {
    run(async {
        let (bench, client) = two_workers().await;
        let metrics = bench.proxy.metrics();
        assert_eq!((metrics.tunnels_handed_over.value(), metrics.tunnels_accepted.value()), (1, 1));
        assert_eq!(bench.decision().await.verdict, Verdict::Allow);
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");
        let again = bench.open_from("shop/web", SERVICE).await;
        assert_eq!(exchange(again, b"ave").await.expect("an answer"), b"ave");
    });
}

#[test]
fn a_policy_ends_what_was_handed_over() {
    run(async {
        let (bench, mut client) = two_workers().await;
        bench.apply(DENY);
        until(|| (bench.proxy.metrics().ended_by_policy.value() == 1).then_some(())).await;
        assert!(client.read_u8().await.is_err(), "by a reset");
    });
}

#[test]
fn a_pod_that_is_gone_takes_what_was_handed_over_with_it() {
    run(async {
        let (bench, mut client) = two_workers().await;
        assert_eq!(bench.proxy.remove_pod(&Name::new("shop", "db")).await.ok(), Some(true));
        let ended = tokio::time::timeout(Duration::from_secs(2), client.read_u8()).await;
        assert!(ended.expect("it ends").is_err(), "by a reset");
        bench.proxy.add_pod(bench.sockets("shop/db")).await.expect("its ports are free again");
        let client = bench.open_from("shop/web", SERVICE).await;
        assert_eq!(exchange(client, b"ave").await.expect("an answer"), b"ave");
        assert_eq!(bench.proxy.metrics().tunnels_handed_over.value(), 2);
    });
}
