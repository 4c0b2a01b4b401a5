//! Who gets in: every request is a broker's, and says that it is meant for here.
//!
//! Source: SPIFFE Broker Endpoint, sections 3, 5 and 6.

use super::audit::{Asked, Audit};
use super::brokers::{Brokers, ReferenceTypes};
use super::connection::Client;
use lictor_model::SpiffeId;
use lictor_pki::{CertificateFacts, Keyring, PeerError, Usage, identity_of, unix_time, verify};
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// Every request carries it, once, so that no other kind of client can be tricked into making one.
const SECURITY_HEADER: (&str, &str) = ("broker.spiffe.io", "true");

/// How long at most a broker's certificate is left unlooked at: a clock that was set forward is noticed by then.
const LOOK: Duration = Duration::from_secs(60);

/// Lets brokers in, and nobody else.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    keyring: Keyring,
    brokers: Arc<Brokers>,
    audit: Audit,
}

/// The broker of a request.
#[derive(Debug, Clone)]
pub(super) struct Broker {
    pub(super) id: SpiffeId,
    pub(super) client: Client,
    pub(super) types: ReferenceTypes,
    keyring: Keyring,
}

impl Gate {
    pub(super) fn new(keyring: Keyring, brokers: Brokers, audit: Audit) -> Self {
        Self { keyring, brokers: Arc::new(brokers), audit }
    }

    /// The broker that a request is of; what is found out on the way stays in `asked`.
    fn admit(&self, request: &Request<()>, asked: &mut Asked) -> Result<Broker, Status> {
        let (name, value) = SECURITY_HEADER;
        let seen: Vec<_> = request.metadata().get_all(name).iter().collect();
        if seen.len() != 1 || seen.iter().any(|seen| *seen != value) {
            return Err(Status::invalid_argument("security header missing from request"));
        }
        let client = request.extensions().get::<Client>().cloned();
        let client = client.ok_or_else(|| Status::unauthenticated("the caller has proven nothing"))?;
        let id = identity(&client, &self.keyring)?;
        asked.caller = Some(id.clone());
        let types = self.brokers.types_of(&id).cloned();
        let types = types.ok_or_else(|| Status::permission_denied("the caller is no broker of this node"))?;
        Ok(Broker { id, client, types, keyring: self.keyring.clone() })
    }
}

impl Interceptor for Gate {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let mut asked = Asked::default();
        let broker = self.admit(&request, &mut asked);
        let broker = broker.inspect_err(|status| self.audit.refused(&asked, status))?;
        request.extensions_mut().insert(broker);
        Ok(request)
    }
}

impl Broker {
    /// Whether what its certificate proved at the handshake it proves now: it may have expired, or its authority may be
    /// believed no more.
    ///
    /// # Errors
    /// `Unauthenticated`: it is to connect again with what the Workload API has for it.
    pub(super) fn check(&self) -> Result<(), Status> {
        identity(&self.client, &self.keyring).map(drop)
    }

    /// Waits until its certificate proves nothing any more, and says so.
    pub(super) async fn end(&self) -> Status {
        loop {
            if let Err(status) = self.check() {
                return status;
            }
            let leaf = self.client.chain.first().and_then(|leaf| CertificateFacts::of(leaf).ok());
            let left = leaf.map_or(Duration::ZERO, |leaf| {
                (leaf.not_after - OffsetDateTime::now_utc()).try_into().unwrap_or(Duration::ZERO)
            });
            // A second more than is left, since a certificate holds for the whole of its last one.
            tokio::time::sleep((left + Duration::from_secs(1)).min(LOOK)).await;
        }
    }
}

/// The identity that a client's certificate proves now, judged by the bundle of its trust domain.
fn identity(client: &Client, keyring: &Keyring) -> Result<SpiffeId, Status> {
    let leaf = client.chain.first().ok_or_else(|| unknown(PeerError::NoCertificate))?;
    let claimed = identity_of(leaf).map_err(unknown)?;
    let bundle = keyring.bundle_of(&claimed.trust_domain()).ok_or_else(|| unknown(PeerError::UnknownAuthority))?;
    verify(&client.chain, &bundle, unix_time(OffsetDateTime::now_utc()), Usage::Client).map_err(unknown)
}

/// Why, the log says.
fn unknown(error: PeerError) -> Status {
    let mut status = Status::unauthenticated("the caller's certificate proves nothing now");
    status.set_source(Arc::new(error));
    status
}
