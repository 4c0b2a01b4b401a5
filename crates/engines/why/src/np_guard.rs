//! Who may talk to whom in the words of np-guard's netpol-analyzer, for those who compare with it.
//!
//! Its answers differ from Kubernetes' own rules in a few ways that this mode follows: address blocks leave pods out,
//! every pod is one of the pods' network, workloads are collapsed to their owner, connections within one are not told,
//! the outside is IPv4 alone, cut wherever a block of some rule begins or ends.

mod difference;
mod ends;

pub use difference::{GuardChange, guard_diff};

use ends::{End, Ends};
use lictor_cluster::{AddressPool, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Entrance, Object, TargetPort, read};
use lictor_model::{Cidr, Direction, Name, Protocol, Revision};
use lictor_network::{Program, compile};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct GuardLine {
    /// `namespace/name[Kind]`, `first-last[External]` or `{ingress-controller}`.
    pub src: String,
    /// The same.
    pub dst: String,
    /// `All Connections`, or protocols with their ports.
    pub conn: String,
}

impl std::fmt::Display for GuardLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} => {} : {}", self.src, self.dst, self.conn)
    }
}

/// What stands for whoever comes in by an Ingress or a Route.
const CONTROLLER: &str = "{ingress-controller}";
/// The pod that is judged for it: of a namespace of its own, without a label.
const CONTROLLER_POD: &str = "
apiVersion: v1
kind: Pod
metadata: {name: ingress-controller, namespace: lictor-ingress-controller}
spec: {containers: [{name: c, image: i}]}
";

/// A cluster as the analyzer sees it.
pub(crate) struct Guard {
    snapshot: Snapshot,
    program: Program,
    ends: Ends,
    entrances: Vec<Arc<Entrance>>,
}

/// What passes from one end to another.
type Lines = BTreeMap<(String, String), String>;

/// The list of objects, sorted: every two ends between which something may pass. With `focus`, only lines with one of
/// these workloads, as `name` or `namespace/name`, at an end.
pub fn guard_list(objects: &[Object], focus: &[String]) -> Vec<GuardLine> {
    let guard = Guard::of(objects);
    let cuts = Direction::BOTH.map(|direction| ends::cuts(&guard.snapshot, direction));
    let lines = guard.lines(&cuts).into_iter();
    let wanted = |end: &str| focus.iter().any(|name| ends::is_named(end, name));
    lines
        .filter(|((src, dst), _)| focus.is_empty() || wanted(src) || wanted(dst))
        .map(|((src, dst), conn)| GuardLine { src, dst, conn })
        .collect()
}

impl Guard {
    pub(crate) fn of(objects: &[Object]) -> Self {
        let settings = Settings {
            trust_domain: lictor_model::TrustDomain::default(),
            root_namespace: Arc::from("istio-system"),
            default_namespace: Arc::from("default"),
            nodes: Vec::new(),
            unknown_nodes: UnknownNodes::Absent,
            cidr_excludes_pods: true,
            registration: lictor_cluster::RegistrationSettings::default(),
        };
        // No rule of theirs has such an address.
        let blocks = ["fd00:1::/64", "fd00:2::/112"].map(|text| text.parse::<Cidr>().into_iter().collect::<Vec<_>>());
        let [pods, services] = blocks;
        let mut pool = AddressPool::new(&pods, &services);
        let mut objects: Vec<Object> = objects.iter().map(ends::of_the_pod_network).collect();
        objects.extend(read("ingress-controller", CONTROLLER_POD).objects);
        let entrances = objects.iter().filter_map(|object| match object {
            Object::Entrance(entrance) => Some(Arc::clone(entrance)),
            _ => None,
        });
        let entrances = entrances.collect();
        let owners = ends::owners(&objects);
        let (snapshot, _) = Snapshot::build(&objects, &settings, &mut pool, Revision(1));
        let (program, ends) = (compile(&snapshot), Ends::of(&snapshot, &owners));
        Self { snapshot, program, ends, entrances }
    }

    pub(crate) fn workloads(&self) -> BTreeSet<&str> {
        self.ends.workloads.keys().map(String::as_str).collect()
    }

    /// Every line, with the outside cut at these addresses for each direction.
    pub(crate) fn lines(&self, cuts: &[BTreeSet<u64>; 2]) -> Lines {
        let [sources, destinations] = [&cuts[0], &cuts[1]].map(|cuts| self.ends.with_outside(&self.snapshot, cuts));
        let mut lines = Lines::new();
        for (from, source) in &sources {
            for (to, destination) in &destinations {
                let outside = |end: &End| matches!(end, End::Outside(_));
                if from == to || (outside(source) && outside(destination)) {
                    continue;
                }
                let allowed = connections(|protocol| self.ports(source, destination, protocol));
                if !allowed.is_empty() {
                    lines.insert((from.clone(), to.clone()), allowed);
                }
            }
        }
        lines.extend(self.by_entrances());
        lines
    }

    /// What may come in by Ingresses and Routes.
    fn by_entrances(&self) -> Lines {
        let mut asked: BTreeMap<&str, BTreeSet<u16>> = BTreeMap::new();
        for entrance in &self.entrances {
            for backend in &entrance.backends {
                let name = Name::new(Arc::clone(&entrance.meta.name.namespace), Arc::clone(&backend.service));
                let Some(service) = self.snapshot.services.get(&name) else { continue };
                for port in service.ports.iter().filter(|port| port.port.protocol == Protocol::Tcp) {
                    let meant = match (&backend.port, entrance.kind) {
                        (None, _) => true,
                        (Some(TargetPort::Number(number)), "Ingress") => port.port.port == *number,
                        (Some(TargetPort::Named(wanted)), "Ingress") => port.port.name == *wanted,
                        (Some(target), _) => {
                            port.port.target == *target
                                || matches!(target, TargetPort::Named(wanted) if port.port.name == *wanted)
                                || matches!(target, TargetPort::Number(number) if port.port.port == *number)
                        }
                    };
                    for backend in port.backends.iter().filter(|_| meant) {
                        let label = backend.pod.as_ref().and_then(|pod| self.ends.label_of(pod));
                        if let Some(label) = label {
                            asked.entry(label).or_default().insert(backend.port);
                        }
                    }
                }
            }
        }
        let controller = Name::new("lictor-ingress-controller", "ingress-controller");
        let Some(from) = self.snapshot.pods.get(&controller).and_then(|pod| pod.addresses.first().copied()) else {
            return Lines::new();
        };
        let mut lines = Lines::new();
        for (label, ports) in asked {
            let Some(pod) = self.ends.workloads.get(label) else { continue };
            let open = |port: &u16| {
                self.program.judge(&pod.name, Direction::Ingress, from, Protocol::Tcp, *port).verdict.is_allow()
            };
            let open: Vec<String> = ports.iter().filter(|port| open(port)).map(ToString::to_string).collect();
            if !open.is_empty() {
                lines.insert((CONTROLLER.to_owned(), label.to_owned()), format!("TCP {}", open.join(",")));
            }
        }
        lines
    }

    /// The port ranges of a protocol that both ends allow.
    fn ports(&self, source: &End, destination: &End, protocol: Protocol) -> Vec<(u16, u16)> {
        let sides = [(source, Direction::Egress, destination), (destination, Direction::Ingress, source)];
        let asked: Vec<(&Name, Direction, IpAddr)> = sides
            .into_iter()
            .filter_map(|(near, direction, far)| match near {
                End::Workload(pod) => Some((&pod.name, direction, far.address()?)),
                End::Outside(_) => None,
            })
            .collect();
        let mut bounds = BTreeSet::from([1_u16]);
        for (name, direction, _) in &asked {
            let gate = self.program.endpoints.get(*name).map(|endpoint| endpoint.gate(*direction));
            let set = gate.and_then(|gate| self.program.rule_sets.get(&gate.rule_set?));
            bounds.extend(set.into_iter().flat_map(|set| &set.bounds).copied().filter(|bound| *bound > 0));
        }
        let bounds: Vec<u16> = bounds.into_iter().collect();
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for (at, first) in bounds.iter().enumerate() {
            let last = bounds.get(at + 1).map_or(u16::MAX, |next| next - 1);
            let allows = |(name, direction, far): &(&Name, Direction, IpAddr)| {
                self.program.judge(name, *direction, *far, protocol, *first).verdict.is_allow()
            };
            if asked.iter().all(allows) {
                match ranges.last_mut() {
                    Some(range) if range.1 + 1 == *first => range.1 = last,
                    _ => ranges.push((*first, last)),
                }
            }
        }
        ranges
    }
}

/// What may pass, in the analyzer's words; empty for nothing.
fn connections(ports: impl Fn(Protocol) -> Vec<(u16, u16)>) -> String {
    let allowed = [Protocol::Sctp, Protocol::Tcp, Protocol::Udp].map(|protocol| (protocol, ports(protocol)));
    if allowed.iter().all(|(_, ports)| ports.as_slice() == [(1, u16::MAX)]) {
        return "All Connections".to_owned();
    }
    let of = |(protocol, ports): &(Protocol, Vec<(u16, u16)>)| {
        let range = |(first, last): &(u16, u16)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        (!ports.is_empty()).then(|| format!("{protocol} {}", ports.iter().map(range).collect::<Vec<_>>().join(",")))
    };
    allowed.iter().filter_map(of).collect::<Vec<_>>().join(",")
}
