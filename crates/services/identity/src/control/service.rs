//! The methods of the node's protocol: who asks, by the connection; then the desk.

use super::ControlOptions;
use super::connection::{Peer, Shown};
use super::desk::{Desk, status};
use futures::stream::BoxStream;
use lictor_wire::node::node_control_server::NodeControl;
use lictor_wire::node::{
    FollowTrustRequest, IssueRequest, IssueResponse, IssueTokenRequest, IssueTokenResponse, JoinRequest, JoinResponse,
    RenewRequest, RenewResponse, Trust,
};
use std::time::Duration;
use tokio::sync::watch;
use tonic::{Request, Response, Status};

/// Nodes that join at once; each is a signature and a writing.
const JOINING: usize = 16;

pub(super) struct Service {
    desk: Desk,
    joining: tokio::sync::Semaphore,
    stopped: watch::Receiver<()>,
}

impl Service {
    pub(super) fn new(options: ControlOptions, stopped: watch::Receiver<()>) -> Self {
        Self { desk: Desk::new(options), joining: tokio::sync::Semaphore::new(JOINING), stopped }
    }

    /// The node that asks, judged anew for each request: a connection outlives the rights of who opened it.
    fn authorize<T>(&self, request: &Request<T>) -> Result<Shown, Status> {
        let shown = match request.extensions().get::<Peer>() {
            Some(Peer::Node(shown)) => shown.clone(),
            Some(Peer::Another(id)) => {
                tracing::warn!(%id, "somebody who is no node asked control");
                return Err(Status::permission_denied(format!("expected the SVID of a node, saw that of {id}")));
            }
            Some(Peer::Nobody) | None => {
                return Err(Status::unauthenticated("expected the SVID of a node, saw no certificate; join first"));
            }
        };
        self.check(&shown)?;
        Ok(shown)
    }

    fn check(&self, shown: &Shown) -> Result<(), Status> {
        check(&self.desk, shown)
    }
}

fn check(desk: &Desk, Shown { node, serial, not_after }: &Shown) -> Result<(), Status> {
    let now = desk.now();
    if now > *not_after {
        let why = format!("the SVID of node {node} expired at {not_after}; the time at control is {now}");
        return Err(Status::unauthenticated(why));
    }
    desk.options().members.check(node, serial).map_err(|denied| {
        tracing::warn!(%node, %denied, "a node asked control");
        status(&denied)
    })
}

/// Signs and writes apart from the tasks of the runtime.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> Result<T, Status> + Send + 'static) -> Result<T, Status> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Status::internal("the request was not finished"))?
}

#[tonic::async_trait]
impl NodeControl for Service {
    type FollowTrustStream = BoxStream<'static, Result<Trust, Status>>;

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        // It is never closed.
        let _turn = self.joining.acquire().await.map_err(|_| Status::unavailable("control is stopping"))?;
        let desk = self.desk.clone();
        apart(move || desk.join(request.into_inner())).await.map(Response::new)
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewResponse>, Status> {
        let Shown { node, serial, .. } = self.authorize(&request)?;
        let desk = self.desk.clone();
        apart(move || desk.renew(&node, &serial, request.into_inner())).await.map(Response::new)
    }

    async fn follow_trust(
        &self,
        request: Request<FollowTrustRequest>,
    ) -> Result<Response<Self::FollowTrustStream>, Status> {
        let shown = self.authorize(&request)?;
        let following = Following {
            members: self.desk.options().members.changes(),
            authorities: self.desk.options().ca.changes(),
            desk: self.desk.clone(),
            stopped: self.stopped.clone(),
            shown,
            last: None,
            over: false,
        };
        let states = futures::stream::unfold(following, |mut following| async move {
            if following.over {
                return None;
            }
            let item = following.next().await;
            following.over = item.is_err();
            Some((item, following))
        });
        Ok(Response::new(Box::pin(states)))
    }

    async fn issue(&self, request: Request<IssueRequest>) -> Result<Response<IssueResponse>, Status> {
        let Shown { node, .. } = self.authorize(&request)?;
        let desk = self.desk.clone();
        apart(move || desk.issue(&node, request.get_ref())).await.map(Response::new)
    }

    async fn issue_token(&self, request: Request<IssueTokenRequest>) -> Result<Response<IssueTokenResponse>, Status> {
        let Shown { node, .. } = self.authorize(&request)?;
        self.desk.issue_token(&node, request.get_ref()).map(Response::new)
    }
}

/// A stream of whom to believe, for as long as its node is a member by the certificate that it has shown.
struct Following {
    desk: Desk,
    shown: Shown,
    authorities: watch::Receiver<()>,
    members: watch::Receiver<()>,
    stopped: watch::Receiver<()>,
    last: Option<Trust>,
    over: bool,
}

impl Following {
    /// The next state that differs from the last one, or why there is none.
    async fn next(&mut self) -> Result<Trust, Status> {
        loop {
            self.authorities.mark_unchanged();
            self.members.mark_unchanged();
            check(&self.desk, &self.shown)?;
            let trust = self.desk.trust()?;
            if self.last.as_ref() != Some(&trust) {
                self.last = Some(trust.clone());
                return Ok(trust);
            }
            let left = Duration::try_from(self.shown.not_after - self.desk.now()).unwrap_or_default();
            tokio::select! {
                _ = self.stopped.changed() => return Err(Status::unavailable("control is stopping")),
                // Never an error: the desk has the senders.
                _ = self.authorities.changed() => {}
                _ = self.members.changed() => {}
                () = tokio::time::sleep(left.max(Duration::from_secs(1))) => {}
            }
        }
    }
}
