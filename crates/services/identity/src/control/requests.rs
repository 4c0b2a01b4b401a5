//! What a request has to be before anything is looked up for it.

use super::node_name::{InvalidNodeName, NodeName};
use lictor_wire::node::join_request::Evidence;
use lictor_wire::node::{IssueRequest, IssueTokenRequest, JoinRequest};
use zeroize::Zeroizing;

/// Certificates that are asked for at once.
pub(super) const BATCH: usize = 512;

/// A request for a P-384 key has some 350 bytes; nothing but the key counts, so there is no use for more.
const CSR: usize = 4096;

/// A token is meant for a few, each by a name or a URL.
const AUDIENCES: (usize, usize) = (64, 2048);

/// Texts of join tokens have 43 characters.
const TOKEN: usize = 1024;

/// Why a request is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRequest {
    /// The name of the node.
    #[error(transparent)]
    Node(#[from] InvalidNodeName),
    /// Nothing says why the node is to be believed.
    #[error("expected evidence: a join token")]
    NoEvidence,
    /// The evidence is too long to be any.
    #[error("expected a join token of at most {TOKEN} bytes")]
    Token,
    /// No request for a certificate, or one that is too long.
    #[error("expected a certificate request of 1 to {CSR} bytes, saw {0}")]
    Csr(usize),
    /// Too many at once.
    #[error("expected at most {BATCH} certificate requests at once, saw {0}")]
    Batch(usize),
    /// Whom a token is for.
    #[error("expected 1 to {} audiences of 1 to {} bytes", AUDIENCES.0, AUDIENCES.1)]
    Audience,
}

/// Who wants to join, and by which token.
pub(super) struct Joining {
    pub(super) node: NodeName,
    pub(super) token: Zeroizing<String>,
    pub(super) csr: Vec<u8>,
    /// The time of day at the node in Unix seconds, if it says so.
    pub(super) now: Option<i64>,
}

pub(super) fn joining(request: JoinRequest) -> Result<Joining, InvalidRequest> {
    let JoinRequest { node, csr, now, evidence } = request;
    let Evidence::JoinToken(token) = evidence.ok_or(InvalidRequest::NoEvidence)?;
    let token = Zeroizing::new(token.token);
    if token.len() > TOKEN {
        return Err(InvalidRequest::Token);
    }
    Ok(Joining { node: node.parse()?, token, csr: checked_csr(csr)?, now: (now != 0).then_some(now) })
}

pub(super) fn checked_csr(csr: Vec<u8>) -> Result<Vec<u8>, InvalidRequest> {
    if (1..=CSR).contains(&csr.len()) { Ok(csr) } else { Err(InvalidRequest::Csr(csr.len())) }
}

pub(super) fn check_batch(request: &IssueRequest) -> Result<(), InvalidRequest> {
    if request.wanted.len() > BATCH { Err(InvalidRequest::Batch(request.wanted.len())) } else { Ok(()) }
}

pub(super) fn check_audience(request: &IssueTokenRequest) -> Result<(), InvalidRequest> {
    let fits = |audience: &String| (1..=AUDIENCES.1).contains(&audience.len());
    let right = (1..=AUDIENCES.0).contains(&request.audience.len()) && request.audience.iter().all(fits);
    if right { Ok(()) } else { Err(InvalidRequest::Audience) }
}
