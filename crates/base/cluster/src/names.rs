//! Names that were looked up.

use lictor_model::DomainPattern;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The addresses that DNS gave for names, as far as policies may speak of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names(BTreeMap<String, BTreeSet<IpAddr>>);

impl Names {
    /// Takes in an answer; whether any of it is new. Names are kept in lower case and without the dot at their end.
    pub fn learn(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let known = self.0.entry(name).or_default();
        let before = known.len();
        known.extend(addresses.into_iter().map(|address| address.to_canonical()));
        known.len() > before
    }

    /// Every address of the names that a pattern means.
    pub fn addresses(&self, pattern: &DomainPattern) -> BTreeSet<IpAddr> {
        match pattern.exact() {
            Some(name) => self.0.get(name).cloned().unwrap_or_default(),
            None => self.0.iter().filter(|(name, _)| pattern.matches(name)).flat_map(|(_, all)| all).copied().collect(),
        }
    }

    /// Whether an address is one of a name that a pattern means.
    pub fn has(&self, pattern: &DomainPattern, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|(name, all)| all.contains(&address) && pattern.matches(name))
    }

    /// A name that an address was given for.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        let address = address.to_canonical();
        self.0.iter().find(|(_, all)| all.contains(&address)).map(|(name, _)| name.as_str())
    }

    /// Whether nothing was looked up.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
