//! A node: cgroups, a registry, a keyring, the server, and the processes of its pods.

use crate::cgroups::{Cgroups, enter};
use crate::client::{ANSWER, SOCKET};
use lictor_identity::{Attestor, Cgroup, Identity, Place, Registration, Registry, workload_api};
use lictor_model::{DnsName, Name, SpiffeId, TrustDomain};
use lictor_pki::{
    Bundle, CertificateAuthority, Keyring, LeafNames, PrivateKey, Subject, Svid, Usage, certificates_to_pem, tls,
    unix_time, verify,
};
use lictor_wire::workload::{X509BundlesResponse, X509svid, X509svidResponse};
use prost::Message;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::service::Routes;

/// Nothing here takes long; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where the runtime makes the cgroups of pods that have to be waited for.
pub(crate) const MADE: &str = "made";

pub(crate) struct Node {
    cgroups: Cgroups,
    folder: tempfile::TempDir,
    authority: CertificateAuthority,
    registry: Registry,
    keyring: Keyring,
    server: Option<Server>,
}

struct Server {
    stop: oneshot::Sender<()>,
    serving: JoinHandle<Result<(), workload_api::ServeError>>,
}

impl Node {
    pub(crate) async fn start(name: &str) -> Self {
        let cgroups = Cgroups::new("identity", name);
        let domain: TrustDomain = "td.example".parse().unwrap();
        let authority = CertificateAuthority::new(domain, now(), time::Duration::DAY).unwrap();
        let (registry, keyring) = (Registry::new(), Keyring::new(authority.bundle(1)));
        keyring.set_tokens(Arc::clone(authority.tokens()));
        let folder = tempfile::tempdir().unwrap();
        let listener = workload_api::bind(&folder.path().join("run/workload.sock")).unwrap();
        let made = cgroups.path(MADE).parse().unwrap();
        let attestor = Attestor::new(registry.clone()).unwrap().with_pods_below(made);
        let (stop, stopped) = oneshot::channel();
        let serving = workload_api::serve(
            listener,
            attestor,
            keyring.clone(),
            workload_api::Tokens::Keyring,
            Routes::default(),
            async { drop(stopped.await) },
        );
        let server = Some(Server { stop, serving: tokio::spawn(serving) });
        Self { cgroups, folder, authority, registry, keyring, server }
    }

    pub(crate) fn cgroup(&self, below: &str) -> Cgroup {
        self.cgroups.make(below)
    }

    pub(crate) fn pod(&self, name: &str, id: &str) -> Cgroup {
        self.renew(id);
        self.pod_without_svid(name, id)
    }

    pub(crate) fn pod_without_svid(&self, name: &str, id: &str) -> Cgroup {
        let cgroup = self.cgroup(name);
        let (pod, id) = (Name::new("shop", name), id.parse::<SpiffeId>().unwrap());
        self.registry
            .add(Registration {
                pod,
                uid: None,
                ids: vec![id.into()],
                federates_with: BTreeSet::new(),
                cgroups: vec![cgroup.clone().into()],
            })
            .unwrap();
        cgroup
    }

    /// Another SVID of an identity with these DNS names.
    pub(crate) fn renew_named(&self, id: &str, dns_names: &Arc<[DnsName]>) {
        let subject = Subject { id: id.parse().unwrap(), dns_names: Arc::clone(dns_names) };
        let svid = self.authority.issue_to(&subject, now(), time::Duration::HOUR).unwrap();
        self.keyring.insert_named(svid, subject.dns_names);
    }

    /// Gives a pod other identities while it runs.
    pub(crate) fn give(&self, name: &str, ids: Vec<Identity>) {
        self.registry.set_identities(&Name::new("shop", name), ids);
    }

    /// A pod with these identities in cgroups of containers; all of their SVIDs are issued.
    pub(crate) fn pod_of_containers(&self, name: &str, containers: &[&str], ids: Vec<Identity>) -> Vec<Cgroup> {
        ids.iter().for_each(|identity| self.renew(identity.id.as_str()));
        let cgroups: Vec<_> = containers.iter().map(|container| self.cgroup(&format!("{name}/{container}"))).collect();
        let place = |(cgroup, container): (&Cgroup, &&str)| Place {
            cgroup: cgroup.clone(),
            container: Some((*container).into()),
        };
        let cgroups_of = cgroups.iter().zip(containers).map(place).collect();
        self.registry
            .add(Registration {
                pod: Name::new("shop", name),
                uid: None,
                ids,
                federates_with: BTreeSet::new(),
                cgroups: cgroups_of,
            })
            .unwrap();
        cgroups
    }

    /// A pod with several identities; none of their SVIDs is issued.
    pub(crate) fn pod_with(&self, name: &str, ids: Vec<Identity>) -> Cgroup {
        let cgroup = self.cgroup(name);
        self.registry
            .add(Registration {
                pod: Name::new("shop", name),
                uid: None,
                ids,
                federates_with: BTreeSet::new(),
                cgroups: vec![cgroup.clone().into()],
            })
            .unwrap();
        cgroup
    }

    pub(crate) fn remove(&self, name: &str) {
        assert!(self.registry.remove(&Name::new("shop", name)));
    }

    /// Another cgroup in the place of this one.
    pub(crate) fn recreate(&self, cgroup: &Cgroup) -> Cgroup {
        self.cgroups.recreate(cgroup)
    }

    pub(crate) fn renew(&self, id: &str) {
        let id: SpiffeId = id.parse().unwrap();
        self.keyring.insert(self.authority.issue(&id, now(), time::Duration::HOUR).unwrap());
    }

    /// Leaves an SVID that is over in the place of an identity's.
    pub(crate) fn expire(&self, id: &str) {
        let then = now() - time::Duration::HOUR;
        let svid = self.authority.issue(&id.parse().unwrap(), then, time::Duration::MINUTE).unwrap();
        self.keyring.insert(svid);
    }

    pub(crate) fn renumber_bundle(&self) {
        let sequence = self.keyring.bundle().sequence() + 1;
        self.keyring.set_bundle(self.bundle().numbered(sequence));
    }

    /// Believes one more authority, and returns its certificate.
    pub(crate) fn add_authority(&self) -> Vec<u8> {
        let domain = self.authority.trust_domain().clone();
        let other = CertificateAuthority::new(domain.clone(), now(), time::Duration::DAY).unwrap();
        let other = other.certificates()[0].clone();
        let mut authorities = self.bundle().authorities().to_vec();
        authorities.push(other.clone());
        self.keyring.set_bundle(Bundle::new(domain, authorities, 9).unwrap());
        other.to_vec()
    }

    pub(crate) fn set_bundle(&self, bundle: Bundle) {
        self.keyring.set_bundle(bundle);
    }

    /// Has a pod federate with these trust domains, and no others.
    pub(crate) fn federate_pod(&self, name: &str, trust_domains: &[&str]) {
        let federates_with = trust_domains.iter().map(|name| name.parse().unwrap()).collect();
        self.registry.set_federates_with(&Name::new("shop", name), &federates_with);
    }

    /// Knows a trust domain of this name from now on, and returns its authority.
    pub(crate) fn federate(&self, trust_domain: &str) -> CertificateAuthority {
        let other = CertificateAuthority::new(trust_domain.parse().unwrap(), now(), time::Duration::DAY).unwrap();
        assert!(self.keyring.set_foreign(other.bundle(1)).unwrap());
        other
    }

    pub(crate) fn end_federation(&self, trust_domain: &str) {
        assert!(self.keyring.remove_foreign(&trust_domain.parse().unwrap()));
    }

    /// Names the issuer in tokens from now on.
    pub(crate) fn set_token_issuer(&self, issuer: &str) {
        self.keyring.set_token_issuer(Some(issuer.into()));
    }

    pub(crate) fn bundle(&self) -> Bundle {
        (*self.keyring.bundle()).clone()
    }

    pub(crate) async fn stop(&mut self) {
        let Server { stop, serving } = self.server.take().unwrap();
        stop.send(()).unwrap();
        tokio::time::timeout(PATIENCE, serving).await.expect("an end in time").unwrap().unwrap();
    }

    /// A process in this cgroup; it has not connected yet.
    pub(crate) fn process(&self, place: &Cgroup) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "a_process", "--nocapture", "--test-threads=1"])
            .env(SOCKET, self.folder.path().join("run/workload.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, answers) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.strip_prefix(ANSWER).is_some_and(|answer| sender.send(answer.to_owned()).is_err()) {
                    return;
                }
            }
        });
        let orders = child.stdin.take().unwrap();
        let process = Process { child, orders, answers };
        process.enter(place);
        process
    }
}

impl Node {
    /// A process in this cgroup that has this number, which must be free. The kernel is told which number it gave
    /// last; others of this machine may be quicker, so it takes a few attempts.
    pub(crate) fn process_numbered(&self, place: &Cgroup, pid: u32) -> Process {
        let last = "/proc/sys/kernel/ns_last_pid";
        for _ in 0..200 {
            fs::write(last, (pid - 1).to_string()).expect("a kernel with checkpoint/restore, and root");
            let process = self.process(place);
            if process.pid() == pid {
                return process;
            }
        }
        panic!("no process was given the number {pid}");
    }
}

pub(crate) struct Process {
    child: Child,
    orders: ChildStdin,
    answers: Receiver<String>,
}

impl Process {
    /// Moves it to another cgroup.
    pub(crate) fn enter(&self, place: &Cgroup) {
        enter(&self.child, place);
    }

    pub(crate) fn connect(&mut self) {
        self.order("connect");
        self.answer("done");
    }

    pub(crate) fn fetch(&mut self) -> State {
        self.order("fetch");
        self.next_state()
    }

    /// The bundles by trust domain.
    pub(crate) fn fetch_bundles(&mut self) -> Vec<(String, Vec<u8>)> {
        self.order("bundles");
        let message = X509BundlesResponse::decode(bytes(&self.answer("bundles")).as_slice()).unwrap();
        let mut bundles: Vec<_> = message.bundles.into_iter().collect();
        bundles.sort();
        bundles
    }

    pub(crate) fn watch(&mut self) {
        self.order("watch");
    }

    pub(crate) fn next_state(&mut self) -> State {
        State(X509svidResponse::decode(bytes(&self.answer("state")).as_slice()).unwrap())
    }

    /// Code and message.
    pub(crate) fn stream_end(&mut self) -> (String, String) {
        status(&self.answer("end"))
    }

    pub(crate) fn refused(&mut self) -> (String, String) {
        self.refusal_of("fetch")
    }

    pub(crate) fn refused_bundles(&mut self) -> (String, String) {
        self.refusal_of("bundles")
    }

    pub(crate) fn without_header(&mut self) -> (String, String) {
        self.refusal_of("without-header")
    }

    pub(crate) fn nothing_for(&mut self, time: Duration) -> bool {
        self.answers.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
    }

    /// It forks and ends: from here on, answers come from another process, with its connections and its pipes.
    /// What has ended stays a zombie, which keeps its number, until [`bury`](Self::bury).
    pub(crate) fn fork_and_end(&mut self) {
        self.order("fork-and-end");
        self.answer("done");
        let status = format!("/proc/{}/status", self.child.id());
        while !fs::read_to_string(&status).unwrap().contains("State:\tZ") {
            std::thread::yield_now();
        }
    }

    /// Frees the number of the process that has ended, and returns it.
    pub(crate) fn bury(&mut self) -> u32 {
        self.child.wait().unwrap();
        self.child.id()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn refusal_of(&mut self, order: &str) -> (String, String) {
        self.order(order);
        status(&self.answer("refused"))
    }

    pub(crate) fn order(&mut self, order: &str) {
        writeln!(self.orders, "{order}").unwrap();
    }

    pub(crate) fn answer(&mut self, kind: &str) -> String {
        let answer = self.answers.recv_timeout(PATIENCE).expect("an answer in time");
        match answer.strip_prefix(kind) {
            Some(rest) => rest.trim_start().to_owned(),
            None => panic!("expected the answer {kind}, got {answer}"),
        }
    }
}

/// What a pod was told in one message.
pub(crate) struct State(X509svidResponse);

impl State {
    /// Every identity and its hint, in their order.
    pub(crate) fn hinted(&self) -> Vec<(&str, &str)> {
        self.0.svids.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect()
    }

    /// The common name and the DNS names of each leaf.
    pub(crate) fn names(&self) -> Vec<(String, Vec<String>)> {
        let names = |svid: &X509svid| {
            let read = LeafNames::from_pem(certificates_to_pem(&[svid.x509_svid.clone().into()]).as_bytes()).unwrap();
            assert_eq!(read.uris, [svid.spiffe_id.as_str()]);
            (read.common_name, read.dns_names)
        };
        self.0.svids.iter().map(names).collect()
    }

    pub(crate) fn only_id(&self) -> &str {
        &self.only().spiffe_id
    }

    /// The foreign bundles beside the SVID, by trust domain.
    pub(crate) fn federated(&self) -> Vec<(String, Vec<u8>)> {
        let mut bundles: Vec<_> = self.0.federated_bundles.clone().into_iter().collect();
        bundles.sort();
        bundles
    }

    pub(crate) fn leaf(&self) -> &[u8] {
        &self.only().x509_svid
    }

    pub(crate) fn bundle(&self) -> &[u8] {
        &self.only().bundle
    }

    /// The identity that the chain proves against `bundle`; the key must be the chain's.
    pub(crate) fn proves(&self, bundle: &Bundle) -> String {
        let svid = self.only();
        assert_eq!(svid.bundle, bundle.concatenated_der());
        proves(vec![svid.x509_svid.clone().into()], svid.x509_svid_key.clone(), bundle)
    }

    fn only(&self) -> &X509svid {
        let [svid] = self.0.svids.as_slice() else { panic!("expected one SVID, saw {}", self.0.svids.len()) };
        svid
    }
}

fn proves(chain: Vec<CertificateDer<'static>>, key: Vec<u8>, bundle: &Bundle) -> String {
    let id = verify(&chain, bundle, unix_time(now()), Usage::Client).unwrap();
    let key = PrivateKey::from_pkcs8(key);
    let svid = Svid { id: id.clone(), chain, key, not_before: now(), not_after: now() };
    tls::server_config(&Keyring::new(bundle.clone()), &svid).expect("a key that fits the chain");
    id.to_string()
}

/// The identity that a chain of PEM proves against `bundle`; the key must be the chain's.
pub(crate) fn proves_pem(chain: &str, key: &str, bundle: &Bundle) -> String {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(Result::unwrap).collect();
    let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).unwrap();
    proves(chain, key.secret_pkcs8_der().to_vec(), bundle)
}

fn status(text: &str) -> (String, String) {
    let (code, message) = text.split_once(' ').unwrap_or((text, ""));
    (code.to_owned(), message.to_owned())
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap() as u8;
    hex.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect()
}

pub(crate) fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
