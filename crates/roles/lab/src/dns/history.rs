//! What pods have learnt from DNS, and for how long it holds.

use super::forward::MOST_RECORDS;
use lictor_cluster::Answers;
use lictor_model::Name;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An address holds at least so long, whatever the answer says: whoever asks goes there a moment later, and an answer may
/// say zero.
const SHORTEST: Duration = Duration::from_secs(5);
/// An address that a connection uses when its time is over is asked about again after so long.
const GRACE: Duration = Duration::from_secs(5);
/// How many addresses of one name hold for a pod: those of one answer at least. The time of the oldest is over when
/// there are more.
const MOST_OF_NAME: usize = MOST_RECORDS;
/// How many addresses of all names are kept for a pod, in use or not: the oldest is forgotten for a new one.
const MOST_OF_POD: usize = 1_000;
/// How many addresses are kept in all: half of the blocks that the kernel's tables have room for, so that policies always
/// find some.
const MOST: usize = 8_192;

/// An answer that a pod is about to get.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The name that was asked for, in lower case and without the dot at its end.
    pub name: String,
    /// The addresses in the answer.
    pub addresses: Vec<IpAddr>,
    /// The shortest time to live of the records that lead to them.
    pub ttl: Duration,
}

/// What each pod has learnt. Time is passed in.
///
/// An address holds for the time to live of the last answer with it, and then for as long as a connection of the pod to
/// it is open. What is kept of a pod is bounded.
#[derive(Debug, Clone, Default)]
pub struct History(BTreeMap<Name, Arc<Known>>);

/// No more addresses are taken in: all pods together have learnt so many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("pods have learnt {MOST} addresses of names, and no more are taken in")]
pub struct Full;

/// By name and address.
type Known = BTreeMap<(Arc<str>, IpAddr), Lease>;

#[derive(Debug, Clone, Copy)]
struct Lease {
    answered: Instant,
    until: Instant,
}

impl History {
    /// Takes in an answer that a pod is about to get.
    ///
    /// Errors: there is no room for its addresses; nothing is taken in then.
    pub fn learn(&mut self, pod: &Name, lookup: &Lookup, now: Instant) -> Result<(), Full> {
        // There are no more addresses than leases, which are counted faster.
        let leases: usize = self.0.values().map(|known| known.len()).sum();
        if leases + lookup.addresses.len() > MOST && !self.has_room(&lookup.addresses) {
            return Err(Full);
        }
        let known = Arc::make_mut(self.0.entry(pod.clone()).or_default());
        let name: Arc<str> = Arc::from(&*lookup.name);
        let until = now + lookup.ttl.max(SHORTEST);
        for address in &lookup.addresses {
            let lease = known.entry((Arc::clone(&name), *address)).or_insert(Lease { answered: now, until });
            *lease = Lease { answered: now, until: lease.until.max(until) };
        }
        let living = known.iter_mut().filter(|((of, _), lease)| *of == name && lease.until > now);
        let mut living: Vec<&mut Lease> = living.map(|(_, lease)| lease).collect();
        living.sort_by_key(|lease| std::cmp::Reverse(lease.answered));
        living.into_iter().skip(MOST_OF_NAME).for_each(|lease| lease.until = now);
        while known.len() > MOST_OF_POD {
            let oldest = known.iter().min_by_key(|(_, lease)| lease.answered).map(|(key, _)| key.clone());
            oldest.and_then(|key| known.remove(&key));
        }
        Ok(())
    }

    fn has_room(&self, more: &[IpAddr]) -> bool {
        let mut all: HashSet<IpAddr> = self.0.values().flat_map(|known| known.keys()).map(|(_, at)| *at).collect();
        let before = all.len();
        all.extend(more);
        all.len() <= before.max(MOST)
    }

    /// What a pod has learnt, as policies may speak of it.
    pub fn answers(&self, pod: &Name) -> Answers {
        let mut answers = Answers::default();
        for (name, address) in self.0.get(pod).into_iter().flat_map(|known| known.keys()) {
            answers.add(name, [*address]);
        }
        answers
    }

    /// When the time of some address is over next.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().flat_map(|known| known.values()).map(|lease| lease.until).min()
    }

    /// The pods for which the time of some address is over.
    pub fn due(&self, now: Instant) -> BTreeSet<Name> {
        let is_due = |known: &Known| known.values().any(|lease| lease.until <= now);
        self.0.iter().filter(|(_, known)| is_due(known)).map(|(pod, _)| pod.clone()).collect()
    }

    /// Forgets the addresses whose time is over and that their pod is not connected with.
    pub fn expire(&mut self, now: Instant, in_use: &BTreeSet<(Name, IpAddr)>) {
        for pod in self.due(now) {
            let Some(known) = self.0.get_mut(&pod) else { continue };
            let known = Arc::make_mut(known);
            known.retain(|(_, address), lease| {
                if lease.until > now {
                    return true;
                }
                lease.until = now + GRACE;
                in_use.contains(&(pod.clone(), *address))
            });
            if known.is_empty() {
                self.0.remove(&pod);
            }
        }
    }

    /// Forgets what all but these pods have learnt.
    pub fn retain(&mut self, stays: impl Fn(&Name) -> bool) {
        self.0.retain(|pod, _| stays(pod));
    }
}

#[cfg(test)]
mod tests {
    use super::{Full, GRACE, History, Lookup, MOST, MOST_OF_NAME, MOST_OF_POD, SHORTEST};
    use lictor_model::{DomainPattern, Name};
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    const MINUTE: Duration = Duration::from_secs(60);

    fn pod(name: &str) -> Name {
        Name::new("x", name)
    }

    fn at(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(0xcb00_7100 + u32::try_from(number).expect("a small number")).into()
    }

    fn lookup(name: &str, addresses: &[usize], ttl: Duration) -> Lookup {
        Lookup { name: name.to_owned(), addresses: addresses.iter().map(|number| at(*number)).collect(), ttl }
    }

    fn learn(history: &mut History, of: &str, name: &str, addresses: &[usize], ttl: Duration, now: Instant) {
        history.learn(&pod(of), &lookup(name, addresses, ttl), now).expect("there is room");
    }

    fn known(history: &History, of: &str) -> BTreeSet<IpAddr> {
        let any: DomainPattern = "*".parse().expect("a pattern");
        history.answers(&pod(of)).addresses(&any)
    }

    #[test]
    fn an_address_holds_for_its_pod_and_for_its_time() {
        let (mut history, start) = (History::default(), Instant::now());
        learn(&mut history, "a", "one.test", &[1], MINUTE, start);
        learn(&mut history, "a", "two.test", &[2], Duration::ZERO, start);
        assert_eq!((known(&history, "a").len(), known(&history, "b").len()), (2, 0));
        assert_eq!(history.next(), Some(start + SHORTEST), "zero is a moment all the same");

        for (after, wanted) in [(SHORTEST - Duration::from_millis(1), 2), (SHORTEST, 1), (MINUTE, 0)] {
            history.expire(start + after, &BTreeSet::new());
            assert_eq!(known(&history, "a").len(), wanted, "after {after:?}");
        }
        assert_eq!(history.next(), None, "nothing is kept");
    }

    #[test]
    fn the_last_answer_counts_and_never_shortens() {
        let (mut history, start) = (History::default(), Instant::now());
        learn(&mut history, "a", "one.test", &[1], MINUTE, start);
        learn(&mut history, "a", "one.test", &[1], SHORTEST, start + SHORTEST);
        assert_eq!(history.next(), Some(start + MINUTE));
        learn(&mut history, "a", "one.test", &[1], MINUTE, start + SHORTEST);
        assert_eq!(history.next(), Some(start + SHORTEST + MINUTE));
    }

    #[test]
    fn an_address_in_use_outlives_its_time_until_it_is_not() {
        let (mut history, start) = (History::default(), Instant::now());
        for of in ["a", "b"] {
            learn(&mut history, of, "one.test", &[1, 2], MINUTE, start);
        }
        let in_use = BTreeSet::from([(pod("a"), at(1))]);
        let mut now = start + MINUTE;
        for _ in 0..100 {
            assert!(history.due(now).contains(&pod("a")));
            history.expire(now, &in_use);
            assert_eq!(
                (known(&history, "a"), known(&history, "b").len()),
                ([at(1)].into(), 0),
                "only where it is used"
            );
            assert!(history.due(now).is_empty());
            now += GRACE;
        }
        history.expire(now, &BTreeSet::new());
        assert_eq!(history.next(), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_the_oldest_goes_first() {
        let (mut history, start) = (History::default(), Instant::now());
        let second = |number: usize| start + Duration::from_secs(number.try_into().expect("a small number"));
        for number in 0..MOST_OF_NAME + 10 {
            learn(&mut history, "a", "many.test", &[number], 1000 * MINUTE, second(number));
        }
        let now = second(MOST_OF_NAME + 10);
        history.expire(now, &[(pod("a"), at(3))].into());
        let held = known(&history, "a");
        assert_eq!(held.len(), MOST_OF_NAME + 1, "and the one that is used");
        assert!(held.contains(&at(3)) && !held.contains(&at(2)) && held.contains(&at(10)));

        for number in 0..2 * MOST_OF_POD {
            let after = second(MOST_OF_NAME + 11 + number);
            learn(&mut history, "a", &format!("n{number}.test"), &[1000 + number], MINUTE, after);
        }
        let held = known(&history, "a");
        assert_eq!(held.len(), MOST_OF_POD);
        assert!(held.contains(&at(1000 + 2 * MOST_OF_POD - 1)), "a new one is taken in");
    }

    #[test]
    fn all_pods_together_learn_no_more_than_there_is_room_for() {
        let (mut history, start) = (History::default(), Instant::now());
        for number in 0..MOST {
            learn(
                &mut history,
                &format!("p{}", number / MOST_OF_POD),
                &format!("n{number}.test"),
                &[number],
                MINUTE,
                start,
            );
        }
        let more = |number| lookup("more.test", &[number], MINUTE);
        assert_eq!(history.learn(&pod("b"), &more(MOST), start), Err(Full));
        assert_eq!(known(&history, "b").len(), 0);
        assert_eq!(history.learn(&pod("b"), &more(0), start), Ok(()), "what others have learnt takes no more room");
        history.expire(start + MINUTE, &BTreeSet::new());
        assert_eq!(history.learn(&pod("b"), &more(MOST), start + MINUTE), Ok(()));
    }

    #[test]
    fn what_a_pod_has_learnt_goes_with_it() {
        let (mut history, start) = (History::default(), Instant::now());
        for of in ["a", "b"] {
            learn(&mut history, of, "one.test", &[1], MINUTE, start);
        }
        history.retain(|kept| *kept == pod("b"));
        assert_eq!((known(&history, "a").len(), known(&history, "b").len()), (0, 1));
    }
}
