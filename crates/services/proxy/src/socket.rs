//! Sockets in a pod's namespace: the listeners, the ways out, and what the kernel knows of a connection.

#![allow(unsafe_code)] // One socket option that neither nix nor socket2 offers.

use crate::netns::Namespace;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// The mark of the proxy's own sockets: the pod's redirection lets them through, and the reply's route to `lo`
/// when the client's source address is kept.
pub(crate) const MARK: u32 = 0x539;

const BACKLOG: i32 = 1024;

/// How far a connection goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// Its other end is on this node. There is no network to share fairly, so it is never paced: a pacing congestion
    /// control (BBR) costs a bulk transfer as much again in timers.
    ThisNode,
    /// It may leave the node, under the congestion control that the machine is set to.
    Anywhere,
}

impl Reach {
    /// To be called before there is a connection: what began to be paced stays so.
    fn prepare(self, socket: &Socket) -> io::Result<()> {
        match self {
            // The one that every kernel has.
            Self::ThisNode => socket.set_tcp_congestion(b"reno"),
            Self::Anywhere => Ok(()),
        }
    }
}

/// A dead peer is noticed after about `180 + 9 * 20` seconds.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(180)).with_interval(Duration::from_secs(20)).with_retries(9);

/// A listener on a port of every address of the pod: `[::]` with IPv4 on it, or `0.0.0.0` where there is no IPv6.
/// `reach` is that of the connections which it accepts.
///
/// # Errors
/// When the port is taken, or the namespace cannot be entered.
pub(crate) fn listen(namespace: &Namespace, port: u16, reach: Reach) -> io::Result<TcpListener> {
    let socket = namespace.within(|| match bind(Ipv6Addr::UNSPECIFIED.into(), port, reach) {
        Err(error) if lacks_ipv6(&error) => bind(Ipv4Addr::UNSPECIFIED.into(), port, reach),
        bound => bound,
    })?;
    TcpListener::from_std(socket.into())
}

fn bind(address: IpAddr, port: u16, reach: Reach) -> io::Result<Socket> {
    let address = SocketAddr::new(address, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_mark(MARK)?;
    reach.prepare(&socket)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn lacks_ipv6(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL))
}

/// A connection out of the pod's namespace, past its own redirection.
///
/// With a `source` it comes from that address, whether or not the namespace has it: the application sees its
/// client. The port is left to the kernel at connect time, so that one address pair has all ports.
///
/// # Errors
/// What the kernel says, and [`io::ErrorKind::TimedOut`] after `limit`.
pub(crate) async fn connect(
    namespace: &Namespace,
    source: Option<IpAddr>,
    destination: SocketAddr,
    reach: Reach,
    limit: Duration,
) -> io::Result<TcpStream> {
    let socket = namespace.within(|| {
        let socket = Socket::new(Domain::for_address(destination), Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_mark(MARK)?;
        socket.set_tcp_nodelay(true)?;
        reach.prepare(&socket)?;
        if let Some(source) = source {
            match source {
                IpAddr::V4(_) => socket.set_ip_transparent_v4(true)?,
                IpAddr::V6(_) => socket.set_ip_transparent_v6(true)?,
            }
            bind_without_port(&socket)?;
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    })?;
    let connecting = TcpSocket::from_std_stream(socket.into()).connect(destination);
    tokio::time::timeout(limit, connecting).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// `IP_BIND_ADDRESS_NO_PORT`: `bind` takes the address, `connect` chooses the port. It is an IP-level option that
/// IPv6 sockets take too (ip(7)).
fn bind_without_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open for as long as `socket` lives; the option is an int, and the pointer and the
    // length are those of `on`, which outlives the call. The kernel only reads it.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends what is small at once.
pub(crate) fn prepare(stream: &TcpStream) {
    // A peer that is already gone makes this fail; the first read says so.
    let _ = SockRef::from(stream).set_tcp_nodelay(true);
}

/// Notices a peer on another machine that is dead. One in the same pod cannot die without a word.
pub(crate) fn watch(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_tcp_keepalive(&KEEPALIVE);
}

/// Lets a tunnel's peer that vanished (its pod was removed) be noticed soon: by what it does not acknowledge, or,
/// in quiet, by what it does not answer.
pub(crate) fn watch_closely(stream: &TcpStream) {
    let socket = SockRef::from(stream);
    let quick = TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
    let _ = socket.set_tcp_keepalive(&quick.with_retries(3));
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_secs(30)));
}

/// Where a redirected connection was meant to go (`SO_ORIGINAL_DST`, `IP6T_SO_ORIGINAL_DST`).
///
/// # Errors
/// When the connection was not redirected, or connection tracking does not know it.
pub(crate) fn original_destination(stream: &TcpStream) -> io::Result<SocketAddr> {
    let socket = SockRef::from(stream);
    let known = match stream.peer_addr()?.ip().to_canonical() {
        IpAddr::V4(_) => socket.original_dst_v4()?,
        IpAddr::V6(_) => socket.original_dst_v6()?,
    };
    known.as_socket().map(canonical).ok_or_else(|| io::Error::other("expected an internet address"))
}

/// An IPv4-mapped IPv6 address as IPv4; the port stays.
pub(crate) fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Makes the close of a connection, whenever it comes, a reset instead of an orderly end.
pub(crate) fn reset_on_close(stream: &TcpStream) {
    // It fails only on a socket that is gone already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

#[cfg(test)]
mod tests {
    use super::{Reach, canonical, connect, listen, original_destination, reset_on_close};
    use crate::tests::net::namespace;
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};
    use std::time::Duration;
    use tokio::io::AsyncReadExt;

    const LIMIT: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn sockets_live_in_the_namespace_that_they_were_made_in() {
        let (one, two) = (namespace(), namespace());
        let listener = listen(&one, 15008, Reach::Anywhere).expect("a listener");
        assert!(listen(&one, 15008, Reach::Anywhere).is_err_and(|error| error.kind() == ErrorKind::AddrInUse));
        listen(&two, 15008, Reach::Anywhere).expect("the port is free elsewhere");
        let target = SocketAddr::from(([127, 0, 0, 1], 15008));
        let client = connect(&one, None, target, Reach::ThisNode, LIMIT).await.expect("a connection");
        let (accepted, peer) = listener.accept().await.expect("a connection");
        assert_eq!(canonical(peer), client.local_addr().expect("an address"));
        assert!(original_destination(&accepted).is_err(), "nothing was redirected");
        let refused = connect(&two, None, SocketAddr::from(([127, 0, 0, 1], 1)), Reach::ThisNode, LIMIT).await;
        assert!(refused.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused));
    }

    #[tokio::test]
    async fn an_application_sees_the_address_of_its_client() {
        let pod = namespace();
        let listener = listen(&pod, 80, Reach::ThisNode).expect("a listener");
        let source = IpAddr::V4(Ipv4Addr::new(127, 1, 2, 3));
        let _client = connect(&pod, Some(source), SocketAddr::from(([127, 0, 0, 2], 80)), Reach::ThisNode, LIMIT)
            .await
            .expect("connects");
        let (_, peer) = listener.accept().await.expect("a connection");
        assert_eq!(peer.ip().to_canonical(), source);
    }

    #[tokio::test]
    async fn a_reset_is_seen_as_one() {
        let pod = namespace();
        let listener = listen(&pod, 80, Reach::ThisNode).expect("a listener");
        let mut client = connect(&pod, None, SocketAddr::from(([127, 0, 0, 1], 80)), Reach::ThisNode, LIMIT)
            .await
            .expect("connects");
        let (accepted, _) = listener.accept().await.expect("a connection");
        reset_on_close(&accepted);
        drop(accepted);
        let error = client.read_u8().await.expect_err("no end of stream");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
}
