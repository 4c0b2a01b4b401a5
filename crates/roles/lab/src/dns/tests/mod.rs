//! The DNS server asked over real sockets, in a network namespace of its own. Needs root.

mod client;

use super::message::{HEADER, Query, kind, word};
use super::{DnsName, Sockets, Upstreams, Zone, resolv_conf, serve};
use crate::testing::{in_new_netns, snapshot};
use client::{edns, question, shown, tcp, udp};
use lictor_model::Name;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::future::Future;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

const CLUSTER_DOMAIN: &str = "cluster.local";
const SHOP: &str = "
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec: {hostname: web-0, subdomain: web, containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.244.0.10}, {ip: 'fd00:10::10'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop, labels: {app: web}}
spec: {containers: [{name: c, image: i, ports: [{name: http, containerPort: 8080}]}]}
status: {podIPs: [{ip: 10.244.0.11}]}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  clusterIP: None
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}, {port: 81, targetPort: 8081}]
---
apiVersion: v1
kind: Service
metadata: {name: portless, namespace: shop}
spec: {clusterIP: None, selector: {app: web}}
---
apiVersion: v1
kind: Service
metadata: {name: early, namespace: shop}
spec: {clusterIP: None, selector: {app: web}, publishNotReadyAddresses: true, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: front, namespace: shop}
spec:
  clusterIPs: [10.96.0.7, 'fd00:96::7']
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: http}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: inner, namespace: shop}
spec: {type: ExternalName, externalName: front.shop.svc.cluster.local}
---
apiVersion: v1
kind: Service
metadata: {name: outer, namespace: shop}
spec: {type: ExternalName, externalName: www.example.com}
---
apiVersion: v1
kind: Service
metadata: {name: round, namespace: shop}
spec: {type: ExternalName, externalName: round.shop.svc.cluster.local}
---
apiVersion: v1
kind: Namespace
metadata: {name: empty}
";

fn zone(unready: &[&str]) -> Arc<Zone> {
    let unready: BTreeSet<_> = unready.iter().map(|name| Name::new("shop", *name)).collect();
    Arc::new(Zone::new(&snapshot(SHOP), CLUSTER_DOMAIN, &unready).expect("a zone"))
}

/// Runs the server on port 53 of both loopbacks, and blocking questions to it.
fn with_server(upstreams: Upstreams, ask: impl FnOnce(&watch::Sender<Arc<Zone>>) + Send + 'static) {
    in_new_netns(move || {
        let sockets = Sockets::bind(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], 53).expect("sockets");
        let (sender, zones) = watch::channel(zone(&[]));
        let serving = async move { serve(sockets, zones, upstreams, None).await.expect("serves") };
        background(serving);
        ask(&sender);
    });
}

/// Runs something on a thread of this namespace until the test ends.
fn background(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work);
    });
}

fn asked(name: &str, kind: u16) -> String {
    let answer = udp(&question(7, name, kind, &[]), "127.0.0.1:53");
    assert_eq!(word(&answer, 0), Ok(7));
    shown(&answer)
}

const NOTHING: &str = "ok authoritative||cluster.local. SOA";
const NO_NAME: &str = "no such name authoritative||cluster.local. SOA";

#[test]
fn the_records_of_the_specification_are_served() {
    with_server(Upstreams::default(), |_| {
        for (name, kind, wanted) in [
            ("dns-version.cluster.local", kind::TXT, "ok authoritative|dns-version.cluster.local. 1.1.0"),
            // Section 2.3.
            ("front.shop.svc.cluster.local", kind::A, "ok authoritative|front.shop.svc.cluster.local. 10.96.0.7"),
            ("front.shop.svc.cluster.local", kind::AAAA, "ok authoritative|front.shop.svc.cluster.local. fd00:96::7"),
            ("FRONT.shop.SVC.cluster.local.", kind::A, "ok authoritative|front.shop.svc.cluster.local. 10.96.0.7"),
            (
                "_http._tcp.front.shop.svc.cluster.local",
                kind::SRV,
                "ok authoritative|_http._tcp.front.shop.svc.cluster.local. 0 100 80 front.shop.svc.cluster.local.||\
                 front.shop.svc.cluster.local. 10.96.0.7, front.shop.svc.cluster.local. fd00:96::7",
            ),
            ("_dns._tcp.front.shop.svc.cluster.local", kind::SRV, NO_NAME),
            (
                "7.0.96.10.in-addr.arpa",
                kind::PTR,
                "ok authoritative|7.0.96.10.in-addr.arpa. front.shop.svc.cluster.local.",
            ),
            // Section 2.4.
            (
                "web.shop.svc.cluster.local",
                kind::A,
                "ok authoritative|web.shop.svc.cluster.local. 10.244.0.10, web.shop.svc.cluster.local. 10.244.0.11",
            ),
            ("web.shop.svc.cluster.local", kind::AAAA, "ok authoritative|web.shop.svc.cluster.local. fd00:10::10"),
            (
                "web-0.web.shop.svc.cluster.local",
                kind::A,
                "ok authoritative|web-0.web.shop.svc.cluster.local. 10.244.0.10",
            ),
            ("web-1.web.shop.svc.cluster.local", kind::A, NO_NAME),
            (
                "10-244-0-11.web.shop.svc.cluster.local",
                kind::A,
                "ok authoritative|10-244-0-11.web.shop.svc.cluster.local. 10.244.0.11",
            ),
            (
                "_http._tcp.web.shop.svc.cluster.local",
                kind::SRV,
                "ok authoritative|_http._tcp.web.shop.svc.cluster.local. 0 50 8080 10-244-0-11.web.shop.svc.cluster.local., \
                 _http._tcp.web.shop.svc.cluster.local. 0 50 8080 web-0.web.shop.svc.cluster.local.||\
                 10-244-0-11.web.shop.svc.cluster.local. 10.244.0.11, web-0.web.shop.svc.cluster.local. 10.244.0.10, \
                 web-0.web.shop.svc.cluster.local. fd00:10::10",
            ),
            (
                "portless.shop.svc.cluster.local",
                kind::A,
                "ok authoritative|portless.shop.svc.cluster.local. 10.244.0.10, portless.shop.svc.cluster.local. 10.244.0.11",
            ),
            // Section 2.6.
            (
                "10-244-0-11.shop.pod.cluster.local",
                kind::A,
                "ok authoritative|10-244-0-11.shop.pod.cluster.local. 10.244.0.11",
            ),
            (
                "fd00-10--10.shop.pod.cluster.local",
                kind::AAAA,
                "ok authoritative|fd00-10--10.shop.pod.cluster.local. fd00:10::10",
            ),
            ("10-244-0-11.empty.pod.cluster.local", kind::A, NO_NAME),
            ("cluster.local", kind::SOA, "ok authoritative|cluster.local. SOA"),
        ] {
            assert_eq!(asked(name, kind), wanted, "{name} {kind}");
        }
        let pointers = asked("10.0.244.10.in-addr.arpa", kind::PTR);
        for service in ["web", "portless", "early"] {
            assert!(pointers.contains(&format!(".{service}.shop.svc.cluster.local.")), "{pointers}");
        }
        let six = "0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.d.f.ip6.arpa";
        assert!(asked(six, kind::PTR).contains(&format!("{six}. web-0.web.shop.svc.cluster.local.")));
    });
}

#[test]
fn no_data_and_no_such_name_are_told_apart() {
    with_server(Upstreams::default(), |_| {
        for name in [
            "portless.shop.svc.cluster.local",
            "_tcp.front.shop.svc.cluster.local",
            "shop.svc.cluster.local",
            "empty.svc.cluster.local",
            "svc.cluster.local",
            "shop.pod.cluster.local",
            "cluster.local",
        ] {
            assert_eq!(asked(name, kind::TXT), NOTHING, "{name}");
        }
        for name in [
            "nobody.shop.svc.cluster.local",
            "nowhere.svc.cluster.local",
            "example.com.shop.svc.cluster.local",
            "front.shop.cluster.local",
            "_81._tcp.web.shop.svc.cluster.local",
            "1-2-3-4.shop.pod.cluster.local",
        ] {
            assert_eq!(asked(name, kind::A), NO_NAME, "{name}");
        }
        assert_eq!(asked("www.example.com", kind::A), "refused", "there is nobody to ask");
        assert_eq!(asked("9.9.9.9.in-addr.arpa", kind::PTR), "refused");
        assert_eq!(asked("cluster.local", kind::AXFR), "refused");
    });
}

#[test]
fn aliases_are_followed_within_the_zone() {
    with_server(Upstreams::default(), |_| {
        let alias = "inner.shop.svc.cluster.local. front.shop.svc.cluster.local.";
        assert_eq!(
            asked("inner.shop.svc.cluster.local", kind::A),
            format!("ok authoritative|front.shop.svc.cluster.local. 10.96.0.7, {alias}")
        );
        assert_eq!(
            asked("inner.shop.svc.cluster.local", kind::TXT),
            format!("ok authoritative|{alias}|cluster.local. SOA")
        );
        assert_eq!(asked("inner.shop.svc.cluster.local", kind::CNAME), format!("ok authoritative|{alias}"));
        assert_eq!(
            asked("outer.shop.svc.cluster.local", kind::A),
            "ok authoritative|outer.shop.svc.cluster.local. www.example.com.",
            "there is nobody to ask for the rest"
        );
        assert_eq!(asked("round.shop.svc.cluster.local", kind::A), "failure");
    });
}

#[test]
fn a_pod_that_is_not_ready_leaves_headless_records() {
    with_server(Upstreams::default(), |zones| {
        zones.send_replace(zone(&["web-1"]));
        assert_eq!(
            asked("web.shop.svc.cluster.local", kind::A),
            "ok authoritative|web.shop.svc.cluster.local. 10.244.0.10"
        );
        assert_eq!(asked("10-244-0-11.web.shop.svc.cluster.local", kind::A), NO_NAME);
        assert!(asked("_http._tcp.web.shop.svc.cluster.local", kind::SRV).contains(" 0 100 8080 web-0.web."));
        assert!(asked("early.shop.svc.cluster.local", kind::A).contains("10.244.0.11"), "published not ready");
        assert!(asked("10-244-0-11.shop.pod.cluster.local", kind::A).starts_with("ok"), "a pod is a pod");
        zones.send_replace(zone(&["web-0", "web-1"]));
        assert_eq!(asked("web.shop.svc.cluster.local", kind::A), NO_NAME, "section 2.4.1");
        assert!(asked("front.shop.svc.cluster.local", kind::A).starts_with("ok"), "a virtual address stays");
    });
}

/// A headless Service of this many pods.
fn many(count: usize) -> Arc<Zone> {
    let pod = |number| {
        let (high, low) = (number / 250, number % 250 + 2);
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, namespace: shop, labels: {{app: many}}}}\nspec: {{containers: [{{name: c, image: i}}]}}\nstatus: {{podIP: 10.244.{high}.{low}}}\n"
        )
    };
    let pods: String = (0..count).map(pod).collect();
    let service = "---\napiVersion: v1\nkind: Service\nmetadata: {name: many, namespace: shop}\nspec: {clusterIP: None, selector: {app: many}, ports: [{port: 80}]}\n";
    Arc::new(Zone::new(&snapshot(&(pods + service)), CLUSTER_DOMAIN, &BTreeSet::new()).expect("a zone"))
}

#[test]
fn a_long_answer_is_cut_over_udp_and_whole_over_tcp() {
    with_server(Upstreams::default(), |zones| {
        zones.send_replace(many(1000));
        let name = "many.shop.svc.cluster.local";
        for (options, limit, records) in
            [(vec![], 512, 29), (edns(4096), 1232, 73), (edns(0), 512, 28), (edns(700), 700, 40)]
        {
            let answer = udp(&question(1, name, kind::A, &options), "[::1]:53");
            assert!(answer.len() <= limit, "{} bytes", answer.len());
            assert_eq!(word(&answer, 6), Ok(records), "{limit}");
            let text = shown(&answer);
            assert!(text.starts_with("ok authoritative truncated|"), "{text}");
            assert_eq!(text.ends_with("|OPT 1232 0"), !options.is_empty(), "{text}");
        }
        let mut stream = TcpStream::connect("[::1]:53").expect("connects");
        for _ in 0..2 {
            let answer = tcp(&mut stream, &question(1, name, kind::A, &[]));
            assert_eq!((word(&answer, 6), shown(&answer).starts_with("ok authoritative|")), (Ok(1000), true));
        }
        let first =
            |id| word(&udp(&question(id, name, kind::A, &[]), "127.0.0.1:53"), HEADER + name.len() + 6 + 12 + 2);
        assert_ne!(first(1), first(300), "the answer begins elsewhere each time");
    });
}

#[test]
fn what_is_no_query_is_refused_or_ignored() {
    with_server(Upstreams::default(), |_| {
        let good = question(9, "cluster.local", kind::SOA, &[]);
        let with = |at: usize, byte: u8| {
            let mut message = good.clone();
            message[at] = byte;
            message
        };
        for (message, wanted) in [
            (with(2, 0x28), "not implemented"),
            (with(5, 0), "format error"),
            (with(5, 2), "format error"),
            (with(7, 1), "format error"),
            (with(HEADER, 0xc0), "format error"),
            (good[..good.len() - 1].to_vec(), "format error"),
            (good[..HEADER].to_vec(), "format error"),
            (
                question(9, "cluster.local", kind::SOA, &[edns(512), edns(512)].concat()),
                "ok authoritative|cluster.local. SOA||OPT 1232 0",
            ),
        ] {
            assert_eq!(shown(&udp(&message, "127.0.0.1:53")), wanted);
        }
        let mut twice = question(9, "cluster.local", kind::SOA, &[edns(512), edns(512)].concat());
        twice[11] = 2;
        assert_eq!(shown(&udp(&twice, "127.0.0.1:53")), "format error");
        let mut version = edns(1232);
        version[6] = 1;
        let answer = udp(&question(9, "cluster.local", kind::SOA, &version), "127.0.0.1:53");
        assert_eq!(
            (answer[3] & 0xf, answer[answer.len() - 6]),
            (0, 1),
            "BADVERS is 16: its upper bits are in the OPT record"
        );
        // A response, and a header cut short: the next answer is to the next question.
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect("127.0.0.1:53").expect("connects");
        for message in [&with(2, 0x80)[..], b"short", b"", &good] {
            socket.send(message).expect("sent");
        }
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        let mut answer = [0; 512];
        let length = socket.recv(&mut answer).expect("an answer");
        assert_eq!(shown(&answer[..length]), "ok authoritative|cluster.local. SOA");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a limit");
        assert!(socket.recv(&mut answer).is_err(), "one answer only");
    });
}

/// A resolver that knows `www.example.com`: one answer over UDP after one that is not its own, others over TCP.
async fn resolver(socket: tokio::net::UdpSocket) {
    let mut message = vec![0; 512];
    while let Ok((length, client)) = socket.recv_from(&mut message).await {
        let query = Query::read(&message[..length]).expect("a query");
        let mut answer = message[..length].to_vec();
        answer[2] = 0x81;
        answer[3] = 0x80;
        if query.name.to_string() == "www.example.com." {
            answer[7] = 1;
            answer.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x35");
        } else {
            answer[3] = 0x83;
        }
        let mut forged = answer.clone();
        forged[0] ^= 0xff;
        for message in [forged, answer] {
            socket.send_to(&message, client).await.expect("sent");
        }
    }
}

#[test]
fn other_zones_are_asked_of_the_machines_resolvers() {
    let dead: SocketAddr = "127.0.0.1:5399".parse().expect("an address");
    let lives: SocketAddr = "127.0.0.1:5353".parse().expect("an address");
    with_server(Upstreams::new([dead, lives]), move |_| {
        let socket = UdpSocket::bind(lives).expect("a socket");
        socket.set_nonblocking(true).expect("not blocking");
        background(async { resolver(tokio::net::UdpSocket::from_std(socket).expect("a socket")).await });
        assert_eq!(asked("www.example.com", kind::A), "ok|www.example.com. 192.0.2.53");
        assert_eq!(asked("nobody.example.com", kind::A), "no such name");
        assert_eq!(
            asked("outer.shop.svc.cluster.local", kind::A),
            "ok authoritative|outer.shop.svc.cluster.local. www.example.com., www.example.com. 192.0.2.53"
        );
        assert_eq!(asked("nobody.shop.svc.cluster.local", kind::A), NO_NAME, "never asked elsewhere");
        let mut stream = TcpStream::connect("127.0.0.1:53").expect("connects");
        let answer = tcp(&mut stream, &question(3, "www.example.com", kind::A, &[]));
        assert_eq!((word(&answer, 0), shown(&answer).as_str()), (Ok(3), "failure"), "that resolver has no TCP");
    });
}

#[test]
fn a_pods_resolver_searches_its_namespace_first() {
    let servers = ["10.96.0.10".parse().expect("an address"), "fd00:96::a".parse().expect("an address")];
    let wanted = "search shop.svc.cluster.local svc.cluster.local cluster.local\n\
                  nameserver 10.96.0.10\nnameserver fd00:96::a\noptions ndots:5\n";
    assert_eq!(resolv_conf("shop", &servers, CLUSTER_DOMAIN), wanted);
}

#[test]
fn a_domain_that_is_no_name_is_refused() {
    for domain in ["", "a..b", &"x.".repeat(125)] {
        assert!(Zone::new(&snapshot(""), domain, &BTreeSet::new()).is_err(), "{domain}");
    }
}

proptest! {
    #[test]
    fn no_bytes_break_it(message in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Query::read(&message);
    }

    /// Bytes that begin like a query get further.
    #[test]
    fn no_body_breaks_it(counts in prop::array::uniform8(0..3_u8), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let message = [&[0, 1, 1, 0][..], &counts, &body].concat();
        if let Ok(query) = Query::read(&message) {
            let answer = match zone(&[]).find(&query, 1) {
                super::zone::Found::Answer(answer) | super::zone::Found::Alias(answer, _) => answer,
                super::zone::Found::Elsewhere => super::message::Answer::bare(super::message::Code::Refused),
            };
            prop_assert!(query.answer(&answer, 512, false).len() <= 512);
        }
    }

    #[test]
    fn names_read_as_they_are_written(labels in prop::collection::vec("[a-z0-9_-]{1,20}", 1..8), before in 0..40_usize) {
        let name = DnsName::parse(&labels.join(".")).expect("a name");
        let message = [&vec![0; before], name.wire()].concat();
        prop_assert_eq!(DnsName::read(&message, before), Ok((name, message.len())));
    }
}
