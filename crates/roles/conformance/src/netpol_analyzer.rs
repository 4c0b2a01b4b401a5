//! `netpol-analyzer`: the connectivity lists of np-guard's analyzer, asked of the compiled program.
//!
//! A list is a connection set for each two workloads, and for each workload with each range of outside addresses. Its
//! compatibility mode: address blocks leave pods out, workloads are collapsed to their owner, and connections within
//! one are not told.

use crate::report::{Deviation, SuiteReport};
use lictor_cluster::{AddressPool, Pod, Settings, Snapshot, UnknownNodes};
use lictor_manifest::{Object, PeerTerm, TierPeer, WorkloadKind, read, values};
use lictor_model::{Cidr, Direction, Name, Protocol, Revision};
use lictor_network::{Program, compile};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A case's file, as far as it is read here.
#[derive(Debug, Deserialize)]
struct CaseFile {
    #[serde(default)]
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    mode: String,
    format: String,
    #[serde(default)]
    flags: BTreeMap<String, serde_json::Value>,
    expected: PathBuf,
}

/// A line of a list, as JSON.
#[derive(Debug, Deserialize)]
struct Line {
    src: String,
    dst: String,
    conn: String,
}

impl Line {
    fn text(&self) -> String {
        format!("{} => {} : {}", self.src, self.dst, self.conn)
    }
}

/// One end of a line: a workload, or a range of outside addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Workload(Arc<Pod>),
    Outside(Ipv4Addr),
}

/// Where this suite's answers are another's for a reason.
const DEVIATIONS: &str = include_str!("../deviations.yaml");

/// Judges every connectivity list of the suite that is asked for without flags.
pub fn run(suite: &Path) -> SuiteReport {
    let mut report = SuiteReport::new("netpol-analyzer");
    for folder in folders(suite) {
        let case = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Ok(text) = fs::read_to_string(folder.join("case.yaml")) else { continue };
        let file = values(&text).ok().and_then(|all| serde_json::from_value::<CaseFile>(all.into_iter().next()?).ok());
        let Some(file) = file else {
            report.broken(format!("netpol-analyzer/{case}"), "its case.yaml cannot be read");
            continue;
        };
        for run in file.runs.iter().filter(|run| run.mode == "list" && run.flags.is_empty()) {
            let what = format!("netpol-analyzer/{case} {}", run.expected.display());
            match (fs::read_to_string(folder.join(&run.expected)), objects(&folder.join("manifests"))) {
                (Ok(expected), Ok(objects)) => {
                    let wanted = match run.format.as_str() {
                        "json" => lines(
                            serde_json::from_str::<Vec<Line>>(&expected).unwrap_or_default().iter().map(Line::text),
                        ),
                        _ => lines(expected.lines().map(str::to_owned)),
                    };
                    let got = lines(list(&objects));
                    report.check(what, compared(&wanted, &got), compared(&got, &wanted));
                }
                (Err(error), _) => report.broken(what, error),
                (_, Err(error)) => report.broken(what, error),
            }
        }
    }
    let written = values(DEVIATIONS).ok().and_then(|all| all.into_iter().next()).unwrap_or_default();
    match serde_json::from_value::<Vec<Deviation>>(written) {
        // A folder may hold a part of the suite.
        Ok(reasons) => report.excuse(reasons.into_iter().filter(|reason| is_there(suite, &reason.case)).collect()),
        Err(error) => report.broken("the written deviations", error),
    }
    report
}

fn is_there(suite: &Path, case: &str) -> bool {
    case.split_once('/').is_some_and(|(_, folder)| suite.join(folder).is_dir())
}

/// The lines that the other list does not have, or that there are none.
fn compared(these: &BTreeSet<String>, others: &BTreeSet<String>) -> String {
    let more: Vec<&str> = these.difference(others).map(String::as_str).collect();
    if more.is_empty() { "the same".to_owned() } else { more.join("\n         ") }
}

fn lines(text: impl IntoIterator<Item = String>) -> BTreeSet<String> {
    let trimmed = text.into_iter().map(|line| line.trim().to_owned());
    trimmed.filter(|line| !line.is_empty()).collect()
}

fn folders(suite: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(suite).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    folders
}

fn objects(folder: &Path) -> Result<Vec<Object>, String> {
    let mut objects = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| error.to_string())?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") {
                let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
                let reading = read(&path.display().to_string(), &text);
                if let Some(error) = reading.findings.iter().find(|finding| finding.is_error()) {
                    return Err(error.to_string());
                }
                objects.extend(reading.objects);
            }
        }
    }
    Ok(objects)
}

/// The lines of a list.
fn list(objects: &[Object]) -> Vec<String> {
    let settings = Settings {
        trust_domain: "cluster.local".parse().expect("a constant trust domain"),
        root_namespace: Arc::from("istio-system"),
        default_namespace: Arc::from("default"),
        nodes: Vec::new(),
        unknown_nodes: UnknownNodes::Absent,
        cidr_excludes_pods: true,
    };
    let block = |text: &str| text.parse::<Cidr>().expect("a constant block");
    let mut pool = AddressPool::new(&[block("fd00:1::/64")], &[block("fd00:2::/112")]);
    let objects: Vec<Object> = objects.iter().map(of_the_pod_network).collect();
    let owners: HashMap<Name, &Owner> = objects.iter().filter_map(owner).collect();
    let (snapshot, _) = Snapshot::build(&objects, &settings, &mut pool, Revision(1));
    let program = compile(&snapshot);
    let mut workloads: BTreeMap<String, Arc<Pod>> = BTreeMap::new();
    for pod in snapshot.pods.values() {
        workloads.entry(label(pod, &owners)).or_insert(Arc::clone(pod));
    }
    let workloads: Vec<(String, End)> = workloads.into_iter().map(|(name, pod)| (name, End::Workload(pod))).collect();
    let [sources, destinations] = Direction::BOTH.map(|direction| {
        let outside = ranges(&snapshot, direction)
            .into_iter()
            .map(|(first, last)| (format!("{first}-{last}[External]"), End::Outside(free(&snapshot, first, last))));
        workloads.iter().cloned().chain(outside).collect::<Vec<(String, End)>>()
    });
    let mut lines = Vec::new();
    for (source_name, source) in &sources {
        for (destination_name, destination) in &destinations {
            let outside = |end: &End| matches!(end, End::Outside(_));
            if source_name == destination_name || (outside(source) && outside(destination)) {
                continue;
            }
            let allowed = connections(&program, source, destination);
            if !allowed.is_empty() {
                lines.push(format!("{source_name} => {destination_name} : {allowed}"));
            }
        }
    }
    lines
}

/// The analyzer knows no host network: to it every pod is one of the pods' own.
fn of_the_pod_network(object: &Object) -> Object {
    match object {
        Object::Workload(workload) if workload.template.spec.host_network => {
            let mut workload = workload.as_ref().clone();
            workload.template.spec.host_network = false;
            workload.host_address = None;
            workload.addresses.clear();
            Object::Workload(Arc::new(workload))
        }
        other => other.clone(),
    }
}

/// Kind and name.
type Owner = (Arc<str>, Arc<str>);

/// A pod's owner, as its manifest has it.
fn owner(object: &Object) -> Option<(Name, &Owner)> {
    match object {
        Object::Workload(workload) if workload.kind == WorkloadKind::Pod => {
            Some((workload.meta.name.clone(), workload.owner.as_ref()?))
        }
        _ => None,
    }
}

/// What the analyzer calls a pod: its owner, however that came to be.
fn label(pod: &Pod, owners: &HashMap<Name, &Owner>) -> String {
    let namespace = &pod.name.namespace;
    match owners.get(&pod.name) {
        Some((kind, name)) => format!("{namespace}/{name}[{kind}]"),
        None => format!("{namespace}/{}[{}]", pod.workload.name.name, pod.workload.kind.as_str()),
    }
}

/// Outside addresses, cut wherever a block of some rule of a direction begins or ends.
fn ranges(snapshot: &Snapshot, direction: Direction) -> Vec<(Ipv4Addr, Ipv4Addr)> {
    let policies = &snapshot.policies;
    let network = policies.network.values().flat_map(move |policy| match direction {
        Direction::Ingress => policy.ingress.iter().flatten(),
        Direction::Egress => policy.egress.iter().flatten(),
    });
    let blocks = network.flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
        PeerTerm::Block(block) => Some([block.cidr].into_iter().chain(block.except.iter().copied())),
        PeerTerm::Pods { .. } => None,
    });
    let tiered = policies.cluster_network.iter().flat_map(move |policy| match direction {
        Direction::Ingress => policy.ingress.iter(),
        Direction::Egress => policy.egress.iter(),
    });
    let networks = tiered.flat_map(|rule| &rule.peers).filter_map(|peer| match peer {
        TierPeer::Network(block) => Some(*block),
        _ => None,
    });
    let mut starts = BTreeSet::from([0_u64]);
    for block in blocks.flatten().chain(networks) {
        if let IpAddr::V4(network) = block.network() {
            let first = u64::from(network.to_bits());
            starts.extend([first, first + (1 << (32 - u32::from(block.prefix())))]);
        }
    }
    starts.insert(1 << 32);
    let starts: Vec<u64> = starts.into_iter().filter(|start| *start <= 1 << 32).collect();
    let address = |bits: u64| Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX));
    starts.windows(2).filter_map(|pair| Some((address(*pair.first()?), address(pair.get(1)? - 1)))).collect()
}

/// An address of a range that no pod has; the first, where they all have pods.
fn free(snapshot: &Snapshot, first: Ipv4Addr, last: Ipv4Addr) -> Ipv4Addr {
    let mut all = (first.to_bits()..=last.to_bits()).map(Ipv4Addr::from_bits);
    all.find(|address| snapshot.pod_at((*address).into()).is_none()).unwrap_or(first)
}

/// What may pass from one end to another, in the analyzer's words; empty for nothing.
fn connections(program: &Program, source: &End, destination: &End) -> String {
    let protocols = [Protocol::Sctp, Protocol::Tcp, Protocol::Udp];
    let allowed = protocols.map(|protocol| (protocol, ports(program, source, destination, protocol)));
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

/// The port ranges of a protocol that both ends allow.
fn ports(program: &Program, source: &End, destination: &End, protocol: Protocol) -> Vec<(u16, u16)> {
    let address = |end: &End| match end {
        End::Workload(pod) => pod.addresses.first().copied(),
        End::Outside(address) => Some(IpAddr::from(*address)),
    };
    let sides = [(source, Direction::Egress, destination), (destination, Direction::Ingress, source)];
    let asked: Vec<(&Name, Direction, IpAddr)> = sides
        .into_iter()
        .filter_map(|(near, direction, far)| match near {
            End::Workload(pod) if !pod.host_network => Some((&pod.name, direction, address(far)?)),
            _ => None,
        })
        .collect();
    let mut bounds = BTreeSet::from([1_u16]);
    for (name, direction, _) in &asked {
        let gate = program.endpoints.get(*name).map(|endpoint| endpoint.gate(*direction));
        let set = gate.and_then(|gate| program.rule_sets.get(&gate.rule_set?));
        bounds.extend(set.into_iter().flat_map(|set| &set.bounds).copied().filter(|bound| *bound > 0));
    }
    let bounds: Vec<u16> = bounds.into_iter().collect();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for (at, first) in bounds.iter().enumerate() {
        let last = bounds.get(at + 1).map_or(u16::MAX, |next| next - 1);
        let allows = |(name, direction, far): &(&Name, Direction, IpAddr)| {
            program.judge(name, *direction, *far, protocol, *first)
        };
        if asked.iter().all(|side| allows(side).verdict.is_allow()) {
            match ranges.last_mut() {
                Some(range) if range.1 + 1 == *first => range.1 = last,
                _ => ranges.push((*first, last)),
            }
        }
    }
    ranges
}
