//! The state-of-the-world variant: each response has every resource that is asked for.

use super::secrets::{Names, Resource, Validator, find};
use super::{Requests, Responses, SECRET_TYPE, check_type, note_rejection};
use crate::workload_api::callers::Recipient;
use crate::workload_api::states::FIRST;
use lictor_wire::envoy::service::discovery::v3::{DiscoveryRequest, DiscoveryResponse};
use tokio::time::Instant;
use tonic::Status;

/// A stream of responses to one client.
pub(super) struct Sending {
    to: Recipient,
    requests: Requests<DiscoveryRequest>,
    /// What is asked for, and since when; nothing before the first request.
    asked: Option<(Names, Instant)>,
    validator: Validator,
    /// How many responses were sent: the number of the last one is its nonce and its version.
    sent: u64,
    /// Name and version of each resource of the last response; nothing when one is due in any case.
    last: Option<Vec<(String, String)>>,
}

impl Sending {
    pub(super) fn new(to: Recipient, requests: Requests<DiscoveryRequest>) -> Self {
        Self { to, requests, asked: None, validator: Validator::Authorities, sent: 0, last: None }
    }
}

impl Responses for Sending {
    type Request = DiscoveryRequest;
    type Message = DiscoveryResponse;

    fn ends(&mut self) -> (&mut Recipient, &mut Requests<Self::Request>) {
        (&mut self.to, &mut self.requests)
    }

    /// What there is to send, if it is not what was sent last.
    fn news(&mut self) -> Result<Option<DiscoveryResponse>, Status> {
        let Some((names, _)) = &self.asked else { return Ok(None) };
        let state = self.to.state();
        let Some(found) = find(&self.to.workload.identities, &state, names, self.validator)? else { return Ok(None) };
        let content: Vec<_> = found.iter().map(|found| (found.name.clone(), found.version.clone())).collect();
        if self.last.as_ref() == Some(&content) {
            return Ok(None);
        }
        self.last = Some(content);
        self.sent += 1;
        Ok(Some(DiscoveryResponse {
            version_info: self.sent.to_string(),
            resources: found.into_iter().map(|Resource { secret, .. }| secret).collect(),
            type_url: SECRET_TYPE.to_owned(),
            nonce: self.sent.to_string(),
        }))
    }

    /// Takes a request: the first, another set of names, an acknowledgement or a rejection.
    ///
    /// Source: xDS protocol, "ACK, NACK and resource type instance version", "How the client specifies what resources to
    /// return"; a request that answers an older response than the last is passed over, as a newer one follows.
    fn take(&mut self, request: DiscoveryRequest) -> Result<(), Status> {
        check_type(&request.type_url)?;
        if self.sent > 0 && request.response_nonce != self.sent.to_string() {
            tracing::debug!(pod = %self.to.workload.pod.name(), "an Envoy has answered older secrets than its last ones");
            return Ok(());
        }
        note_rejection(request.error_detail.as_ref(), &self.to);
        // Only the first request of a stream has to say who asks.
        if let Some(node) = &request.node {
            let validator = Validator::of(Some(node));
            if validator != self.validator {
                (self.validator, self.last) = (validator, None);
            }
        }
        let names = Names::of(request.resource_names)?;
        if self.asked.as_ref().is_none_or(|(asked, _)| *asked != names) {
            (self.asked, self.last) = (Some((names, Instant::now())), None);
        }
        Ok(())
    }

    /// Until when something must have been sent.
    fn limit(&self) -> Option<Instant> {
        let (_, since) = self.asked.as_ref()?;
        self.last.is_none().then_some(*since + FIRST)
    }
}
