//! A broker in a pod or on the machine: this very program, started there again.

use crate::lab::Lab;
use crate::workload_client;
use hyper_util::rt::TokioIo;
use lictor_pki::tls::{Peers, client_config, no_name};
use lictor_pki::{Bundle, Keyring, PrivateKey, Svid};
use lictor_wire::broker::api_client::ApiClient;
use lictor_wire::broker::{
    KubernetesObjectKey, KubernetesObjectReference, KubernetesObjectType, SubscribeToX509svidRequest,
    WorkloadPidReference, WorkloadReference,
};
use prost::Message;
use prost_types::Any;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use time::OffsetDateTime;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

/// Names the socket to brokers; set in their pods by the lab.
pub(crate) const SOCKET: &str = "SPIFFE_BROKER_SOCKET";
/// Names the folder with the files of `lictor identity fetch x509 --write`.
const FILES: &str = "LICTOR_TEST_BROKER_FILES";
/// What to ask about, and how many states to wait for: `pid:NUMBER COUNT` or `NAMESPACE/NAME COUNT`.
const ABOUT: &str = "LICTOR_TEST_BROKER_ABOUT";
/// Begins every line of the answer, so that the test harness' own are not taken for one.
const ANSWER: &str = "answer ";

/// What a process of a pod is told that asks with the SVID in `files`: an identity for each state, then the refusal if one comes.
pub(crate) fn told_in(lab: &Lab, pod: &str, files: &Path, more: &str, about: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let (files, program) = (files.display(), program.display());
    let script =
        format!("{FILES}='{files}' {ABOUT}='{about}' {more} exec '{program}' --exact broker_client::a_process");
    workload_client::answers(&lab.run(&["exec", pod, "--", "sh", "-c", &script]))
}

/// The same for a process of the machine, in no pod.
pub(crate) fn told_here(socket: &Path, files: &Path, about: &str) -> Vec<String> {
    workload_client::answers(&here(socket, files, about).output().unwrap())
}

/// The process itself, its output to be read.
pub(crate) fn here(socket: &Path, files: &Path, about: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(SOCKET, format!("unix://{}", socket.display())).env(FILES, files).env(ABOUT, about);
    command.args(["--exact", "broker_client::a_process"]).stdout(Stdio::piped());
    command
}

/// The body of the processes that ask; in the test run itself it has nothing to do.
#[test]
fn a_process() {
    let (Some(files), Ok(about)) = (std::env::var_os(FILES), std::env::var(ABOUT)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if let Err(status) = runtime.block_on(ask(Path::new(&files), &about)) {
        say(&format!("{:?}: {}", status.code(), status.message()));
    }
    std::process::exit(0);
}

async fn ask(files: &Path, about: &str) -> Result<(), Status> {
    let (about, count) = about.split_once(' ').unwrap();
    let mut request = Request::new(SubscribeToX509svidRequest { reference: Some(reference(about)) });
    request.metadata_mut().insert("broker.spiffe.io", "true".parse().unwrap());
    let mut states = ApiClient::new(channel(files).await).subscribe_to_x509svid(request).await?.into_inner();
    for _ in 0..count.parse().unwrap() {
        let Some(state) = states.message().await? else { return Ok(()) };
        let ids: Vec<_> = state.svids.iter().map(|svid| svid.spiffe_id.as_str()).collect();
        say(&ids.join(" "));
    }
    Ok(())
}

async fn channel(files: &Path) -> Channel {
    let read = |name: &str| std::fs::read(files.join(name)).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read("svid.0.pem")).map(Result::unwrap).collect();
    let key = PrivatePkcs8KeyDer::from_pem_slice(&read("svid.0.key")).unwrap();
    let key = PrivateKey::from_pkcs8(key.secret_pkcs8_der().to_vec());
    let (id, now) = (lictor_pki::identity_of(&chain[0]).unwrap(), OffsetDateTime::now_utc());
    let bundle = Bundle::from_pem(id.trust_domain(), std::str::from_utf8(&read("bundle.0.pem")).unwrap()).unwrap();
    let endpoint = format!("spiffe://{}/lictor/broker-endpoint", id.trust_domain()).parse().unwrap();
    let svid = Svid { id, chain, key, not_before: now, not_after: now };
    let config = client_config(&Keyring::new(bundle), &svid, &Peers::one(endpoint)).unwrap();
    let tls = TlsConnector::from(Arc::new(config));
    let socket = PathBuf::from(std::env::var(SOCKET).expect("a broker's pod").strip_prefix("unix://").unwrap());
    let connector = tower::service_fn(move |_| {
        let (tls, socket) = (tls.clone(), socket.clone());
        async move { tls.connect(no_name(), UnixStream::connect(socket).await?).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://broker").connect_with_connector(connector).await.unwrap()
}

fn reference(about: &str) -> WorkloadReference {
    let packed = |name: &str, value: Vec<u8>| {
        let type_url = format!("type.googleapis.com/spiffe.broker.{name}");
        WorkloadReference { reference: Some(Any { type_url, value }) }
    };
    if let Some(number) = about.strip_prefix("pid:") {
        let reference = WorkloadPidReference { pid: number.parse().unwrap() };
        return packed("WorkloadPIDReference", reference.encode_to_vec());
    }
    let (namespace, name) = about.split_once('/').unwrap();
    let reference = KubernetesObjectReference {
        r#type: Some(KubernetesObjectType { plural: "pods".to_owned(), group: "core".to_owned() }),
        key: Some(KubernetesObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }),
        uid: String::new(),
    };
    packed("KubernetesObjectReference", reference.encode_to_vec())
}

/// Past the harness, which keeps what a test prints.
fn say(line: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("\n{ANSWER}{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}
