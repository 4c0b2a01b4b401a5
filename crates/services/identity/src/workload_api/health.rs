//! Whether the Workload API serves, for whoever asks on its socket.
//!
//! It serves while there is an authority to believe and, where pods need SVIDs, one that has not expired; a node that
//! starts, whose authorities are away for too long or that stops does not. Nothing is said about a caller, so every
//! process may ask, and without the Workload API's header.
//!
//! Source: gRPC Health Checking Protocol, version 1.

use super::callers::Callers;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How often a watched answer is formed anew: what has expired tells nobody.
const STEP: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Health {
    callers: Arc<Callers>,
    /// The services that share the one answer.
    services: &'static [&'static str],
}

impl Health {
    pub(super) fn new(callers: Arc<Callers>, services: &'static [&'static str]) -> Self {
        Self { callers, services }
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }

    fn status(&self) -> ServingStatus {
        if self.serves() { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    fn serves(&self) -> bool {
        let keyring = self.callers.keyring();
        let now = OffsetDateTime::now_utc();
        let stops = self.callers.stopped().has_changed().is_err();
        let believed = !keyring.bundle().authorities().is_empty();
        let registry = self.callers.attestor().registry();
        let served =
            registry.any_subject(|subject| keyring.svid_of(subject).is_some_and(|(svid, _)| svid.not_after > now));
        !stops && believed && served.unwrap_or(true)
    }
}

/// The answers that somebody who watches gets.
struct Watched {
    health: Health,
    known: bool,
    told: Option<ServingStatus>,
    stopped: watch::Receiver<()>,
}

impl Watched {
    /// The next answer that differs from the last one.
    async fn next(&mut self) -> Option<HealthCheckResponse> {
        loop {
            let over = self.stopped.has_changed().is_err();
            let status = if self.known { self.health.status() } else { ServingStatus::ServiceUnknown };
            if self.told != Some(status) {
                self.told = Some(status);
                return Some(response(status));
            }
            if over {
                return None;
            }
            tokio::select! {
                _ = self.stopped.changed() => {}
                () = tokio::time::sleep(STEP) => {}
            }
        }
    }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if self.knows(&request.get_ref().service) {
            Ok(Response::new(response(self.status())))
        } else {
            Err(Status::not_found("this socket has no such service"))
        }
    }

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let known = self.knows(&request.get_ref().service);
        let watched = Watched { health: self.clone(), known, told: None, stopped: self.callers.stopped() };
        let answers = futures::stream::unfold(watched, |mut watched| async move {
            let answer = watched.next().await?;
            Some((Ok(answer), watched))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
