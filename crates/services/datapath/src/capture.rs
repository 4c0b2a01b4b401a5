//! Redirection of an enrolled pod's TCP traffic to the proxy's listeners in the pod's own namespace.
//!
//! The ways of a connection, in both address families (Istio's in-pod capture works alike):
//! - what the application opens is redirected to [`OUTBOUND`], unless it stays in the pod;
//! - what arrives is redirected to [`INBOUND`], unless it is a tunnel, for [`TUNNEL`] itself, or a probe;
//! - the proxy's own sockets carry [`PROXY_MARK`] and are left alone. When it speaks to the application it
//!   binds the client's address (transparently); the connection is marked on its way in over `lo`, so that
//!   the application's answers to that foreign address come back to the proxy instead of leaving the pod.
//!
//! **Invariant.** An application cannot pass for the proxy without `CAP_NET_ADMIN` or `CAP_NET_RAW`, and what
//! passes by the proxy anyhow meets the program at the node's end of the link.

use crate::link::{LOOPBACK, set_up};
use crate::netlink::Requests;
use crate::netns::Netns;
use crate::nft::{Action, Batch, Chain, ChainHook, ChainKind, Match};
use crate::sysctl;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The port that outbound connections are redirected to.
pub const OUTBOUND: u16 = 15001;
/// The port that inbound connections outside a tunnel are redirected to.
pub const INBOUND: u16 = 15006;
/// The port of the tunnels.
pub const TUNNEL: u16 = 15008;
/// The mark (`SO_MARK`) of the proxy's own sockets: never redirected.
pub const PROXY_MARK: u32 = 0x539;
/// The mark that the kernel's verdict puts on a socket whose connection is to be refused: not redirected, so
/// that its packets are dropped where every other refused packet is.
pub const REFUSED_MARK: u32 = 0x53a;
/// Where the node's own probes come from, in IPv4: never redirected.
pub const PROBE_V4: Ipv4Addr = Ipv4Addr::new(169, 254, 7, 127);
/// Where the node's own probes come from, in IPv6: never redirected.
pub const PROBE_V6: Ipv6Addr = Ipv6Addr::new(0xfd16, 0x9254, 0x7127, 0, 0, 0, 0, 1);

/// The mark of connections between proxy and application, as Istio has it. It differs from [`PROXY_MARK`],
/// which the proxy's connections to other hosts carry too: those must not be routed to `lo`.
const CONNECTION_MARK: u32 = 0x111;
const TABLE: &str = "lictor";
const ROUTES: u32 = 100;
const RULE_PRIORITY: u32 = 32764;

/// Puts the redirection into a pod's namespace. Doing it again changes nothing.
pub fn install(pod: &Netns) -> io::Result<()> {
    let _inside = pod.enter_now()?;
    rules().commit()?;
    let mut requests = Requests::default();
    requests.change("take lo up", set_up(LOOPBACK));
    for family in families() {
        requests.replace("route marked connections to lo", RouteNetlinkMessage::NewRoute(local_route(family)));
    }
    requests.send()?;
    for family in families() {
        let mut requests = Requests::default();
        requests.create("add the rule for marked connections", RouteNetlinkMessage::NewRule(rule(family)));
        tolerate(requests.send(), io::ErrorKind::AlreadyExists)?;
    }
    Ok(())
}

/// Takes the redirection out of a pod's namespace. Connections that go through the proxy end with it.
pub fn remove(pod: &Netns) -> io::Result<()> {
    let _inside = pod.enter_now()?;
    Batch::remove(TABLE).commit()?;
    for family in families() {
        for message in [RouteNetlinkMessage::DelRule(rule(family)), RouteNetlinkMessage::DelRoute(local_route(family))]
        {
            let mut requests = Requests::default();
            requests.change("remove the route of marked connections", message);
            match requests.send() {
                // ESRCH: there is no such route.
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_no_such_process(&error) => {}
                done => done?,
            }
        }
    }
    Ok(())
}

fn rules() -> Batch {
    let chain = |name, kind, hook, priority| Chain { name, kind, hook, priority };
    let probe = |source: IpAddr| [Match::Source(source)];
    Batch::replace(TABLE)
        .chain(chain("connection-in", ChainKind::Filter, ChainHook::Prerouting, -150))
        .rule("connection-in", &[Match::Mark(PROXY_MARK)], Action::SetConnectionMark(CONNECTION_MARK))
        .chain(chain("connection-out", ChainKind::Route, ChainHook::Output, -150))
        .rule("connection-out", &[Match::ConnectionMark(CONNECTION_MARK)], Action::SetMark(CONNECTION_MARK))
        .chain(chain("redirect-in", ChainKind::Nat, ChainHook::Prerouting, -100))
        .rule("redirect-in", &[Match::From(LOOPBACK)], Action::Accept)
        .rule("redirect-in", &[Match::Mark(PROXY_MARK)], Action::Accept)
        .rule("redirect-in", &probe(PROBE_V4.into()), Action::Accept)
        .rule("redirect-in", &probe(PROBE_V6.into()), Action::Accept)
        .rule("redirect-in", &[Match::Tcp, Match::Port(TUNNEL)], Action::Accept)
        .rule("redirect-in", &[Match::Tcp], Action::Redirect(INBOUND))
        .chain(chain("redirect-out", ChainKind::Nat, ChainHook::Output, -100))
        .rule("redirect-out", &[Match::To(LOOPBACK)], Action::Accept)
        .rule("redirect-out", &[Match::Mark(PROXY_MARK)], Action::Accept)
        .rule("redirect-out", &[Match::Mark(REFUSED_MARK)], Action::Accept)
        .rule("redirect-out", &[Match::Tcp], Action::Redirect(OUTBOUND))
}

/// IPv6 only where the kernel has it.
fn families() -> impl Iterator<Item = AddressFamily> {
    [AddressFamily::Inet, AddressFamily::Inet6]
        .into_iter()
        .filter(|family| *family == AddressFamily::Inet || sysctl::has_ipv6())
}

fn rule(family: AddressFamily) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = family;
    message.header.action = RuleAction::ToTable;
    message.attributes = vec![
        RuleAttribute::Priority(RULE_PRIORITY),
        RuleAttribute::FwMark(CONNECTION_MARK),
        RuleAttribute::Table(ROUTES),
    ];
    message
}

fn local_route(family: AddressFamily) -> rtnetlink::packet_route::route::RouteMessage {
    match family {
        AddressFamily::Inet6 => RouteMessageBuilder::<Ipv6Addr>::new()
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(LOOPBACK)
            .table_id(ROUTES)
            .build(),
        _ => RouteMessageBuilder::<Ipv4Addr>::new()
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .output_interface(LOOPBACK)
            .table_id(ROUTES)
            .build(),
    }
}

fn tolerate(result: io::Result<()>, kind: io::ErrorKind) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == kind => Ok(()),
        done => done,
    }
}

fn is_no_such_process(error: &io::Error) -> bool {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<crate::netlink::Refused>());
    refused.and_then(|refused| refused.source.raw_os_error()) == Some(libc::ESRCH)
}
