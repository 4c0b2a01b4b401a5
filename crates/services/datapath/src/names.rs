//! Numbers for the rules that kernel and events speak of.

use crate::event::Reason;
use lictor_model::{By, Direction, Name, PolicyRef};
use lictor_network::Program;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The rules by number. A number never comes to mean another rule, so an event that was long under way still
/// names the right one.
#[derive(Debug, Default)]
pub(crate) struct RuleNames {
    numbers: HashMap<PolicyRef, u32>,
    rules: HashMap<u32, PolicyRef>,
    last: u32,
}

/// How many rules that nothing has any more are remembered for late events.
const REMEMBERED: usize = 4096;

impl RuleNames {
    /// The number of a rule.
    pub(crate) fn number(&mut self, rule: &PolicyRef) -> u32 {
        if let Some(number) = self.numbers.get(rule) {
            return *number;
        }
        self.last += 1;
        self.numbers.insert(rule.clone(), self.last);
        self.rules.insert(self.last, rule.clone());
        self.last
    }

    /// The rule of a number.
    pub(crate) fn rule(&self, number: u32) -> Option<&PolicyRef> {
        self.rules.get(&number)
    }

    /// Forgets rules that no rule set has, once there are many.
    pub(crate) fn retain(&mut self, live: &HashSet<u32>) {
        if self.rules.len() > live.len() + REMEMBERED {
            self.rules.retain(|number, _| live.contains(number));
            self.numbers.retain(|_, number| live.contains(number));
        }
    }
}

/// What numbers and addresses in events stand for: shared by the maps' writer and the events' readers.
#[derive(Debug, Default)]
pub struct Resolver {
    names: Mutex<RuleNames>,
    program: Mutex<Arc<Program>>,
}

impl Resolver {
    pub(crate) fn names(&self) -> MutexGuard<'_, RuleNames> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The program in force; an empty one before the first.
    pub fn program(&self) -> Arc<Program> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A program has come into force.
    pub(crate) fn put(&self, program: Arc<Program>, live: &HashSet<u32>) {
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = program;
        self.names().retain(live);
    }

    /// Why one layer said what it said, in the model's words. `endpoint` is the pod whose layer it is.
    pub fn by(&self, reason: Reason, endpoint: Option<&Name>, direction: Direction) -> By {
        match reason {
            Reason::Rule(number) => match self.names().rule(number) {
                Some(rule) => By::Policy(rule.clone()),
                None => By::Unknown("a rule that is no longer known".to_owned()),
            },
            Reason::Isolated => {
                let program = self.program();
                let known = endpoint.and_then(|name| program.endpoints.get(name));
                By::Isolation(known.map(|known| known.gate(direction).isolated_by.to_vec()).unwrap_or_default())
            }
            Reason::NoPolicy => By::NoPolicy,
            Reason::OwnPod => By::OwnPod,
            Reason::OwnNode => By::OwnNode,
            Reason::Tunnel => By::Unknown("a tunnel, which the proxies judge".to_owned()),
            Reason::Plaintext => By::Unknown("a connection between enrolled pods outside the tunnel".to_owned()),
            Reason::Spoofed => By::Unknown("a source address that is not the pod's".to_owned()),
            Reason::Full => By::Unknown("no room to track the connection".to_owned()),
            Reason::Unknown => {
                let name = endpoint.map_or_else(|| "the endpoint".to_owned(), Name::to_string);
                By::Unknown(format!("{name} is not known here"))
            }
        }
    }

    /// The pod with an address.
    pub fn pod(&self, address: IpAddr) -> Option<Name> {
        self.program().addresses.get(&address)?.pod.clone()
    }
}
