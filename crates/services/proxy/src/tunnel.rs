//! One stream of a tunnel: an HTTP/2 `CONNECT` exchange as a connection.

use crate::relay::{Ends, Sink, Source, Stream};
use crate::window::Taken;
use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Dropped with the last end of a stream; whoever counts streams counts these.
pub(crate) type Slot = Option<Arc<dyn std::any::Any + Send + Sync>>;

/// The receiving end.
#[derive(Debug)]
pub(crate) struct TunnelSource {
    stream: RecvStream,
    /// The length of the piece that was handed out last and not yet been given back to the sender's window.
    owed: usize,
    taken: Taken,
    _slot: Slot,
}

/// The sending end.
#[derive(Debug)]
pub(crate) struct TunnelSink {
    stream: SendStream<Bytes>,
    slot: Slot,
}

/// Both ends, to be read and written.
#[derive(Debug)]
pub(crate) struct TunnelStream {
    ends: Ends<TunnelSource, TunnelSink>,
    unread: Bytes,
}

impl TunnelStream {
    /// A stream whose `CONNECT` was answered with 200.
    pub(crate) fn new(send: SendStream<Bytes>, receive: RecvStream, taken: Taken, slot: Slot) -> Self {
        let source = TunnelSource { stream: receive, owed: 0, taken, _slot: slot.clone() };
        Self { ends: Ends { source, sink: TunnelSink { stream: send, slot } }, unread: Bytes::new() }
    }
}

impl TunnelSource {
    /// The next piece. What was handed out before has been dealt with, so the sender may send as much again: the
    /// window follows what the application takes, not what has arrived.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let owed = std::mem::take(&mut self.owed);
        self.give_back(owed);
        loop {
            return match ready!(self.stream.poll_data(cx)) {
                None => Poll::Ready(Ok(None)),
                Some(Ok(piece)) if piece.is_empty() => continue,
                Some(Ok(piece)) => {
                    self.owed = piece.len();
                    Poll::Ready(Ok(Some(piece)))
                }
                Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(Ok(None)),
                Some(Err(error)) => Poll::Ready(Err(broken(error))),
            };
        }
    }

    fn give_back(&mut self, length: usize) {
        if length > 0 {
            self.taken.fetch_add(length as u64, Ordering::Relaxed);
            // It fails only for more than was received.
            let _ = self.stream.flow_control().release_capacity(length);
        }
    }
}

impl Source for TunnelSource {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_piece(cx)).await
    }
}

impl TunnelSink {
    /// How many of `wanted` bytes may be sent now, at least one.
    fn poll_room(&mut self, cx: &mut Context<'_>, wanted: usize) -> Poll<io::Result<usize>> {
        self.stream.reserve_capacity(wanted);
        loop {
            // `poll_capacity` only tells of more room than there was, not of what is there.
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room.min(wanted)));
            }
            match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return self.poll_why(cx),
            }
        }
    }

    /// Why the stream takes no more.
    fn poll_why(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(match self.stream.poll_reset(cx) {
            Poll::Ready(Ok(reason)) => broken(reason.into()),
            Poll::Ready(Err(error)) => broken(error),
            Poll::Pending => io::ErrorKind::BrokenPipe.into(),
        }))
    }

    fn end(&mut self) -> io::Result<()> {
        self.stream.send_data(Bytes::new(), true).map_err(broken)
    }
}

impl Sink for TunnelSink {
    async fn write(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = poll_fn(|cx| self.poll_room(cx, bytes.len())).await?;
            self.stream.send_data(bytes.split_to(room), false).map_err(broken)?;
        }
        Ok(())
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.end()
    }

    /// `CONNECT_ERROR` is what a reset of the connection is called within the tunnel (RFC 9113, section 8.5); ztunnel
    /// takes `CANCEL` for an orderly end.
    fn abort(&mut self) {
        self.stream.send_reset(Reason::CONNECT_ERROR);
        self.slot = None;
    }
}

impl Stream for TunnelStream {
    type Source = Rewound<TunnelSource>;
    type Sink = TunnelSink;

    fn into_ends(self) -> Ends<Rewound<TunnelSource>, TunnelSink> {
        Ends { source: Rewound { first: self.unread, rest: self.ends.source }, sink: self.ends.sink }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.unread.is_empty() {
            match ready!(this.ends.source.poll_piece(cx))? {
                Some(piece) => this.unread = piece,
                None => return Poll::Ready(Ok(())),
            }
        }
        let piece = this.unread.split_to(this.unread.len().min(into.remaining()));
        into.put_slice(&piece);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sink = &mut self.get_mut().ends.sink;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = ready!(sink.poll_room(cx, bytes.len()))?;
        let piece = bytes.get(..room).unwrap_or(bytes);
        sink.stream.send_data(Bytes::copy_from_slice(piece), false).map_err(broken)?;
        Poll::Ready(Ok(piece.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().ends.sink.end())
    }
}

/// A stream with some bytes before it that were already taken from it.
#[derive(Debug)]
pub(crate) struct Rewound<T> {
    first: Bytes,
    rest: T,
}

impl<T> Rewound<T> {
    /// `first`, then what `rest` has.
    pub(crate) const fn new(first: Bytes, rest: T) -> Self {
        Self { first, rest }
    }
}

impl<T: Source> Source for Rewound<T> {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        if self.first.is_empty() { self.rest.read().await } else { Ok(Some(std::mem::take(&mut self.first))) }
    }
}

impl<T: Stream> Stream for Rewound<T> {
    type Source = Rewound<T::Source>;
    type Sink = T::Sink;

    fn into_ends(self) -> Ends<Self::Source, Self::Sink> {
        let Ends { source, sink } = self.rest.into_ends();
        Ends { source: Rewound::new(self.first, source), sink }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.first.is_empty() {
            return Pin::new(&mut this.rest).poll_read(cx, into);
        }
        let length = this.first.len().min(into.remaining());
        into.put_slice(this.first.get(..length).unwrap_or_default());
        this.first.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().rest).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().rest).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.rest.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().rest).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().rest).poll_shutdown(cx)
    }
}

/// An HTTP/2 error as what a plain connection would have said.
fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        error.into_io().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())
    } else if error.is_reset() || error.is_go_away() {
        io::Error::new(io::ErrorKind::ConnectionReset, error)
    } else {
        io::Error::other(error)
    }
}
