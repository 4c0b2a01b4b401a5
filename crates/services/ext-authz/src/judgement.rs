//! What was asked, by whom and about whom, as a decision.

use crate::service::View;
use lictor_cluster::Pod;
use lictor_model::{By, Decision, Layer, Mode, Name, Party, Point, Protocol, SpiffeId, Verdict};
use lictor_wire::envoy::config::core::v3::address::Address;
use lictor_wire::envoy::config::core::v3::socket_address::PortSpecifier;
use lictor_wire::envoy::service::auth::v3::CheckRequest;
use lictor_wire::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use time::OffsetDateTime;

/// What a policy came to.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    pub(crate) verdict: Verdict,
    pub(crate) by: By,
}

impl Judgement {
    /// What is not an answer denies.
    pub(crate) fn denied(why: impl Into<String>) -> Self {
        Self { verdict: Verdict::Deny, by: By::Unknown(why.into()) }
    }
}

/// How far the layer goes at a pod; a pod that is not known is held to it.
pub(crate) fn mode(view: &View, pod: &Name) -> Mode {
    view.snapshot.pods.get(pod).map_or(Mode::Enforce, |pod| view.snapshot.mode(pod, Layer::Authorization).0)
}

/// The decision about a request that came to `pod`.
pub(crate) fn decision(
    id: u64,
    view: &View,
    pod: &Name,
    request: &CheckRequest,
    mode: Mode,
    judgement: Judgement,
) -> Decision {
    let Judgement { verdict, by } = judgement;
    let attributes = request.attributes.as_ref();
    let source = attributes.and_then(|attributes| attributes.source.as_ref());
    let http = attributes.and_then(|attributes| attributes.request.as_ref()?.http.as_ref());
    let known = view.snapshot.pods.get(pod).map(|pod| &**pod);
    let mut from = party(source, None);
    from.pod = view.snapshot.pod_at(from.address).map(|pod| pod.name.clone());
    let mut to = party(attributes.and_then(|attributes| attributes.destination.as_ref()), known);
    to.pod = Some(pod.clone());
    let said = |text: fn(&HttpRequest) -> &str| http.map(|http| text(http).to_owned());
    Decision {
        id,
        time: OffsetDateTime::now_utc(),
        layer: Layer::Authorization,
        mode,
        verdict: verdict.under(mode),
        would: if mode == Mode::Observe { Verdict::Allow } else { verdict },
        by,
        encrypted: from.identity.is_some(),
        source: from,
        destination: to,
        protocol: Protocol::Tcp,
        method: said(|http| &http.method),
        path: said(|http| http.path.split(['?', '#']).next().unwrap_or_default()),
        host: said(|http| &http.host),
        audited_by: Vec::new(),
        point: Point::Envoy,
        revision: view.snapshot.revision,
    }
}

/// An end as the Envoy names it; of a pod that is known, its own address where the Envoy names none.
fn party(peer: Option<&Peer>, pod: Option<&Pod>) -> Party {
    let own = || pod.and_then(|pod| pod.addresses.first().copied()).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let address = peer.and_then(socket_address);
    let address = address.unwrap_or_else(|| SocketAddr::new(own(), 0));
    let identity = peer.and_then(|peer| peer.principal.parse::<SpiffeId>().ok());
    Party { pod: None, address: address.ip().to_canonical(), port: address.port(), identity }
}

fn socket_address(peer: &Peer) -> Option<SocketAddr> {
    let Some(Address::SocketAddress(socket)) = &peer.address.as_ref()?.address else { return None };
    let port = match socket.port_specifier {
        Some(PortSpecifier::PortValue(port)) => u16::try_from(port).ok()?,
        _ => 0,
    };
    Some(SocketAddr::new(socket.address.parse().ok()?, port))
}
