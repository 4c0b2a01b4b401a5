//! Names that were looked up, and who knows what they mean.

use lictor_model::{DomainPattern, Name};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// The addresses that DNS gave for names, as far as policies may speak of them.
///
/// An address opens by its name for the pod that has heard of it, and for no other one. What was told without a pod,
/// as by a test case, everyone knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Names {
    shared: Answers,
    by_pod: BTreeMap<Name, Arc<Answers>>,
}

/// Addresses by name; names are in lower case and without the dot at their end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Answers(BTreeMap<Arc<str>, BTreeSet<IpAddr>>);

impl Names {
    /// Takes in an answer that everyone knows; whether any of it is new.
    pub fn learn(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        self.shared.add(name, addresses)
    }

    /// Says all that a pod has learnt, in place of what it knew before.
    pub fn set(&mut self, pod: &Name, learnt: Answers) {
        if learnt.is_empty() {
            self.by_pod.remove(pod);
        } else if self.by_pod.get(pod).is_none_or(|known| **known != learnt) {
            self.by_pod.insert(pod.clone(), Arc::new(learnt));
        }
    }

    /// Forgets what all but these pods have learnt.
    pub fn retain(&mut self, stays: impl Fn(&Name) -> bool) {
        self.by_pod.retain(|pod, _| stays(pod));
    }

    /// What everyone knows.
    pub fn shared(&self) -> &Answers {
        &self.shared
    }

    /// What a pod has learnt beyond that, if anything.
    pub fn learnt_by(&self, pod: &Name) -> Option<&Answers> {
        self.by_pod.get(pod).map(|learnt| &**learnt)
    }

    /// Every pod that has learnt something, with what.
    pub fn learnt(&self) -> impl Iterator<Item = (&Name, &Answers)> {
        self.by_pod.iter().map(|(pod, learnt)| (pod, &**learnt))
    }

    /// The pods that have not learnt the same here and there.
    pub fn differing(&self, other: &Self) -> BTreeSet<Name> {
        let known = |pod: &Name| (self.by_pod.get(pod), other.by_pod.get(pod));
        let differs = |pod: &&Name| match known(pod) {
            (Some(here), Some(there)) => !Arc::ptr_eq(here, there) && here != there,
            _ => true,
        };
        let gone = self.by_pod.keys().filter(|pod| !other.by_pod.contains_key(*pod));
        gone.chain(other.by_pod.keys()).filter(differs).cloned().collect()
    }

    /// Every address that somebody knows by a name; one may come more than once.
    pub fn hosts(&self) -> impl Iterator<Item = IpAddr> {
        self.all().flat_map(|answers| answers.0.values().flatten().copied())
    }

    /// Whether a pod knows an address as one of a name that a pattern means.
    pub fn has(&self, pod: &Name, pattern: &DomainPattern, address: IpAddr) -> bool {
        self.shared.has(pattern, address) || self.by_pod.get(pod).is_some_and(|learnt| learnt.has(pattern, address))
    }

    /// Every address of the names that a pattern means, whoever knows it.
    pub fn addresses(&self, pattern: &DomainPattern) -> BTreeSet<IpAddr> {
        self.all().flat_map(|answers| answers.addresses(pattern)).collect()
    }

    /// A name that somebody knows an address by.
    pub fn name_of(&self, address: IpAddr) -> Option<&str> {
        self.all().find_map(|answers| answers.name_of(address))
    }

    /// Whether nothing was looked up.
    pub fn is_empty(&self) -> bool {
        self.all().all(Answers::is_empty)
    }

    fn all(&self) -> impl Iterator<Item = &Answers> {
        std::iter::once(&self.shared).chain(self.by_pod.values().map(|learnt| &**learnt))
    }
}

impl Answers {
    /// Takes in an answer; whether any of it is new.
    pub fn add(&mut self, name: &str, addresses: impl IntoIterator<Item = IpAddr>) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let mut addresses = addresses.into_iter().map(|address| address.to_canonical()).peekable();
        if addresses.peek().is_none() {
            return false;
        }
        let known = self.0.entry(Arc::from(name)).or_default();
        let before = known.len();
        known.extend(addresses);
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
        self.0.iter().find(|(_, all)| all.contains(&address)).map(|(name, _)| &**name)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::{Answers, Names};
    use lictor_model::{DomainPattern, Name};
    use std::net::IpAddr;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn pattern(text: &str) -> DomainPattern {
        text.parse().expect("a pattern")
    }

    fn answers(all: &[(&str, &str)]) -> Answers {
        let mut answers = Answers::default();
        all.iter().for_each(|(name, at)| assert!(answers.add(name, [address(at)]), "{name} is new"));
        answers
    }

    #[test]
    fn a_pod_knows_what_everyone_knows_and_what_it_has_learnt_itself() {
        let (a, b) = (Name::new("x", "a"), Name::new("x", "b"));
        let mut names = Names::default();
        assert!(names.is_empty() && names.learn("All.Test.", [address("203.0.113.1")]));
        assert!(!names.learn("all.test", [address("::ffff:203.0.113.1")]), "in another way of writing");
        names.set(&a, answers(&[("www.own.test", "203.0.113.2"), ("own.test", "2001:db8::2")]));
        for (pod, wanted, at, known) in [
            (&a, "all.test", "203.0.113.1", true),
            (&b, "all.test", "203.0.113.1", true),
            (&a, "*.own.test", "203.0.113.2", true),
            (&a, "*.own.test", "2001:db8::2", false),
            (&a, "own.test", "2001:db8::2", true),
            (&a, "*", "2001:db8::2", true),
            (&b, "*.own.test", "203.0.113.2", false),
            (&b, "*", "2001:db8::2", false),
        ] {
            assert_eq!(names.has(pod, &pattern(wanted), address(at)), known, "{pod} {wanted} {at}");
        }
        assert_eq!(names.addresses(&pattern("**.test")).len(), 3, "whoever knows them");
        assert_eq!(names.name_of(address("203.0.113.2")), Some("www.own.test"));
    }

    #[test]
    fn what_a_pod_has_learnt_is_replaced_and_goes_with_it() {
        let pod = Name::new("x", "a");
        let mut names = Names::default();
        names.set(&pod, answers(&[("one.test", "203.0.113.1")]));
        let before = names.clone();
        names.set(&pod, answers(&[("one.test", "203.0.113.1")]));
        assert_eq!(names, before);
        names.set(&pod, answers(&[("two.test", "203.0.113.2")]));
        assert!(!names.has(&pod, &pattern("one.test"), address("203.0.113.1")));
        assert_eq!((before.differing(&names), names.differing(&names)), ([pod.clone()].into(), [].into()));
        assert_eq!(Names::default().differing(&names), names.differing(&Names::default()));
        assert!(names.hosts().eq([address("203.0.113.2")]));
        let mut emptied = names.clone();
        emptied.set(&pod, Answers::default());
        assert!(emptied.is_empty() && emptied == Names::default());
        names.retain(|kept| *kept != pod);
        assert_eq!(names, Names::default());
    }

    #[test]
    fn an_answer_without_addresses_says_nothing() {
        let mut names = Names::default();
        assert!(!names.learn("none.test", []));
        assert_eq!(names, Names::default());
    }
}
