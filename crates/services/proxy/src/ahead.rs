//! Reading from a connection as much as there is, and holding nothing while there is nothing.

use bytes::BytesMut;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A connection that sends little needs little; one that sends much is read in large pieces.
const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 256 << 10;

/// What was read and not yet taken.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(crate) bytes: BytesMut,
    size: usize,
}

impl Default for Ahead {
    fn default() -> Self {
        Self { bytes: BytesMut::new(), size: SMALLEST }
    }
}

impl Ahead {
    /// Reads once; 0 at the end. The size follows what comes: four times as much after a piece that filled it, half
    /// as much each time that nothing is there.
    pub(crate) fn poll_fill(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let Self { bytes, size } = self;
        bytes.reserve(*size);
        let read = pin!(from.read_buf(bytes)).poll(cx);
        match &read {
            Poll::Pending => {
                *bytes = BytesMut::new();
                *size = (*size / 2).max(SMALLEST);
            }
            Poll::Ready(Ok(count)) if *count >= *size => *size = (*size * 4).min(LARGEST),
            Poll::Ready(_) => {}
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::{Ahead, LARGEST, SMALLEST};
    use std::future::poll_fn;
    use tokio::io::AsyncWriteExt;

    #[tokio::test]
    async fn the_size_follows_what_comes_and_nothing_is_held_in_between() {
        let (mut ours, mut theirs) = tokio::io::duplex(4 * LARGEST);
        let mut ahead = Ahead::default();
        theirs.write_all(&vec![7; 2 * LARGEST]).await.expect("room");
        let mut pieces = Vec::new();
        while pieces.iter().sum::<usize>() < 2 * LARGEST {
            pieces.push(poll_fn(|cx| ahead.poll_fill(&mut ours, cx)).await.expect("bytes"));
            ahead.bytes.clear();
        }
        assert!(pieces.first() < pieces.last() && pieces.len() < 8, "{pieces:?}");
        for _ in 0..10 {
            let nothing = poll_fn(|cx| std::task::Poll::Ready(ahead.poll_fill(&mut ours, cx))).await;
            assert!(nothing.is_pending());
        }
        assert_eq!((ahead.size, ahead.bytes.capacity()), (SMALLEST, 0));
    }
}
