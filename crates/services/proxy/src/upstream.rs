//! The application's side of an HTTP hop: one connection for each client connection, in the client's version.

use crate::body::Upload;
use crate::deliver::Delivery;
use crate::hop::OnPod;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// Connections to the application, opened when the first allowed request needs one.
#[derive(Debug)]
pub(crate) struct Upstream {
    ready: RefCell<Option<TcpStream>>,
    http1: RefCell<Option<http1::SendRequest<Upload>>>,
    http2: Mutex<Option<http2::SendRequest<Upload>>>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("{0}")]
    Unreachable(#[from] io::Error),
    #[error("{0}")]
    Broken(#[from] hyper::Error),
}

impl Upstream {
    /// `ready` is a connection that is open already.
    pub(crate) fn new(ready: Option<TcpStream>) -> Self {
        Self { ready: RefCell::new(ready), http1: RefCell::default(), http2: Mutex::default() }
    }

    /// Sends a request. One that was never begun, because the application had just closed a connection that was kept,
    /// is sent again on a new one.
    pub(crate) async fn send(
        &self,
        delivery: &Delivery,
        request: Request<Upload>,
    ) -> Result<Response<Incoming>, Unanswered> {
        if request.version() == Version::HTTP_2 {
            self.send2(delivery, request).await
        } else {
            self.send1(delivery, request).await
        }
    }

    async fn send1(&self, delivery: &Delivery, mut request: Request<Upload>) -> Result<Response<Incoming>, Unanswered> {
        let kept = self.http1.take();
        if let Some(mut sender) = kept
            && sender.ready().await.is_ok()
        {
            match sender.try_send_request(request).await {
                Ok(response) => {
                    self.http1.replace(Some(sender));
                    return Ok(response);
                }
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let io = TokioIo::new(self.connection(delivery).await?);
        let (mut sender, connection) = http1::Builder::new().preserve_header_case(true).handshake(io).await?;
        delivery.pod.spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to an application ended");
            }
        });
        let response = sender.send_request(request).await?;
        self.http1.replace(Some(sender));
        Ok(response)
    }

    async fn send2(&self, delivery: &Delivery, mut request: Request<Upload>) -> Result<Response<Incoming>, Unanswered> {
        let mut again = true;
        loop {
            let mut sender = self.sender2(delivery).await?;
            match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(mut error) => match error.take_message() {
                    Some(unsent) if again => {
                        again = false;
                        request = unsent;
                    }
                    _ => return Err(error.into_error().into()),
                },
            }
        }
    }

    async fn sender2(&self, delivery: &Delivery) -> Result<http2::SendRequest<Upload>, Unanswered> {
        let mut kept = self.http2.lock().await;
        if let Some(sender) = kept.as_ref().filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let io = TokioIo::new(self.connection(delivery).await?);
        let handshake = http2::Builder::new(OnPod(Rc::clone(&delivery.pod)))
            .adaptive_window(true)
            .timer(TokioTimer::new())
            .handshake(io);
        let (sender, connection) = handshake.await?;
        delivery.pod.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to an application ended");
            }
        });
        *kept = Some(sender.clone());
        Ok(sender)
    }

    async fn connection(&self, delivery: &Delivery) -> io::Result<TcpStream> {
        match self.ready.take() {
            Some(ready) => Ok(ready),
            None => delivery.connect().await,
        }
    }
}
