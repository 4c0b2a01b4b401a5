//! Links, addresses and routes of the node's and the pods' namespaces.
//!
//! Who is where on the bridge is never learned from what a pod sends: each port has one static forwarding
//! entry, and the bridge answers for its pods. So a pod cannot draw another's traffic to itself, and a new
//! connection does not wait for an address to be resolved.

use crate::netlink::Requests;
use crate::netns::Netns;
use crate::sysctl;
use nix::net::if_::if_nametoindex;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use rtnetlink::packet_route::link::{InfoData, InfoVeth};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{LinkBridge, LinkBridgePort, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::thread;
use std::time::{Duration, Instant};

/// The loopback link's index: the first in every namespace.
pub(crate) const LOOPBACK: u32 = 1;
/// The pod's link, inside the pod.
pub const POD_LINK: &str = "eth0";

/// The node's bridge.
#[derive(Debug, Clone)]
pub struct Bridge<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its addresses with their prefix lengths: the pods' gateways, and others that the node answers at.
    pub addresses: &'a [(IpAddr, u8)],
    /// Bytes in a packet.
    pub mtu: u32,
}

/// A pod's link to the bridge.
#[derive(Debug, Clone)]
pub struct PodLink<'a> {
    /// A number of its own in the node: the node's end is named `lt<number>`, and its hardware address
    /// holds it.
    pub number: u32,
    /// The pod's addresses with the prefix lengths of their blocks.
    pub addresses: &'a [(IpAddr, u8)],
    /// The default gateways, at most one a family: addresses of the bridge.
    pub gateways: &'a [IpAddr],
    /// Bytes in a packet.
    pub mtu: u32,
}

impl PodLink<'_> {
    /// The name of the node's end.
    pub fn host_name(&self) -> String {
        format!("lt{}", self.number)
    }

    /// The hardware address of the node's end.
    fn node_hardware(&self) -> [u8; 6] {
        let [a, b, c, d] = self.number.to_be_bytes();
        [LOCAL, b'h', a, b, c, d]
    }

    /// The hardware address of the pod's end: always the same for an address, so that the neighbours of a pod
    /// that was started again need not learn where it is now.
    fn pod_hardware(&self) -> [u8; 6] {
        match self.addresses.first() {
            Some((IpAddr::V4(address), _)) => {
                let [a, b, c, d] = address.octets();
                [LOCAL, b'p', a, b, c, d]
            }
            Some((IpAddr::V6(address), _)) => {
                let [.., a, b, c, d, e] = fnv(&address.octets()).to_be_bytes();
                [LOCAL_V6, a, b, c, d, e]
            }
            None => {
                let [a, b, c, d] = self.number.to_be_bytes();
                [LOCAL, b'n', a, b, c, d]
            }
        }
    }
}

/// FNV-1a of 64 bits.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// First byte of a locally administered unicast hardware address.
const LOCAL: u8 = 0x02;
/// The same, of a pod that has no IPv4 address.
const LOCAL_V6: u8 = 0x06;
const BRIDGE_HARDWARE: [u8; 6] = [LOCAL, b'b', 0, 0, 0, 1];

/// Takes the loopback link up.
pub fn loopback(netns: &Netns) -> io::Result<()> {
    let _inside = netns.enter_now()?;
    let mut requests = Requests::default();
    requests.change("take lo up", set_up(LOOPBACK));
    requests.send()
}

/// Makes the bridge in a namespace, with its addresses, and takes it up. Returns its index.
pub fn bridge(node: &Netns, bridge: &Bridge<'_>) -> io::Result<u32> {
    let _inside = node.enter_now()?;
    sysctl::quiet_ipv6()?;
    sysctl::no_own_ipv6()?;
    sysctl::no_bridge_filter()?;
    let link = LinkBridge::new(bridge.name)
        .stp_state(rtnetlink::packet_route::link::BridgeStpState::Disabled)
        .mcast_snooping(false)
        .address(BRIDGE_HARDWARE.to_vec())
        .mtu(bridge.mtu)
        .build();
    let mut requests = Requests::default();
    requests.change("take lo up", set_up(LOOPBACK));
    requests.create(format!("make bridge {}", bridge.name), RouteNetlinkMessage::NewLink(link));
    requests.send()?;
    let index = if_nametoindex(bridge.name)?;
    let mut requests = Requests::default();
    for (address, prefix) in bridge.addresses {
        requests.create(format!("add {address} to {}", bridge.name), new_address(index, *address, *prefix));
    }
    requests.send()?;
    Ok(index)
}

/// Joins a pod's namespace to the bridge with index `bridge`. Returns the index of the node's end, once the
/// link carries traffic.
pub fn pod(node: &Netns, bridge: u32, pod: &Netns, link: &PodLink<'_>) -> io::Result<u32> {
    {
        let _inside = pod.enter_now()?;
        sysctl::quiet_ipv6()?;
    }
    let index = {
        let _inside = node.enter_now()?;
        node_end(bridge, pod, link)?
    };
    pod_end(pod, link)?;
    wait_until_up(pod, &[POD_LINK.to_owned()])?;
    let _inside = node.enter_now()?;
    let host = link.host_name();
    wait_for(&host, || Ok(carries(&host)? && !has_tentative_addresses(bridge)?))?;
    Ok(index)
}

/// The pod's part of [`pod`].
fn pod_end(pod: &Netns, link: &PodLink<'_>) -> io::Result<()> {
    let _inside = pod.enter_now()?;
    let eth0 = if_nametoindex(POD_LINK)?;
    let mut requests = Requests::default();
    requests.change("take lo up", set_up(LOOPBACK));
    requests.change("take eth0 up", set_up(eth0));
    for (address, prefix) in link.addresses {
        requests.create(format!("add {address}/{prefix} to eth0"), new_address(eth0, *address, *prefix));
    }
    for gateway in link.gateways {
        requests.replace(format!("pin gateway {gateway}"), neighbour(eth0, *gateway, BRIDGE_HARDWARE));
        requests.create(format!("route by {gateway}"), default_route(*gateway));
    }
    requests.send()
}

/// The node's part of [`pod`], in the calling thread's namespace.
fn node_end(bridge: u32, pod: &Netns, link: &PodLink<'_>) -> io::Result<u32> {
    let (host, hardware) = (link.host_name(), link.pod_hardware());
    let peer = LinkUnspec::new_with_name(POD_LINK)
        .setns_by_fd(pod.as_fd().as_raw_fd())
        .address(hardware.to_vec())
        .mtu(link.mtu)
        .build();
    let veth = LinkVeth::new(&host, POD_LINK)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
        .address(link.node_hardware().to_vec())
        .mtu(link.mtu)
        .controller(bridge)
        .up()
        .build();
    let mut requests = Requests::default();
    requests.create(format!("make link {host}"), RouteNetlinkMessage::NewLink(veth));
    requests.send()?;

    let index = if_nametoindex(host.as_str())?;
    let port = LinkBridgePort::new(index).learning(false).neigh_suppress(true).build();
    let mut requests = Requests::default();
    requests.change(format!("set {host} as a port"), RouteNetlinkMessage::NewLink(port));
    requests.replace(format!("pin {host} in the forwarding table"), forwarding(index, hardware));
    for (address, _) in link.addresses {
        requests.replace(format!("pin neighbour {address}"), neighbour(bridge, *address, hardware));
    }
    requests.send()?;
    Ok(index)
}

/// Removes a link, and with it its peer.
pub fn remove(netns: &Netns, index: u32) -> io::Result<()> {
    let _inside = netns.enter_now()?;
    let mut requests = Requests::default();
    let message = RouteNetlinkMessage::DelLink(LinkUnspec::new_with_index(index).build());
    requests.change(format!("remove link {index}"), message);
    requests.send()
}

/// Forgets the addresses of a pod that has left the bridge.
pub fn forget(node: &Netns, bridge: u32, addresses: &[IpAddr]) -> io::Result<()> {
    let _inside = node.enter_now()?;
    for address in addresses {
        let mut requests = Requests::default();
        let RouteNetlinkMessage::NewNeighbour(entry) = neighbour(bridge, *address, [0; 6]) else { continue };
        requests.change(format!("forget neighbour {address}"), RouteNetlinkMessage::DelNeighbour(entry));
        match requests.send() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Waits until links carry traffic, or fails after five seconds.
///
/// What is sent before that is lost without an error, and a first SYN then costs its sender a second. The same
/// goes for an IPv6 address until the kernel has found it usable, which it does in its own time even when it
/// is to look for no duplicate.
pub fn wait_until_up(netns: &Netns, names: &[String]) -> io::Result<()> {
    let _inside = netns.enter_now()?;
    for name in names {
        let index = if_nametoindex(name.as_str())?;
        wait_for(name, || Ok(carries(name)? && !has_tentative_addresses(index)?))?;
    }
    Ok(())
}

fn wait_for(name: &str, is_up: impl Fn() -> io::Result<bool>) -> io::Result<()> {
    let limit = Instant::now() + Duration::from_secs(5);
    while !is_up()? {
        if Instant::now() > limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("link {name} does not come up")));
        }
        thread::sleep(Duration::from_micros(200));
    }
    Ok(())
}

/// Whether a link of the calling thread's namespace has a carrier.
///
/// The kernel makes the consequences of a new carrier (queues, the bridge's port, IPv6) in its own time; this
/// question (`ETHTOOL_GLINK`) has it finish them first.
fn carries(name: &str) -> io::Result<bool> {
    const ETHTOOL_GLINK: u32 = 0x0a;
    const SIOCETHTOOL: libc::Ioctl = 0x8946;
    #[repr(C)]
    struct Value {
        command: u32,
        data: u32,
    }
    #[repr(C)]
    struct Request {
        name: [u8; libc::IFNAMSIZ],
        value: *mut Value,
        // The rest of the kernel's union, which is as long as `struct ifmap`.
        rest: [u64; 2],
    }
    let mut request = Request { name: [0; libc::IFNAMSIZ], value: std::ptr::null_mut(), rest: [0; 2] };
    let place = request.name.get_mut(..name.len()).filter(|place| place.len() < libc::IFNAMSIZ);
    let place =
        place.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("link name {name} is too long")))?;
    place.copy_from_slice(name.as_bytes());
    let mut value = Value { command: ETHTOOL_GLINK, data: 0 };
    request.value = &raw mut value;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the request is laid out as `struct ifreq` and names a `struct ethtool_value`; both live through
    // the call, and the kernel writes only into the latter.
    #[allow(unsafe_code)]
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result == 0 { Ok(value.data != 0) } else { Err(io::Error::last_os_error()) }
}

/// Whether an IPv6 address of the link is not usable yet, in the calling thread's namespace.
fn has_tentative_addresses(link: u32) -> io::Result<bool> {
    const IFA_F_TENTATIVE: u32 = 0x40;
    let shown = match std::fs::read_to_string("/proc/thread-self/net/if_inet6") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        shown => shown?,
    };
    // Address, index, prefix length, scope, flags (all hexadecimal), name.
    Ok(shown.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().map(|field| u32::from_str_radix(field, 16).unwrap_or_default());
        fields.nth(1) == Some(link) && fields.nth(2).is_some_and(|flags| flags & IFA_F_TENTATIVE != 0)
    }))
}

/// One end of a veth pair outside of any bridge.
#[derive(Debug, Clone)]
pub struct End<'a> {
    /// Where the end lives.
    pub netns: &'a Netns,
    /// Its name there.
    pub name: &'a str,
    /// Its address and prefix length.
    pub address: (IpAddr, u8),
}

/// Joins two namespaces directly and returns when both ends carry traffic.
pub fn veth(left: &End<'_>, right: &End<'_>) -> io::Result<()> {
    for end in [left, right] {
        let _inside = end.netns.enter_now()?;
        sysctl::quiet_ipv6()?;
    }
    {
        let _inside = left.netns.enter_now()?;
        let peer = LinkUnspec::new_with_name(right.name).setns_by_fd(right.netns.as_fd().as_raw_fd()).build();
        let link = LinkVeth::new(left.name, right.name).set_info_data(InfoData::Veth(InfoVeth::Peer(peer))).build();
        let mut requests = Requests::default();
        requests.create(format!("make link {}", left.name), RouteNetlinkMessage::NewLink(link));
        requests.send()?;
    }
    for end in [left, right] {
        let _inside = end.netns.enter_now()?;
        let index = if_nametoindex(end.name)?;
        let (address, prefix) = end.address;
        let mut requests = Requests::default();
        requests.change("take lo up", set_up(LOOPBACK));
        requests.change(format!("take {} up", end.name), set_up(index));
        requests.create(format!("add {address} to {}", end.name), new_address(index, address, prefix));
        requests.send()?;
    }
    [left, right].into_iter().try_for_each(|end| wait_until_up(end.netns, &[end.name.to_owned()]))
}

/// Adds an address to a link by its name.
pub fn add_address(netns: &Netns, name: &str, address: IpAddr, prefix: u8) -> io::Result<()> {
    let _inside = netns.enter_now()?;
    let index = if_nametoindex(name)?;
    let mut requests = Requests::default();
    requests.create(format!("add {address}/{prefix} to {name}"), new_address(index, address, prefix));
    requests.send()
}

/// Adds a default route of the gateway's family.
pub fn route_by(netns: &Netns, gateway: IpAddr) -> io::Result<()> {
    let _inside = netns.enter_now()?;
    let mut requests = Requests::default();
    requests.create(format!("route by {gateway}"), default_route(gateway));
    requests.send()
}

pub(crate) fn set_up(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build())
}

fn new_address(index: u32, address: IpAddr, prefix: u8) -> RouteNetlinkMessage {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if address.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    RouteNetlinkMessage::NewAddress(message)
}

fn default_route(gateway: IpAddr) -> RouteNetlinkMessage {
    RouteNetlinkMessage::NewRoute(match gateway {
        IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build(),
        IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new().gateway(gateway).build(),
    })
}

fn neighbour(index: u32, address: IpAddr, hardware: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family(address);
    message.header.ifindex = index;
    message.header.state = NeighbourState::Permanent;
    let destination = match address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    };
    message.attributes =
        vec![NeighbourAttribute::Destination(destination), NeighbourAttribute::LinkLayerAddress(hardware.to_vec())];
    RouteNetlinkMessage::NewNeighbour(message)
}

/// A static entry of the bridge's forwarding table: this hardware address is behind this port.
fn forwarding(port: u32, hardware: [u8; 6]) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(hardware.to_vec())];
    RouteNetlinkMessage::NewNeighbour(message)
}

fn family(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
