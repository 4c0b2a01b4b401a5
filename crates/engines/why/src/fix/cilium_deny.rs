//! Edits of `ingressDeny` and `egressDeny`, which no policy that allows can take back.

use super::{Changed, Patch, Wish};
use crate::labels;
use lictor_cluster::{Pod, Policies, Snapshot};
use lictor_manifest::{CiliumNetworkPolicy, CiliumPeer, CiliumRule, CiliumSide, EndpointSelector};
use lictor_model::{By, Cidr, Direction, IpBlock, Layer, Operator, PolicyRef, Requirement, Selector, Step};
use std::net::IpAddr;
use std::sync::Arc;

/// Takes the other end out of the rule that denies, where its list can say that without letting go of anybody else:
/// an entry that means it alone goes, an address becomes an exception of its block, a selector leaves one label's value
/// out. Otherwise there is no such edit, and the reason is told.
///
/// # Errors
/// The reason, for a person.
pub(super) fn spare(snapshot: &Snapshot, wish: &Wish<'_>, step: &Step) -> Result<Patch, Option<String>> {
    let By::Policy(rule) = &step.by else { return Err(None) };
    let Some((at, policy)) = Place::of(rule).zip(snapshot.policies.cilium.get(&rule.name)) else { return Err(None) };
    let refused = |why: String| Some(format!("{rule} denies before anything allows, and {why}"));
    let (far, address) = match step.layer {
        Layer::Egress => (wish.destination, wish.flow.destination.address),
        _ => (wish.source, wish.flow.source.address),
    };
    let far = far.filter(|pod| !pod.host_network);
    let out = Out { snapshot, wish, policy, at: &at, far, address };
    let mut edited = (**policy).clone();
    let Some(side) = at.side(&mut edited) else { return Err(None) };
    let Some(denying) = side.deny.get_mut(at.rule) else { return Err(None) };
    let mut edits = out.of(denying).map_err(refused)?;
    if denying.peers.as_ref().is_some_and(Vec::is_empty) {
        side.deny.remove(at.rule);
        edits = vec!["remove this rule: it names nobody else".to_owned()];
        if side.default_deny && side.deny.is_empty() && side.allow.is_empty() {
            // With its last rule the side would isolate no more, and open to everybody.
            side.allow.push(CiliumRule { peers: Some(Vec::new()), ports: None, unsupported: None });
            edits.push(format!("put `{}: [{{}}]` in its place, so that the policy goes on isolating", at.direction()));
        }
    }
    let changed = Changed::Cilium(Arc::new(edited));
    Ok(Patch::edit(snapshot, step.layer, rule.clone(), edits.join(", and "), changed))
}

/// A rule's place in its policy.
struct Place {
    spec: String,
    field: &'static str,
    rule: usize,
}

impl Place {
    /// Of a path such as `specs[1].ingressDeny[0]`.
    fn of(rule: &PolicyRef) -> Option<Self> {
        let (spec, list) = rule.path.rsplit_once('.')?;
        let (field, number) = list.strip_suffix(']')?.split_once('[')?;
        let field = ["ingressDeny", "egressDeny"].into_iter().find(|known| *known == field)?;
        Some(Self { spec: spec.to_owned(), field, rule: number.parse().ok()? })
    }

    fn side<'p>(&self, policy: &'p mut CiliumNetworkPolicy) -> Option<&'p mut CiliumSide> {
        let spec = policy.specs.iter_mut().find(|spec| *spec.path == *self.spec)?;
        Some(if self.direction() == Direction::Ingress { &mut spec.ingress } else { &mut spec.egress })
    }

    fn direction(&self) -> Direction {
        if self.field == "ingressDeny" { Direction::Ingress } else { Direction::Egress }
    }
}

/// The end that is to be taken out.
struct Out<'a> {
    snapshot: &'a Snapshot,
    wish: &'a Wish<'a>,
    policy: &'a CiliumNetworkPolicy,
    at: &'a Place,
    /// Its pod, unless that is in its node's network.
    far: Option<&'a Arc<Pod>>,
    address: IpAddr,
}

impl Out<'_> {
    /// What to do to a rule's peers, and does it; the reason where one that means this end has no exact edit.
    fn of(&self, rule: &mut CiliumRule) -> Result<Vec<String>, String> {
        let Some(peers) = &mut rule.peers else { return Err("its rule means everybody".to_owned()) };
        let (mut kept, mut edits) = (Vec::new(), Vec::new());
        for mut peer in peers.drain(..) {
            if !self.is_meant(&peer) {
                kept.push(peer);
                continue;
            }
            match self.edit(&mut peer)? {
                Edit::Removed(edit) => edits.push(edit),
                Edit::Changed(edit) => {
                    edits.push(edit);
                    kept.push(peer);
                }
            }
        }
        *peers = kept;
        Ok(edits)
    }

    /// Whether a peer means this end: whether the policy denies with nothing in it but this rule for this peer.
    fn is_meant(&self, peer: &CiliumPeer) -> bool {
        let mut policy = self.policy.clone();
        let rule = self.at.side(&mut policy).and_then(|side| side.deny.get(self.at.rule)).cloned();
        for spec in &mut policy.specs {
            (spec.ingress, spec.egress) = (CiliumSide::default(), CiliumSide::default());
        }
        if let Some(side) = self.at.side(&mut policy) {
            side.deny.extend(rule.map(|rule| CiliumRule { peers: Some(vec![peer.clone()]), ..rule }));
        }
        let mut alone = self.snapshot.clone();
        let cidr_groups = std::mem::take(&mut alone.policies.cidr_groups);
        let cilium = [(policy.meta.name.clone(), Arc::new(policy))].into();
        alone.policies = Policies { cilium, cidr_groups, ..Policies::default() };
        !lictor_network::judge(&alone, self.wish.flow, self.at.direction()).verdict.is_allow()
    }

    fn edit(&self, peer: &mut CiliumPeer) -> Result<Edit, String> {
        match peer {
            CiliumPeer::Pods(selector) => self.leave_pod(selector),
            CiliumPeer::Block(block) => Ok(self.leave_address(block)),
            CiliumPeer::Group(_, except) => {
                let own = Cidr::host(self.address);
                except.push(own);
                Ok(Edit::Changed(format!("add {own} to `except` of its CiliumCIDRGroup")))
            }
            CiliumPeer::Entity(entity) => Err(format!("its rule means the whole of `{entity}`")),
            _ => Err("its rule has a peer that takes no exception".to_owned()),
        }
    }

    fn leave_address(&self, block: &mut IpBlock) -> Edit {
        let own = Cidr::host(self.address);
        if block.cidr == own {
            return Edit::Removed(format!("remove {own}, which stands for nobody else"));
        }
        block.except.push(own);
        Edit::Changed(format!("add {own} to `except` of {} in a CIDR set", block.cidr))
    }

    fn leave_pod(&self, selector: &mut EndpointSelector) -> Result<Edit, String> {
        let means = |selector: &EndpointSelector, pod: &Pod| {
            !pod.host_network && self.wish.cluster.is_endpoint(self.policy, selector, pod)
        };
        let Some(pod) = self.far else { return Err("its rule means pods, of which this end is none".to_owned()) };
        let others = |pods: &dyn Fn(&Pod) -> bool| {
            self.wish.cluster.pods.values().any(|other| other.workload != pod.workload && pods(other))
        };
        if !others(&|other| means(selector, other)) {
            return Ok(Edit::Removed(format!("remove the entry for pods {}, which means no others", selector.pods)));
        }
        // One label's value that nobody else among those that it means has.
        let own = labels::of(self.wish.cluster, pod);
        for (key, value) in &own {
            let left_out =
                Requirement { key: key.as_str().into(), operator: Operator::NotIn([value.as_str().into()].into()) };
            let all = selector.pods.requirements().iter().cloned().chain([left_out]);
            let narrower = EndpointSelector { pods: Selector::new(all), ..selector.clone() };
            if !means(&narrower, pod) && !others(&|other| means(selector, other) && !means(&narrower, other)) {
                let edit = format!(
                    "add `{{key: {key}, operator: NotIn, values: [{value:?}]}}` to matchExpressions of the entry for pods {}",
                    selector.pods
                );
                *selector = narrower;
                return Ok(Edit::Changed(edit));
            }
        }
        Err(format!("no label tells {} from the other pods that its rule means", pod.workload.name))
    }
}

enum Edit {
    Removed(String),
    Changed(String),
}
