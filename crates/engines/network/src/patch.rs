//! What differs from one program to the next.

use crate::program::{Address, ClassId, Endpoint, Program, RuleSet, RuleSetId, SaidId, Sayable};
use foldhash::HashMap;
use lictor_model::{Cidr, Name, PolicyRef, Revision};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What differs, entry by entry.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// The snapshot that the next one is of.
    pub revision: Revision,
    /// Endpoints that are new or changed, each once; nothing for those that are gone.
    pub endpoints: Vec<(Name, Option<Endpoint>)>,
    /// Single addresses of another class, or of another pod; nothing for those that are gone.
    pub addresses: HashMap<IpAddr, Option<Address>>,
    /// Blocks of another class; nothing for those that are gone.
    pub prefixes: BTreeMap<Cidr, Option<ClassId>>,
    /// Rule sets that are new, or have entries for classes that are new; nothing for those that no endpoint has.
    pub rule_sets: BTreeMap<RuleSetId, Option<Arc<RuleSet>>>,
    /// What connections may be used for, where that is new.
    pub said: BTreeMap<SaidId, Arc<[Sayable]>>,
    /// Rules beyond those that the program has.
    pub rules: Vec<PolicyRef>,
}

impl Program {
    /// Becomes the next program.
    pub fn patch(&mut self, patch: Patch) {
        self.revision = patch.revision;
        for (name, endpoint) in patch.endpoints {
            match endpoint {
                Some(endpoint) => drop(self.endpoints.insert(name, endpoint)),
                None => drop(self.endpoints.remove(&name)),
            }
        }
        for (address, known) in patch.addresses {
            match known {
                Some(known) => drop(self.addresses.insert(address, known)),
                None => drop(self.addresses.remove(&address)),
            }
        }
        for (block, class) in patch.prefixes {
            match class {
                Some(class) => drop(self.prefixes.insert(block, class)),
                None => drop(self.prefixes.remove(&block)),
            }
        }
        for (id, set) in patch.rule_sets {
            match set {
                Some(set) => drop(self.rule_sets.insert(id, set)),
                None => drop(self.rule_sets.remove(&id)),
            }
        }
        self.said.extend(patch.said);
        self.rules.extend(patch.rules);
    }
}
