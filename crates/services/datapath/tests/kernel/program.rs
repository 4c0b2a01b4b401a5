//! Programs written by hand, one class for each pod.

use lictor_model::{Cidr, Direction, Established, Mode, Name, PolicyKind, PolicyRef, Protocol, Revision, Verdict};
use lictor_network::{Address, ClassId, Endpoint, Entry, Gate, Outcome, Program, RuleId, RuleSet, RuleSetId};
use std::net::IpAddr;
use std::sync::Arc;

/// The name of the pod whose addresses end in `last`.
pub fn name(last: u8) -> Name {
    Name::new("test", format!("pod-{last}"))
}

/// The policy that the test's rule of this number stands for.
pub fn policy(number: u32) -> PolicyRef {
    PolicyRef::whole(PolicyKind::NetworkPolicy, Name::new("test", format!("rule-{number}")))
}

/// The class of the pod whose addresses end in `last`.
pub fn class(last: u8) -> ClassId {
    ClassId(100 + u32::from(last))
}

/// A program under construction.
#[derive(Clone)]
pub struct Draft(pub Program);

impl Draft {
    /// Pods that nothing isolates, on a node with the first addresses of both blocks.
    pub fn open(revision: u64, pods: &[u8]) -> Self {
        let mut program = Program { revision: Revision(revision), ..Program::default() };
        for last in pods {
            let addresses: Vec<IpAddr> = vec![crate::node::v4(*last), crate::node::v6(*last)];
            for address in &addresses {
                let known = Address { class: class(*last), pod: Some(name(*last)), enrolled: false, resolver: false };
                program.addresses.insert(*address, known);
            }
            let gate = || Gate {
                rule_set: None,
                isolated_by: Arc::default(),
                others: Arc::default(),
                mode: Mode::Enforce,
                established: Established::Rejudge,
            };
            let own_node = crate::node::gateways().into_iter().map(|(address, _)| address).collect();
            let (addresses, ingress, egress) = (addresses.into(), Arc::new(gate()), Arc::new(gate()));
            let endpoint = Endpoint { addresses, own_node, enrolled: false, ingress, egress };
            program.endpoints.insert(name(*last), endpoint);
        }
        Self(program)
    }

    /// Isolates one direction of a pod, with these classes, protocols and ports allowed.
    pub fn isolate(mut self, last: u8, direction: Direction, allowed: &[(ClassId, Protocol, u16)]) -> Self {
        let id = RuleSetId(u32::from(last) * 2 + u32::from(direction == Direction::Egress) + 1);
        let mut set = RuleSet { bounds: vec![0], ..RuleSet::default() };
        for (_, _, port) in allowed {
            set.bounds.extend([*port, port.saturating_add(1)]);
        }
        set.bounds.sort_unstable();
        set.bounds.dedup();
        for (class, protocol, port) in allowed {
            let rule = RuleId(u32::try_from(self.0.rules.len()).unwrap());
            self.0.rules.push(policy(u32::from(*port)));
            let entry = Entry { class: *class, port: Some((*protocol, set.port_class(*port))) };
            set.entries.insert(entry, Outcome::of(Verdict::Allow, rule));
        }
        self.0.rule_sets.insert(id, Arc::new(set));
        let gate = self.gate(last, direction);
        gate.rule_set = Some(id);
        gate.isolated_by = Arc::new([policy(0)]);
        self
    }

    /// How far one direction of a pod goes.
    pub fn mode(mut self, last: u8, direction: Direction, mode: Mode) -> Self {
        self.gate(last, direction).mode = mode;
        self
    }

    /// Has one direction of a pod leave open connections alone.
    pub fn keep(mut self, last: u8, direction: Direction) -> Self {
        self.gate(last, direction).established = Established::Keep;
        self
    }

    /// Puts pods into the mesh.
    pub fn enroll(mut self, pods: &[u8]) -> Self {
        for last in pods {
            self.0.endpoints.get_mut(&name(*last)).unwrap().enrolled = true;
            let own = |address: &Address| address.pod == Some(name(*last));
            self.0.addresses.values_mut().filter(|address| own(address)).for_each(|address| address.enrolled = true);
        }
        self
    }

    /// Gives a block a class.
    pub fn block(mut self, block: &str, class: ClassId) -> Self {
        self.0.prefixes.insert(block.parse::<Cidr>().unwrap(), class);
        self
    }

    fn gate(&mut self, last: u8, direction: Direction) -> &mut Gate {
        let endpoint = self.0.endpoints.get_mut(&name(last)).unwrap();
        Arc::make_mut(match direction {
            Direction::Ingress => &mut endpoint.ingress,
            Direction::Egress => &mut endpoint.egress,
        })
    }

    pub fn done(self) -> Arc<Program> {
        Arc::new(self.0)
    }
}
