//! A client of the Workload API in a pod: this very program, started there again.

use crate::lab::Lab;
use hyper_util::rt::TokioIo;
use lictor_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lictor_wire::workload::{X509svidRequest, X509svidResponse};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tokio::net::UnixStream;
use tonic::Request;
use tonic::transport::Endpoint;

/// Names the socket to the process that is to ask; set in every pod by the lab.
const SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Says that this process is one that is to ask.
const ASK: &str = "LICTOR_TEST_ASKS";
/// Names a file that is waited for between the connection and the question.
pub(crate) const WAITS: &str = "LICTOR_TEST_WAITS";
/// Says that the question is asked by a child, on the connection of a process that has ended.
pub(crate) const FORKS: &str = "LICTOR_TEST_FORKS";
/// Begins every line of the answer, so that the test harness' own are not taken for one.
const ANSWER: &str = "answer ";

/// The SPIFFE IDs that a process of a pod is given after it did what `first` says, or the refusal.
pub(crate) fn ids(lab: &Lab, pod: &str, first: &str) -> Vec<String> {
    ids_of(lab, &[pod], first)
}

/// The same for a pod and the options of `exec`.
pub(crate) fn ids_of(lab: &Lab, pod: &[&str], first: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let script = format!("({first}) >&2; {ASK}=1 exec '{}' --exact workload_client::a_process", program.display());
    let words = [&["exec"], pod, &["--", "sh", "-c", &script]].concat();
    answers(&lab.run(&words))
}

/// What a process of the machine, in no pod, is told at the lab's socket.
pub(crate) fn ids_outside(lab: &Lab) -> Vec<String> {
    let socket = Path::new("/run/lictor").join(lab.0).join("workload.sock");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ASK, "1").env(SOCKET, format!("unix://{}", socket.display()));
    answers(&command.args(["--exact", "workload_client::a_process"]).output().unwrap())
}

/// A process that asks, in a cgroup: it is there before it connects. `before` is a command that it runs first, which may end in
/// `exec unshare … sh -c '… && "$@"' --` to have mounts of its own.
pub(crate) fn process_in(lab: &Lab, cgroup: &Path, before: &str, variables: &[(&str, &str)]) -> Command {
    let socket = Path::new("/run/lictor").join(lab.0).join("workload.sock");
    let script = format!("echo $$ > '{}/cgroup.procs' && {before} \"$@\"", cgroup.display());
    let mut command = Command::new("sh");
    command.args(["-c", &script, "--"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "workload_client::a_process"]);
    command.env(ASK, "1").env(SOCKET, format!("unix://{}", socket.display()));
    command.envs(variables.iter().copied()).stdout(std::process::Stdio::piped());
    command
}

/// Says on a line of its own that the process has its connection, and which number it has.
pub(crate) const CONNECTED: &str = "connected ";

pub(crate) fn answers(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter_map(|line| line.strip_prefix(ANSWER)).map(str::to_owned).collect()
}

/// The body of the processes that ask; in the test run itself it has nothing to do.
#[test]
fn a_process() {
    if std::env::var_os(ASK).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for answer in runtime.block_on(ask()) {
            say(&format!("{ANSWER}{answer}"));
        }
        std::process::exit(0);
    }
}

async fn ask() -> Vec<String> {
    match first_state().await {
        Ok(state) => state.into_iter().flat_map(|state| state.svids).map(|svid| svid.spiffe_id).collect(),
        Err(status) => vec![format!("{:?}: {}", status.code(), status.message())],
    }
}

/// The first state that this process is sent.
pub(crate) async fn first_state() -> Result<Option<X509svidResponse>, tonic::Status> {
    let socket = PathBuf::from(std::env::var(SOCKET).unwrap().strip_prefix("unix://").unwrap());
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let channel = Endpoint::from_static("http://workload").connect_with_connector(connector).await.unwrap();
    if let Some(file) = std::env::var_os(WAITS) {
        wait_for(&channel, Path::new(&file)).await;
    }
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    SpiffeWorkloadApiClient::new(channel).fetch_x509svid(request).await?.into_inner().message().await
}

/// Past the harness, which keeps what a test prints.
fn say(line: &str) {
    let mut out = std::io::stdout();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Says that there is a connection and that the server knows of it, and waits for the file.
async fn wait_for(channel: &tonic::transport::Channel, file: &Path) {
    SpiffeWorkloadApiClient::new(channel.clone()).fetch_x509svid(X509svidRequest {}).await.expect_err("no header");
    say(&format!("{CONNECTED}{}", std::process::id()));
    if std::env::var_os(FORKS).is_some() {
        fork_and_end();
    }
    while !file.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Goes on as another process with the same connections; the first one ends.
#[allow(unsafe_code)]
fn fork_and_end() {
    // SAFETY: one thread does anything, this one: no lock is held by another.
    if unsafe { nix::unistd::fork() }.unwrap().is_parent() {
        // SAFETY: it ends the process at once; what it would have cleaned up belongs to the other one now.
        unsafe { nix::libc::_exit(0) }
    }
}
