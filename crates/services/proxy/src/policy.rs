//! What the policies say of a connection or request: the layers in their order, and what follows from them.

use lictor_authz::Program as Authorization;
use lictor_cluster::Snapshot;
use lictor_manifest::Established;
use lictor_model::{By, Direction, Http, Layer, Mode, Name, PolicyRef, Protocol, Request, SpiffeId, Verdict};
use lictor_network::Program as Network;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Everything that verdicts are made from, of one snapshot.
#[derive(Debug, Clone)]
pub struct View {
    /// The cluster.
    pub snapshot: Arc<Snapshot>,
    /// Segmentation, compiled.
    pub network: Arc<Network>,
    /// Authorization and the demands on the transport, compiled.
    pub authorization: Arc<Authorization>,
}

/// A connection into a pod.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    /// The pod.
    pub(crate) pod: Name,
    /// The other end.
    pub(crate) source: IpAddr,
    /// What it asked for: an address of the pod and the application's port.
    pub(crate) destination: SocketAddr,
    /// How it came.
    pub(crate) transport: Transport,
    /// The server name of a TLS connection within.
    pub(crate) sni: Option<Arc<str>>,
}

/// How a connection came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Transport {
    /// As it is.
    Plaintext,
    /// By mutual TLS, with this identity at the other end.
    Tunnel(SpiffeId),
}

/// How far authorization is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ask<'a> {
    /// Not yet: its rules speak of requests.
    Later,
    /// About the connection, which is not HTTP.
    Connection,
    /// About a request, and about its path read in another way, if there is one.
    Request(Http<'a>, Option<&'a str>),
}

/// What comes out of all layers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ruling {
    /// The layer that denies or would; else the last one that was asked.
    pub(crate) layer: Layer,
    /// How far that layer goes.
    pub(crate) mode: Mode,
    /// What happens.
    pub(crate) verdict: Verdict,
    /// What would happen if every layer that computes denials enforced them.
    pub(crate) would: Verdict,
    /// What decided.
    pub(crate) by: By,
    /// Policies with action AUDIT that matched.
    pub(crate) audited_by: Vec<PolicyRef>,
}

impl Ruling {
    fn begin() -> Self {
        Self {
            layer: Layer::Egress,
            mode: Mode::Enforce,
            verdict: Verdict::Allow,
            would: Verdict::Allow,
            by: By::NoPolicy,
            audited_by: Vec::new(),
        }
    }

    /// A refusal that no policy is the reason of.
    pub(crate) fn refusal(layer: Layer, why: String) -> Self {
        Self::begin().then(layer, Verdict::Deny, Mode::Enforce, By::Unknown(why))
    }

    /// What comes out once another layer has spoken. The first layer that refuses stands, and the first that
    /// would refuse stands until one refuses.
    fn then(self, layer: Layer, verdict: Verdict, mode: Mode, by: By) -> Self {
        if !self.verdict.is_allow() {
            return self;
        }
        // Observe computes no denial.
        let would = if mode == Mode::Observe { Verdict::Allow } else { verdict };
        let verdict = verdict.under(mode);
        if verdict.is_allow() && !self.would.is_allow() {
            return self;
        }
        Self { layer, mode, verdict, would, by, audited_by: self.audited_by }
    }
}

impl View {
    /// What the source's side says of a connection out of a pod.
    pub(crate) fn outbound(&self, pod: &Name, destination: SocketAddr) -> Ruling {
        self.segmentation(Ruling::begin(), pod, Direction::Egress, destination.ip(), destination.port())
    }

    /// What the destination's side says of a connection into a pod, or of a request on it.
    pub(crate) fn inbound(&self, connection: &Inbound, ask: Ask<'_>) -> Ruling {
        let Inbound { pod, source, destination, transport, sni } = connection;
        let ruling = self.transport(Ruling::begin(), connection);
        let ruling = self.segmentation(ruling, pod, Direction::Ingress, *source, destination.port());
        let (http, merged) = match ask {
            Ask::Later => return ruling,
            Ask::Connection => (None, None),
            Ask::Request(http, merged) => (Some(http), merged),
        };
        let Some(workload) = self.authorization.workload(pod) else {
            let unknown = By::Unknown(format!("{pod} is not known here"));
            return ruling.then(Layer::Authorization, Verdict::Deny, Mode::Enforce, unknown);
        };
        let request = Request {
            principal: match transport {
                Transport::Plaintext => None,
                Transport::Tunnel(id) => Some(id),
            },
            source_ip: *source,
            remote_ip: *source,
            destination_ip: destination.ip(),
            destination_port: destination.port(),
            sni: sni.as_deref(),
            http,
            claims: None,
        };
        let mut outcome = workload.decide(&request);
        // The other reading of the path is only there for DENY rules: see `path`.
        if let (true, Some(http), Some(path)) = (outcome.verdict.is_allow(), http, merged) {
            let other = workload.decide(&Request { http: Some(Http { path, ..http }), ..request });
            if !other.verdict.is_allow() && other.by.policy().is_some() {
                outcome = other;
            }
        }
        let mut ruling = ruling.then(Layer::Authorization, outcome.verdict, outcome.mode, outcome.by);
        ruling.audited_by = outcome.audited;
        if !outcome.would.is_allow() && outcome.mode != Mode::Observe {
            // A dry-run policy denies.
            ruling.would = Verdict::Deny;
        }
        ruling
    }

    /// Whether authorization at a port of a pod speaks of HTTP requests.
    pub(crate) fn speaks_of_http(&self, pod: &Name, port: u16) -> bool {
        self.authorization.workload(pod).is_some_and(|workload| workload.needs_http(port))
    }

    /// Whether authorization at a port of a pod speaks of the server name within TLS.
    pub(crate) fn speaks_of_sni(&self, pod: &Name, port: u16) -> bool {
        self.authorization.workload(pod).is_some_and(|workload| workload.needs_sni(port))
    }

    fn transport(&self, ruling: Ruling, connection: &Inbound) -> Ruling {
        let Inbound { pod, source, destination, transport, .. } = connection;
        if let Transport::Tunnel(proven) = transport
            && let Some(owner) = self.snapshot.pod_at(*source)
            && owner.identity != *proven
        {
            let other =
                By::Unknown(format!("{proven} came from {source}, which is {} ({})", owner.name, owner.identity));
            return ruling.then(Layer::Transport, Verdict::Deny, Mode::Enforce, other);
        }
        let demand = self.authorization.transport(pod, destination.port());
        let verdict = demand.verdict(matches!(transport, Transport::Tunnel(_)));
        ruling.then(Layer::Transport, verdict, demand.stance, demand.by)
    }

    fn segmentation(&self, ruling: Ruling, pod: &Name, direction: Direction, peer: IpAddr, port: u16) -> Ruling {
        let judgement = self.network.judge(pod, direction, peer, Protocol::Tcp, port);
        let layer = match direction {
            Direction::Ingress => Layer::Ingress,
            Direction::Egress => Layer::Egress,
        };
        ruling.then(layer, judgement.verdict, judgement.mode, judgement.by)
    }

    /// Whether open connections of a pod are left alone when a layer comes to another verdict.
    pub(crate) fn keeps_open(&self, pod: &Name, layer: Layer) -> bool {
        let stance = self.snapshot.pods.get(pod).and_then(|pod| self.snapshot.mode(pod, layer).1);
        let stance = stance.and_then(|stance| self.snapshot.policies.stances.get(&stance.name));
        stance.is_some_and(|stance| stance.established == Established::Keep)
    }
}

#[cfg(test)]
mod tests {
    use super::Ruling;
    use lictor_model::{By, Layer, Mode, Verdict};

    fn ruling(steps: &[(Layer, Verdict, Mode)]) -> (Layer, Verdict, Verdict) {
        let ruling = steps
            .iter()
            .fold(Ruling::begin(), |ruling, (layer, verdict, mode)| ruling.then(*layer, *verdict, *mode, By::NoPolicy));
        (ruling.layer, ruling.verdict, ruling.would)
    }

    #[test]
    fn the_first_layer_that_refuses_stands() {
        use {Layer as L, Mode as M, Verdict as V};
        for (steps, wanted) in [
            (
                &[(L::Transport, V::Allow, M::Enforce), (L::Ingress, V::Allow, M::Enforce)][..],
                (L::Ingress, V::Allow, V::Allow),
            ),
            (
                &[(L::Transport, V::Deny, M::Enforce), (L::Ingress, V::Deny, M::Enforce)],
                (L::Transport, V::Deny, V::Deny),
            ),
            (
                &[(L::Transport, V::Deny, M::Audit), (L::Ingress, V::Allow, M::Enforce)],
                (L::Transport, V::Allow, V::Deny),
            ),
            (&[(L::Transport, V::Deny, M::Audit), (L::Ingress, V::Deny, M::Audit)], (L::Transport, V::Allow, V::Deny)),
            (&[(L::Transport, V::Deny, M::Audit), (L::Ingress, V::Deny, M::Enforce)], (L::Ingress, V::Deny, V::Deny)),
            (
                &[(L::Transport, V::Deny, M::Observe), (L::Ingress, V::Allow, M::Enforce)],
                (L::Ingress, V::Allow, V::Allow),
            ),
            (&[(L::Ingress, V::Deny, M::Observe)], (L::Ingress, V::Allow, V::Allow)),
        ] {
            assert_eq!(ruling(steps), wanted, "{steps:?}");
        }
    }
}
