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
/// Begins every line of the answer, so that the test harness' own are not taken for one.
const ANSWER: &str = "answer ";

/// The SPIFFE IDs that a process of a pod is given after it did what `first` says, or the refusal.
pub(crate) fn ids(lab: &Lab, pod: &str, first: &str) -> Vec<String> {
    let program = std::env::current_exe().unwrap();
    let script = format!("({first}) >&2; {ASK}=1 exec '{}' --exact workload_client::a_process", program.display());
    answers(&lab.run(&["exec", pod, "--", "sh", "-c", &script]))
}

/// What a process of the machine, in no pod, is told at the lab's socket.
pub(crate) fn ids_outside(lab: &Lab) -> Vec<String> {
    let socket = Path::new("/run/lictor").join(lab.0).join("workload.sock");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ASK, "1").env(SOCKET, format!("unix://{}", socket.display()));
    answers(&command.args(["--exact", "workload_client::a_process"]).output().unwrap())
}

fn answers(output: &Output) -> Vec<String> {
    let said = String::from_utf8_lossy(&output.stdout);
    said.lines().filter_map(|line| line.strip_prefix(ANSWER)).map(str::to_owned).collect()
}

/// The body of the processes that ask; in the test run itself it has nothing to do.
#[test]
fn a_process() {
    if std::env::var_os(ASK).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for answer in runtime.block_on(ask()) {
            // Past the harness, which keeps what a test prints.
            writeln!(std::io::stdout(), "\n{ANSWER}{answer}").unwrap();
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
    let mut request = Request::new(X509svidRequest {});
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    SpiffeWorkloadApiClient::new(channel).fetch_x509svid(request).await?.into_inner().message().await
}
