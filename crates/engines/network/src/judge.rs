//! One flow against the policies themselves.

use crate::cilium::{self, Spec, Unit};
use crate::flat::Isolation;
use crate::matching::{Far, rule_path, rules};
use crate::said::{Asked, UNSEEN, is_proxied, is_seen, may_say};
use crate::tiers::{first_match, speaking, whole_tiered};
use lictor_cluster::{Pod, Snapshot};
use lictor_manifest::{NetworkPolicy, Said, Tier, TierAction};
use lictor_model::{By, Direction, Flow, Layer, Name, NearestMiss, Peer, PolicyKind, PolicyRef, Step, Verdict};
use std::sync::Arc;

/// What the network policies of a snapshot say about a flow, at the side of the endpoint that it crosses:
/// the source for egress, the destination for ingress.
///
/// An end that names no pod is looked up by its address. Answers of a connection that was allowed are not
/// asked about: they belong to it.
///
/// - The Admin tier is asked first, the Baseline tier where no NetworkPolicy isolates; in each, the first rule that
///   matches counts, by priority and then as it is written.
/// - A policy isolates the pods that it selects in the directions that it speaks of; an endpoint that is not
///   isolated may do anything.
/// - Where it is isolated, a flow needs one rule of one such policy; policies only ever add.
/// - What a CiliumNetworkPolicy denies is denied before anything is allowed; what it allows adds to the NetworkPolicies.
/// - Traffic of a pod with itself is always allowed, and with its own node unless a tier or a
///   CiliumNetworkPolicy denies it, or the latter isolates egress. A host-network pod
///   is its node: no policy selects it, and only `ipBlock`, `networks` and `nodes` match it.
///
/// Source: Kubernetes API reference, NetworkPolicySpec v1; concepts, "Network Policies"; network-policy-api,
/// ClusterNetworkPolicySpec v1alpha2.
pub fn judge(snapshot: &Snapshot, flow: &Flow, direction: Direction) -> Step {
    judge_asked(snapshot, flow, direction, &Asked::Connection)
}

/// What they say about something that is asked on such a connection: a request that no rule lets be made is denied
/// though the connection may be opened.
pub fn judge_asked(snapshot: &Snapshot, flow: &Flow, direction: Direction, asked: &Asked<'_>) -> Step {
    let (layer, near, far) = match direction {
        Direction::Ingress => (Layer::Ingress, &flow.destination, &flow.source),
        Direction::Egress => (Layer::Egress, &flow.source, &flow.destination),
    };
    let step = |verdict, by| Step::new(layer, verdict, by);
    let subject = match endpoint(snapshot, near) {
        Ok(Some(subject)) => subject,
        Ok(None) if direction == Direction::Ingress && snapshot.node_at(near.address).is_none() => {
            return step(Verdict::Allow, By::OutsideCluster);
        }
        Ok(None) => return step(Verdict::Allow, By::NoPolicy),
        Err(unknown) => return step(Verdict::Deny, By::Unknown(unknown)),
    };
    let address = far.address.to_canonical();
    if subject.host_network {
        return step(Verdict::Allow, By::NoPolicy);
    }
    if subject.addresses.contains(&address) {
        return step(Verdict::Allow, By::OwnPod);
    }
    let own_node = snapshot.nodes.get(&subject.node).is_some_and(|node| node.addresses.contains(&address));
    let peer = snapshot.pod_at(address).map(|pod| &**pod);
    let named = match direction {
        Direction::Ingress => Some(&**subject),
        Direction::Egress => peer,
    };
    let near = &subject.name;
    let far = Far { near, address, pod: peer, own_node, named, protocol: flow.protocol, port: flow.port };
    let tiered: Vec<_> = speaking(snapshot, subject, direction).collect();
    let specs = cilium::speaking(snapshot, subject, direction);
    let mut network = isolating(snapshot, subject, direction);
    let isolators = Isolators::of(&network, &specs, direction);
    let isolated = if own_node { isolators.isolation.own_node } else { isolators.isolation.others };
    if own_node && !isolated {
        // NetworkPolicies leave a pod and its own node alone; the tiers around them do not.
        network.clear();
    }
    let rules = Rules { snapshot, network, specs, direction };
    let decided = |tier| first_match(snapshot, &tiered, tier, &far, direction);
    let (verdict, by, notes) = if let Some((action, rule)) = decided(Tier::Admin) {
        (verdict_of(action), By::Policy(rule), Vec::new())
    } else if let Some(rule) = rules.denying(&far) {
        (Verdict::Deny, By::Policy(rule), Vec::new())
    } else if isolated {
        rules.decide(subject, &far, asked, isolators.by)
    } else if let Some((action, rule)) = decided(Tier::Baseline) {
        (verdict_of(action), By::Policy(rule), Vec::new())
    } else if own_node {
        return step(Verdict::Allow, By::OwnNode);
    } else {
        (Verdict::Allow, By::NoPolicy, Vec::new())
    };
    let nearest_miss = match by {
        By::Isolation(_) => rules.nearest_miss(&far, asked),
        _ => None,
    };
    let mut applied: Vec<PolicyRef> = tiered.iter().map(|policy| whole_tiered(policy)).collect();
    applied.extend(rules.network.iter().map(|policy| whole(policy)));
    applied.extend(rules.specs.iter().map(|spec| spec.whole()));
    applied.dedup();
    Step { mode: snapshot.mode(subject, layer).0, applied, nearest_miss, notes, ..step(verdict, by) }
}

/// What isolates an endpoint in a direction.
pub(crate) struct Isolators {
    pub(crate) isolation: Isolation,
    /// The policies that do, the whole policy each.
    pub(crate) by: Vec<PolicyRef>,
    /// The CiliumNetworkPolicies that speak of it and do not.
    pub(crate) others: Vec<PolicyRef>,
}

impl Isolators {
    pub(crate) fn of(network: &[&NetworkPolicy], specs: &[Spec<'_>], direction: Direction) -> Self {
        let mut by: Vec<PolicyRef> = network.iter().map(|policy| whole(policy)).collect();
        let isolating = |spec: &&Spec<'_>| spec.side(direction).default_deny;
        by.extend(specs.iter().filter(isolating).map(|spec| spec.whole()));
        by.dedup();
        let mut others: Vec<PolicyRef> = specs.iter().map(|spec| spec.whole()).collect();
        others.retain(|policy| !by.contains(policy));
        others.dedup();
        // A pod is always reached from its own node, as probes need it; Cilium has what it may reach there be said.
        let own_node = direction == Direction::Egress && specs.iter().any(|spec| isolating(&spec));
        Self { isolation: Isolation { others: !by.is_empty(), own_node }, by, others }
    }
}

/// The NetworkPolicies and CiliumNetworkPolicies that speak of an endpoint.
struct Rules<'a> {
    snapshot: &'a Snapshot,
    network: Vec<&'a NetworkPolicy>,
    specs: Vec<Spec<'a>>,
    direction: Direction,
}

/// The pod at one end of a flow; nothing for an address outside, an error for a pod that is not known.
fn endpoint<'a>(snapshot: &'a Snapshot, end: &Peer) -> Result<Option<&'a Arc<Pod>>, String> {
    match &end.pod {
        None => Ok(snapshot.pod_at(end.address)),
        Some(name) => snapshot.pods.get(name).map(Some).ok_or_else(|| format!("{name} is not known here")),
    }
}

/// The policies that isolate a pod in a direction, by name.
pub(crate) fn isolating<'a>(snapshot: &'a Snapshot, pod: &'a Pod, direction: Direction) -> Vec<&'a NetworkPolicy> {
    in_namespace(snapshot, &pod.name.namespace)
        .filter(|policy| rules(policy, direction).is_some() && policy.pod_selector.matches(&pod.labels))
        .collect()
}

/// The policies of a namespace, by name.
fn in_namespace<'a>(snapshot: &'a Snapshot, namespace: &'a Arc<str>) -> impl Iterator<Item = &'a NetworkPolicy> {
    let first = Name::new(Arc::clone(namespace), "");
    let policies = snapshot.policies.network.range(first..).map(|(_, policy)| &**policy);
    policies.take_while(move |policy| policy.meta.name.namespace == *namespace)
}

/// The policy as a whole.
pub(crate) fn whole(policy: &NetworkPolicy) -> PolicyRef {
    PolicyRef::whole(PolicyKind::NetworkPolicy, policy.meta.name.clone())
}

fn verdict_of(action: TierAction) -> Verdict {
    if action == TierAction::Accept { Verdict::Allow } else { Verdict::Deny }
}

/// A rule that allows, by how specifically it matches.
struct Allowing<'a> {
    tier: u8,
    rule: PolicyRef,
    said: Option<&'a Arc<Said>>,
}

impl<'a> Rules<'a> {
    /// The rule of a CiliumNetworkPolicy that denies.
    fn denying(&self, far: &Far<'_>) -> Option<PolicyRef> {
        let matching = self.matching_units(far).filter(|(_, _, unit)| unit.denies);
        let (_, spec, unit) = matching.min_by_key(|(tier, ..)| *tier)?;
        Some(spec.rule(self.direction, &unit))
    }

    fn matching_units(&self, far: &Far<'_>) -> impl Iterator<Item = (u8, Spec<'a>, Unit<'a>)> {
        let units = self.specs.iter().flat_map(|spec| spec.units(self.direction).map(|unit| (*spec, unit)));
        units.filter_map(move |(spec, unit)| Some((unit.tier(self.snapshot, spec, far, self.direction)?, spec, unit)))
    }

    /// Every rule that allows a flow, or something on it; the most specific first.
    fn allowing(&self, far: &Far<'_>) -> Vec<Allowing<'a>> {
        let network = self.network.iter().flat_map(|policy| {
            let rules = rules(policy, self.direction).unwrap_or_default().iter().enumerate();
            rules.filter_map(|(at, rule)| {
                let tier = far.tier(self.snapshot, policy, rule, self.direction)?;
                Some(Allowing { tier, rule: whole(policy).at(rule_path(self.direction, at)), said: None })
            })
        });
        let units = self.matching_units(far).filter(|(_, _, unit)| !unit.denies);
        let cilium =
            units.map(|(tier, spec, unit)| Allowing { tier, rule: spec.rule(self.direction, &unit), said: unit.said });
        let mut all: Vec<Allowing<'_>> = network.chain(cilium).collect();
        // Of equally specific rules the first one counts: the order is kept.
        all.sort_by_key(|allowing| allowing.tier);
        all
    }

    /// What they say of an endpoint that they isolate.
    fn decide(
        &self,
        near: &Pod,
        far: &Far<'_>,
        asked: &Asked<'_>,
        isolators: Vec<PolicyRef>,
    ) -> (Verdict, By, Vec<Arc<str>>) {
        let mut allowing = self.allowing(far);
        if let Some(at) = allowing.iter().position(|allowing| allowing.said.is_none()) {
            return (Verdict::Allow, By::Policy(allowing.swap_remove(at).rule), Vec::new());
        }
        let said = allowing.iter().filter_map(|allowing| Some((allowing, allowing.said?)));
        let (resolver, proxied) =
            (self.snapshot.resolvers.contains(&far.address), is_proxied(near.enrolled, far.protocol));
        if !allowing.is_empty() && !said.clone().any(|(_, said)| is_seen(said, resolver, proxied)) {
            return (Verdict::Deny, By::Unknown(UNSEEN.to_owned()), Vec::new());
        }
        match said.clone().find(|(_, said)| may_say(said, asked)) {
            Some((allowing, _)) => {
                let notes = match asked {
                    Asked::Connection => said.map(|(_, said)| Arc::from(format!("only for {said}"))).collect(),
                    _ => Vec::new(),
                };
                (Verdict::Allow, By::Policy(allowing.rule.clone()), notes)
            }
            None => (Verdict::Deny, By::Isolation(isolators), Vec::new()),
        }
    }

    /// The rule that fails on the fewest fields; nothing when no policy has a rule.
    fn nearest_miss(&self, far: &Far<'_>, asked: &Asked<'_>) -> Option<NearestMiss> {
        let network = self.network.iter().flat_map(|policy| {
            let rules = rules(policy, self.direction).unwrap_or_default().iter().enumerate();
            rules.map(|(at, rule)| {
                let path = rule_path(self.direction, at);
                let miss = far.miss(self.snapshot, policy, rule, &path, self.direction);
                (miss, whole(policy).at(path))
            })
        });
        let units = self.specs.iter().flat_map(|spec| spec.units(self.direction).map(|unit| (*spec, unit)));
        let cilium = units.filter(|(_, unit)| !unit.denies).map(|(spec, unit)| {
            let rule = spec.rule(self.direction, &unit);
            (unit.miss(self.snapshot, spec, far, &rule.path, self.direction, asked), rule)
        });
        let (miss, rule) = network.chain(cilium).min_by_key(|(miss, _)| miss.distance())?;
        Some(NearestMiss { rule, fields: miss.fields })
    }
}
