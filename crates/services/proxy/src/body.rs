//! Bodies on their way: counted, and cut off when a policy says so.

use crate::live::Open;
use crate::relay::Counts;
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// A request's body, from the client to the application.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Incoming,
    counts: Rc<Counts>,
}

/// A response's body, from the application to the client. The request is over when it is dropped.
#[derive(Debug)]
pub(crate) struct Download {
    body: Incoming,
    open: Open,
}

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenOff {
    #[error(transparent)]
    Http(#[from] hyper::Error),
    #[error("a new policy denies it")]
    Denied,
}

/// The body of an answer: the application's, or a text of our own.
#[derive(Debug)]
pub(crate) struct Reply(Either<Download, Full<Bytes>>);

impl Upload {
    pub(crate) const fn new(body: Incoming, counts: Rc<Counts>) -> Self {
        Self { body, counts }
    }
}

impl Download {
    pub(crate) const fn new(body: Incoming, open: Open) -> Self {
        Self { body, open }
    }
}

impl Reply {
    pub(crate) const fn through(body: Download) -> Self {
        Self(Either::Left(body))
    }

    pub(crate) fn text(text: String) -> Self {
        Self(Either::Right(Full::from(text)))
    }

    pub(crate) fn empty() -> Self {
        Self(Either::Right(Full::default()))
    }
}

type Next<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

fn counted<E>(next: Next<E>, count: &Cell<u64>) -> Next<E> {
    if let Poll::Ready(Some(Ok(frame))) = &next
        && let Some(data) = frame.data_ref()
    {
        count.set(count.get().saturating_add(data.len() as u64));
    }
    next
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<hyper::Error> {
        counted(Pin::new(&mut self.body).poll_frame(cx), &self.counts.sent)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<BrokenOff> {
        if self.open.ending.poll(cx).is_ready() {
            return Poll::Ready(Some(Err(BrokenOff::Denied)));
        }
        let next = counted(Pin::new(&mut self.body).poll_frame(cx), &self.open.counts.received);
        next.map(|frame| frame.map(|frame| frame.map_err(BrokenOff::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Next<BrokenOff> {
        match &mut self.0 {
            Either::Left(body) => Pin::new(body).poll_frame(cx),
            Either::Right(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Either::Left(body) => body.is_end_stream(),
            Either::Right(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Either::Left(body) => body.size_hint(),
            Either::Right(body) => body.size_hint(),
        }
    }
}
