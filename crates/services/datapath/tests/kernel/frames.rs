//! Frames built by hand, and a socket that puts them on a pod's link as they are.

use crate::node::{Guarded, v4, v6};
use std::io;
use std::net::IpAddr;

/// Any hardware address will do: the bridge floods what it does not know.
const FLOODED: [u8; 6] = [2, 0xff, 0xff, 0xff, 0xff, 0xff];

/// Sends a frame from a pod.
pub fn send(node: &Guarded, from: u8, frame: &[u8]) -> io::Result<()> {
    sender(node, from)?.send(frame).map(drop)
}

/// A socket that puts frames on a pod's link as they are.
pub fn sender(node: &Guarded, from: u8) -> io::Result<socket2::Socket> {
    use socket2::{Domain, SockAddr, Socket, Type};
    node.pods[&from].netns.run(|| {
        let socket = Socket::new(Domain::PACKET, Type::RAW, None)?;
        let index = nix::net::if_::if_nametoindex("eth0")?;
        // SAFETY: `sockaddr_ll` is written whole and its length is given.
        #[allow(unsafe_code)]
        let ((), address) = unsafe {
            SockAddr::try_init(|storage, length| {
                let mut link: libc::sockaddr_ll = std::mem::zeroed();
                link.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
                link.sll_ifindex = i32::try_from(index).unwrap();
                storage.cast::<libc::sockaddr_ll>().write(link);
                *length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap();
                Ok(())
            })?
        };
        socket.bind(&address).map(|()| socket)
    })
}

/// A frame of any type.
pub fn ethernet(kind: u16, payload: &[u8]) -> Vec<u8> {
    [&FLOODED[..], &[2, 0, 0, 0, 0, 9], &kind.to_be_bytes(), payload].concat()
}

/// An IPv4 packet between two pods. `fragment` is the field of flags and offset.
pub fn ipv4(from: u8, to: u8, protocol: u8, options: &[u8], fragment: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + options.len() + payload.len()).unwrap();
    let mut header = vec![0x45 + u8::try_from(options.len() / 4).unwrap(), 0];
    header.extend(length.to_be_bytes());
    header.extend([0x12, 0x34]);
    header.extend(fragment.to_be_bytes());
    header.extend([64, protocol, 0, 0]);
    for last in [from, to] {
        let IpAddr::V4(address) = v4(last) else { unreachable!() };
        header.extend(address.octets());
    }
    header.extend(options);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    ethernet(0x0800, &[&header, payload].concat())
}

/// An IPv6 packet between two pods: `next` and `extensions` come before the payload.
pub fn ipv6(from: u8, to: u8, next: u8, hops: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = vec![0x60, 0, 0, 0];
    header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    header.extend([next, hops]);
    header.extend(addresses6(from, to));
    ethernet(0x86dd, &[&header, payload].concat())
}

fn addresses6(from: u8, to: u8) -> Vec<u8> {
    let octets = |last| match v6(last) {
        IpAddr::V6(address) => address.octets(),
        IpAddr::V4(_) => unreachable!(),
    };
    [octets(from), octets(to)].concat()
}

/// A UDP datagram with the checksum of IPv6.
pub fn udp6(from: u8, to: u8, port: u16, word: &[u8]) -> Vec<u8> {
    let mut datagram = udp4(port, word);
    let length = u32::try_from(datagram.len()).unwrap().to_be_bytes();
    let sum = checksum(&[&addresses6(from, to)[..], &length, &[0, 0, 0, 17], &datagram].concat());
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    datagram
}

/// A UDP datagram without a checksum, from port 7777.
pub fn udp4(port: u16, word: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + word.len()).unwrap();
    [&7777_u16.to_be_bytes()[..], &port.to_be_bytes(), &length.to_be_bytes(), &[0, 0], word].concat()
}

/// The first 20 bytes of a TCP segment from port 7777.
pub fn tcp(port: u16, flags: u8) -> Vec<u8> {
    let mut segment = [&7777_u16.to_be_bytes()[..], &port.to_be_bytes(), &[0; 8]].concat();
    segment.extend([0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}
