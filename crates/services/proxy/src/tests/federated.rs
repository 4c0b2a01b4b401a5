//! Peers of a federated trust domain.

use crate::hbone::{Tunnel, TunnelError};
use crate::ports;
use crate::tests::bench::{Bench, DB, WEB, echo, run, until};
use crate::tunnel::TunnelStream;
use http::StatusCode;
use lictor_model::{By, Layer, SpiffeId, Verdict};
use lictor_pki::tls::{Peers, client_config};
use lictor_pki::{CertificateAuthority, Keyring};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An address that no pod of the cluster has.
const AFAR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 9, 0, 1));

const ONLY_THEIR_WEB: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-their-web, namespace: shop}
spec: {selector: {matchLabels: {app: db}}, rules: [{from: [{source: {principals: [other.example/ns/shop/sa/web]}}]}]}
";

/// Every pod of the cluster federates with the other trust domain.
const ENTRIES: &str = "
apiVersion: spire.spiffe.io/v1alpha1
kind: ClusterSPIFFEID
metadata: {name: all}
spec:
  spiffeIDTemplate: 'spiffe://{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}'
  federatesWith: [other.example]
---
";

/// Another cluster, which is federated with the bench's.
struct Afar {
    authority: CertificateAuthority,
    keyring: Keyring,
}

impl Afar {
    fn new(bench: &Bench) -> Self {
        let domain = "other.example".parse().expect("a trust domain");
        let now = OffsetDateTime::now_utc();
        let authority = CertificateAuthority::new(domain, now, time::Duration::DAY).expect("an authority");
        let keyring = Keyring::new(authority.bundle(1));
        keyring.set_foreign(bench.authority.bundle(1)).expect("a foreign bundle");
        Self { authority, keyring }
    }

    /// A tunnel to `shop/db`, opened from `source` by a workload of this cluster.
    async fn open(&self, bench: &Bench, source: IpAddr, account: &str) -> Result<Tunnel, TunnelError> {
        let id: SpiffeId = format!("spiffe://other.example/ns/shop/sa/{account}").parse().expect("an identity");
        let now = OffsetDateTime::now_utc();
        let svid = self.authority.issue(&id, now, time::Duration::HOUR).expect("an SVID");
        let config = client_config(&self.keyring, &svid, &Peers::one(bench.id("db"))).expect("a configuration");
        let peer = SocketAddr::new(DB, ports::TUNNEL);
        Tunnel::open(bench.dial(source).await, peer, Arc::new(config)).await
    }

    async fn connect(&self, bench: &Bench, source: IpAddr, account: &str) -> Result<TunnelStream, TunnelError> {
        self.open(bench, source, account).await?.connect(SocketAddr::new(DB, 5432), None).await
    }
}

#[test]
fn policies_tell_the_principals_of_two_trust_domains_apart() {
    run(async {
        let bench = Bench::new(&[ENTRIES, ONLY_THEIR_WEB].concat()).await;
        echo(bench.application(5432));
        let afar = Afar::new(&bench);
        let unknown = afar.connect(&bench, AFAR, "web").await;
        // A refused client of TLS 1.3 may hear of it with its first read.
        assert!(matches!(unknown, Err(TunnelError::Handshake { .. } | TunnelError::Http2 { .. })), "{unknown:?}");
        assert!(bench.decisions().is_empty());

        bench.federate(&[afar.authority.bundle(1)]);
        let mut theirs = afar.connect(&bench, AFAR, "web").await.expect("a connection");
        theirs.write_all(b"x").await.expect("room");
        assert_eq!(theirs.read_u8().await.expect("a byte"), b'x');
        let decision = bench.decision().await;
        let id = decision.source.identity.as_ref().map(SpiffeId::as_str);
        assert_eq!((id, decision.verdict), (Some("spiffe://other.example/ns/shop/sa/web"), Verdict::Allow));

        let refused = afar.connect(&bench, AFAR, "side").await;
        assert!(matches!(refused, Err(TunnelError::Refused(StatusCode::UNAUTHORIZED))), "{refused:?}");
        // The own workload of the same name is another principal.
        let mut ours = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        assert!(ours.read_u8().await.is_err());
        let denied = bench.decisions().pop().expect("a decision");
        assert_eq!((denied.source.identity, denied.layer), (Some(bench.id("web")), Layer::Authorization));
    });
}

#[test]
fn the_end_of_a_federation_ends_its_peers_connections_and_no_others() {
    run(async {
        let bench = Bench::new(ENTRIES).await;
        echo(bench.application(5432));
        let afar = Afar::new(&bench);
        bench.federate(&[afar.authority.bundle(1)]);
        let tunnel = afar.open(&bench, AFAR, "web").await.expect("a tunnel");
        let mut theirs = tunnel.connect(SocketAddr::new(DB, 5432), None).await.expect("a connection");
        let mut ours = bench.open_from("shop/web", SocketAddr::new(DB, 5432)).await;
        theirs.write_all(b"x").await.expect("room");
        assert_eq!(theirs.read_u8().await.expect("a byte"), b'x');
        ours.write_all(b"x").await.expect("room");
        assert_eq!(ours.read_u8().await.expect("a byte"), b'x');

        bench.federate(&[]);
        let end = tokio::time::timeout(Duration::from_secs(1), theirs.read_u8()).await.expect("it ends");
        assert!(end.is_err());
        ours.write_all(b"y").await.expect("room");
        assert_eq!(ours.read_u8().await.expect("a byte"), b'y');
        until(|| (bench.proxy.metrics().ended_by_policy.value() == 1).then_some(())).await;

        // The tunnel is still there; what is asked for in it is refused, and the record says why.
        let late = tunnel.connect(SocketAddr::new(DB, 5432), None).await;
        assert!(matches!(late, Err(TunnelError::Refused(StatusCode::UNAUTHORIZED))), "{late:?}");
        let denied = bench.decisions().pop().expect("a decision");
        assert_eq!((denied.layer, denied.verdict), (Layer::Transport, Verdict::Deny));
        assert!(matches!(&denied.by, By::Unknown(why) if why.contains("not federated")), "{:?}", denied.by);
        assert!(afar.connect(&bench, AFAR, "web").await.is_err());
        assert_eq!(bench.decisions().len(), 3, "no new tunnel gets as far as a decision");
    });
}

#[test]
fn a_federated_peer_does_not_speak_from_the_address_of_a_pod() {
    run(async {
        let bench = Bench::new(ENTRIES).await;
        echo(bench.application(5432));
        let afar = Afar::new(&bench);
        bench.federate(&[afar.authority.bundle(1)]);
        let refused = afar.connect(&bench, WEB, "web").await;
        assert!(matches!(refused, Err(TunnelError::Refused(StatusCode::UNAUTHORIZED))), "{refused:?}");
        assert_eq!(bench.decision().await.layer, Layer::Transport);
    });
}

#[test]
fn a_pod_believes_a_trust_domain_only_while_an_entry_of_it_federates_with_it() {
    run(async {
        let bench = Bench::new("").await;
        echo(bench.application(5432));
        let afar = Afar::new(&bench);
        bench.federate(&[afar.authority.bundle(1)]);
        let refused = afar.connect(&bench, AFAR, "web").await;
        assert!(matches!(refused, Err(TunnelError::Refused(StatusCode::UNAUTHORIZED))), "{refused:?}");
        let denied = bench.decision().await;
        assert_eq!((denied.layer, denied.verdict), (Layer::Transport, Verdict::Deny));
        assert!(matches!(&denied.by, By::Unknown(why) if why.contains("no entry of shop/db")), "{:?}", denied.by);

        bench.apply(ENTRIES);
        let mut theirs = afar.connect(&bench, AFAR, "web").await.expect("a connection");
        theirs.write_all(b"x").await.expect("room");
        assert_eq!(theirs.read_u8().await.expect("a byte"), b'x');
        bench.apply(&ENTRIES.replace("other.example", "third.example"));
        let end = tokio::time::timeout(Duration::from_secs(1), theirs.read_u8()).await.expect("it ends");
        assert!(end.is_err());
    });
}
