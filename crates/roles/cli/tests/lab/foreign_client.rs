//! A process of a pod that calls a pod of another cluster by HBONE, with what the Workload API gives it: this very
//! program, started there again.

use crate::lab::Lab;
use crate::workload_client::first_state;
use bytes::Bytes;
use lictor_pki::tls::{Peers, client_config, no_name};
use lictor_pki::{Bundle, Keyring, PrivateKey, Svid};
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_rustls::TlsConnector;

/// Says whom to call: `address SPIFFE-ID`.
const CALL: &str = "LICTOR_TEST_CALLS";
/// Begins every line of what it says.
const SAYS: &str = "call ";
/// The port of tunnels.
const TUNNEL: u16 = 15008;

/// A call that goes on until something ends it.
pub(crate) struct Call {
    child: Child,
    lines: Receiver<String>,
}

impl Call {
    /// A process of `pod` calls port 7000 of the pod at `address`, which has to be `id`.
    pub(crate) fn start(lab: &Lab, pod: &str, address: &str, id: &str) -> Self {
        let program = std::env::current_exe().unwrap();
        let script = format!("{CALL}='{address} {id}' exec '{}' --exact foreign_client::a_call", program.display());
        let mut command = lab.command(&["exec", pod, "--", "sh", "-c", &script]);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = channel();
        let output = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if line.strip_prefix(SAYS).is_some_and(|said| sender.send(said.to_owned()).is_err()) {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// What it says next: `served`, or `refused` or `ended` with the reason.
    pub(crate) fn says(&self) -> String {
        self.lines.recv_timeout(Duration::from_secs(20)).expect("a word in time")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The body of the processes that call; in the test run itself it has nothing to do.
#[test]
fn a_call() {
    if let Ok(whom) = std::env::var(CALL) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (address, id) = whom.split_once(' ').unwrap();
        let end = runtime.block_on(call(address, id)).unwrap_or_else(|refusal| format!("refused: {refusal}"));
        say(&end);
        std::process::exit(0);
    }
}

/// Past the harness, which keeps what a test prints.
fn say(what: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "\n{SAYS}{what}").unwrap();
    out.flush().unwrap();
}

/// Says `served` once bytes have come back; returns what ended the call after that.
async fn call(address: &str, id: &str) -> Result<String, Box<dyn std::error::Error>> {
    let state = first_state().await?.ok_or("no state")?;
    let (keyring, svid) = material(&state)?;
    let config = client_config(&keyring, &svid, &Peers::one(id.parse()?))?;
    let tcp = tokio::net::TcpStream::connect((address, TUNNEL)).await?;
    let tls = TlsConnector::from(Arc::new(config)).connect(no_name(), tcp).await?;
    let (requests, connection) = h2::client::handshake(tls).await?;
    tokio::spawn(connection);
    let request = http::Request::builder().method("CONNECT").uri(format!("{address}:7000")).body(())?;
    let (response, mut send) = requests.ready().await?.send_request(request, false)?;
    let response = response.await?;
    if response.status() != 200 {
        return Err(format!("status {}", response.status()).into());
    }
    let mut receive = response.into_body();
    let mut served = false;
    loop {
        if let Err(error) = send.send_data(Bytes::from_static(b"again\n"), false) {
            return Ok(format!("ended: {error}"));
        }
        match receive.data().await {
            Some(Ok(piece)) => receive.flow_control().release_capacity(piece.len())?,
            Some(Err(error)) => return Ok(format!("ended: {error}")),
            None => return Ok("ended: no more".to_owned()),
        }
        if !std::mem::replace(&mut served, true) {
            say("served");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The caller's SVID, its own bundle, and those of the federated trust domains.
fn material(state: &lictor_wire::workload::X509svidResponse) -> Result<(Keyring, Svid), Box<dyn std::error::Error>> {
    let own = state.svids.first().ok_or("no SVID")?;
    let id: lictor_model::SpiffeId = own.spiffe_id.parse()?;
    let bundle = |domain, der: &[u8]| Bundle::new(domain, split(der).into_iter().map(Into::into).collect(), 1);
    let keyring = Keyring::new(bundle(id.trust_domain(), &own.bundle)?);
    for (name, der) in &state.federated_bundles {
        let domain = name.strip_prefix("spiffe://").ok_or("no trust domain")?.parse()?;
        keyring.set_foreign(bundle(domain, der)?)?;
    }
    let chain = split(&own.x509_svid).into_iter().map(Into::into).collect();
    let key = PrivateKey::from_pkcs8(own.x509_svid_key.clone());
    let now = OffsetDateTime::now_utc();
    Ok((keyring, Svid { id, chain, key, not_before: now, not_after: now }))
}

/// Certificates that stand one after another: each is a DER sequence with its length in two bytes (X.690, section 8.1.3).
fn split(mut der: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while !der.is_empty() {
        assert_eq!(der[..2], [0x30, 0x82], "a certificate of 256 bytes to 64 KiB");
        let (one, rest) = der.split_at(4 + usize::from(u16::from_be_bytes([der[2], der[3]])));
        all.push(one.to_vec());
        der = rest;
    }
    all
}
