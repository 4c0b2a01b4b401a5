//! TCP under TLS, read ahead.

use bytes::{Buf, BytesMut};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// rustls asks for 4 KiB at a time; this saves it the system calls.
const AHEAD: usize = 64 << 10;

/// A connection whose reads are large, and which holds no buffer while nothing comes.
#[derive(Debug)]
pub(crate) struct Wire {
    tcp: TcpStream,
    ahead: BytesMut,
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, ahead: BytesMut::new() }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, ahead } = self.get_mut();
        if ahead.is_empty() {
            ahead.reserve(AHEAD);
            let read = pin!(tcp.read_buf(ahead)).poll(cx);
            if read.is_pending() {
                *ahead = BytesMut::new();
            }
            ready!(read)?;
        }
        let length = ahead.len().min(into.remaining());
        into.put_slice(ahead.get(..length).unwrap_or_default());
        ahead.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
