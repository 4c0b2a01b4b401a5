//! What the policies say of a connection or request: the layers in their order, and what follows from them.

use lictor_authz::Program as Authorization;
use lictor_cluster::Snapshot;
use lictor_model::{
    By, Direction, Established, Http, Layer, Mode, Name, PolicyRef, Protocol, Request, SpiffeId, TrustDomain, Verdict,
};
use lictor_network::{Asked, Program as Network, Sayable};
use std::collections::BTreeSet;
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
    /// The foreign trust domains whose workloads are believed, beside those of the cluster's own.
    pub federated: Arc<BTreeSet<TrustDomain>>,
}

/// A connection into a pod, or out of it to where no other proxy takes it.
#[derive(Debug, Clone)]
pub(crate) struct Inbound {
    /// Which of the two.
    pub(crate) way: Direction,
    /// The pod.
    pub(crate) pod: Name,
    /// Who opened it.
    pub(crate) source: IpAddr,
    /// What it asked for: an address of the pod and the application's port, on the way in.
    pub(crate) destination: SocketAddr,
    /// How it came.
    pub(crate) transport: Transport,
    /// The server name of a TLS connection within.
    pub(crate) sni: Option<Arc<str>>,
}

/// What segmentation lets a connection be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// HTTP requests, if nothing else.
    Http,
    /// Something that is not HTTP.
    Others,
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
        let begin = Ruling::begin();
        self.segmentation(begin, pod, Direction::Egress, destination.ip(), destination.port(), &Asked::Connection)
    }

    /// What the destination's side says of a connection into a pod, or of a request on it.
    pub(crate) fn inbound(&self, connection: &Inbound, ask: Ask<'_>) -> Ruling {
        let Inbound { way, pod, source, destination, transport, sni } = connection;
        let asked = match ask {
            Ask::Later => Asked::Connection,
            Ask::Connection => Asked::ServerName(sni.as_deref().unwrap_or_default()),
            Ask::Request(http, _) => Asked::Http(http),
        };
        let (to, port) = (destination.ip(), destination.port());
        if *way == Direction::Egress {
            return self.segmentation(Ruling::begin(), pod, Direction::Egress, to, port, &asked);
        }
        let mut ruling = Ruling::begin();
        // The source's proxy has let the connection out; what is said on it is seen here first.
        if let Some(source) = self.source_of(connection)
            && !self.leaves_to_resolver(source, *destination)
        {
            ruling = self.segmentation(ruling, source, Direction::Egress, to, port, &asked);
        }
        let ruling = self.transport(ruling, connection);
        let ruling = self.segmentation(ruling, pod, Direction::Ingress, *source, port, &asked);
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

    /// Whether authorization at the connection's port speaks of HTTP requests.
    pub(crate) fn speaks_of_http(&self, connection: &Inbound) -> bool {
        let Inbound { way, pod, destination, .. } = connection;
        let asked = self.authorization.workload(pod).filter(|_| *way == Direction::Ingress);
        asked.is_some_and(|workload| workload.needs_http(destination.port()))
    }

    /// Whether authorization at the connection's port speaks of the server name within TLS.
    pub(crate) fn speaks_of_sni(&self, connection: &Inbound) -> bool {
        let Inbound { way, pod, destination, .. } = connection;
        let asked = self.authorization.workload(pod).filter(|_| *way == Direction::Ingress);
        asked.is_some_and(|workload| workload.needs_sni(destination.port()))
    }

    /// Whether segmentation lets a connection be used for some things only: HTTP requests among them, or others.
    pub(crate) fn limits(&self, connection: &Inbound) -> Option<Limits> {
        let Inbound { way, pod, source, destination, .. } = connection;
        let (to, port) = (destination.ip(), destination.port());
        let of = |pod, direction, peer| self.network.limits(pod, direction, peer, Protocol::Tcp, port);
        let own = match way {
            Direction::Ingress => of(pod, Direction::Ingress, *source),
            Direction::Egress => of(pod, Direction::Egress, to),
        };
        let source = self.source_of(connection).filter(|source| !self.leaves_to_resolver(source, *destination));
        let theirs = source.map(|source| of(source, Direction::Egress, to)).unwrap_or_default();
        let mut all = own.iter().chain(theirs).peekable();
        all.peek()?;
        Some(if all.any(Sayable::is_of_http) { Limits::Http } else { Limits::Others })
    }

    /// Whether a connection out of a pod is limited to questions for names, and goes to where these are judged.
    pub(crate) fn leaves_to_resolver(&self, pod: &Name, destination: SocketAddr) -> bool {
        let limits = self.network.limits(pod, Direction::Egress, destination.ip(), Protocol::Tcp, destination.port());
        let resolver = self.snapshot.resolvers.contains(&destination.ip().to_canonical());
        resolver && limits.iter().all(Sayable::is_for_resolver)
    }

    /// The pod of the mesh that opened a connection into another one.
    fn source_of(&self, connection: &Inbound) -> Option<&Name> {
        let tunnel = matches!(connection.transport, Transport::Tunnel(_)) && connection.way == Direction::Ingress;
        self.snapshot.pod_at(connection.source).filter(|_| tunnel).map(|pod| &pod.name)
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
        if let Transport::Tunnel(proven) = transport
            && let Some(why) = self.disbelief(pod, proven)
        {
            return ruling.then(Layer::Transport, Verdict::Deny, Mode::Enforce, By::Unknown(why));
        }
        let demand = self.authorization.transport(pod, destination.port());
        let verdict = demand.verdict(matches!(transport, Transport::Tunnel(_)));
        ruling.then(Layer::Transport, verdict, demand.stance, demand.by)
    }

    /// Why the pod does not believe a peer's trust domain. At the handshake somebody here did, but that may be a while ago,
    /// and it may be for another pod.
    fn disbelief(&self, pod: &Name, proven: &SpiffeId) -> Option<String> {
        let trust_domain = proven.trust_domain_str();
        if trust_domain == self.snapshot.trust_domain.as_str() {
            return None;
        }
        if !self.federated.contains(&proven.trust_domain()) {
            return Some(format!("{proven} is of a trust domain that is not federated with any more"));
        }
        let federates = self.snapshot.pods.get(pod).is_some_and(|pod| pod.federates(trust_domain));
        (!federates).then(|| format!("{proven} is of a trust domain that no entry of {pod} federates with"))
    }

    fn segmentation(
        &self,
        ruling: Ruling,
        pod: &Name,
        direction: Direction,
        peer: IpAddr,
        port: u16,
        asked: &Asked<'_>,
    ) -> Ruling {
        let judgement = self.network.judge_asked(pod, direction, peer, (Protocol::Tcp, port), asked);
        ruling.then(Layer::from(direction), judgement.verdict, judgement.mode, judgement.by)
    }

    /// Whether open connections of a pod are left alone when a layer comes to another verdict.
    pub(crate) fn keeps_open(&self, pod: &Name, layer: Layer) -> bool {
        let pod = self.snapshot.pods.get(pod);
        pod.is_some_and(|pod| self.snapshot.established(pod, layer) == Established::Keep)
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
