//! The compiled form: what the kernel's maps hold and what the proxy asks.
//!
//! Addresses become *classes*: two addresses are of one class when every live peer term matches both or
//! neither. Ports become *port classes* of a rule set. A rule set then is a hash table over (class, protocol,
//! port class), and endpoints with the same selecting policies (and the same numbers for the port names that
//! those use) share one.

use crate::said::{Asked, UNSEEN, is_proxied, is_seen, may_say};
use foldhash::HashMap;
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::Said;
use lictor_model::{By, Cidr, Direction, Established, Layer, Mode, Name, PolicyRef, Protocol, Revision, Verdict};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// A class of addresses. Class 0 is every address that no live peer term matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ClassId(pub u32);

impl ClassId {
    /// In an [`Entry`]: an address of any class.
    pub const ANY: Self = Self(u32::MAX);

    /// In an [`Entry`]: an address of this class that is the endpoint's own node.
    #[must_use]
    pub const fn as_own_node(self) -> Self {
        Self(self.0 | 1 << 31)
    }
}

/// A rule set, numbered from 1; 0 in the kernel means that the endpoint is not isolated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleSetId(pub u32);

/// A rule, as an index into [`Program::rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

impl RuleId {
    /// No rule of any tier decided, and no NetworkPolicy isolates.
    pub const NO_POLICY: Self = Self(u32::MAX);
    /// NetworkPolicies isolate, and none of their rules matches.
    pub const ISOLATION: Self = Self(u32::MAX - 1);
    /// No rule of any tier decided about the endpoint's own node.
    pub const OWN_NODE: Self = Self(u32::MAX - 2);
}

/// Every verdict about every endpoint, ready to be looked up.
#[derive(Debug, Clone, Default)]
pub struct Program {
    /// The snapshot that it was compiled from.
    pub revision: Revision,
    /// The endpoints: every pod but host-network ones.
    pub endpoints: BTreeMap<Name, Endpoint>,
    /// Single addresses: pods and nodes. Looked up before `prefixes`.
    pub addresses: HashMap<IpAddr, Address>,
    /// Blocks that policies name, each with the class of the addresses that no longer one covers.
    pub prefixes: BTreeMap<Cidr, ClassId>,
    /// The rule sets.
    pub rule_sets: BTreeMap<RuleSetId, Arc<RuleSet>>,
    /// What connections may be used for: anything that one of these lets be said.
    pub said: BTreeMap<SaidId, Arc<[Sayable]>>,
    /// What a [`RuleId`] stands for.
    pub rules: Vec<PolicyRef>,
}

/// One endpoint's part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Arc<[IpAddr]>,
    /// The addresses of its own node, which it may talk with unless a tier denies it.
    pub own_node: Arc<[IpAddr]>,
    /// Whether the proxy captures its TCP traffic.
    pub enrolled: bool,
    /// What may come in; endpoints of which the same is said share it.
    pub ingress: Arc<Gate>,
    /// What may go out.
    pub egress: Arc<Gate>,
}

/// One direction of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gate {
    /// The rule set; nothing when no policy isolates this direction.
    pub rule_set: Option<RuleSetId>,
    /// The NetworkPolicies and CiliumNetworkPolicies that isolate it, the whole policy each.
    pub isolated_by: Arc<[PolicyRef]>,
    /// The others that speak of it: cluster-wide policies in the order in which they are asked, and CiliumNetworkPolicies
    /// that do not isolate.
    pub others: Arc<[PolicyRef]>,
    /// How far it goes.
    pub mode: Mode,
    /// What becomes of open connections when it says something else.
    pub established: Established,
}

/// What Stances say of one direction of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stand {
    pub(crate) mode: Mode,
    pub(crate) established: Established,
}

impl Stand {
    pub(crate) fn of(snapshot: &Snapshot, pod: &Pod, direction: Direction) -> Self {
        let layer = Layer::from(direction);
        Self { mode: snapshot.mode(pod, layer).0, established: snapshot.established(pod, layer) }
    }
}

/// What is known of a single address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Its class.
    pub class: ClassId,
    /// The pod that has it; nothing for a node's.
    pub pod: Option<Name>,
    /// Whether that pod's proxy takes tunnels.
    pub enrolled: bool,
    /// Whether it is the cluster's DNS, which asks the policies about names.
    pub resolver: bool,
}

impl Address {
    /// A node's.
    pub(crate) fn of_node(class: ClassId) -> Self {
        Self { class, pod: None, enrolled: false, resolver: false }
    }
}

/// Verdicts by peer class, protocol and port. What is not in it is denied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RuleSet {
    /// Where port classes begin, ascending, the first at 0; class `n` runs from `bounds[n]` up to the next.
    pub bounds: Vec<u16>,
    /// The entries. Looked up in the order of [`RuleSet::lookup`].
    pub entries: HashMap<Entry, Outcome>,
}

/// A key of a rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entry {
    /// The peer's class, or [`ClassId::ANY`].
    pub class: ClassId,
    /// The protocol and port class; nothing means all ports of all protocols.
    pub port: Option<(Protocol, u16)>,
}

/// A value of a rule set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Outcome {
    /// The final verdict.
    pub verdict: Verdict,
    /// The rule that gives it.
    pub rule: RuleId,
    /// On one that allows: what the connection may be used for; nothing for anything.
    pub said: Option<SaidId>,
}

impl Outcome {
    /// An outcome that asks for nothing more.
    pub const fn of(verdict: Verdict, rule: RuleId) -> Self {
        Self { verdict, rule, said: None }
    }
}

/// What connections may be used for: a key of [`Program::said`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaidId(pub u32);

/// What one rule lets be said on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sayable {
    /// The rule.
    pub rule: RuleId,
    /// What may be said.
    pub said: Arc<Said>,
}

impl Sayable {
    /// Whether the cluster's DNS judges it; otherwise the proxy does.
    pub fn is_for_resolver(&self) -> bool {
        matches!(*self.said, Said::Dns(_))
    }

    /// Whether it speaks of HTTP requests.
    pub fn is_of_http(&self) -> bool {
        matches!(*self.said, Said::Http(_))
    }
}

/// What a program says about one direction of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// The verdict, whatever the mode.
    pub verdict: Verdict,
    /// How far the gate goes.
    pub mode: Mode,
    /// What decided.
    pub by: By,
}

impl RuleSet {
    /// The port class of a port.
    pub fn port_class(&self, port: u16) -> u16 {
        let after = self.bounds.partition_point(|bound| *bound <= port);
        u16::try_from(after.saturating_sub(1)).unwrap_or(u16::MAX)
    }

    /// The entry for a peer class, protocol and port: the class itself before any, the port before all.
    pub fn lookup(&self, class: ClassId, protocol: Protocol, port: u16) -> Option<Outcome> {
        let exact = Some((protocol, self.port_class(port)));
        [(class, exact), (class, None), (ClassId::ANY, exact), (ClassId::ANY, None)]
            .into_iter()
            .find_map(|(class, port)| self.entries.get(&Entry { class, port }).copied())
    }
}

impl RuleSet {
    /// The entry for the endpoint's own node, if this rule set speaks of it.
    pub fn lookup_own_node(&self, class: ClassId, protocol: Protocol, port: u16) -> Option<Outcome> {
        let exact = Some((protocol, self.port_class(port)));
        let class = class.as_own_node();
        [exact, None].into_iter().find_map(|port| self.entries.get(&Entry { class, port }).copied())
    }
}

impl Gate {
    /// One that no policy speaks of.
    pub(crate) fn open(stand: Stand) -> Self {
        let Stand { mode, established } = stand;
        Self { rule_set: None, isolated_by: Arc::default(), others: Arc::default(), mode, established }
    }

    pub(crate) fn stand(&self) -> Stand {
        Stand { mode: self.mode, established: self.established }
    }

    /// What a rule of its rule set stands for.
    pub fn by(&self, rule: RuleId, rules: &[PolicyRef]) -> Option<By> {
        match rule {
            RuleId::NO_POLICY => Some(By::NoPolicy),
            RuleId::ISOLATION => Some(By::Isolation(self.isolated_by.to_vec())),
            RuleId::OWN_NODE => Some(By::OwnNode),
            rule => rules.get(rule.0 as usize).cloned().map(By::Policy),
        }
    }
}

impl Endpoint {
    pub(crate) fn of(snapshot: &Snapshot, pod: &Pod, gates: [Arc<Gate>; 2]) -> Self {
        let own_node = snapshot.nodes.get(&pod.node).map(|node| node.addresses[..].into()).unwrap_or_default();
        Self::on(own_node, pod, gates)
    }

    /// The same, where its node's addresses are known already: pods of one node share them.
    pub(crate) fn on(own_node: Arc<[IpAddr]>, pod: &Pod, [ingress, egress]: [Arc<Gate>; 2]) -> Self {
        Self { addresses: pod.addresses[..].into(), own_node, enrolled: pod.enrolled, ingress, egress }
    }

    /// The rule sets that its gates ask.
    pub(crate) fn asked(&self) -> impl Iterator<Item = RuleSetId> {
        [self.ingress.rule_set, self.egress.rule_set].into_iter().flatten()
    }

    /// The same endpoint with other gates.
    pub(crate) fn with(&self, [ingress, egress]: [Arc<Gate>; 2]) -> Self {
        let (addresses, own_node) = (Arc::clone(&self.addresses), Arc::clone(&self.own_node));
        Self { addresses, own_node, enrolled: self.enrolled, ingress, egress }
    }

    /// One direction.
    pub fn gate(&self, direction: Direction) -> &Gate {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// How many leading bits two addresses of one family share.
fn shared_bits(a: IpAddr, b: IpAddr) -> Option<u8> {
    let zeros = match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => return None,
    };
    u8::try_from(zeros).ok()
}

impl Program {
    /// The class of an address.
    pub fn class(&self, address: IpAddr) -> ClassId {
        let address = address.to_canonical();
        if let Some(known) = self.addresses.get(&address) {
            return known.class;
        }
        // Blocks sort by their lowest address, a wider one before those that it covers. So the last one up to the
        // address is the longest that holds it, or shares fewer bits with it than any other that could.
        let mut upto = Cidr::host(address);
        while let Some((block, class)) = self.prefixes.range(..=upto).next_back() {
            if block.contains(address) {
                return *class;
            }
            let Some(shared) = shared_bits(block.network(), address) else { break };
            let Ok(wider) = Cidr::new(address, shared) else { break };
            upto = wider;
        }
        ClassId::default()
    }

    /// What this program says of a flow between `endpoint` and `peer`, seen from `endpoint`'s side.
    ///
    /// `port` is the flow's destination port. An endpoint that the program does not know is denied.
    pub fn judge(
        &self,
        endpoint: &Name,
        direction: Direction,
        peer: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Judgement {
        self.judge_asked(endpoint, direction, peer, (protocol, port), &Asked::Connection)
    }

    /// What it says of something that is asked on such a connection.
    pub fn judge_asked(
        &self,
        endpoint: &Name,
        direction: Direction,
        peer: IpAddr,
        (protocol, port): (Protocol, u16),
        asked: &Asked<'_>,
    ) -> Judgement {
        let fixed = |verdict, by| Judgement { verdict, mode: Mode::Enforce, by };
        let Some(known) = self.endpoints.get(endpoint) else {
            return fixed(Verdict::Deny, By::Unknown(format!("{endpoint} is not known here")));
        };
        let peer = peer.to_canonical();
        if known.addresses.contains(&peer) {
            return fixed(Verdict::Allow, By::OwnPod);
        }
        let own_node = known.own_node.contains(&peer);
        let gate = known.gate(direction);
        let Some(id) = gate.rule_set else {
            return match own_node {
                true => fixed(Verdict::Allow, By::OwnNode),
                false => Judgement { verdict: Verdict::Allow, mode: gate.mode, by: By::NoPolicy },
            };
        };
        let (verdict, by) = match self.outcome(id, known, peer, (protocol, port)) {
            None if own_node => return fixed(Verdict::Allow, By::OwnNode),
            Some(Outcome { rule: RuleId::OWN_NODE, .. }) => return fixed(Verdict::Allow, By::OwnNode),
            Some(Outcome { said: Some(id), .. }) => {
                let resolver = self.addresses.get(&peer).is_some_and(|known| known.resolver);
                let sayable = self.said.get(&id).map_or(&[][..], |all| all);
                let proxied = is_proxied(known.enrolled, protocol);
                match sayable.iter().find(|sayable| may_say(&sayable.said, asked)) {
                    _ if !sayable.iter().any(|sayable| is_seen(&sayable.said, resolver, proxied)) => {
                        (Verdict::Deny, By::Unknown(UNSEEN.to_owned()))
                    }
                    Some(Sayable { rule, .. }) => match gate.by(*rule, &self.rules) {
                        Some(by) => (Verdict::Allow, by),
                        None => (Verdict::Deny, By::Unknown("a rule that the program does not hold".to_owned())),
                    },
                    None => (Verdict::Deny, By::Isolation(gate.isolated_by.to_vec())),
                }
            }
            Some(outcome) => match gate.by(outcome.rule, &self.rules) {
                Some(by) => (outcome.verdict, by),
                None => (Verdict::Deny, By::Unknown("a rule that the program does not hold".to_owned())),
            },
            None => (Verdict::Deny, By::Isolation(gate.isolated_by.to_vec())),
        };
        Judgement { verdict, mode: gate.mode, by }
    }

    /// What a connection may be used for, seen from `endpoint`'s side; nothing where it may be used for anything, or is
    /// denied.
    pub fn limits(
        &self,
        endpoint: &Name,
        direction: Direction,
        peer: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> &[Sayable] {
        let limits = || {
            let known = self.endpoints.get(endpoint)?;
            let (peer, id) = (peer.to_canonical(), known.gate(direction).rule_set?);
            if known.addresses.contains(&peer) {
                return None;
            }
            let outcome = self.outcome(id, known, peer, (protocol, port))?;
            self.said.get(&outcome.said?).map(|limits| &**limits)
        };
        limits().unwrap_or_default()
    }

    /// What a rule set of an endpoint says of a peer.
    fn outcome(
        &self,
        id: RuleSetId,
        near: &Endpoint,
        peer: IpAddr,
        (protocol, port): (Protocol, u16),
    ) -> Option<Outcome> {
        let (set, class) = (self.rule_sets.get(&id)?, self.class(peer));
        match near.own_node.contains(&peer) {
            true => set.lookup_own_node(class, protocol, port),
            false => set.lookup(class, protocol, port),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ClassId, Program};
    use lictor_model::Cidr;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn blocks() -> impl Strategy<Value = Vec<Cidr>> {
        let block = prop_oneof![
            (0_u32..16, 24_u8..=32)
                .prop_map(|(low, bits)| Cidr::new(IpAddr::from((0x0a00_0000 + low).to_be_bytes()), bits)),
            (any::<u32>(), 0_u8..8).prop_map(|(address, bits)| Cidr::new(IpAddr::from(address.to_be_bytes()), bits)),
            (0_u128..16, 120_u8..=128).prop_map(|(low, bits)| Cidr::new(IpAddr::from(low.to_be_bytes()), bits)),
        ];
        proptest::collection::vec(block.prop_map(|block| block.expect("a prefix that fits")), 0..12)
    }

    proptest! {
        #[test]
        fn the_longest_block_that_holds_an_address_gives_its_class(blocks in blocks(), low in 0_u8..16, far in any::<u32>()) {
            let numbered = blocks.iter().zip(1..).map(|(block, class)| (*block, ClassId(class)));
            let program = Program { prefixes: numbered.collect(), ..Program::default() };
            let v6 = IpAddr::from(u128::from(low).to_be_bytes());
            for address in [IpAddr::from([10, 0, 0, low]), IpAddr::from(far.to_be_bytes()), v6] {
                let holding = program.prefixes.iter().filter(|(block, _)| block.contains(address));
                let wanted = holding.max_by_key(|(block, _)| block.prefix()).map(|(_, class)| *class).unwrap_or_default();
                prop_assert_eq!(program.class(address), wanted, "{} in {:?}", address, &program.prefixes);
            }
        }
    }
}
