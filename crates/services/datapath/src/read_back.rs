//! The verdict from the maps' contents, read back from the kernel: what the programs themselves would say.

use crate::apply::slot_of;
use crate::datapath::Datapath;
use crate::error::Error;
use crate::event::Reason;
use crate::wire::{
    self, ALLOW_ALL, ALLOW_BY_PROXY, ALLOW_BY_RESOLVER, ANY_PORT, Address, ENDPOINT_ACTIVE, ENDPOINT_ENROLLED, Gate,
    NodeKey, PEER_RESOLVER, RuleKey,
};
use lictor_model::{By, Direction, Mode, Name, Protocol, Verdict};
use lictor_network::UNSEEN;
use lictor_network::{ClassId, Judgement, RuleId};
use std::net::IpAddr;

impl Datapath {
    /// Judges a flow between `endpoint` and `peer`, seen from `endpoint`'s side, by what the kernel's maps
    /// hold, in the order of `bpf/judge.h`. `port` is the flow's destination port.
    ///
    /// For tests and support: every look-up is a system call.
    pub fn read_back(
        &self,
        endpoint: &Name,
        direction: Direction,
        peer: IpAddr,
        protocol: Protocol,
        port: u16,
    ) -> Result<Judgement, Error> {
        let (verdict, mode, reason) = self.look_up(endpoint, direction, peer.into(), protocol, port)?;
        Ok(Judgement { verdict, mode, by: self.by(reason, endpoint, direction) })
    }

    fn look_up(
        &self,
        endpoint: &Name,
        direction: Direction,
        peer: Address,
        protocol: Protocol,
        port: u16,
    ) -> Result<(Verdict, Mode, Reason), Error> {
        let unknown = (Verdict::Deny, Mode::Enforce, Reason::Unknown);
        let Some(slot) = self.slots.find(endpoint) else { return Ok(unknown) };
        let record = self.tables.endpoints.at(slot.number)?;
        if record.flags & ENDPOINT_ACTIVE == 0 {
            return Ok(unknown);
        }
        let own = record.addresses.iter().take(record.count as usize);
        if own.into_iter().any(|own| *own == peer) {
            return Ok((Verdict::Allow, Mode::Enforce, Reason::OwnPod));
        }
        let own_node = self.tables.own_nodes.find(&NodeKey { endpoint: slot.number, address: peer })?.is_some();
        let gate = Gate::from_word(self.tables.gates.at(slot_of(slot.number, direction))?);
        if gate.set == 0 && !own_node {
            return Ok((Verdict::Allow, gate.mode, Reason::NoPolicy));
        }
        let class = self.class(peer, gate.column)?;
        let class = if own_node { ClassId(class).as_own_node().0 } else { class };
        let exact = u32::from(protocol.number()) << 16 | self.port_class(gate.set, port)?;
        let keys = [(class, exact), (class, ANY_PORT), (ClassId::ANY.0, exact), (ClassId::ANY.0, ANY_PORT)];
        for (class, port) in keys.into_iter().take(if own_node { 2 } else { 4 }) {
            if let Some(rule) = self.tables.rules.find(&RuleKey { set: gate.set, class, port })? {
                let seen = (rule.allow & ALLOW_BY_PROXY != 0
                    && protocol == Protocol::Tcp
                    && record.flags & ENDPOINT_ENROLLED != 0)
                    || (rule.allow & ALLOW_BY_RESOLVER != 0
                        && self.tables.peers.find(&peer)?.is_some_and(|peer| peer.flags & PEER_RESOLVER != 0));
                let (verdict, reason) = match rule.allow {
                    0 => (Verdict::Deny, Reason::Rule(RuleId(rule.id))),
                    ALLOW_ALL => (Verdict::Allow, Reason::Rule(RuleId(rule.id))),
                    _ if seen => (Verdict::Allow, Reason::Rule(RuleId(rule.id))),
                    _ => (Verdict::Deny, Reason::Unseen(RuleId(rule.id))),
                };
                return Ok((verdict, gate.mode, reason));
            }
        }
        if own_node {
            return Ok((Verdict::Allow, Mode::Enforce, Reason::OwnNode));
        }
        Ok((Verdict::Deny, gate.mode, Reason::Isolated))
    }

    /// The reason in the model's words, by the program in force.
    fn by(&self, reason: Reason, endpoint: &Name, direction: Direction) -> By {
        let program = self.program.as_deref();
        match reason {
            Reason::Rule(rule) => {
                let known = program.and_then(|program| Some((program.endpoints.get(endpoint)?, &program.rules)));
                let by = known.and_then(|(known, rules)| known.gate(direction).by(rule, rules));
                by.unwrap_or_else(|| By::Unknown("a rule that the program does not hold".to_owned()))
            }
            Reason::Isolated => {
                let known = program.and_then(|program| program.endpoints.get(endpoint));
                By::Isolation(known.map(|known| known.gate(direction).isolated_by.to_vec()).unwrap_or_default())
            }
            Reason::Unseen(_) => By::Unknown(UNSEEN.to_owned()),
            Reason::NoPolicy => By::NoPolicy,
            Reason::OwnPod => By::OwnPod,
            Reason::OwnNode => By::OwnNode,
            _ => By::Unknown(format!("{endpoint} is not known here")),
        }
    }

    fn class(&self, address: Address, column: usize) -> Result<u32, Error> {
        let in_column = |classes: [u32; 2]| if column == 1 { classes[1] } else { classes[0] };
        if let Some(peer) = self.tables.peers.find(&address)? {
            return Ok(in_column(peer.class));
        }
        let found = match address.ipv4() {
            Some(ipv4) => self.tables.prefixes4.find(32, ipv4.octets())?,
            None => self.tables.prefixes6.find(128, address.0)?,
        };
        Ok(found.map_or(0, |classes| in_column(classes.class)))
    }

    fn port_class(&self, set: u32, port: u16) -> Result<u32, Error> {
        let span: wire::Span = self.tables.spans.find(&set)?.unwrap_or_default();
        let (mut low, mut high) = (0, span.count);
        while high.saturating_sub(low) > 1 {
            let middle = low + (high - low) / 2;
            if self.tables.bounds.at(span.first + middle)? <= u32::from(port) { low = middle } else { high = middle }
        }
        Ok(low)
    }
}
