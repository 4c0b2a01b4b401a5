//! What a change of policies opens and closes.
//!
//! A verdict depends on ports only by the classes that rules cut them into, on pods only by what policies can see of them,
//! and on addresses outside only by the blocks that policies name. Comparing one port of each class, one pair of pods
//! of each two kinds, and one address for each kind of outside therefore compares every connection that there is. Of
//! these only those can change at an end of which a changed policy speaks, and only where that end's own verdict does.

use crate::blocks::outside;
use crate::edges::is_none;
use crate::engines::Engines;
use crate::fix::Wish;
use crate::lookup::Pair;
use crate::port_ranges::{merged, ranges, spoken_ports};
use crate::question::RequestAsk;
use crate::samples::samples;
use crate::sight::Sight;
use crate::sites::{Site, rows, sites};
use lictor_cluster::{Pod, Snapshot};
use lictor_model::{Direction, Name, PortRange, Protocol};
use lictor_network::{ClassId, RuleSet};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// What a change does beside what it is for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effect {
    /// What else it opens.
    pub opens: Vec<Opening>,
    /// What it closes.
    pub closes: Vec<Opening>,
    /// How many pairs of kinds were compared, each on every port: pods that no policy can tell apart are one kind, and
    /// addresses outside that none can. Pairs that the change does not touch are not among them.
    pub compared: usize,
}

/// Connections that a change opens or closes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Opening {
    /// Who opens them: a workload, the first of pods without an owner that look alike to every policy, or an address
    /// that stands for others like it.
    pub source: Arc<str>,
    /// How many more such pods it stands for.
    #[serde(skip_serializing_if = "is_none")]
    pub source_alike: usize,
    /// Whom they are for.
    pub destination: Arc<str>,
    /// How many more such pods that stands for.
    #[serde(skip_serializing_if = "is_none")]
    pub destination_alike: usize,
    /// The protocol.
    pub protocol: Protocol,
    /// The ports.
    #[serde(serialize_with = "as_text")]
    pub ports: PortRange,
    /// The request, where each is judged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestAsk>,
}

fn as_text<S: serde::Serializer>(ports: &PortRange, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(ports)
}

/// Those with ports, and one that stands for the others.
const PROTOCOLS: [Protocol; 4] = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp, Protocol::Other(1)];

/// The layers in which a change can turn verdicts at a pod.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Touch {
    pub egress: bool,
    pub ingress: bool,
    /// Transport and authorization, which are judged at the destination.
    pub mesh: bool,
}

impl Touch {
    fn any(self) -> bool {
        self.egress || self.ingress || self.mesh
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            egress: self.egress || other.egress,
            ingress: self.ingress || other.ingress,
            mesh: self.mesh || other.mesh,
        }
    }
}

/// What a change does beside the wish: `changed` has the policies that it leads to, `touch` says where it has a part.
pub(crate) fn effect(wish: &Wish<'_>, changed: &Snapshot, touch: &dyn Fn(&Pod) -> Touch) -> Effect {
    let sight = Sight::of(wish.cluster, Some(changed));
    let mut kinds = sites(wish.cluster.pods.values(), |pod| sight.verdicts(pod));
    kinds.extend(outside(wish.cluster, &kinds, &sight.blocks, &sight.spans));
    let touches: Vec<Touch> = kinds.iter().map(|kind| kind.pod().map(|pod| touch(pod)).unwrap_or_default()).collect();
    let mut compared = Vec::new();
    for (source, out) in kinds.iter().zip(&touches) {
        for (destination, into) in kinds.iter().zip(&touches) {
            if out.egress || into.ingress || into.mesh {
                let touch = Touch { egress: out.egress, ..*into };
                let pairs: Vec<Pair<'_>> = Pair::all(source, destination).collect();
                compared.extend((!pairs.is_empty()).then_some((source, destination, touch, pairs)));
            }
        }
    }
    let ends: Vec<&Arc<Pod>> =
        kinds.iter().zip(&touches).filter(|(_, touch)| touch.any()).filter_map(|(kind, _)| kind.pod()).collect();
    let mut effect = Effect { compared: compared.len(), ..Effect::default() };
    let pairs = || compared.iter().flat_map(|(.., pairs)| pairs);
    // What the touched pods say is looked at first, by the policies that speak of them; then, where it differs, all that
    // is said of the pair.
    let screen = Versions::of(wish, changed, pairs(), Some(&ends));
    let screen = screen.engines();
    let spoken = spoken_ports(&screen);
    let comparison = |engines, touch, pair| Comparison { engines, wish, touch, pair, spoken: &spoken };
    let mut known = HashMap::new();
    compared.retain_mut(|(_, _, touch, pairs)| {
        pairs.retain(|pair| comparison([&screen[0], &screen[1]], *touch, *pair).may_turn_at_all(&mut known));
        !pairs.is_empty()
    });
    let pairs = || compared.iter().flat_map(|(.., pairs)| pairs);
    let whole = Versions::of(wish, changed, pairs(), None);
    let whole = whole.engines();
    for (source, destination, touch, pairs) in &compared {
        for pair in pairs {
            let comparison = comparison([&whole[0], &whole[1]], *touch, *pair);
            for change in comparison.changes() {
                comparison.tell(&change, (&rows(source, &sight), &rows(destination, &sight)), &mut effect);
            }
        }
    }
    for list in [&mut effect.opens, &mut effect.closes] {
        list.sort();
        list.dedup();
    }
    effect
}

/// The cluster before and after, with no pod but those that are asked about.
struct Versions([Snapshot; 2]);

impl Versions {
    /// Of these pairs; with no policies of segmentation but those that speak of `subjects`, if there are such.
    fn of<'p>(
        wish: &Wish<'_>,
        changed: &Snapshot,
        pairs: impl Iterator<Item = &'p Pair<'p>>,
        subjects: Option<&[&Arc<Pod>]>,
    ) -> Self {
        let ends = pairs.flat_map(|pair| [pair.source, pair.destination]).flatten();
        let ends: BTreeMap<&Name, &Arc<Pod>> = ends.map(|pod| (&pod.name, pod)).collect();
        let before = wish.cluster.with_pods(ends.into_values().cloned());
        let mut after = before.clone();
        after.policies.clone_from(&changed.policies);
        let mut versions = [before, after];
        for snapshot in &mut versions {
            subjects.into_iter().for_each(|subjects| keep_speaking(snapshot, subjects));
        }
        Self(versions)
    }

    fn engines(&self) -> [Engines<'_>; 2] {
        self.0.each_ref().map(Engines::new)
    }
}

/// Leaves no policies of segmentation but those that speak of these pods.
fn keep_speaking(snapshot: &mut Snapshot, subjects: &[&Arc<Pod>]) {
    let mut policies = std::mem::take(&mut snapshot.policies);
    policies.network.retain(|_, policy| subjects.iter().any(|pod| pod.is_selected_by(policy)));
    policies.cluster_network.retain(|policy| subjects.iter().any(|pod| snapshot.selects(&policy.subject, pod)));
    policies.cilium.retain(|_, policy| subjects.iter().any(|pod| snapshot.is_subject(policy, pod)));
    snapshot.policies = policies;
}

struct Comparison<'a> {
    /// Before and after.
    engines: [&'a Engines<'a>; 2],
    wish: &'a Wish<'a>,
    touch: Touch,
    pair: Pair<'a>,
    spoken: &'a BTreeSet<u16>,
}

/// What a change does on some ports of a pair.
struct Turned {
    opened: bool,
    protocol: Protocol,
    request: Option<RequestAsk>,
    /// Ascending.
    ports: Vec<PortRange>,
}

/// What one side of a pair looks verdicts up in, and by which class.
type Half<'a> = (Option<&'a Arc<RuleSet>>, ClassId);

/// The same, by where the table is.
type Key = (Option<*const RuleSet>, ClassId);

impl Comparison<'_> {
    /// What the touched ends look verdicts up in, before and after.
    fn gates(&self) -> Vec<[Half<'_>; 2]> {
        let touched = [(self.touch.egress, Direction::Egress), (self.touch.ingress, Direction::Ingress)];
        let touched = touched.into_iter().filter(|(touched, _)| *touched);
        touched.map(|(_, direction)| self.engines.map(|engines| self.half(engines, direction))).collect()
    }

    /// Where what the touched ends say can begin to differ, ascending from 0.
    fn touched_cuts(&self, gates: &[[Half<'_>; 2]]) -> BTreeSet<u16> {
        let sets = gates.iter().flatten().filter_map(|(set, _)| *set);
        let spoken = self.spoken.iter().filter(|_| self.touch.mesh);
        sets.flat_map(|set| &set.bounds).chain(spoken).copied().chain([0]).collect()
    }

    /// Whether what the touched ends say differs on some port; where tables alone say it, by the tables and classes.
    fn may_turn_at_all(&self, known: &mut HashMap<Vec<Key>, bool>) -> bool {
        let gates = self.gates();
        let differs = || {
            let cuts = self.touched_cuts(&gates);
            PROTOCOLS.into_iter().any(|protocol| cuts.iter().any(|port| self.may_turn(&gates, protocol, *port)))
        };
        if self.touch.mesh || self.has_host() {
            return differs();
        }
        let key = gates.iter().flatten().map(|(set, class)| (set.map(Arc::as_ptr), *class)).collect();
        *known.entry(key).or_insert_with(differs)
    }

    /// Whether one end is in its node's network: a pod and what is on its node meet by further rules.
    fn has_host(&self) -> bool {
        [self.pair.source, self.pair.destination].into_iter().flatten().any(|pod| pod.host_network)
    }

    fn changes(&self) -> Vec<Turned> {
        let gates = self.gates();
        let cuts = self.touched_cuts(&gates);
        let mut all: Option<BTreeSet<u16>> = None;
        let mut turned: BTreeMap<(Protocol, bool, Option<RequestAsk>), Vec<PortRange>> = BTreeMap::new();
        for protocol in PROTOCOLS {
            for range in ranges(&cuts, PortRange::ALL).filter(|range| self.may_turn(&gates, protocol, range.first())) {
                let all = all.get_or_insert_with(|| self.cuts());
                for range in ranges(all, range) {
                    for request in self.requests(protocol, range.first()) {
                        let [was, is] = self.engines.map(|engines| {
                            engines.rulings(self.pair, protocol, range.first(), request.as_ref()).would().is_allow()
                        });
                        if was != is {
                            turned.entry((protocol, is, request)).or_default().push(range);
                        }
                    }
                }
            }
        }
        let turned = turned.into_iter();
        turned.map(|((protocol, opened, request), ports)| Turned { opened, protocol, request, ports }).collect()
    }

    fn half<'e>(&self, engines: &'e Engines<'_>, direction: Direction) -> Half<'e> {
        let (near, far) = match direction {
            Direction::Egress => (self.pair.source, self.pair.to),
            Direction::Ingress => (self.pair.destination, self.pair.from),
        };
        let endpoint = near.and_then(|pod| engines.network.endpoints.get(&pod.name));
        let set = endpoint.and_then(|endpoint| endpoint.gate(direction).rule_set);
        (set.and_then(|id| engines.network.rule_sets.get(&id)), engines.network.class(far))
    }

    /// Whether a touched layer's verdict differs, or could by more than its rule set says.
    fn may_turn(&self, gates: &[[Half<'_>; 2]], protocol: Protocol, port: u16) -> bool {
        let differs = |[before, after]: &[Half<'_>; 2]| {
            let says = |(set, class): &Half<'_>| {
                let found = set.map(|set| set.lookup(*class, protocol, port));
                let allows = found.is_none_or(|found| found.is_some_and(|outcome| outcome.verdict.is_allow()));
                (allows, found.flatten().is_some_and(|outcome| outcome.said.is_some()))
            };
            let (was, is) = (says(before), says(after));
            was.0 != is.0 || was.1 || is.1
        };
        self.has_host() || gates.iter().any(differs) || (self.touch.mesh && self.mesh_turns(protocol, port))
    }

    /// Whether the destination's proxy says something else.
    fn mesh_turns(&self, protocol: Protocol, port: u16) -> bool {
        protocol == Protocol::Tcp
            && self.requests(protocol, port).iter().any(|request| {
                let [was, is] = self.engines.map(|engines| engines.mesh(self.pair, protocol, port, request.as_ref()));
                was != is
            })
    }

    /// Where port classes begin for this pair, ascending from 0.
    fn cuts(&self) -> BTreeSet<u16> {
        let halves = Direction::BOTH.map(|direction| self.engines.map(|engines| self.half(engines, direction).0));
        let bounds = halves.into_iter().flatten().flatten().flat_map(|set| &set.bounds);
        self.spoken.iter().chain(bounds).copied().chain([0]).collect()
    }

    /// The requests to compare on a port; one of nothing where connections are judged.
    fn requests(&self, protocol: Protocol, port: u16) -> Vec<Option<RequestAsk>> {
        let Some(pod) = self.pair.destination else { return vec![None] };
        if !self.engines.iter().any(|engines| engines.judges_requests(pod, protocol, port)) {
            return vec![None];
        }
        let samples = self.engines.iter().flat_map(|engines| samples(engines.snapshot, pod));
        let requests: BTreeSet<RequestAsk> = samples.chain(self.wish.request.cloned()).collect();
        requests.into_iter().map(Some).collect()
    }

    /// Tells a change by what a person calls the pods of each kind, but for what is wished.
    fn tell(&self, turned: &Turned, (sources, destinations): (&[Site], &[Site]), effect: &mut Effect) {
        let list = if turned.opened { &mut effect.opens } else { &mut effect.closes };
        for (from, to) in sources.iter().flat_map(|from| destinations.iter().map(move |to| (from, to))) {
            // A pod does not connect to itself.
            if from.pods.len() == 1 && from.pods == to.pods {
                continue;
            }
            let wished = is_of(turned.request.as_ref(), self.wish.request) && self.is_wished(turned, from, to);
            let single = PortRange::single(self.wish.flow.port);
            let ports = turned.ports.iter().filter(|range| !(wished && **range == single)).copied();
            list.extend(merged(ports).into_iter().map(|ports| Opening {
                source: from.label(),
                source_alike: from.alike(),
                destination: to.label(),
                destination_alike: to.alike(),
                protocol: turned.protocol,
                ports,
                request: turned.request.clone(),
            }));
        }
    }

    /// Whether these are the ends of the wish and no others. Of pods that look alike and have no owner, one is wished.
    fn is_wished(&self, turned: &Turned, source: &Site, destination: &Site) -> bool {
        let is = |site: &Site, pod: Option<&Arc<Pod>>, address| match pod {
            Some(pod) => site.alike() == 0 && has(site, &pod.name),
            None => site.workload.is_none() && site.address == address,
        };
        let flow = self.wish.flow;
        turned.protocol == flow.protocol
            && is(source, self.wish.source, flow.source.address)
            && is(destination, self.wish.destination, flow.destination.address)
    }
}

/// Whether a request is the wished one, as far as rules tell them apart: they name paths without their query.
fn is_of(request: Option<&RequestAsk>, wished: Option<&RequestAsk>) -> bool {
    let told = |request: &RequestAsk| {
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
        (request.method.clone(), path, request.host.clone())
    };
    request.map(told) == wished.map(told)
}

fn has(site: &Site, pod: &Name) -> bool {
    site.pods.iter().any(|own| own.name == *pod)
}
