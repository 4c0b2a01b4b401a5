//! `cilium.io/v2`: CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy and CiliumCIDRGroup.

use crate::{Meta, PortTerm};
use lictor_model::{Cidr, DomainPattern, IpBlock, Labels, Name, Operator, PolicyKind, Selector};
use std::fmt;
use std::sync::Arc;

/// A policy of one of the two kinds.
///
/// Source: Cilium, `pkg/k8s/apis/cilium.io/v2` and `pkg/policy/api`, with `pkg/k8s/apis/cilium.io/utils` for how selectors
/// are scoped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumNetworkPolicy {
    /// Name, namespace and origin.
    pub meta: Meta,
    /// Which of the two.
    pub kind: PolicyKind,
    /// `spec` and each of `specs`; they add up.
    pub specs: Vec<CiliumSpec>,
}

impl CiliumNetworkPolicy {
    /// Whether it is of the kind that speaks of pods of every namespace.
    pub fn is_clusterwide(&self) -> bool {
        self.kind == PolicyKind::CiliumClusterwideNetworkPolicy
    }
}

/// One `spec`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumSpec {
    /// `spec`, or `specs[n]`.
    pub path: Arc<str>,
    /// What its author says about it.
    pub description: Option<Arc<str>>,
    /// What its author wants to find in the log.
    pub log: Option<Arc<str>>,
    /// The pods that it is about; within the policy's namespace if it has one.
    pub subject: EndpointSelector,
    /// What may come in.
    pub ingress: CiliumSide,
    /// What may go out.
    pub egress: CiliumSide,
}

/// One direction of a `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CiliumSide {
    /// Whether what no rule allows is denied: so it is when there is a rule, unless `enableDefaultDeny` says otherwise.
    pub default_deny: bool,
    /// The rules of `ingress` or `egress`.
    pub allow: Vec<CiliumRule>,
    /// Those of `ingressDeny` or `egressDeny`: they come before all that allow.
    pub deny: Vec<CiliumRule>,
}

/// One rule: a peer and a port must both match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumRule {
    /// Who may be at the other end, any of them; nothing means anyone.
    pub peers: Option<Vec<CiliumPeer>>,
    /// Which ports, any of them; nothing means all ports of all protocols.
    pub ports: Option<Vec<CiliumPorts>>,
    /// What the rule asks for and lictor does not do: then a rule that allows matches nothing.
    pub unsupported: Option<Arc<str>>,
}

impl CiliumRule {
    /// Whether it asks for something that lictor does not do, or names peers in a way that it does not know.
    pub fn fails_closed(&self) -> bool {
        self.unsupported.is_some() || self.peers.iter().flatten().any(|peer| *peer == CiliumPeer::Unknown)
    }
}

/// One item of `toPorts` or `icmps`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CiliumPorts {
    /// The ports, any of them; an ICMP type stands as the port.
    pub ports: Vec<PortTerm>,
    /// What must hold for what is said on them; nothing means anything.
    pub said: Option<Arc<Said>>,
}

/// What a connection may be used for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Said {
    /// These HTTP requests.
    Http(Vec<HttpRule>),
    /// DNS questions for these names.
    Dns(Vec<DomainPattern>),
    /// TLS for these server names.
    ServerNames(Vec<DomainPattern>),
}

/// HTTP requests; each field that is there must match.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct HttpRule {
    /// The method.
    pub method: Option<FullMatch>,
    /// The path with its query.
    pub path: Option<FullMatch>,
    /// The `Host` header.
    pub host: Option<FullMatch>,
    /// Headers by name, in lower case, with their value; without one, being there is enough.
    pub headers: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// A regular expression that must match a whole text. Equal when written alike.
#[derive(Debug, Clone)]
pub struct FullMatch {
    source: Arc<str>,
    compiled: regex::Regex,
}

impl FullMatch {
    /// Compiles an expression; the reason when it is none, or too large.
    pub fn new(source: &str) -> Result<Self, String> {
        // One thousand states of each byte are more than any path needs.
        const LARGEST: usize = 1 << 20;
        let whole = regex::RegexBuilder::new(&format!(r"\A(?:{source})\z")).size_limit(LARGEST).build();
        // Alone as well: `a)(b` is only an expression between parentheses.
        let alone = regex::RegexBuilder::new(source).size_limit(LARGEST).build();
        let reason = |error: regex::Error| {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        };
        alone.map_err(reason)?;
        Ok(Self { source: Arc::from(source), compiled: whole.map_err(reason)? })
    }

    /// Whether all of a text matches.
    pub fn matches(&self, text: &str) -> bool {
        self.compiled.is_match(text)
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for FullMatch {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl Eq for FullMatch {}

impl std::hash::Hash for FullMatch {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.source.hash(state);
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |all: Vec<String>| all.join(", ");
        let names = |all: &[DomainPattern]| joined(all.iter().map(ToString::to_string).collect());
        match self {
            Self::Http(rules) => f.write_str(&joined(rules.iter().map(ToString::to_string).collect())),
            Self::Dns(patterns) => write!(f, "DNS for {}", names(patterns)),
            Self::ServerNames(patterns) => write!(f, "TLS for {}", names(patterns)),
        }
    }
}

impl fmt::Display for HttpRule {
    /// `GET /public` with `*` for what is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |part: &Option<FullMatch>| part.as_ref().map_or("*", |part| part.as_str()).to_owned();
        write!(f, "{} {}", word(&self.method), word(&self.path))?;
        if let Some(host) = &self.host {
            write!(f, " at {}", host.as_str())?;
        }
        for (name, value) in &self.headers {
            write!(f, " with {name}")?;
            if let Some(value) = value {
                write!(f, ": {value}")?;
            }
        }
        Ok(())
    }
}

/// One peer form.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CiliumPeer {
    /// Pods.
    Pods(EndpointSelector),
    /// A kind of peer.
    Entity(Entity),
    /// Addresses.
    Block(IpBlock),
    /// The addresses of CiliumCIDRGroups, but for the excepted ones.
    Group(GroupRef, Vec<Cidr>),
    /// The nodes with these labels.
    Nodes(Selector),
    /// The backends of a Service.
    Service(Name),
    /// The backends of the Services with these labels, in a namespace if one is named.
    Services(Selector, Option<Arc<str>>),
    /// The addresses that DNS gave for these names.
    Domain(DomainPattern),
    /// A form that lictor cannot resolve: nothing to a rule that allows, everything to one that denies.
    Unknown,
}

/// Which CiliumCIDRGroups.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum GroupRef {
    /// The one with this name.
    Name(Arc<str>),
    /// Those with these labels.
    Labels(Selector),
}

/// A kind of peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// The endpoint's own node.
    Host,
    /// Every other node.
    RemoteNode,
    /// The addresses of the API server: the backends of Service `default/kubernetes`.
    KubeApiserver,
    /// Every pod and every node.
    Cluster,
    /// Every address that is no pod's and no node's.
    World,
    /// Those of IPv4.
    WorldIpv4,
    /// Those of IPv6.
    WorldIpv6,
    /// Anyone.
    All,
    /// No one; and what lictor's clusters do not have: endpoints that start, health probes, Cilium's ingress, unmanaged pods.
    None,
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Host => "host",
            Self::RemoteNode => "remote-node",
            Self::KubeApiserver => "kube-apiserver",
            Self::Cluster => "cluster",
            Self::World => "world",
            Self::WorldIpv4 => "world-ipv4",
            Self::WorldIpv6 => "world-ipv6",
            Self::All => "all",
            Self::None => "none",
        })
    }
}

/// Pods by what Cilium derives from them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct EndpointSelector {
    /// Labels of the namespace, its name as `kubernetes.io/metadata.name` among them; nothing means the policy's own
    /// namespace, or any to a cluster-wide policy.
    pub namespaces: Option<Selector>,
    /// Labels of the pod.
    pub pods: Selector,
    /// What must hold for the name of its service account.
    pub accounts: Vec<Operator>,
}

impl EndpointSelector {
    /// Whether it selects a pod with these labels and this service account, wherever it is.
    pub fn selects(&self, labels: &Labels, account: &str) -> bool {
        self.pods.matches(labels) && self.accounts.iter().all(|operator| operator.holds(Some(account)))
    }
}

/// Address blocks under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CidrGroup {
    /// Name, labels and origin.
    pub meta: Meta,
    /// The blocks.
    pub blocks: Vec<Cidr>,
}
