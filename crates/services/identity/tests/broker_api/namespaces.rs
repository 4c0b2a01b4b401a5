//! A broker that counts processes differently than the node does (Broker API, section 3.1.2).

use crate::client::{Broker, channel, explained, pid, pod};
use crate::node::{ENDPOINT, Node, now};
use crate::{A, PROXY, UID_A};
use lictor_pki::{Bundle, PrivateKey, Svid};
use lictor_wire::broker::api_client::ApiClient;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::path::PathBuf;
use std::process::Command;

/// Names the folder with the socket and the broker's SVID to the process that is to ask.
const FOLDER: &str = "LICTOR_TEST_BROKER_FOLDER";
/// The number that it is to refer to.
const PID: &str = "LICTOR_TEST_BROKER_PID";
const ANSWER: &str = "answer ";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_of_another_pid_namespace_refers_to_nothing_here() {
    let node = Node::start("namespace").await;
    let process = node.process(&node.pod("a", UID_A, A));
    let svid = node.issue(PROXY, time::Duration::HOUR);
    let folder = node.folder();
    std::fs::write(folder.join("svid.pem"), svid.chain_pem()).unwrap();
    std::fs::write(folder.join("key.pem"), svid.key_pem().as_bytes()).unwrap();
    std::fs::write(folder.join("bundle.pem"), node.bundle().to_pem()).unwrap();
    let ask = |words: &[&str]| {
        let program = std::env::current_exe().unwrap();
        let (first, rest) = words.split_first().unwrap();
        let mut command = Command::new(first);
        command.args(rest).arg(program).args(["--exact", "namespaces::a_broker", "--nocapture", "--test-threads=1"]);
        command.env(FOLDER, &folder).env(PID, process.pid().to_string());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let said: Vec<_> = said.lines().filter_map(|line| line.strip_prefix(ANSWER)).map(str::to_owned).collect();
        assert_eq!(said.len(), 2, "{output:?}");
        said
    };
    let ask = async |words: &'static [&'static str]| tokio::task::block_in_place(|| ask(words));
    // The same process in the node's own namespace, so that a refusal is not one of everybody.
    assert_eq!(ask(&["env"]).await, [A, A]);
    let refused = r#"InvalidArgument Some("WORKLOAD_REFERENCE_INVALID")"#;
    assert_eq!(ask(&["unshare", "--pid", "--fork"]).await, [refused, A], "by its object, a pod is the same everywhere");
}

/// The body of the process that asks: by number, then by object.
#[test]
fn a_broker() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(read("svid.pem").as_bytes()).map(Result::unwrap).collect();
    let key = PrivatePkcs8KeyDer::from_pem_slice(read("key.pem").as_bytes()).unwrap();
    let key = PrivateKey::from_pkcs8(key.secret_pkcs8_der().to_vec());
    let svid = Svid { id: PROXY.parse().unwrap(), chain, key, not_before: now(), not_after: now() };
    let bundle = Bundle::from_pem("td.example".parse().unwrap(), &read("bundle.pem")).unwrap();
    let number = std::env::var(PID).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let channel = channel(folder.join("run/broker.sock"), bundle, &svid, ENDPOINT).await.unwrap();
        let mut broker = Broker { api: ApiClient::new(channel) };
        for reference in [pid(number), pod("shop/a", UID_A)] {
            let said = match broker.watch(reference).await {
                Ok(mut states) => states.message().await.unwrap().unwrap().svids.remove(0).spiffe_id,
                Err(status) => {
                    let (code, reason) = explained(&status);
                    format!("{code:?} {reason:?}")
                }
            };
            println!("\n{ANSWER}{said}");
        }
    });
}
