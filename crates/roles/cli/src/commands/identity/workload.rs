//! A client of the SPIFFE Workload API, for a person: of this lab's socket in a pod, or of any other agent's.

pub(super) mod fetch;
mod files;
pub(super) mod validate;

use anyhow::{Context, Result, bail};
use clap::Args;
use hyper_util::rt::TokioIo;
use lictor_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

/// A server that is there answers within this time, or is not spoken with.
const CONNECT: Duration = Duration::from_secs(5);

/// Messages have chains and bundles of many trust domains.
const MAX_ANSWER: usize = 16 << 20;

/// Where the Workload API is.
#[derive(Debug, Args)]
pub(super) struct Socket {
    /// The socket of the Workload API: a path, unix:PATH or tcp://IP:PORT; in a pod of a lab it is known
    #[arg(long, env = "SPIFFE_ENDPOINT_SOCKET", hide_env_values = true, value_name = "SOCKET")]
    socket: Option<String>,
}

/// An endpoint as its name says it.
///
/// Source: SPIFFE Workload Endpoint, section 4; a path alone is taken as well.
#[derive(Debug, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    Tcp(std::net::SocketAddr),
}

impl Address {
    fn parse(text: &str) -> Result<Self> {
        if let Some(address) = text.strip_prefix("tcp://") {
            return Ok(Self::Tcp(address.parse().with_context(|| format!("expected tcp://IP:PORT, saw `{text}`"))?));
        }
        let path = text.strip_prefix("unix:").unwrap_or(text);
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = Path::new(path);
        if path.is_absolute() {
            Ok(Self::Unix(path.to_owned()))
        } else {
            bail!("expected the absolute path of a socket, unix:PATH or tcp://IP:PORT, saw `{text}`")
        }
    }
}

impl Socket {
    /// A client whose answers are waited for, and no longer than it takes to connect.
    async fn connect(&self) -> Result<SpiffeWorkloadApiClient<Channel>> {
        let Some(text) = &self.socket else {
            bail!(
                "no Workload API is known here: name one by --socket or SPIFFE_ENDPOINT_SOCKET, or ask in a pod \
                 (lictor exec POD -- lictor identity fetch x509)"
            )
        };
        let endpoint = Endpoint::from_static("http://workload").connect_timeout(CONNECT);
        let channel = match Address::parse(text)? {
            Address::Unix(path) => {
                let connector = tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { UnixStream::connect(path).await.map(TokioIo::new) }
                });
                endpoint.connect_with_connector(connector).await
            }
            Address::Tcp(address) => {
                let connector =
                    tower::service_fn(move |_| async move { TcpStream::connect(address).await.map(TokioIo::new) });
                endpoint.connect_with_connector(connector).await
            }
        };
        let channel = channel.with_context(|| format!("nobody serves the Workload API at {text}"))?;
        Ok(SpiffeWorkloadApiClient::new(channel).max_decoding_message_size(MAX_ANSWER))
    }
}

/// A request with the header that the Workload Endpoint asks for (section 3).
fn asking<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", tonic::metadata::MetadataValue::from_static("true"));
    request
}

/// What a refusal means, and what to do about it.
fn refusal(status: &Status) -> anyhow::Error {
    let said = status.message();
    match status.code() {
        Code::PermissionDenied => anyhow::anyhow!(
            "no identity is issued to this process ({said}): the agent knows no registration for it; in a lab, ask in a pod by lictor exec"
        ),
        Code::Unavailable => anyhow::anyhow!("the Workload API cannot answer now ({said}); try again in a moment"),
        Code::Unimplemented => anyhow::anyhow!("this Workload API does not do that ({said})"),
        code => anyhow::anyhow!("the Workload API refused: {said} ({code:?})"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")
}

#[cfg(test)]
mod tests {
    use super::Address;
    use std::path::PathBuf;

    #[test]
    fn sockets_are_named_as_the_specification_and_people_do() {
        let unix = |path: &str| Some(Address::Unix(PathBuf::from(path)));
        for (text, expected) in [
            ("/run/a.sock", unix("/run/a.sock")),
            ("unix:/run/a.sock", unix("/run/a.sock")),
            ("unix:///run/a.sock", unix("/run/a.sock")),
            ("tcp://127.0.0.1:80", Some(Address::Tcp(([127, 0, 0, 1], 80).into()))),
            ("tcp://[::1]:80", Some(Address::Tcp(([0, 0, 0, 0, 0, 0, 0, 1], 80).into()))),
            ("tcp://localhost:80", None),
            ("tcp://127.0.0.1:80/x", None),
            ("unix://host/run/a.sock", None),
            ("run/a.sock", None),
            ("", None),
        ] {
            assert_eq!(Address::parse(text).ok(), expected, "{text}");
        }
    }
}
