//! The process of a pod: takes orders on its standard input and answers on its standard output, a line each.

use crate::sds_client::Relay;
use hyper_util::rt::TokioIo;
use lictor_wire::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use lictor_wire::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, ValidateJwtsvidRequest, X509BundlesRequest, X509svidRequest,
    X509svidResponse,
};
use prost::Message;
use prost_types::FileDescriptorProto;
use std::os::fd::{FromRawFd, OwnedFd};
use std::path::PathBuf;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Asked;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Told;

/// Names the socket in the environment of a process.
pub(crate) const SOCKET: &str = "LICTOR_TEST_WORKLOAD_SOCKET";

/// Begins every answer, so that the test harness' own lines are not taken for one.
pub(crate) const ANSWER: &str = "answer ";

pub(crate) struct Orders {
    socket: PathBuf,
}

impl Orders {
    pub(crate) fn from_environment() -> Option<Self> {
        std::env::var_os(SOCKET).map(|socket| Self { socket: socket.into() })
    }

    /// Does as it is told until there are no more orders. One thread only: the process can fork.
    pub(crate) fn run(self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.obey());
        // Not back into the harness: after a fork its other threads are gone.
        std::process::exit(0);
    }

    async fn obey(self) {
        #[allow(unsafe_code)]
        // SAFETY: descriptor 0 is the pipe that the parent made, and nothing else in this process reads it.
        let stdin = unsafe { OwnedFd::from_raw_fd(0) };
        let mut orders = BufReader::new(pipe::Receiver::from_owned_fd(stdin).unwrap()).lines();
        let mut api: Option<SpiffeWorkloadApiClient<Channel>> = None;
        let mut watched: Option<Streaming<X509svidResponse>> = None;
        let mut watched_bundles: Option<Streaming<JwtBundlesResponse>> = None;
        let mut relay = Relay::default();
        let mut watched_health: Option<Streaming<HealthCheckResponse>> = None;
        loop {
            let order = tokio::select! {
                order = orders.next_line() => match order.unwrap() {
                    Some(order) => order,
                    None => return,
                },
                state = next(&mut watched) => {
                    match state {
                        Ok(state) => answer("state", &hex(&state.encode_to_vec())),
                        Err(status) => {
                            watched = None;
                            refused("end", &status);
                        }
                    }
                    continue;
                }
                state = next(&mut watched_health) => {
                    match state {
                        Ok(state) => answer("health", &hex(&state.encode_to_vec())),
                        Err(status) => {
                            watched_health = None;
                            refused("end", &status);
                        }
                    }
                    continue;
                }
                state = next(&mut watched_bundles) => {
                    match state {
                        Ok(state) => answer("bundles", &hex(&state.encode_to_vec())),
                        Err(status) => {
                            watched_bundles = None;
                            refused("end", &status);
                        }
                    }
                    continue;
                }
                (what, text) = relay.next() => {
                    answer(what, &text);
                    continue;
                }
            };
            if order == "connect" {
                let channel = self.connect().await;
                relay.connect(channel.clone());
                api = Some(SpiffeWorkloadApiClient::new(channel));
                answer("done", "");
                continue;
            }
            let api = api.as_mut().expect("a connection before the first request");
            let words: Vec<&str> = order.split(' ').collect();
            match words[0] {
                "fetch" => match first(api.fetch_x509svid(with_header(X509svidRequest {})).await).await {
                    Ok(state) => answer("state", &hex(&state.encode_to_vec())),
                    Err(status) => refused("refused", &status),
                },
                "bundles" => match first(api.fetch_x509_bundles(with_header(X509BundlesRequest {})).await).await {
                    Ok(bundles) => answer("bundles", &hex(&bundles.encode_to_vec())),
                    Err(status) => refused("refused", &status),
                },
                "watch" => match api.fetch_x509svid(with_header(X509svidRequest {})).await {
                    Ok(stream) => watched = Some(stream.into_inner()),
                    Err(status) => refused("end", &status),
                },
                "without-header" => refused("refused", &api.fetch_x509svid(X509svidRequest {}).await.unwrap_err()),
                "jwt" => {
                    let audience = words[1..words.len() - 1].iter().map(|&word| word.to_owned()).collect();
                    let spiffe_id = words[words.len() - 1].to_owned();
                    reply("tokens", api.fetch_jwtsvid(with_header(JwtsvidRequest { audience, spiffe_id })).await);
                }
                "jwt-without-header" => {
                    refused("refused", &api.fetch_jwtsvid(JwtsvidRequest::default()).await.unwrap_err());
                }
                "jwt-bundles" => match first(api.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await).await {
                    Ok(bundles) => answer("bundles", &hex(&bundles.encode_to_vec())),
                    Err(status) => refused("refused", &status),
                },
                "jwt-bundles-without-header" => {
                    refused("refused", &api.fetch_jwt_bundles(JwtBundlesRequest {}).await.unwrap_err());
                }
                "watch-jwt-bundles" => {
                    let stream = api.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await;
                    watched_bundles = Some(stream.unwrap().into_inner());
                }
                "validate" => {
                    let (audience, svid) = (words[1].to_owned(), words[2].to_owned());
                    let request = with_header(ValidateJwtsvidRequest { audience, svid });
                    reply("validated", api.validate_jwtsvid(request).await);
                }
                "validate-without-header" => {
                    refused("refused", &api.validate_jwtsvid(ValidateJwtsvidRequest::default()).await.unwrap_err());
                }
                "health" => {
                    let service = words[1].to_owned();
                    let status = self.health().await.check(HealthCheckRequest { service }).await;
                    reply("health", status);
                }
                "watch-health" => {
                    watched_health =
                        Some(self.health().await.watch(HealthCheckRequest::default()).await.unwrap().into_inner())
                }
                "services" => answer("services", &self.services().await.join(" ")),
                "become" => {
                    become_another(words[1].parse().unwrap(), words[2].parse().unwrap());
                    answer("done", "");
                }
                "fork-and-end" => fork_and_end(),
                "sds" => {
                    if let Some((what, text)) = relay.obey(words[1], words.get(2).copied()).await {
                        answer(what, &text);
                    }
                }
                other => panic!("expected an order, saw {other}"),
            }
        }
    }

    /// Connects and makes sure that the server has noticed, by a request that every caller may make in vain.
    async fn connect(&self) -> Channel {
        let channel = self.channel().await;
        let mut api = SpiffeWorkloadApiClient::new(channel.clone());
        api.validate_jwtsvid(ValidateJwtsvidRequest::default()).await.unwrap_err();
        channel
    }
}

/// Services of no caller's own.
impl Orders {
    async fn channel(&self) -> Channel {
        let socket = self.socket.clone();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        Endpoint::from_static("http://workload").connect_with_connector(connector).await.unwrap()
    }

    async fn health(&self) -> HealthClient<Channel> {
        HealthClient::new(self.channel().await)
    }

    /// What reflection lists, and the methods that it describes of the Workload API.
    async fn services(&self) -> Vec<String> {
        let mut client = ServerReflectionClient::new(self.channel().await);
        let ask = |asked: Asked| ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
        let asked =
            [ask(Asked::ListServices(String::new())), ask(Asked::FileContainingSymbol("SpiffeWorkloadAPI".to_owned()))];
        let mut answers = client.server_reflection_info(futures::stream::iter(asked)).await.unwrap().into_inner();
        let mut names = Vec::new();
        while let Some(answer) = answers.message().await.unwrap() {
            match answer.message_response.unwrap() {
                Told::ListServicesResponse(list) => names.extend(list.service.into_iter().map(|service| service.name)),
                Told::FileDescriptorResponse(files) => {
                    for file in files.file_descriptor_proto {
                        let file = FileDescriptorProto::decode(file.as_slice()).unwrap();
                        let methods = file.service.into_iter().flat_map(|service| service.method);
                        names.extend(methods.map(|method| method.name().to_owned()));
                    }
                }
                other => panic!("expected services, saw {other:?}"),
            }
        }
        names
    }
}

/// Goes on as another process with the same connections; the first one ends.
#[allow(unsafe_code)]
fn fork_and_end() {
    // SAFETY: the process has one thread that does anything, this one: no lock is held by another.
    match unsafe { nix::unistd::fork() }.unwrap() {
        // SAFETY: it ends the process at once; what it would have cleaned up belongs to the other one now.
        nix::unistd::ForkResult::Parent { .. } => unsafe { nix::libc::_exit(0) },
        nix::unistd::ForkResult::Child => answer("done", ""),
    }
}

/// Goes on as another user with one other group.
fn become_another(uid: u32, group: u32) {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    setgroups(&[Gid::from_raw(group)]).unwrap();
    setresgid(Gid::from_raw(uid), Gid::from_raw(uid), Gid::from_raw(uid)).unwrap();
    setresuid(Uid::from_raw(uid), Uid::from_raw(uid), Uid::from_raw(uid)).unwrap();
}

async fn next<M>(watched: &mut Option<Streaming<M>>) -> Result<M, Status> {
    match watched {
        Some(stream) => stream.message().await?.ok_or_else(|| Status::ok("the end")),
        None => std::future::pending().await,
    }
}

async fn first<M>(response: Result<tonic::Response<Streaming<M>>, Status>) -> Result<M, Status> {
    response?.into_inner().message().await?.ok_or_else(|| Status::ok("the end"))
}

fn with_header<M>(message: M) -> Request<M> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

fn reply<M: Message>(what: &str, response: Result<tonic::Response<M>, Status>) {
    match response {
        Ok(message) => answer(what, &hex(&message.into_inner().encode_to_vec())),
        Err(status) => refused("refused", &status),
    }
}

fn refused(what: &str, status: &Status) {
    answer(what, &said(status));
}

pub(crate) fn said(status: &Status) -> String {
    format!("{:?} {}", status.code(), status.message())
}

fn answer(what: &str, text: &str) {
    use std::io::Write;
    // One write, past the harness' capture.
    std::io::stdout().write_all(format!("\n{ANSWER}{what} {text}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
