//! Whatever a process of a pod sends to the node's socket is answered or refused, and no token of its own making is valid.
//!
//! The server is the real one on a socket of its own; this process is in the cgroup of a registered pod, for which it has to
//! be root. The first byte of an input says which method is called, the others are the message as it is sent.
#![no_main]

use bytes::{Buf, BufMut};
use http::uri::PathAndQuery;
use hyper_util::rt::TokioIo;
use libfuzzer_sys::fuzz_target;
use lictor_identity::{Attestor, Registration, Registry, Tree, workload_api};
use lictor_model::{Name, SpiffeId};
use lictor_pki::{CertificateAuthority, Keyring};
use lictor_wire::workload::JwtsvidRequest;
use prost::Message;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

const METHODS: [&str; 7] = [
    "/SpiffeWorkloadAPI/FetchX509SVID",
    "/SpiffeWorkloadAPI/FetchX509Bundles",
    "/SpiffeWorkloadAPI/FetchJWTBundles",
    FETCH,
    VALIDATE,
    "/envoy.service.secret.v3.SecretDiscoveryService/FetchSecrets",
    "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets",
];
const FETCH: &str = "/SpiffeWorkloadAPI/FetchJWTSVID";
const VALIDATE: &str = "/SpiffeWorkloadAPI/ValidateJWTSVID";

/// Bytes as they are, in both directions.
#[derive(Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

struct World {
    runtime: Runtime,
    channel: Channel,
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
        let channel = runtime.block_on(serve());
        World { runtime, channel }
    })
}

/// Serves this process as a pod, and connects it.
async fn serve() -> Channel {
    let tree = Tree::find().expect("a cgroup2 hierarchy");
    let path = format!("/lictor-fuzz-{}", std::process::id()).parse().expect("a path");
    let folder = tree.directory(&path);
    std::fs::create_dir_all(&folder).expect("a cgroup, for which this has to be root");
    std::fs::write(folder.join("cgroup.procs"), "0").expect("this process in it");
    let cgroup = tree.cgroup(path).expect("the cgroup");
    let id: SpiffeId = "spiffe://td.example/ns/a/sa/b".parse().expect("an identity");
    let now = time::OffsetDateTime::now_utc();
    let authority = CertificateAuthority::new(id.trust_domain(), now, time::Duration::DAY).expect("an authority");
    let (registry, keyring) = (Registry::new(), Keyring::new(authority.bundle(1)));
    keyring.set_tokens(Arc::clone(authority.tokens()));
    keyring.insert(authority.issue(&id, now, time::Duration::HOUR).expect("an SVID"));
    let (ids, cgroups) = (vec![id.into()], vec![cgroup.into()]);
    let pod = Registration { pod: Name::new("a", "p"), uid: None, ids, federates_with: BTreeSet::new(), cgroups };
    registry.add(pod).expect("a pod");
    let socket = std::env::temp_dir().join(format!("lictor-fuzz-{}.sock", std::process::id()));
    let listener = workload_api::bind(&socket).expect("a socket");
    let attestor = Attestor::new(registry).expect("the hierarchy");
    let (tokens, ever) = (workload_api::Tokens::Keyring, std::future::pending());
    tokio::spawn(workload_api::serve(listener, attestor, keyring, tokens, Routes::default(), ever));
    let connector = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://node").connect_with_connector(connector).await.expect("a connection")
}

async fn call(channel: Channel, method: &'static str, message: Vec<u8>) -> Result<Option<Vec<u8>>, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", MetadataValue::from_static("true"));
    let mut answers = client.server_streaming(request, PathAndQuery::from_static(method), Raw).await?.into_inner();
    answers.message().await
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, message)) = bytes.split_first() else { return };
    let method = METHODS[usize::from(*first) % METHODS.len()];
    let world = world();
    let answer = call(world.channel.clone(), method, message.to_vec());
    let answer = world.runtime.block_on(async { tokio::time::timeout(Duration::from_secs(10), answer).await });
    match answer.expect("an answer in time") {
        Ok(_) if method == VALIDATE => panic!("a token that nobody signed is valid"),
        Ok(_) if method == FETCH => {
            let asked = JwtsvidRequest::decode(message).expect("what was answered");
            assert!(asked.audience.iter().any(|audience| !audience.is_empty()), "a token for nobody");
        }
        Ok(_) => {}
        Err(status) => assert!(!matches!(status.code(), Code::Unknown | Code::Unavailable), "{status}"),
    }
});
