//! The `expect.yaml` of a case.

use super::cluster::ClusterFile;
use lictor_cluster::Node;
use lictor_manifest::{InvalidYaml, Object, Workload, read, values};
use lictor_model::{Name, Protocol};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// A case: its steps follow one another on one cluster.
#[derive(Debug, Clone)]
pub struct Case {
    /// The suite and the folder's name.
    pub name: String,
    /// The steps.
    pub steps: Vec<Step>,
}

/// A state of the cluster, and what must hold in it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The name; may be empty.
    pub name: String,
    /// Everything in the cluster as manifests, for those that load files: namespaces and pods, then the policies.
    pub manifests: Vec<String>,
    /// The same as objects.
    pub objects: Vec<Object>,
    /// The nodes; may be none.
    pub nodes: Vec<Node>,
    /// What DNS has said.
    pub names: BTreeMap<String, Vec<IpAddr>>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// A connection to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Who opens it.
    pub source: End,
    /// Whom it is for.
    pub destination: End,
    /// The protocol.
    pub protocol: Protocol,
    /// The destination port; an ICMP type stands as the port.
    pub port: u16,
    /// What is said on the connection; nothing where only opening it is tried.
    pub said: Option<SaidThere>,
    /// What must come of it.
    pub wanted: Wanted,
}

/// What must come of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// It is allowed, with what is said on it.
    Allow,
    /// It is dropped: the client must time out, not be refused.
    Deny,
    /// It is opened, and what is said on it is refused: by HTTP status 403, by DNS REFUSED, or by a reset of TLS.
    Refuse,
}

impl Wanted {
    /// Whether the connection is opened.
    pub fn opens(self) -> bool {
        self != Self::Deny
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Allow => "allowed",
            Self::Deny => "denied",
            Self::Refuse => "refused",
        })
    }
}

/// What is said on a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SaidThere {
    /// An HTTP request.
    Http(HttpFile),
    /// A DNS question for a name.
    Dns(String),
    /// TLS for a server name.
    ServerName(String),
}

/// An HTTP request as the suites write it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFile {
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The path.
    #[serde(default = "root")]
    pub path: String,
    /// The host.
    #[serde(default)]
    pub host: String,
    /// The headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

fn get() -> String {
    "GET".to_owned()
}

fn root() -> String {
    "/".to_owned()
}

/// One end of a connection to try.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum End {
    /// A pod.
    Pod(Name),
    /// An address outside of the cluster.
    Address(IpAddr),
    /// A node, by its name.
    Node(String),
}

/// Why a case could not be read.
#[derive(Debug, thiserror::Error)]
pub enum InvalidCase {
    /// A file is not there.
    #[error("{}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not YAML.
    #[error("{}: {error}", file.display())]
    Yaml {
        /// The file.
        file: PathBuf,
        /// Where and why.
        error: InvalidYaml,
    },
    /// A file has another form.
    #[error("{}: {error}", file.display())]
    Form {
        /// The file.
        file: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// A file says something that makes no sense here.
    #[error("{}: expected {wanted}, found `{found}`", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// What was wanted.
        wanted: &'static str,
        /// What stood there.
        found: String,
    },
    /// A manifest is refused.
    #[error("{0}")]
    Manifest(String),
}

/// The cases of a suite, by name; one that cannot be read stands there with its reason.
pub fn cases(suite: &Path) -> Vec<(String, Result<Case, InvalidCase>)> {
    let folders = std::fs::read_dir(suite).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.join("expect.yaml").is_file()).collect();
    folders.sort();
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    folders.iter().map(|folder| (name(folder), Case::load(folder))).collect()
}

#[derive(Deserialize)]
struct CaseFile {
    case: String,
    #[serde(default)]
    pods: Vec<String>,
    steps: Vec<StepFile>,
}

#[derive(Deserialize)]
struct StepFile {
    #[serde(default)]
    name: String,
    cluster: String,
    #[serde(default)]
    policies: Vec<String>,
    checks: Vec<CheckFile>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum CheckFile {
    Matrix { protocol: String, port: u16, matrix: Vec<String> },
    Probes { probes: Vec<ProbeFile> },
}

#[derive(Deserialize)]
struct ProbeFile {
    from: String,
    to: String,
    protocol: String,
    port: Option<u16>,
    icmp_type: Option<u16>,
    http: Option<HttpFile>,
    dns: Option<String>,
    sni: Option<String>,
    verdict: String,
}

impl Case {
    /// Reads a case's folder.
    pub fn load(folder: &Path) -> Result<Self, InvalidCase> {
        let file = folder.join("expect.yaml");
        let case: CaseFile = form(&file)?;
        let pods: Vec<Name> = case.pods.iter().map(|pod| Name::parse(pod, "default")).collect();
        let step = |step: &StepFile| Step::load(folder, &Table { file: &file, pods: &pods }, step);
        Ok(Self { steps: case.steps.iter().map(step).collect::<Result<_, _>>()?, name: case.case })
    }
}

impl Step {
    /// The address that the step gives a pod.
    pub fn address(&self, pod: &Name) -> String {
        let address = self.pod(pod).and_then(|workload| workload.addresses.first());
        address.map(ToString::to_string).unwrap_or_default()
    }

    /// Whether a pod declares a port.
    pub fn declares(&self, pod: &Name, port: u16) -> bool {
        let containers = self.pod(pod).map(|workload| &*workload.template.spec.containers).unwrap_or_default();
        containers.iter().flat_map(|container| &container.ports).any(|declared| declared.port == port)
    }

    fn pod(&self, pod: &Name) -> Option<&Workload> {
        self.objects.iter().find_map(|object| match object {
            Object::Workload(workload) if workload.meta.name == *pod => Some(&**workload),
            _ => None,
        })
    }

    fn load(folder: &Path, table: &Table<'_>, step: &StepFile) -> Result<Self, InvalidCase> {
        let cluster: ClusterFile = form(&folder.join(&step.cluster))?;
        let mut manifests = vec![cluster.manifests()];
        let mut objects = Vec::new();
        for policies in &step.policies {
            // The suites' own YAML leaves names such as `y` bare, which Kubernetes would read as a boolean.
            manifests
                .push(documents(&folder.join(policies))?.iter().map(|object| format!("{object}\n---\n")).collect());
        }
        for (manifest, name) in manifests.iter().zip([&step.cluster].into_iter().chain(&step.policies)) {
            let reading = read(&folder.join(name).to_string_lossy(), manifest);
            if let Some(error) = reading.findings.iter().find(|finding| finding.is_error()) {
                return Err(InvalidCase::Manifest(error.to_string()));
            }
            objects.extend(reading.objects);
        }
        let mut checks = Vec::new();
        for check in &step.checks {
            checks.extend(table.checks(check)?);
        }
        Ok(Self { name: step.name.clone(), manifests, objects, nodes: cluster.nodes(), names: cluster.dns, checks })
    }
}

/// The pods that a matrix has a row and a column for.
struct Table<'a> {
    file: &'a Path,
    pods: &'a [Name],
}

impl Table<'_> {
    fn checks(&self, check: &CheckFile) -> Result<Vec<Check>, InvalidCase> {
        match check {
            CheckFile::Probes { probes } => probes.iter().map(|probe| self.probe(probe)).collect(),
            CheckFile::Matrix { protocol, port, matrix } => {
                let protocol = self.protocol(protocol)?;
                let mut checks = Vec::new();
                let cells = |row: &String| row.chars().count();
                if matrix.len() != self.pods.len() || matrix.iter().any(|row| cells(row) != self.pods.len()) {
                    return Err(self.wrong("a row and a column for each pod", &format!("{matrix:?}")));
                }
                for (source, row) in self.pods.iter().zip(matrix) {
                    for (destination, cell) in self.pods.iter().zip(row.chars()) {
                        let wanted = match cell {
                            '1' => Wanted::Allow,
                            '0' => Wanted::Deny,
                            '-' => continue,
                            other => return Err(self.wrong("1, 0 or -", &other.to_string())),
                        };
                        let (source, destination) = (End::Pod(source.clone()), End::Pod(destination.clone()));
                        checks.push(Check { source, destination, protocol, port: *port, said: None, wanted });
                    }
                }
                Ok(checks)
            }
        }
    }

    fn probe(&self, probe: &ProbeFile) -> Result<Check, InvalidCase> {
        let wanted = match probe.verdict.as_str() {
            "allow" => Wanted::Allow,
            "deny" => Wanted::Deny,
            "http-403" | "dns-refused" | "tls-reset" => Wanted::Refuse,
            other => return Err(self.wrong("allow, deny, http-403, dns-refused or tls-reset", other)),
        };
        let (source, destination) = (self.end(&probe.from)?, self.end(&probe.to)?);
        let http = probe.http.clone().map(SaidThere::Http);
        let said = http.or_else(|| probe.dns.clone().map(SaidThere::Dns));
        let said = said.or_else(|| probe.sni.clone().map(SaidThere::ServerName));
        let port = probe.port.or(probe.icmp_type).unwrap_or_default();
        Ok(Check { source, destination, protocol: self.protocol(&probe.protocol)?, port, said, wanted })
    }

    fn end(&self, text: &str) -> Result<End, InvalidCase> {
        let wrong = || self.wrong("pod:<namespace>/<name>, ip:<address> or node:<name>", text);
        match text.split_once(':').ok_or_else(wrong)? {
            ("pod", name) => Ok(End::Pod(Name::parse(name, "default"))),
            ("node", name) => Ok(End::Node(name.to_owned())),
            ("ip", address) => address.parse().map(End::Address).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    fn protocol(&self, text: &str) -> Result<Protocol, InvalidCase> {
        match text {
            "ICMP" => Ok(Protocol::from_number(1)),
            "ICMPv6" => Ok(Protocol::from_number(58)),
            _ => text.parse().map_err(|_| self.wrong("TCP, UDP, SCTP, ICMP or ICMPv6", text)),
        }
    }

    fn wrong(&self, wanted: &'static str, found: &str) -> InvalidCase {
        InvalidCase::Value { file: self.file.to_owned(), wanted, found: found.to_owned() }
    }
}

fn documents(file: &Path) -> Result<Vec<Value>, InvalidCase> {
    let text = std::fs::read_to_string(file);
    let text = text.map_err(|error| InvalidCase::Unreadable { file: file.to_owned(), error })?;
    values(&text).map_err(|error| InvalidCase::Yaml { file: file.to_owned(), error })
}

/// The one document of a file.
fn form<T: DeserializeOwned>(file: &Path) -> Result<T, InvalidCase> {
    let document = documents(file)?.into_iter().next().unwrap_or_default();
    serde_json::from_value(document).map_err(|error| InvalidCase::Form { file: file.to_owned(), error })
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pod(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::Node(name) => write!(f, "node {name}"),
        }
    }
}

impl fmt::Display for Check {
    /// `x/a -> y/b:80/TCP`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}:{}/{}", self.source, self.destination, self.port, self.protocol)?;
        match &self.said {
            None => Ok(()),
            Some(SaidThere::Http(http)) => write!(f, " {} {}", http.method, http.path),
            Some(SaidThere::Dns(name)) => write!(f, " DNS {name}"),
            Some(SaidThere::ServerName(name)) => write!(f, " TLS {name}"),
        }
    }
}
