//! From the rules of live policies to a rule set's table.

use crate::classes::Classes;
use crate::learnt::Meant;
use crate::program::{ClassId, Entry, Outcome, RuleId, RuleSet};
use crate::terms::TermId;
use foldhash::HashMap;
use lictor_manifest::{Said, Tier, TierAction};
use lictor_model::{DomainPattern, PortRange, Protocol, Verdict};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A rule with its peers numbered; what it says, whatever it is called in the policy's next version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rule {
    pub(crate) id: RuleId,
    /// Nothing for anyone.
    pub(crate) peers: Option<Peers>,
    /// Nothing for all ports of all protocols.
    pub(crate) ports: Option<Vec<Port>>,
    /// What it is a rule of.
    pub(crate) part: Part,
    /// What a connection that it allows may be used for; nothing for anything.
    pub(crate) said: Option<Arc<Said>>,
}

/// The peers of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Peers {
    /// Whoever meets one of these.
    pub(crate) terms: Vec<TermId>,
    /// Whatever the endpoint has learnt for the names that these mean, beyond what the terms hold.
    pub(crate) domains: Vec<DomainPattern>,
    /// The endpoint's own node.
    pub(crate) own_node: bool,
    /// The term that every node meets, if each node but the endpoint's own is a peer.
    pub(crate) other_nodes: Option<TermId>,
}

impl From<Vec<TermId>> for Peers {
    fn from(terms: Vec<TermId>) -> Self {
        Self { terms, ..Self::default() }
    }
}

/// Where a rule stands among the others of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// Of a NetworkPolicy, or of what allows in a CiliumNetworkPolicy: it allows, in whatever order.
    Network,
    /// Of what denies in a CiliumNetworkPolicy.
    Deny,
    /// Of a tier: the first that matches counts.
    Tier(Tier, TierAction),
}

/// A port term of a rule.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Port {
    /// These ports of a protocol.
    Range(Protocol, PortRange),
    /// The port that the endpoint itself has under a name (ingress).
    Own(PortName),
    /// The port that the peer has under a name (egress).
    Peers(PortName),
}

impl Port {
    /// Its protocol.
    pub(crate) const fn protocol(&self) -> Protocol {
        match self {
            Self::Range(protocol, _) => *protocol,
            Self::Own(name) | Self::Peers(name) => name.protocol,
        }
    }
}

/// The name of a container port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct PortName {
    pub(crate) name: Arc<str>,
    pub(crate) protocol: Protocol,
}

/// What an endpoint has under the port names that its ingress rules use.
pub(crate) type OwnPorts = HashMap<PortName, u16>;

/// What an endpoint has learnt for the patterns that its rules name.
pub(crate) type OwnNames = HashMap<DomainPattern, Meant>;

/// The ports at which the verdict of these rules can change, ascending, the first 0.
pub(crate) fn bounds<'a>(rules: impl Iterator<Item = &'a Rule>, own: &OwnPorts, classes: &Classes) -> Vec<u16> {
    let mut bounds = BTreeSet::from([0]);
    let mut range = |range: PortRange| {
        bounds.insert(range.first());
        bounds.extend(range.last().checked_add(1));
    };
    for port in rules.filter_map(|rule| rule.ports.as_ref()).flatten() {
        match port {
            Port::Range(_, ports) => range(*ports),
            Port::Own(name) => own.get(name).into_iter().for_each(|port| range(PortRange::single(*port))),
            Port::Peers(name) => classes.named(name).iter().for_each(|(_, port)| range(PortRange::single(*port))),
        }
    }
    bounds.into_iter().collect()
}

/// The table of these rules, the first rule of equally specific ones in each entry.
pub(crate) fn table<'a>(
    rules: impl Iterator<Item = &'a Rule>,
    own: &OwnPorts,
    bounds: Vec<u16>,
    classes: &Classes,
) -> RuleSet {
    let mut set = RuleSet { bounds, entries: HashMap::default() };
    for rule in rules {
        let outcome = Outcome::of(Verdict::Allow, rule.id);
        let peers = rule.peers.as_ref().map(|peers| classes.meeting(&peers.terms));
        let Some(ports) = &rule.ports else {
            for class in peers.as_deref().unwrap_or(&[ClassId::ANY]) {
                set.allow(*class, None, outcome);
            }
            continue;
        };
        for port in ports {
            match port {
                Port::Range(protocol, range) => {
                    set.allow_range(peers.as_deref().unwrap_or(&[ClassId::ANY]), *protocol, *range, outcome);
                }
                Port::Own(name) => {
                    let Some(port) = own.get(name) else { continue };
                    let range = PortRange::single(*port);
                    set.allow_range(peers.as_deref().unwrap_or(&[ClassId::ANY]), name.protocol, range, outcome);
                }
                Port::Peers(name) => {
                    for (class, port) in classes.named(name) {
                        if peers.as_ref().is_none_or(|peers| peers.binary_search(class).is_ok()) {
                            set.allow_range(&[*class], name.protocol, PortRange::single(*port), outcome);
                        }
                    }
                }
            }
        }
    }
    set
}

impl RuleSet {
    fn allow(&mut self, class: ClassId, port: Option<(Protocol, u16)>, outcome: Outcome) {
        self.entries.entry(Entry { class, port }).or_insert(outcome);
    }

    fn allow_range(&mut self, classes: &[ClassId], protocol: Protocol, range: PortRange, outcome: Outcome) {
        for at in self.port_class(range.first())..=self.port_class(range.last()) {
            for class in classes {
                self.allow(*class, Some((protocol, at)), outcome);
            }
        }
    }
}
