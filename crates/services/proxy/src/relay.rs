//! Bytes from one connection to another, both ways, and the ends that they go between.

use crate::ahead::Ahead;
use crate::live::Open;
use crate::socket;
use bytes::Bytes;
use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Where bytes come from.
pub(crate) trait Source {
    /// The next bytes, never empty; nothing at the orderly end.
    async fn read(&mut self) -> io::Result<Option<Bytes>>;
}

/// Where bytes go.
pub(crate) trait Sink {
    /// Writes all of it, as fast as the other side takes it.
    async fn write(&mut self, bytes: Bytes) -> io::Result<()>;
    /// Tells the other side that no more comes.
    async fn finish(&mut self) -> io::Result<()>;
    /// Makes the other side see a reset.
    fn abort(&mut self);
}

/// A connection that can be relayed, or spoken on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Its reading end.
    type Source: Source + 'static;
    /// Its writing end.
    type Sink: Sink + 'static;
    /// Takes it apart. What was read ahead stays readable.
    fn into_ends(self) -> Ends<Self::Source, Self::Sink>;
}

/// The two ends of one connection.
#[derive(Debug)]
pub(crate) struct Ends<R, W> {
    pub(crate) source: R,
    pub(crate) sink: W,
}

/// Payload bytes so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// From the client to the server.
    pub(crate) sent: Cell<u64>,
    /// From the server to the client.
    pub(crate) received: Cell<u64>,
}

/// Carries what was let in until both sides are done, or one fails, or a policy ends it: then both see a reset.
pub(crate) async fn carry<CR: Source, CW: Sink, SR: Source, SW: Sink>(
    open: &Open,
    mut client: Ends<CR, CW>,
    mut server: Ends<SR, SW>,
) {
    let orderly = tokio::select! {
        biased;
        () = open.ending.told() => false,
        result = relay(&mut client, &mut server, &open.counts) => result.is_ok(),
    };
    if !orderly {
        client.sink.abort();
        server.sink.abort();
    }
}

async fn relay<CR: Source, CW: Sink, SR: Source, SW: Sink>(
    client: &mut Ends<CR, CW>,
    server: &mut Ends<SR, SW>,
    counts: &Counts,
) -> io::Result<()> {
    let up = copy(&mut client.source, &mut server.sink, &counts.sent);
    let down = copy(&mut server.source, &mut client.sink, &counts.received);
    futures::future::try_join(up, down).await.map(|((), ())| ())
}

async fn copy(from: &mut impl Source, to: &mut impl Sink, count: &Cell<u64>) -> io::Result<()> {
    while let Some(bytes) = from.read().await? {
        let length = bytes.len() as u64;
        to.write(bytes).await?;
        count.set(count.get().saturating_add(length));
    }
    to.finish().await
}

/// The reading end of a TCP connection.
#[derive(Debug)]
pub(crate) struct TcpSource {
    half: OwnedReadHalf,
    ahead: Ahead,
}

impl Source for TcpSource {
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        let Self { half, ahead } = self;
        let count = poll_fn(|cx| ahead.poll_fill(half, cx)).await?;
        Ok((count > 0).then(|| ahead.bytes.split().freeze()))
    }
}

/// The writing end of a TCP connection; nothing once it was aborted.
#[derive(Debug)]
pub(crate) struct TcpSink(Option<OwnedWriteHalf>);

impl Sink for TcpSink {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        let half = self.0.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        half.write_all(&bytes).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        let half = self.0.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        match half.shutdown().await {
            // The other side has closed altogether: it knows.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            result => result,
        }
    }

    fn abort(&mut self) {
        if let Some(half) = self.0.take() {
            socket::reset_on_close(half.as_ref());
            // Its own drop would send an orderly end first.
            half.forget();
        }
    }
}

impl Stream for TcpStream {
    type Source = TcpSource;
    type Sink = TcpSink;

    fn into_ends(self) -> Ends<TcpSource, TcpSink> {
        let (half, sink) = self.into_split();
        Ends { source: TcpSource { half, ahead: Ahead::default() }, sink: TcpSink(Some(sink)) }
    }
}
