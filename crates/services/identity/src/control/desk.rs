//! What control answers, whoever carries it: each request judged by who asks, and then by the members and the snapshot.

use super::ControlOptions;
use super::entitled::{Refused, entitled};
use super::members::Denied;
use super::node_name::NodeName;
use super::requests::{check_audience, check_batch, checked_csr, joining};
use super::trust::trust;
use crate::needs::Identity;
use crate::workload_api::TOKEN_LIFETIME;
use lictor_pki::{Certified, IssueError};
use lictor_wire::node::answer::Answer as Outcome;
use lictor_wire::node::{
    Answer, Certificate, IssueRequest, IssueResponse, IssueTokenRequest, IssueTokenResponse, JoinRequest, JoinResponse,
    Refusal, RenewRequest, RenewResponse, Trust, Wanted,
};
use time::OffsetDateTime;
use tonic::{Code, Status};

/// By how many seconds a node's clock may be behind: certificates begin so long before they are made.
const BACKDATE: i64 = 60;

/// Answers requests of nodes. Cheap to clone; clones share the content.
#[derive(Debug, Clone)]
pub struct Desk(ControlOptions);

impl Desk {
    /// One that signs, and knows the cluster, as `options` say.
    pub fn new(options: ControlOptions) -> Self {
        Self(options)
    }

    pub(super) fn options(&self) -> &ControlOptions {
        &self.0
    }

    /// Lets a node in.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no request, `PermissionDenied` for evidence that is none, `FailedPrecondition` if the
    /// node's clock is so far off that no certificate would be valid there.
    pub fn join(&self, request: JoinRequest) -> Result<JoinResponse, Status> {
        let request = joining(request).map_err(invalid)?;
        let node = &request.node;
        self.check_clock(node, request.now)?;
        let joined = self.0.members.join(node, &request.token, || self.sign_for(node, &request.csr));
        let certified = joined.map_err(|denied| {
            tracing::warn!(%node, %denied, "a node was not let in");
            status(&denied)
        })?;
        tracing::info!(%node, not_after = %certified.not_after, "a node has joined");
        Ok(JoinResponse { svid: Some(chain(certified)), trust: Some(self.trust()?), now: self.seconds() })
    }

    /// The next SVID of a node that has shown the one with this serial number.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no request, `PermissionDenied` for whoever is no member.
    pub fn renew(&self, node: &NodeName, serial: &str, request: RenewRequest) -> Result<RenewResponse, Status> {
        let csr = checked_csr(request.csr).map_err(invalid)?;
        let certified = self.0.members.renew(node, serial, || self.sign_for(node, &csr)).map_err(|denied| {
            tracing::warn!(%node, %denied, "the certificate of a node was not renewed");
            status(&denied)
        })?;
        Ok(RenewResponse { svid: Some(chain(certified)), now: self.seconds() })
    }

    /// The SVIDs that a member asks for, each by itself: what is refused leaves the others alone.
    ///
    /// # Errors
    /// `InvalidArgument` for too many.
    pub fn issue(&self, node: &NodeName, request: &IssueRequest) -> Result<IssueResponse, Status> {
        check_batch(request).map_err(invalid)?;
        let answer = |wanted: &Wanted| {
            let outcome = match self.issue_one(node, wanted) {
                Ok(certified) => Outcome::Svid(chain(certified)),
                Err(status) => {
                    Outcome::Refusal(Refusal { code: status.code().into(), reason: status.message().to_owned() })
                }
            };
            Answer { answer: Some(outcome) }
        };
        Ok(IssueResponse { answers: request.wanted.iter().map(answer).collect(), now: self.seconds() })
    }

    fn issue_one(&self, node: &NodeName, wanted: &Wanted) -> Result<Certified, Status> {
        let Wanted { pod, spiffe_id, csr, dns_names } = wanted;
        let csr = checked_csr(csr.clone()).map_err(invalid)?;
        let identity = self.entitled(node, pod.as_ref(), spiffe_id, dns_names)?;
        let subject = if dns_names.is_empty() { identity.id.clone().into() } else { identity.subject() };
        let Identity { id, x509_lifetime, .. } = identity;
        let limit = self.0.svid_lifetime;
        let lifetime = x509_lifetime.map_or(limit, |wanted| wanted.min(limit));
        let certified = self.0.ca.sign(node.shared(), &subject, &csr, lifetime).map_err(unsigned)?;
        tracing::debug!(%node, %id, not_after = %certified.not_after, "issued an SVID to a node");
        Ok(certified)
    }

    /// A token for a pod of a member.
    ///
    /// # Errors
    /// `InvalidArgument` for what is no request, `PermissionDenied` for what the node is not entitled to.
    pub fn issue_token(&self, node: &NodeName, request: &IssueTokenRequest) -> Result<IssueTokenResponse, Status> {
        check_audience(request).map_err(invalid)?;
        let Identity { id, jwt_lifetime, .. } = self.entitled(node, request.pod.as_ref(), &request.spiffe_id, &[])?;
        let keyring = self.0.ca.keyring();
        let tokens = keyring.tokens().ok_or_else(|| Status::unimplemented("JWT-SVIDs are not issued here"))?;
        let (issuer, lifetime) = (keyring.token_issuer(), jwt_lifetime.unwrap_or(TOKEN_LIFETIME));
        let issued = tokens.issue_from(issuer.as_deref(), &id, &request.audience, self.0.ca.now(), lifetime);
        let token = issued.map_err(|error| {
            tracing::error!(%node, %id, %error, "no token was issued");
            Status::internal("no token could be issued")
        })?;
        Ok(IssueTokenResponse { token })
    }

    /// Whom nodes are to believe now.
    ///
    /// # Errors
    /// `Internal` if the bundle cannot be written.
    pub fn trust(&self) -> Result<Trust, Status> {
        trust(&self.0.ca).map_err(|error| {
            tracing::error!(%error, "the bundle cannot be sent");
            Status::internal("the bundle cannot be sent")
        })
    }

    pub(super) fn now(&self) -> OffsetDateTime {
        self.0.ca.now()
    }

    fn seconds(&self) -> i64 {
        self.now().unix_timestamp()
    }

    fn entitled(
        &self,
        node: &NodeName,
        pod: Option<&lictor_wire::node::Pod>,
        id: &str,
        dns_names: &[String],
    ) -> Result<Identity, Status> {
        let snapshot = self.0.snapshots.borrow().clone();
        entitled(&snapshot, node, pod, (id, dns_names)).map_err(|refused| {
            tracing::warn!(%node, %refused, on = refused.detail(), "a node asked for what it is not entitled to");
            match refused {
                Refused::NoName | Refused::Id(_) => Status::invalid_argument(refused.to_string()),
                _ => Status::permission_denied(refused.to_string()),
            }
        })
    }

    /// Whether a certificate of now would be valid by a node's clock.
    fn check_clock(&self, node: &NodeName, told: Option<i64>) -> Result<(), Status> {
        let Some(told) = told else { return Ok(()) };
        let ahead = told.saturating_sub(self.seconds());
        if ahead >= -BACKDATE && ahead < self.0.node_lifetime.whole_seconds() {
            return Ok(());
        }
        let (off, side) = (ahead.unsigned_abs(), if ahead > 0 { "ahead of" } else { "behind" });
        tracing::warn!(%node, ahead, "a node with another time of day was not let in (seconds)");
        Err(Status::failed_precondition(format!(
            "the clock of node {node} is {off} s {side} control's: no certificate would be valid there; set it, and join again"
        )))
    }

    fn sign_for(&self, node: &NodeName, csr: &[u8]) -> Result<Certified, IssueError> {
        let id = node.identity(self.0.ca.keyring().bundle().trust_domain())?;
        self.0.ca.sign(node.shared(), &id.into(), csr, self.0.node_lifetime)
    }
}

/// Why a member's request is refused, as gRPC says it.
pub(super) fn status(denied: &Denied) -> Status {
    match denied {
        Denied::Issue(error) => unsigned_by(error),
        Denied::Store(_) => Status::unavailable("control cannot keep what it would change; its log says why"),
        _ => Status::permission_denied(denied.to_string()),
    }
}

fn unsigned(error: IssueError) -> Status {
    unsigned_by(&error)
}

fn unsigned_by(error: &IssueError) -> Status {
    match error {
        IssueError::Request(_) | IssueError::KeyKind => Status::invalid_argument(error.to_string()),
        _ => {
            tracing::error!(%error, "no certificate was issued to a node");
            Status::new(Code::Internal, "no certificate could be issued; the log of control says why")
        }
    }
}

fn invalid(error: impl std::error::Error) -> Status {
    Status::invalid_argument(error.to_string())
}

fn chain(certified: Certified) -> Certificate {
    Certificate { chain: certified.chain.into_iter().map(|der| der.to_vec()).collect() }
}
