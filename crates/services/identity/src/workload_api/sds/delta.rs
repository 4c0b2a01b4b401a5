//! The incremental variant: each response has what has changed of what is asked for.

use super::secrets::{Known, Resource, Validator, check_number, everything, look_up};
use super::{Requests, Responses, SECRET_TYPE, check_type, note_rejection};
use crate::workload_api::callers::Recipient;
use crate::workload_api::states::FIRST;
use lictor_wire::envoy::service::discovery::v3::{self as discovery, DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use std::collections::{BTreeMap, BTreeSet};
use tokio::time::Instant;
use tonic::Status;

/// Asks for everything.
const WILDCARD: &str = "*";

/// A stream of responses to one client.
pub(super) struct Sending {
    to: Recipient,
    requests: Requests<DeltaDiscoveryRequest>,
    validator: Validator,
    /// Whether a request has come.
    begun: bool,
    /// Whether everything is asked for, whatever else is.
    wildcard: bool,
    /// The names that are asked for.
    names: BTreeSet<String>,
    /// The names that the client is to be told of in any case, since when.
    due: BTreeMap<String, Instant>,
    /// What the client has: versions by name.
    held: BTreeMap<String, String>,
    sent: u64,
}

impl Sending {
    pub(super) fn new(to: Recipient, requests: Requests<DeltaDiscoveryRequest>) -> Self {
        Self {
            to,
            requests,
            validator: Validator::Authorities,
            begun: false,
            wildcard: false,
            names: BTreeSet::new(),
            due: BTreeMap::new(),
            held: BTreeMap::new(),
            sent: 0,
        }
    }
}

impl Responses for Sending {
    type Request = DeltaDiscoveryRequest;
    type Message = DeltaDiscoveryResponse;

    fn ends(&mut self) -> (&mut Recipient, &mut Requests<Self::Request>) {
        (&mut self.to, &mut self.requests)
    }

    /// What there is to send that the client has not.
    fn news(&mut self) -> Result<Option<DeltaDiscoveryResponse>, Status> {
        let state = self.to.state();
        let every = if self.wildcard { everything(&self.to.workload.identities, &state) } else { Vec::new() };
        let wanted: BTreeSet<&String> = every.iter().chain(&self.names).collect();
        // Of a wildcard: what is no longer there.
        let gone = self.held.extract_if(.., |name, _| !wanted.contains(name)).map(|(name, _)| name);
        let (mut resources, mut removed) = (Vec::new(), gone.collect::<Vec<_>>());
        for name in wanted {
            match look_up(&self.to.workload.identities, &state, name, self.validator)? {
                Known::Secret(found) => {
                    let due = self.due.remove(name).is_some();
                    if due || self.held.get(name) != Some(&found.version) {
                        self.held.insert(name.clone(), found.version.clone());
                        resources.push(found);
                    }
                }
                Known::Awaited => {}
                // That there is no such thing is an answer as well; it may come to be.
                Known::Nothing => {
                    let due = self.due.remove(name).is_some();
                    if self.held.remove(name).is_some() || due {
                        removed.push(name.clone());
                    }
                }
            }
        }
        if resources.is_empty() && removed.is_empty() {
            return Ok(None);
        }
        self.sent += 1;
        Ok(Some(DeltaDiscoveryResponse {
            system_version_info: self.sent.to_string(),
            resources: resources.into_iter().map(message).collect(),
            type_url: SECRET_TYPE.to_owned(),
            nonce: self.sent.to_string(),
            removed_resources: removed,
        }))
    }

    /// Takes a request: an interest gained or lost, an acknowledgement or a rejection, each perhaps with the other.
    ///
    /// Source: xDS protocol, "Incremental xDS", and the comments of `DeltaDiscoveryRequest`.
    fn take(&mut self, request: DeltaDiscoveryRequest) -> Result<(), Status> {
        check_type(&request.type_url)?;
        note_rejection(request.error_detail.as_ref(), &self.to);
        if let Some(node) = &request.node {
            self.validator = Validator::of(Some(node));
        }
        let first = !std::mem::replace(&mut self.begun, true);
        if first {
            // From an earlier stream: what is still so need not be sent.
            check_number(request.initial_resource_versions.len())?;
            self.held.extend(request.initial_resource_versions);
            self.wildcard = request.resource_names_subscribe.is_empty();
        }
        for name in request.resource_names_unsubscribe {
            match name == WILDCARD {
                true => self.wildcard = false,
                false => drop(self.names.remove(&name)),
            }
            self.held.remove(&name);
            self.due.remove(&name);
        }
        for name in request.resource_names_subscribe {
            if name == WILDCARD {
                self.wildcard = true;
                continue;
            }
            if !self.held.contains_key(&name) || !first {
                self.due.insert(name.clone(), Instant::now());
            }
            self.names.insert(name);
        }
        check_number(self.names.len())
    }

    /// Until when something must have been sent: a client that waits for its first secrets is told that there are none.
    fn limit(&self) -> Option<Instant> {
        self.due.values().min().map(|since| *since + FIRST)
    }
}

fn message(Resource { name, version, secret }: Resource) -> discovery::Resource {
    discovery::Resource { version, resource: Some(secret), name }
}
