//! Terms for single addresses that stand somewhere else under a name.

use super::{Met, Term, TermId, Terms, covering};
use crate::cilium::{api_server, service_addresses};
use crate::numbers::Numbers;
use lictor_cluster::Snapshot;
use lictor_manifest::CiliumPeer;
use lictor_model::{Cidr, DomainPattern};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// What single addresses are those of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum HostsOf {
    /// The API server.
    ApiServer,
    /// The backends of a Service, or of those with labels, as a namespace sees them.
    Services(Arc<str>, Arc<CiliumPeer>),
    /// What everyone knows that DNS gave for names; never a pod's or a node's.
    Domain(DomainPattern),
    /// This address, which some pod has learnt; never a pod's or a node's.
    Address(IpAddr),
}

/// A term for single addresses, with those that there are now.
#[derive(Debug, Clone)]
pub(super) struct Hosts {
    pub(super) of: HostsOf,
    pub(super) addresses: BTreeSet<IpAddr>,
}

impl HostsOf {
    /// The addresses in a snapshot.
    pub(super) fn addresses(&self, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
        match self {
            Self::ApiServer => api_server(snapshot),
            Self::Services(namespace, peer) => service_addresses(snapshot, namespace, peer),
            Self::Domain(pattern) => {
                let all = snapshot.names.shared().addresses(pattern).into_iter();
                all.filter(|address| snapshot.is_outside(*address)).collect()
            }
            Self::Address(address) => [*address].into(),
        }
    }

    /// Whether its addresses come and go with Services and pods.
    pub(super) const fn follows_services(&self) -> bool {
        matches!(self, Self::ApiServer | Self::Services(..))
    }
}

impl Terms {
    /// Takes in a term for single addresses; its number.
    pub(crate) fn add_hosts(&mut self, of: HostsOf, snapshot: &Snapshot, numbers: &mut Numbers<Term>) -> TermId {
        let id = numbers.of(&Term::Hosts(of.clone()));
        self.hosts.entry(id).or_insert_with(|| Hosts { addresses: of.addresses(snapshot), of });
        id
    }

    /// The terms for an address alone, ascending.
    pub(crate) fn of_host(&self, address: IpAddr) -> &[TermId] {
        self.by_host.get(&address).map_or(&[], Vec::as_slice)
    }

    /// Whether some term means an address by a name that DNS gave.
    pub(crate) fn is_named(&self, address: IpAddr) -> bool {
        let is_name = |id: &TermId| self.hosts.get(id).is_some_and(|hosts| !hosts.of.follows_services());
        self.of_host(address).iter().any(is_name)
    }

    /// Has the terms that follow Services, and those of others, mean what they mean now; the addresses that came to meet
    /// one of them, or meet one no more.
    pub(super) fn follow_hosts(&mut self, others: &Self, snapshot: &Snapshot) -> BTreeSet<IpAddr> {
        let mut differing = BTreeSet::new();
        let (hosts, by_host) = (&mut self.hosts, &mut self.by_host);
        let mut follow = |id: TermId, before: &BTreeSet<IpAddr>, now: &BTreeSet<IpAddr>| {
            for address in before.symmetric_difference(now) {
                let own = by_host.entry(*address).or_default();
                match own.binary_search(&id) {
                    Ok(place) => drop(own.remove(place)),
                    Err(place) => own.insert(place, id),
                }
                if own.is_empty() {
                    by_host.remove(address);
                }
                differing.insert(*address);
            }
        };
        for (id, known) in hosts.iter_mut().filter(|(_, known)| known.of.follows_services()) {
            let now = known.of.addresses(snapshot);
            follow(*id, &known.addresses, &now);
            known.addresses = now;
        }
        for (id, new) in &others.hosts {
            if !hosts.contains_key(id) {
                follow(*id, &BTreeSet::new(), &new.addresses);
                hosts.insert(*id, new.clone());
            }
        }
        differing
    }

    /// The single addresses that are no pod's and no node's.
    pub(super) fn strangers(&self, snapshot: &Snapshot) -> Vec<IpAddr> {
        self.by_host.keys().filter(|address| snapshot.is_outside(**address)).copied().collect()
    }

    /// Takes in the term for an address outside, once the look-ups are made; what the address meets then. Nothing when it
    /// is there.
    pub(crate) fn add_address(&mut self, id: TermId, address: IpAddr) -> Option<Arc<[TermId]>> {
        if self.hosts.insert(id, Hosts { of: HostsOf::Address(address), addresses: [address].into() }).is_some() {
            return None;
        }
        let own = self.by_host.entry(address).or_default();
        own.insert(own.partition_point(|known| *known < id), id);
        let alone = Cidr::host(address);
        let lengths = &mut self.lengths[usize::from(address.is_ipv6())];
        if lengths.first() != Some(&alone.prefix()) {
            lengths.insert(0, alone.prefix());
        }
        let around = covering(&self.lengths, address, alone.prefix()).find_map(|prefix| self.by_prefix.get(&prefix));
        let known = around.map(|met| Arc::clone(&met.known)).unwrap_or_default();
        let others = around.into_iter().flat_map(|met| met.outside.iter().copied());
        let outside: Arc<[TermId]> = others.chain([id]).collect::<BTreeSet<_>>().into_iter().collect();
        self.by_prefix.insert(alone, Met { known, outside: Arc::clone(&outside) });
        Some(outside)
    }

    /// Forgets the term for an address outside; what the address meets then, if it still stands alone.
    pub(crate) fn remove_address(&mut self, id: TermId, address: IpAddr) -> Option<Arc<[TermId]>> {
        self.hosts.remove(&id);
        let own = self.by_host.entry(address).or_default();
        own.retain(|known| *known != id);
        let is_named = !own.is_empty();
        if !is_named {
            self.by_host.remove(&address);
        }
        let alone = Cidr::host(address);
        if !is_named && !self.single.contains(&alone) {
            self.by_prefix.remove(&alone);
            return None;
        }
        let met = self.by_prefix.get_mut(&alone)?;
        met.outside = met.outside.iter().copied().filter(|known| *known != id).collect();
        Some(Arc::clone(&met.outside))
    }
}
