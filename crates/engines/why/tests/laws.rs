//! Laws that hold for every cluster.

mod clusters;
mod world;

use clusters::{PORTS, cluster};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{By, Decision, Layer, Mode, Party, Point, Protocol, Record, Verdict};
use lictor_why::{
    Answer, Change, Dialect, Effect, Opening, Outcome, Reach, Scope, Show, edges, predict, seen, simulate, suggest,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use time::OffsetDateTime;
use world::{allowed, ladder, objects, pods, snapshot_of, why, would_be_allowed};

/// A connection between two pods.
type Wire = (String, String, String, String, Protocol, u16);

/// Every connection that all layers would allow, on each port that anything speaks of and its neighbours.
fn open(snapshot: &Snapshot) -> BTreeSet<Wire> {
    let mut open = BTreeSet::new();
    let ports: BTreeSet<u16> = PORTS.iter().flat_map(|port| [port - 1, *port, port + 1]).chain([1, 500, 501]).collect();
    for from in pods(snapshot) {
        for to in pods(snapshot).filter(|to| to.name != from.name) {
            for protocol in Protocol::WITH_PORTS {
                for port in &ports {
                    if would_be_allowed(&ladder(snapshot, from, to, protocol, *port)) {
                        let label = |pod: &lictor_cluster::Pod| pod.workload.name.to_string();
                        open.insert((
                            label(from),
                            label(to),
                            from.name.to_string(),
                            to.name.to_string(),
                            protocol,
                            *port,
                        ));
                    }
                }
            }
        }
    }
    open
}

/// Whether a row of this name, and so many more, can have a pod: its workload, or one without an owner that comes after
/// the first and has what each of the row has.
fn may_be_of(snapshot: &Snapshot, row: &str, alike: usize, pod: &str) -> bool {
    let [first, pod] = [row, pod].map(|name| snapshot.pods.get(&lictor_model::Name::parse(name, "")));
    let Some(pod) = pod else { return false };
    let looks = |pod: &Pod| (pod.name.namespace.clone(), pod.labels.clone(), pod.identity.clone(), pod.enrolled);
    pod.workload.name.to_string() == row
        || alike > 0 && first.is_some_and(|first| first.name < pod.name && looks(first) == looks(pod))
}

fn tells(snapshot: &Snapshot, list: &[Opening], wire: &Wire) -> bool {
    let (_, _, from, to, protocol, port) = wire;
    list.iter().any(|told| {
        may_be_of(snapshot, &told.source, told.source_alike, from)
            && may_be_of(snapshot, &told.destination, told.destination_alike, to)
            && told.protocol == *protocol
            && told.ports.contains(*port)
    })
}

/// The change of a fix, put into the objects as a person would put it into the folder; nothing for an edit.
fn applied(text: &str, answer: &Answer) -> Option<(Snapshot, Effect)> {
    let fix = answer.fix.as_ref()?;
    let mut all = text.to_owned();
    for change in &fix.changes {
        let Change::Apply { document, .. } = change else { return None };
        all.push_str("---\n");
        all.push_str(&document.to_yaml());
    }
    Some((snapshot_of(&objects(&all)), fix.effect.clone()))
}

/// A record of each connection that the layers let pass, in some order.
fn log(snapshot: &Snapshot, take: &[bool]) -> Vec<Record> {
    let mut taken = take.iter().cycle();
    let mut records = Vec::new();
    for from in pods(snapshot) {
        for to in pods(snapshot).filter(|to| to.name != from.name) {
            for port in to.ports.iter().filter(|_| *taken.next().unwrap_or(&true)) {
                let allowed = allowed(&ladder(snapshot, from, to, port.protocol, port.port));
                let party = |pod: &lictor_cluster::Pod, port| Party {
                    pod: Some(pod.name.clone()),
                    address: pod.addresses[0],
                    port,
                    identity: None,
                };
                records.push(Record::Decision(Decision {
                    id: 1,
                    time: OffsetDateTime::UNIX_EPOCH,
                    layer: Layer::Ingress,
                    mode: Mode::Enforce,
                    verdict: if allowed { Verdict::Allow } else { Verdict::Deny },
                    would: Verdict::Allow,
                    by: By::NoPolicy,
                    source: party(from, 40_000),
                    destination: party(to, port.port),
                    protocol: port.protocol,
                    encrypted: false,
                    method: None,
                    path: None,
                    host: None,
                    audited_by: Vec::new(),
                    point: Point::Kernel,
                    revision: snapshot.revision,
                }));
            }
        }
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_suggestion_allows_all_that_was_seen_and_tells_what_else(text in cluster(), take in prop::collection::vec(any::<bool>(), 1..9)) {
        let snapshot = snapshot_of(&objects(&text));
        let records = log(&snapshot, &take);
        let seen = seen(&snapshot, &records);
        for dialect in [Dialect::Kubernetes, Dialect::Cilium] {
            let suggestion = suggest(&snapshot, &seen, &|pod| &*pod.name.namespace == "n0", dialect);
            prop_assert_eq!(&suggestion.missed, &[], "{:?}", suggestion.policies);
        }
    }

    #[test]
    fn what_was_seen_changes_nothing_under_the_policies_that_it_was_seen_under(text in cluster()) {
        let snapshot = snapshot_of(&objects(&text));
        let records = log(&snapshot, &[true]);
        for replay in simulate(&snapshot, &seen(&snapshot, &records)) {
            prop_assert_eq!(replay.outcome, Outcome::Same, "{:?}", replay);
        }
    }

    #[test]
    fn a_fix_opens_what_it_is_for_and_nothing_that_it_does_not_tell(
        text in cluster(), picks in any::<[prop::sample::Index; 2]>()
    ) {
        let before = snapshot_of(&objects(&text));
        let all: Vec<_> = pods(&before).collect();
        let [from, to] = picks.map(|pick| all[pick.index(all.len())]);
        prop_assume!(from.name != to.name);
        let (from, to) = (from.name.to_string(), format!("{}:80/TCP", to.name));
        let answer = why(&before, &from, &to);
        if let Some((after, effect)) = applied(&text, &answer) {
            let again = why(&after, &from, &to);
            prop_assert_eq!(again.would, Verdict::Allow, "{}", text);
            let (was, is) = (open(&before), open(&after));
            let wanted = |wire: &Wire| {
                let source = before.pods[&lictor_model::Name::parse(&from, "")].workload.name.to_string();
                let target = answer.connection.destination.pod.as_ref().map(|pod| before.pods[pod].workload.name.to_string());
                wire.0 == source && Some(&wire.1) == target.as_ref() && (wire.4, wire.5) == (Protocol::Tcp, 80)
            };
            for wire in is.difference(&was) {
                prop_assert!(wanted(wire) || tells(&before, &effect.opens, wire), "not told to open: {wire:?}\n{text}");
            }
            for wire in was.difference(&is) {
                prop_assert!(tells(&before, &effect.closes, wire), "not told to close: {wire:?}\n{text}");
            }
        }
    }

    #[test]
    fn edges_and_predictions_say_what_the_engines_say(text in cluster()) {
        let snapshot = snapshot_of(&objects(&text));
        let told = edges(&snapshot, &Scope::default(), Show::All).expect("few pairs").edges;
        let mut pairs = 0;
        for edge in &told {
            let ends = |row: &str, alike: usize| -> Vec<_> {
                pods(&snapshot).filter(|pod| may_be_of(&snapshot, row, alike, &pod.name.to_string())).collect()
            };
            let (sources, destinations) =
                (ends(&edge.source, edge.source_alike), ends(&edge.destination, edge.destination_alike));
            let mut verdicts = BTreeSet::new();
            let first = |row: &str, alike: usize, pod: &Pod| alike == 0 || pod.name.to_string() == row;
            for from in &sources {
                for to in destinations.iter().filter(|to| to.name != from.name) {
                    // Others may be of another row, by their address; the first is of this one.
                    if first(&edge.source, edge.source_alike, from) && first(&edge.destination, edge.destination_alike, to) {
                        verdicts.insert(allowed(&ladder(&snapshot, from, to, edge.protocol, edge.port)));
                    }
                }
            }
            pairs += (edge.source_alike + 1) * (edge.destination_alike + 1);
            let wanted = match verdicts.into_iter().collect::<Vec<_>>().as_slice() {
                [true] => Reach::Allowed,
                [false] => Reach::Denied,
                // A pod and its like.
                [] => continue,
                _ => Reach::Partly,
            };
            prop_assert_eq!(edge.verdict, wanted, "{:?}\n{}", edge, text);
        }
        let owned = |pod: &Pod| pod.workload.name != pod.name;
        let bare = pods(&snapshot).filter(|pod| !owned(pod)).count();
        let rows: BTreeSet<_> = told.iter().map(|edge| (&edge.source, edge.source_alike + 1)).collect();
        let counted: usize = rows.iter().filter(|(row, _)| snapshot.pods.contains_key(&lictor_model::Name::parse(row, ""))).map(|(_, pods)| pods).sum();
        prop_assert!(counted == bare || pairs == 0, "each pod is of one row: {} of {}\n{}", counted, bare, text);
        for check in predict(&snapshot, &Scope::default()) {
            let steps = ladder(
                &snapshot,
                &snapshot.pods[&check.source.pod],
                &snapshot.pods[&check.destination.pod],
                check.protocol,
                check.port,
            );
            prop_assert_eq!(check.expected.is_allow(), allowed(&steps), "{:?}\n{}", check, text);
            prop_assert_eq!(check.would.is_allow(), would_be_allowed(&steps), "{:?}\n{}", check, text);
        }
    }

    #[test]
    fn an_answer_says_what_the_engines_say(text in cluster(), pick in any::<prop::sample::Index>()) {
        let snapshot = snapshot_of(&objects(&text));
        let all: Vec<_> = pods(&snapshot).collect();
        let from = all[pick.index(all.len())];
        for to in all.iter().filter(|to| to.name != from.name) {
            for (port, protocol) in [(80, Protocol::Tcp), (443, Protocol::Udp)] {
                let answer = why(&snapshot, &from.name.to_string(), &format!("{}:{port}/{protocol}", to.name));
                let steps = ladder(&snapshot, from, to, protocol, port);
                prop_assert_eq!(answer.verdict.is_allow(), allowed(&steps), "{}", text);
                prop_assert_eq!(answer.would.is_allow(), would_be_allowed(&steps), "{}", text);
            }
        }
    }
}
